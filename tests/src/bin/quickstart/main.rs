//! `cargo quickstart [REPO]`: the real programs at work, watched in a terminal.
//!
//! Builds `hfetchd` and `hfctl`, starts a daemon in a scratch state directory, downloads, verifies, and tells where the
//! files lie. Without an argument the simulated Hub serves a small real model, and the daemon is killed in the middle.
//! However it ends, no process is left. The downloaded files stay; so does the state of an unfinished REPO, which the next
//! run goes on from.

mod build;
mod demo;
mod place;
mod session;
mod stage;
mod verify;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::Parser;
use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::{place::Places, session::Session, stage::Stage};

/// As a shell tells it of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Shows hfetch at work: builds it, starts a daemon, downloads, verifies. Nothing is installed, nothing is left running.
#[derive(Debug, Parser)]
#[command(
    name = "cargo quickstart",
    after_help = "Examples:\n  cargo quickstart\n  cargo quickstart gpt2 --include '*.json'\n  HF_ENDPOINT=https://hf-mirror.com \
                  cargo quickstart Qwen/Qwen2.5-0.5B"
)]
struct Options {
    /// Download this from HF_ENDPOINT (by default the official Hub) [default: a small model from a simulated Hub]
    repo: Option<String>,
    /// Put the files into this Hugging Face cache [default: for a REPO $HF_HUB_CACHE, else target/quickstart-files]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Where the state of an unfinished REPO stays, as quickstart-state [default: target]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// More words for `hfctl submit`, such as files or --include
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<OsString>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let stage = Stage::new();
    match run(&options, &stage).await {
        Ok(code) => code,
        Err(error) => {
            stage.failed(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options, stage: &Stage) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let places = Places::new(
        options.repo.is_none(),
        options.cache_dir.as_deref(),
        options.state_dir.as_deref(),
    )?;
    let mut session = Session::new(stage, places);
    let outcome = tokio::select! {
        outcome = play(options, stage, &mut session) => outcome.map(|()| ExitCode::SUCCESS),
        Some(_) = signals.next() => {
            stage.failed("interrupted");
            Ok(ExitCode::from(INTERRUPTED))
        }
    };
    if outcome.is_err() {
        session.tell_log();
    }
    session.close(matches!(outcome, Ok(ExitCode::SUCCESS))).await;
    outcome
}

async fn play(options: &Options, stage: &Stage, session: &mut Session<'_>) -> anyhow::Result<()> {
    build::programs(stage, session.programs()).await?;
    match &options.repo {
        Some(repo) => demo::real(stage, session, repo, &options.more).await,
        None => demo::simulated(stage, session).await,
    }
}
