//! What can be typed. Arguments are only read here; their meaning is decided in `spec` and `commands`.

mod bandwidth;
mod cache;
mod daemon;
mod endpoint;
mod jobs;
mod names;
mod route;
mod schedule;
mod submit;
mod token;
mod usage;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use bandwidth::{LimitArgs, SetArgs};
pub(crate) use cache::CacheCommand;
pub(crate) use daemon::{BackupArgs, DaemonCommand, LogsArgs, PlaceArgs, StartArgs};
pub(crate) use endpoint::{EndpointCommand, ProbeArgs};
pub(crate) use jobs::{IdsArgs, ListArgs, RetryArgs, ShowArgs, StateArg, WaitArgs, WatchArgs};
pub(crate) use names::{AliasCommand, SearchArgs};
pub(crate) use route::{ExplainArgs, RouteCommand};
pub(crate) use schedule::{ScheduleAddArgs, ScheduleCommand};
pub(crate) use submit::{PriorityArg, RepoArgs, RepoTypeArg, SubmitArgs, TokenArgs};
pub(crate) use token::{LoginArgs, LogoutArgs, WhoamiArgs};
pub(crate) use usage::{UsageArgs, UsageByArg};

const AFTER_HELP: &str = "\
Examples:
  hfctl daemon start                        start a daemon of your own
  hfctl download gpt2 config.json           fetch one file, print its path
  hfctl submit llama-2 --include '*.json'   queue a download, print the job's id
  hfctl watch                               see what happens

Exit codes: 0 done, 1 failed, 2 usage, 3 daemon not reachable, 4 not found,
5 a job ended failed or cancelled, 6 not allowed, 130 interrupted (jobs go on).";

/// Submits, watches and controls downloads from Hugging Face, which the daemon hfetchd carries out.
#[derive(Debug, Parser)]
#[command(name = "hfctl", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Where the daemon is: unix:PATH or https://HOST:PORT. Default: your own daemon's socket, else the system's
    #[arg(
        long,
        global = true,
        env = "HFCTL_ADDRESS",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    pub(crate) address: Option<String>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no messages, only the answer and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Colours in the output; `auto` heeds NO_COLOR
    #[arg(long, global = true, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN")]
    pub(crate) color: ColorArg,
}

/// When to use colours. (Values of options carry no doc comments: they would stretch `--help` over several pages.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorArg {
    Auto,
    Always,
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Queue a download and print the job's id
    #[command(after_help = submit::SUBMIT_EXAMPLES, override_usage = submit::SUBMIT_USAGE)]
    Submit(Box<SubmitArgs>),
    /// Download and print the path, like `hf download`
    #[command(after_help = submit::DOWNLOAD_EXAMPLES, override_usage = submit::DOWNLOAD_USAGE)]
    Download(Box<SubmitArgs>),
    /// List jobs, newest first
    #[command(visible_alias = "ls", after_help = jobs::LIST_EXAMPLES)]
    List(ListArgs),
    /// Show one job
    #[command(after_help = jobs::SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Stream what happens to jobs
    #[command(after_help = jobs::WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Wait until jobs have ended
    #[command(after_help = jobs::WAIT_EXAMPLES)]
    Wait(WaitArgs),
    /// Stop jobs until they are resumed
    #[command(after_help = jobs::PAUSE_EXAMPLES, override_usage = jobs::PAUSE_USAGE)]
    Pause(IdsArgs),
    /// Let paused jobs go on, and say yes to those held for approval
    #[command(after_help = jobs::RESUME_EXAMPLES, override_usage = jobs::RESUME_USAGE)]
    Resume(IdsArgs),
    /// End jobs; what is on disk stays
    #[command(after_help = jobs::CANCEL_EXAMPLES, override_usage = jobs::CANCEL_USAGE)]
    Cancel(IdsArgs),
    /// Queue failed or cancelled jobs again; let held ones try at once
    #[command(after_help = jobs::RETRY_EXAMPLES, override_usage = jobs::RETRY_USAGE)]
    Retry(RetryArgs),
    /// Change priority, limit or window of jobs, also while they run
    #[command(after_help = bandwidth::SET_EXAMPLES, override_usage = bandwidth::SET_USAGE)]
    Set(SetArgs),
    /// Show or set the limit of all downloads together
    #[command(after_help = bandwidth::LIMIT_EXAMPLES)]
    Limit(LimitArgs),
    /// Recurring pulls: what is looked at again and again, and downloaded when it has changed
    #[command(subcommand, after_help = schedule::SCHEDULE_EXAMPLES)]
    Schedule(ScheduleCommand),
    /// What came over the network: by day, user, endpoint, host, route
    #[command(after_help = usage::USAGE_EXAMPLES)]
    Usage(UsageArgs),
    /// Jobs, speeds, endpoints, routes, limits and windows on the whole screen, with keys to change them
    #[command(after_help = TOP_EXAMPLES)]
    Top,
    /// Short names for repositories
    #[command(subcommand, after_help = names::ALIAS_EXAMPLES)]
    Alias(AliasCommand),
    /// Search the Hub
    #[command(after_help = names::SEARCH_EXAMPLES)]
    Search(SearchArgs),
    /// The Hub and its mirrors, and whether they do their part
    #[command(subcommand, after_help = endpoint::ENDPOINT_EXAMPLES)]
    Endpoint(EndpointCommand),
    /// By which way hosts are reached
    #[command(subcommand, after_help = route::ROUTE_EXAMPLES)]
    Route(RouteCommand),
    /// What is on disk: look at it, check it, make it smaller
    #[command(subcommand, after_help = cache::CACHE_EXAMPLES)]
    Cache(CacheCommand),
    /// Leave your Hub token with the daemon, for downloads that bring none
    #[command(after_help = token::LOGIN_EXAMPLES)]
    Login(LoginArgs),
    /// Forget the Hub token that you left with the daemon
    #[command(after_help = token::LOGOUT_EXAMPLES)]
    Logout(LogoutArgs),
    /// Whose Hub token is used, until when, and what it may do
    #[command(after_help = token::WHOAMI_EXAMPLES)]
    Whoami(WhoamiArgs),
    /// Look for what is wrong with the installation, the network and the token, and say what to do
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor,
    /// Start, stop and look at the daemon
    #[command(subcommand, after_help = daemon::DAEMON_EXAMPLES)]
    Daemon(DaemonCommand),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Write hfctl.1, hfctl-submit.1 and so on into this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<std::path::PathBuf>,
    },
}

const TOP_EXAMPLES: &str = "\
Examples:
  hfctl top
  hfctl --address https://gpu7:7850 top

The key ? tells the keys. Without a terminal: hfctl list, hfctl watch.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  hfctl doctor
  hfctl doctor --json | jq -r '.findings[] | select(.status != \"ok\") | .message'

Exits with 1 when something is broken.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hfctl completions bash > ~/.local/share/bash-completion/completions/hfctl
  hfctl completions zsh > ~/.zfunc/_hfctl
  hfctl completions fish > ~/.config/fish/completions/hfctl.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  hfctl man | man -l -
  hfctl man --dir ~/.local/share/man/man1";

#[cfg(test)]
mod tests;
