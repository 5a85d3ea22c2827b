//! Arguments of `alias` and `search`.

use clap::{Args, Subcommand};

use super::{RepoArgs, TokenArgs};

/// Shown below `hfctl alias --help`.
pub(super) const ALIAS_EXAMPLES: &str = "\
Examples:
  hfctl alias list
  hfctl alias add mine org/my-model-7b
  hfctl alias add corpus datasets/org/corpus@v2
  hfctl alias remove mine";

/// Shown below `hfctl search --help`.
pub(super) const SEARCH_EXAMPLES: &str = "\
Examples:
  hfctl search tiny llama
  hfctl search squad --dataset --limit 5
  hfctl search whisper --json | jq -r '.[0].repo_id'";

/// Short names.
#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// List aliases: yours, those of the configuration, the built-in ones
    #[command(after_help = "Examples:\n  hfctl alias list\n  hfctl alias list --json")]
    List,
    /// Add or replace one of your aliases
    #[command(after_help = "Examples:\n  hfctl alias add mine org/my-model-7b")]
    Add {
        /// The short name
        name: String,
        /// org/name or datasets/org/name, with @revision to pin it
        target: String,
    },
    /// Remove one of your aliases
    #[command(visible_alias = "rm", after_help = "Examples:\n  hfctl alias remove mine")]
    Remove {
        /// The short name
        name: String,
    },
}

/// What to look for.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Words of the repository's name
    #[arg(required = true)]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) repo: RepoArgs,
    /// At most this many repositories
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: Option<u32>,
    /// Ask this endpoint: its configured name or its URL
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}
