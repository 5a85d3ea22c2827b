//! `hfctl daemon`: the life of a user-mode daemon without systemd; status and reload work for the system's too.

mod backup;
mod logs;
mod reload;
mod start;
mod status;
mod stop;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hfetch_proto::socket::user_state_dir;
use hfetch_proto::v1::{GetServerInfoRequest, GetServerInfoResponse};

use crate::cli::{DaemonCommand, PlaceArgs};
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, process_env};
use crate::retry::{is_passing, retrying};

pub(super) async fn run(context: &Context, command: &DaemonCommand) -> Result<Exit, CliError> {
    match command {
        DaemonCommand::Start(args) => start::run(context, args).await,
        DaemonCommand::Stop => stop::run(context).await,
        DaemonCommand::Restart(args) => {
            // One that cannot start does not take the place of one that runs.
            start::check(context, args)?;
            // What it does not know of the old one, such as its config files, must be given again.
            stop::stop(context).await?;
            start::run(context, args).await
        }
        DaemonCommand::Status => status::run(context).await,
        DaemonCommand::Reload => reload::run(context).await,
        DaemonCommand::Backup(args) => backup::run(context, args).await,
        DaemonCommand::Logs(args) => logs::run(context, args).await,
    }
}

/// How long the daemon may take to tell about itself.
const PATIENCE: Duration = Duration::from_secs(12);

/// Name of the file in the state directory that gets the output of a daemon started by us.
const LOG_FILE: &str = "hfetchd.log";

/// `--state-dir`, else the user's.
fn state_dir(context: &Context, place: &PlaceArgs) -> Result<PathBuf, CliError> {
    match &place.state_dir {
        Some(dir) => Ok(paths::absolute(dir, &context.cwd, &process_env)),
        None => user_state_dir(process_env).ok_or_else(|| {
            CliError::new(Exit::Failed, "neither XDG_STATE_HOME nor HOME is set")
                .hint("name a directory: --state-dir DIR")
        }),
    }
}

/// What the daemon says about itself, which it can say at any time at once.
pub(super) async fn server_info(daemon: &Daemon) -> Result<GetServerInfoResponse, CliError> {
    answer_of(daemon, retrying(|| ask(daemon.clone()))).await
}

/// The same of one that may be dying, and is not waited for then: `None`.
pub(super) async fn server_info_if_it_lives(daemon: &Daemon) -> Result<Option<GetServerInfoResponse>, CliError> {
    let answer = async {
        match ask(daemon.clone()).await {
            Err(status) if is_passing(&status) => Ok(None),
            answer => Ok(Some(answer?.into_inner())),
        }
    };
    answer_of(daemon, answer).await
}

async fn ask(daemon: Daemon) -> Result<tonic::Response<GetServerInfoResponse>, tonic::Status> {
    let request = GetServerInfoRequest { check_files: true };
    daemon.admin().get_server_info(request).await
}

async fn answer_of<T>(daemon: &Daemon, answer: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, CliError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let (address, limit) = (&daemon.address, PATIENCE.as_secs());
            let message = format!("hfetchd accepts at {address}, but does not answer within {limit} s");
            Err(CliError::new(Exit::Unreachable, message).hint("it may be stopped (SIGSTOP) or stuck: see its log"))
        }
    }
}

/// The last `count` lines of a text.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// What was added to a log after byte `from`; nothing when it cannot be read.
fn added_since(log: &Path, from: u64) -> Vec<u8> {
    let read = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut added = Vec::new();
        file.read_to_end(&mut added)?;
        io::Result::Ok(added)
    };
    read().unwrap_or_default()
}

/// How many of these bytes are whole lines, the last newline among them.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 5), "a");
        assert_eq!(last_lines("", 5), "");
    }
}
