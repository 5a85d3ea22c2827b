//! Arguments of `route`.

use clap::{Args, Subcommand};

use super::{RepoArgs, TokenArgs};

/// Shown below `hfctl route --help`.
pub(super) const ROUTE_EXAMPLES: &str = "\
Examples:
  hfctl route explain gpt2
  hfctl route explain org/model --measure
  hfctl route explain https://huggingface.co --json";

/// Ways to hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Tell every host that a repository's files come from, by which way and rule, and whether it answers
    #[command(after_help = ROUTE_EXAMPLES)]
    Explain(ExplainArgs),
}

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A repository as `submit` takes it, or an address that begins with http:// or https://
    #[arg(value_name = "NAME|URL")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// Branch, tag or commit
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Also time and speed of each host by every way, the forbidden ones left out; takes up to 8 MiB each
    #[arg(long)]
    pub(crate) measure: bool,
    /// Ask this endpoint: its configured name or its URL
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}
