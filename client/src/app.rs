//! One run: parse, set colours, run the command until it ends or a signal comes, word the error. Owns the runtime.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;
use futures_util::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::cli::Cli;
use crate::commands;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{is_true, process_env};
use crate::view::{Out, complain};

/// Runs `hfctl` with these arguments.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &args),
    };
    let dumb = process_env("TERM").is_some_and(|term| term == "dumb");
    let bars = !dumb && !is_true(&process_env, "HF_HUB_DISABLE_PROGRESS_BARS");
    let out = Out::new(cli.global.json, cli.global.quiet, cli.global.color, bars);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failed, format!("cannot start: {error}")))
        .and_then(|runtime| {
            let result = runtime.block_on(until_signal(cli, &out));
            // A thread may still wait for an answer on the terminal.
            runtime.shutdown_background();
            result
        });
    match result {
        Ok(exit) => exit,
        Err(error) => {
            complain(&error);
            error.exit()
        }
    }
}

async fn until_signal(cli: Cli, out: &Out) -> Result<Exit, CliError> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| CliError::new(Exit::Failed, format!("cannot listen for signals: {error}")))?;
    let context = Context::new(out.clone(), cli.global.address)?;
    tokio::select! {
        result = commands::run(&context, cli.command) => result,
        Some(_) = signals.next() => Err(CliError::new(Exit::Interrupted, context.interrupt_note())),
    }
}

/// A command line that clap did not take: usage errors, `--help` and `--version`.
fn refuse(error: &clap::Error, args: &[OsString]) -> Exit {
    // A reader of `--help` that goes away is no failure.
    error.print().ok();
    if !error.use_stderr() {
        return Exit::Done;
    }
    let greedy = args.iter().any(|arg| arg == "--include" || arg == "--exclude");
    if error.kind() == ErrorKind::MissingRequiredArgument && greedy {
        let tip = "write NAME before --include and --exclude, which take all words up to the next option";
        crate::view::tip(tip);
    }
    Exit::Usage
}
