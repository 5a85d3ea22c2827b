//! Arguments of `usage`.

use clap::{Args, ValueEnum};
use jiff::civil::Date;

/// Shown below `hfctl usage --help`.
pub(super) const USAGE_EXAMPLES: &str = "\
Examples:
  hfctl usage                          the last 30 days, day by day
  hfctl usage --days 1 --by host       today, by host
  hfctl usage --by user --since 2026-08-01
  hfctl usage --by day,route --json

Counted are the bytes of answers as they came, whatever became of them. Of these WASTED were thrown away
(wrong bytes, refusals), and REPEATED were right and came more than once. Days are those of bandwidth.timezone.";

/// Which part of the ledger.
#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// So many days, today included [default: 30]
    #[arg(long, value_name = "N", conflicts_with = "since", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: Option<u32>,
    /// From this day on
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) since: Option<Date>,
    /// What lines are told apart by; several with commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "day", value_name = "KEY")]
    pub(crate) by: Vec<UsageByArg>,
    /// Only this user, by name or number
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
}

/// Keys of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsageByArg {
    Day,
    User,
    Endpoint,
    Host,
    Route,
}
