//! Arguments of the commands that look at jobs or act on them.

use clap::{Args, ValueEnum};

use super::TokenArgs;

/// Shown below `hfctl list --help`.
pub(super) const LIST_EXAMPLES: &str = "\
Examples:
  hfctl list
  hfctl list --state active,held
  hfctl list --repo llama --all
  hfctl list --json | jq -r '.jobs[] | select(.state == \"failed\") | .id'";

/// Shown below `hfctl show --help`.
pub(super) const SHOW_EXAMPLES: &str = "\
Examples:
  hfctl show 5d2k8q0x1a
  hfctl show 5d2k --files          (the beginning of an id is enough)
  hfctl show 5d2k8q0x1a --json | jq -r .path";

/// Shown below `hfctl watch --help`.
pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  hfctl watch                      everything, until Ctrl-C
  hfctl watch 5d2k8q0x1a           one job, until it has ended
  hfctl watch --json --after 1200 --no-progress";

/// Shown below `hfctl wait --help`.
pub(super) const WAIT_EXAMPLES: &str = "\
Examples:
  hfctl wait 5d2k8q0x1a 5d2k8q0x1b
  hfctl wait 5d2k8q0x1a --timeout 2h && echo ready

Exits with 0 when all are done, 5 when one ended failed or cancelled, 1 when the time is over (as `kubectl wait`).";

/// Whom the verbs act on: clap's own line leaves `--all` out.
pub(super) const PAUSE_USAGE: &str =
    "hfctl pause [OPTIONS] <ID>...\n       hfctl pause [OPTIONS] --all [--user <USER>]";
pub(super) const RESUME_USAGE: &str =
    "hfctl resume [OPTIONS] <ID>...\n       hfctl resume [OPTIONS] --all [--user <USER>]";
pub(super) const CANCEL_USAGE: &str =
    "hfctl cancel [OPTIONS] <ID>...\n       hfctl cancel [OPTIONS] --all [--user <USER>]";
pub(super) const RETRY_USAGE: &str =
    "hfctl retry [OPTIONS] <ID>...\n       hfctl retry [OPTIONS] --all [--user <USER>]";

/// Shown below `hfctl pause --help`.
pub(super) const PAUSE_EXAMPLES: &str = "\
Examples:
  hfctl pause 5d2k8q0x1a
  hfctl pause --all";

/// Shown below `hfctl resume --help`.
pub(super) const RESUME_EXAMPLES: &str = "\
Examples:
  hfctl resume 5d2k8q0x1a
  hfctl resume --all

A job that is held for approval takes its id as the yes that it waits for; --all does not say it.";

/// Shown below `hfctl cancel --help`.
pub(super) const CANCEL_EXAMPLES: &str = "\
Examples:
  hfctl cancel 5d2k8q0x1a 5d2k8q0x1b
  hfctl cancel --all";

/// Shown below `hfctl retry --help`.
pub(super) const RETRY_EXAMPLES: &str = "\
Examples:
  hfctl retry 5d2k8q0x1a
  hfctl retry --all
  hfctl retry 5d2k8q0x1a --token-file ~/new-token";

/// Which jobs to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only jobs in these states (repeat, or separate by commas)
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    pub(crate) state: Vec<StateArg>,
    /// Only jobs of this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Only jobs of repositories whose id contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) repo: Option<String>,
    /// At most this many jobs
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit_rows: Option<u32>,
    /// All jobs, not only the newest hundred
    #[arg(long, conflicts_with_all = ["limit_rows", "page_token"])]
    pub(crate) all: bool,
    /// Jobs of one answer (with --json: of one page)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) page_size: Option<u32>,
    /// Go on where the answer before ended (its next_page_token)
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page_token: Option<String>,
}

/// States of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Queued,
    Active,
    Held,
    Paused,
    Done,
    Failed,
    Cancelled,
}

/// Which job to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The job's id, or the beginning of it
    pub(crate) id: String,
    /// Also its files
    #[arg(long)]
    pub(crate) files: bool,
}

/// What to watch.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only these jobs, and only until they have ended
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Begin after this event number, to miss nothing between two calls
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// No progress samples, only events
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// What to wait for.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The jobs
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Give up after this time, such as 90s, 30m, 2h, with exit code 1; the jobs go on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
}

/// Which jobs to act on.
#[derive(Debug, Args)]
pub(crate) struct IdsArgs {
    /// The jobs' ids, or the beginnings of them
    #[arg(value_name = "ID", required_unless_present_any = ["all", "all_users"], conflicts_with_all = ["all", "all_users"])]
    pub(crate) ids: Vec<String>,
    /// All your jobs in a state that the command changes
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: the jobs of this user instead of yours (operators)
    #[arg(long, value_name = "USER", requires = "all")]
    pub(crate) user: Option<String>,
    /// The jobs of all users (operators)
    #[arg(long, conflicts_with = "user")]
    pub(crate) all_users: bool,
}

/// Which jobs to queue again.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) ids: IdsArgs,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

/// The same with a unit: a bare number is a rate elsewhere on the same line.
pub(super) fn parse_duration_with_unit(text: &str) -> Result<std::time::Duration, String> {
    match text.parse::<u64>() {
        Ok(number) => Err(format!("{number} of what? write {number}s, {number}m or {number}h")),
        Err(_) => parse_duration(text),
    }
}

/// `90`, `90s`, `30m`, `1h30m`.
pub(super) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(std::time::Duration::from_secs(seconds)),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|span| span.try_into().ok()),
    };
    parsed.ok_or_else(|| "write a time such as 90s, 30m or 2h".to_owned())
}
