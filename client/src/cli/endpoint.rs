//! Arguments of `endpoint`.

use clap::{Args, Subcommand};

use super::{RepoArgs, TokenArgs};

/// Shown below `hfctl endpoint --help`.
pub(super) const ENDPOINT_EXAMPLES: &str = "\
Examples:
  hfctl endpoint list
  hfctl endpoint probe
  hfctl endpoint probe hf-mirror --repo org/model";

const PROBE_EXAMPLES: &str = "\
Examples:
  hfctl endpoint probe
  hfctl endpoint probe hf-mirror --repo org/model
  hfctl endpoint probe https://hub.example.org --repo org/data --dataset --json";

/// The Hub and its mirrors.
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Tell what is known of each endpoint; asks nobody
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  hfctl endpoint list\n  hfctl endpoint list --json"
    )]
    List,
    /// Ask each endpoint for the same repository, and compare: commit, files, hashes, ranges, speed
    #[command(after_help = PROBE_EXAMPLES)]
    Probe(ProbeArgs),
}

/// What to ask.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Endpoints, by configured name or URL; without any: all configured ones
    #[arg(value_name = "NAME|URL")]
    pub(crate) endpoints: Vec<String>,
    /// Ask for this repository; without it: that of your newest job, else openai-community/gpt2
    #[arg(long, value_name = "REPO")]
    pub(crate) repo: Option<String>,
    #[command(flatten)]
    pub(crate) kind: RepoArgs,
    /// Branch, tag or commit
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}
