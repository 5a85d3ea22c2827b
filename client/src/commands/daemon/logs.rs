//! `hfctl daemon logs`: what a daemon that we started has written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LOG_FILE, added_since, last_lines, server_info, state_dir};
use crate::cli::LogsArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::human;

/// Pause between looks at the file: there is no notification without another library.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(context: &Context, args: &LogsArgs) -> Result<Exit, CliError> {
    let log = log_file(context, args).await?;
    let text = std::fs::read(&log).map(|bytes| (bytes.len(), String::from_utf8_lossy(&bytes).into_owned()));
    let (mut seen, text) = text.map_err(|error| {
        CliError::new(Exit::NotFound, format!("cannot read {}: {error}", log.display())).hint(
            "only a daemon started by `hfctl daemon start` writes this file; under systemd: journalctl -u hfetchd",
        )
    })?;
    tell(context, &last_lines(&text, args.lines))?;
    if !args.follow {
        return Ok(Exit::Done);
    }
    context.on_interrupt("interrupted");
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let length = file_length(&log);
        if length < seen {
            // Somebody emptied the file.
            seen = 0;
        }
        // Only whole lines, so that a line is not torn in two.
        let added = added_since(&log, u64::try_from(seen).unwrap_or(u64::MAX));
        if let Some(end) = added.rfind('\n') {
            tell(context, &added[..end])?;
            seen += end + 1;
        }
    }
}

fn file_length(log: &Path) -> usize {
    std::fs::metadata(log)
        .ok()
        .and_then(|meta| usize::try_from(meta.len()).ok())
        .unwrap_or(0)
}

async fn log_file(context: &Context, args: &LogsArgs) -> Result<PathBuf, CliError> {
    if args.place.state_dir.is_none() && context.is_remote()? {
        return Err(CliError::usage("the log of another machine's daemon is read there"));
    }
    if args.place.state_dir.is_none() {
        // The daemon knows best; without one the usual place may still tell why it ended.
        if let Ok(daemon) = context.dial().await {
            let info = server_info(&daemon).await?;
            if info.mode == "system" {
                return Err(
                    CliError::new(Exit::Failed, "the system's hfetchd writes to the journal")
                        .hint("journalctl -u hfetchd"),
                );
            }
            return Ok(PathBuf::from(info.state_dir).join(LOG_FILE));
        }
    }
    Ok(state_dir(context, &args.place)?.join(LOG_FILE))
}

fn tell(context: &Context, text: &str) -> Result<(), CliError> {
    match (text.is_empty(), context.out.on_terminal()) {
        (true, _) => Ok(()),
        (false, true) => context.out.answer(&human::clean_lines(text)),
        (false, false) => context.out.answer_raw(text),
    }
}
