//! Arguments of `limit` and `set`.

use std::time::Duration;

use clap::Args;

use super::{IdsArgs, PriorityArg, jobs::parse_duration_with_unit};

/// Shown below `hfctl limit --help`.
pub(super) const LIMIT_EXAMPLES: &str = "\
Examples:
  hfctl limit                          what holds now, and why
  hfctl limit 20MiB/s                  at once, in mid-file, and over restarts
  hfctl limit off --for 2h             and then what holds now again
  hfctl limit 'Mon-Fri 08:00,10M Mon-Fri 19:00,off Sat-Sun 00:00,off'
  hfctl limit --reset                  what the configuration says

A bare number is KiB/s, as in rclone. All downloads of the daemon together stay below the limit.";

/// The two ways to say which jobs.
pub(super) const SET_USAGE: &str = "hfctl set [OPTIONS] <ID>...\n       hfctl set [OPTIONS] --all [--user <USER>]";

/// Shown below `hfctl set --help`.
pub(super) const SET_EXAMPLES: &str = "\
Examples:
  hfctl set 5d2k8q0x1a --priority high
  hfctl set 5d2k8q0x1a 5d2k8q0x1b --limit 2MiB/s
  hfctl set 5d2k8q0x1a --window 23:00-07:00
  hfctl set --all --limit off --window off";

/// The limit of everything.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// A rate, a timetable in the syntax of rclone's --bwlimit, or `off`; without it the limit is shown
    #[arg(value_name = "RATE|TIMETABLE|off", conflicts_with = "reset")]
    pub(crate) limit: Vec<String>,
    /// Only for this time, such as 30m or 2h; then what held before holds again
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration_with_unit, requires = "limit")]
    pub(crate) duration: Option<Duration>,
    /// Back to what the configuration says
    #[arg(long)]
    pub(crate) reset: bool,
}

/// What to change of which jobs.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) ids: IdsArgs,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// What to change.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ChangeArgs {
    /// Which of your jobs go first
    #[arg(long, value_enum, value_name = "PRIORITY")]
    pub(crate) priority: Option<PriorityArg>,
    /// Limit of each job's rate, or `off`
    #[arg(long, value_name = "RATE|off")]
    pub(crate) limit: Option<String>,
    /// Download only in this window, or `off`: at any time
    #[arg(long, value_name = "NAME|HH:MM-HH:MM|off")]
    pub(crate) window: Option<String>,
}
