//! Arguments of `schedule`.

use clap::{Args, Subcommand};

use super::{PriorityArg, RepoArgs, SubmitArgs, TokenArgs};

/// Shown below `hfctl schedule --help`.
pub(super) const SCHEDULE_EXAMPLES: &str = "\
Examples:
  hfctl schedule add org/model --cron '30 0 * * *' --window night
  hfctl schedule list
  hfctl schedule show 7f3m2c9v4e
  hfctl schedule run 7f3m2c9v4e";

const ADD_EXAMPLES: &str = "\
Examples:
  hfctl schedule add org/model --cron '30 0 * * *' --window night
  hfctl schedule add org/model --cron '0 3 * * mon' --timezone Asia/Shanghai --keep 2
  hfctl schedule add datasets/org/data --cron @daily --include '*.parquet' --hold-above 50GiB

Each run compares commits first and queues a job only when the revision means another one. The five fields are minute,
hour, day of the month, month and day of the week. A time that the clock jumps over is when it jumps; one that comes
twice, the first time. What was missed while the machine was off is made up for once.";

const LIST_EXAMPLES: &str = "\
Examples:
  hfctl schedule list
  hfctl schedule list --json | jq -r '.[] | select(.paused) | .id'";

const SHOW_EXAMPLES: &str = "\
Examples:
  hfctl schedule show 7f3m2c9v4e
  hfctl schedule show 7f3m --json | jq -r '.next_runs[0]'";

const PAUSE_EXAMPLES: &str = "\
Examples:
  hfctl schedule pause 7f3m2c9v4e";

const RESUME_EXAMPLES: &str = "\
Examples:
  hfctl schedule resume 7f3m2c9v4e

What was due while it was paused is not made up for: `hfctl schedule run` does it.";

const REMOVE_EXAMPLES: &str = "\
Examples:
  hfctl schedule remove 7f3m2c9v4e

Jobs that it has made go on, and what they brought stays.";

const RUN_EXAMPLES: &str = "\
Examples:
  hfctl schedule run 7f3m2c9v4e
  hfctl wait $(hfctl schedule run 7f3m2c9v4e)

Prints the job's id; nothing when nothing has changed.";

/// Recurring pulls.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Pull a repository again and again
    #[command(after_help = ADD_EXAMPLES)]
    Add(Box<ScheduleAddArgs>),
    /// List schedules, with the next time and the last result of each
    #[command(visible_alias = "ls", after_help = LIST_EXAMPLES)]
    List,
    /// Show one schedule, its next five times and its last results
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ScheduleIdArgs),
    /// Let schedules rest
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(ScheduleIdsArgs),
    /// Let paused schedules run again, from now on
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ScheduleIdsArgs),
    /// Remove schedules
    #[command(visible_alias = "rm", after_help = REMOVE_EXAMPLES)]
    Remove(ScheduleIdsArgs),
    /// Run one now
    #[command(after_help = RUN_EXAMPLES)]
    Run(ScheduleIdArgs),
}

/// Which schedule.
#[derive(Debug, Args)]
pub(crate) struct ScheduleIdArgs {
    /// The schedule's id, or the beginning of it
    pub(crate) id: String,
}

/// Which schedules.
#[derive(Debug, Args)]
pub(crate) struct ScheduleIdsArgs {
    /// The schedules' ids, or the beginnings of them
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
}

/// What to pull, and when.
#[derive(Debug, Args)]
pub(crate) struct ScheduleAddArgs {
    /// An alias, org/name, datasets/org/name, hf://..., or a web address of a repository
    name: String,
    /// Paths in the repository, or folders ending in a slash; all files when none is given
    files: Vec<String>,
    /// When: minute, hour, day of the month, month, day of the week; or @hourly, @daily, @weekly, @monthly
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: String,
    /// IANA name of the clock that counts [default: that of windows, bandwidth.timezone]
    #[arg(long, value_name = "ZONE")]
    pub(crate) timezone: Option<String>,
    /// Keep so many earlier revisions that its runs have brought, and remove older ones [default: keep all]
    #[arg(long, value_name = "N", conflicts_with = "local_dir", value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) keep: Option<u32>,
    /// Download only in this window: a configured name, or a period such as 23:00-07:00 (the daemon's clock)
    #[arg(long, value_name = "NAME|HH:MM-HH:MM")]
    window: Option<String>,
    /// A run with more to fetch than this, such as 50GiB, waits until `hfctl resume` says yes to its job
    #[arg(long, value_name = "SIZE")]
    hold_above: Option<String>,
    #[command(flatten)]
    repo: RepoArgs,
    /// Branch or tag that is looked at [default: main]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// Only files matching one of these patterns (fnmatch over the whole path); several values or repeated
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    include: Vec<String>,
    /// No files matching one of these patterns; several values or repeated
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Fill this directory with plain files
    #[arg(long, value_name = "DIR")]
    local_dir: Option<String>,
    /// Use this Hugging Face cache
    #[arg(long, value_name = "DIR", conflicts_with = "local_dir")]
    cache_dir: Option<String>,
    /// Mirror to use: its configured name or its URL; repeat for several, in order of preference
    #[arg(long, value_name = "NAME|URL")]
    endpoint: Vec<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// Which jobs go first
    #[arg(long, value_enum, value_name = "PRIORITY")]
    priority: Option<PriorityArg>,
    /// Limit of each run's rate, such as 5MiB/s
    #[arg(long, value_name = "RATE")]
    limit: Option<String>,
    /// Connections for one file
    #[arg(short = 'x', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: Option<u32>,
    /// Files at a time
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    max_workers: Option<u32>,
}

impl ScheduleAddArgs {
    /// One run of it, as it would be submitted; without the token.
    pub(crate) fn one_run(&self) -> SubmitArgs {
        SubmitArgs {
            name: self.name.clone(),
            files: self.files.clone(),
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            local_dir: self.local_dir.clone(),
            cache_dir: self.cache_dir.clone(),
            endpoint: self.endpoint.clone(),
            priority: self.priority,
            connections: self.connections,
            max_workers: self.max_workers,
            limit: self.limit.clone(),
            window: self.window.clone(),
            hold_above: self.hold_above.clone(),
            ..SubmitArgs::default()
        }
    }
}
