//! `hfctl daemon logs`: what a daemon that we started has written.

use std::path::PathBuf;
use std::time::Duration;

use super::{LOG_FILE, added_since, last_lines, server_info, state_dir, whole_lines};
use crate::cli::LogsArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::human;

/// Pause between looks at the file: there is no notification without another library.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(context: &Context, args: &LogsArgs) -> Result<Exit, CliError> {
    let log = log_file(context, args).await?;
    let bytes = std::fs::read(&log).map_err(|error| {
        CliError::new(Exit::NotFound, format!("cannot read {}: {error}", log.display())).hint(
            "only a daemon started by `hfctl daemon start` writes this file; under systemd: journalctl -u hfetchd",
        )
    })?;
    // Who follows hears of a line when it is whole.
    let shown = if args.follow { whole_lines(&bytes) } else { bytes.len() };
    tell(
        context,
        &last_lines(&String::from_utf8_lossy(&bytes[..shown]), args.lines),
    )?;
    if !args.follow {
        return Ok(Exit::Done);
    }
    drop(bytes);
    context.on_interrupt("interrupted");
    let mut tail = Tail {
        log,
        seen: shown as u64,
    };
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        tell(context, &tail.more())?;
    }
}

/// A place in a log that grows.
struct Tail {
    log: PathBuf,
    /// In bytes.
    seen: u64,
}

impl Tail {
    /// The whole lines that came since the last look, without the last newline.
    fn more(&mut self) -> String {
        if std::fs::metadata(&self.log).map_or(0, |meta| meta.len()) < self.seen {
            // Somebody emptied the file.
            self.seen = 0;
        }
        let mut added = added_since(&self.log, self.seen);
        added.truncate(whole_lines(&added));
        self.seen += added.len() as u64;
        added.pop();
        String::from_utf8_lossy(&added).into_owned()
    }
}

async fn log_file(context: &Context, args: &LogsArgs) -> Result<PathBuf, CliError> {
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::Tail;

    #[test]
    fn lines_are_told_once_and_whole_whatever_bytes_they_hold() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a file");
        let mut tail = Tail {
            log: log.clone(),
            seen: 0,
        };
        let mut check = |bytes: &[u8], told: &str| {
            file.write_all(bytes).expect("written");
            assert_eq!(tail.more(), told);
        };
        check(b"one\ntw", "one");
        check(b"", "");
        // An invalid byte is three in what is shown, and one in the file.
        check(b"o \xff\nthree\n", "two \u{fffd}\nthree");
        check(b"four\n", "four");
        std::fs::write(&log, "anew\n").expect("written");
        assert_eq!(tail.more(), "anew");
    }
}
