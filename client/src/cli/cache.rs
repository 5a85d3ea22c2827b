//! Arguments of `cache`.

use clap::{Args, Subcommand};

use super::RepoArgs;

/// Shown below `hfctl cache --help`.
pub(super) const CACHE_EXAMPLES: &str = "\
Examples:
  hfctl cache list
  hfctl cache verify org/model
  hfctl cache prune
  hfctl cache rm org/model@v1 --yes
  hfctl cache pin org/model@main";

const VERIFY_EXAMPLES: &str = "\
Examples:
  hfctl cache verify
  hfctl cache verify org/model@main datasets/org/data
  hfctl cache verify --json | jq -r 'select(.verdict != \"sound\") | .path'

Exits with 1 when a file is wrong or leads nowhere.";

const PRUNE_EXAMPLES: &str = "\
Examples:
  hfctl cache prune          tells what would go
  hfctl cache prune --yes    removes it

Revisions that no branch or tag means go, and blobs that no revision needs. Pins, open files and jobs that are
not over keep theirs.";

const RM_EXAMPLES: &str = "\
Examples:
  hfctl cache rm org/model              tells what would go
  hfctl cache rm org/model@v1 --yes     removes one revision
  hfctl cache rm datasets/org/data --yes";

/// What is on disk.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List repositories and revisions with their sizes
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  hfctl cache list\n  hfctl cache list --json | jq -r '.[].repo_id'"
    )]
    List,
    /// Hash files, and tell those that are not what they are called
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(TargetsArgs),
    /// Remove what no branch, tag, pin or job needs
    #[command(after_help = PRUNE_EXAMPLES)]
    Prune(YesArgs),
    /// Remove repositories or revisions
    #[command(after_help = RM_EXAMPLES)]
    Rm {
        #[command(flatten)]
        targets: SomeTargetsArgs,
        #[command(flatten)]
        sure: YesArgs,
    },
    /// Keep revisions, whatever is pruned or removed
    #[command(after_help = "Examples:\n  hfctl cache pin org/model@main")]
    Pin(SomeTargetsArgs),
    /// Take pins away
    #[command(after_help = "Examples:\n  hfctl cache unpin org/model")]
    Unpin(SomeTargetsArgs),
}

/// Which repositories; none is all.
#[derive(Debug, Args)]
pub(crate) struct TargetsArgs {
    /// org/name, datasets/org/name, with @revision for one revision; without any: all
    #[arg(value_name = "REPO[@REV]")]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) kind: RepoArgs,
}

/// Which repositories; at least one.
#[derive(Debug, Args)]
pub(crate) struct SomeTargetsArgs {
    /// org/name, datasets/org/name, with @revision for one revision
    #[arg(value_name = "REPO[@REV]", required = true)]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) kind: RepoArgs,
}

/// Whether to do it.
#[derive(Debug, Args)]
pub(crate) struct YesArgs {
    /// Do it; without, only tell what would go
    #[arg(short, long)]
    pub(crate) yes: bool,
}
