//! The verbs: one file each. A command asks the daemon and hands the answer to `view`; it holds no rules of its own.

mod acting;
mod alias;
mod cache;
mod cancel;
mod completions;
mod daemon;
mod doctor;
mod download;
mod endpoint;
mod following;
mod limit;
mod list;
mod login;
mod man;
mod pause;
mod resume;
mod retry;
mod route;
mod schedule;
mod search;
mod set;
mod show;
mod submission;
mod submit;
mod top;
mod usage;
mod wait;
mod watch;

use crate::cli::Command;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// Runs one command.
///
/// # Errors
/// What the user reads, with the exit code.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Submit(args) => submit::run(context, &args).await,
        Command::Download(args) => download::run(context, &args).await,
        Command::List(args) => list::run(context, &args).await,
        Command::Show(args) => show::run(context, &args).await,
        Command::Watch(args) => watch::run(context, &args).await,
        Command::Wait(args) => wait::run(context, &args).await,
        Command::Pause(args) => pause::run(context, &args).await,
        Command::Resume(args) => resume::run(context, &args).await,
        Command::Cancel(args) => cancel::run(context, &args).await,
        Command::Retry(args) => retry::run(context, &args).await,
        Command::Set(args) => set::run(context, &args).await,
        Command::Limit(args) => limit::run(context, &args).await,
        Command::Schedule(command) => schedule::run(context, command).await,
        Command::Top => top::run(context).await,
        Command::Usage(args) => usage::run(context, &args).await,
        Command::Alias(command) => alias::run(context, command).await,
        Command::Search(args) => search::run(context, &args).await,
        Command::Endpoint(command) => endpoint::run(context, command).await,
        Command::Route(command) => route::run(context, command).await,
        Command::Login(args) => login::log_in(context, &args).await,
        Command::Logout(args) => login::log_out(context, &args).await,
        Command::Whoami(args) => login::who_am_i(context, &args).await,
        Command::Cache(command) => cache::run(context, command).await,
        Command::Doctor => doctor::run(context).await,
        Command::Daemon(command) => daemon::run(context, &command).await,
        Command::Completions { shell } => completions::run(context, shell),
        Command::Man { dir } => man::run(context, dir.as_deref()),
    }
}
