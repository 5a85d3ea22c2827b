//! `hfctl daemon stop`: asks the daemon to stop and waits until it is gone.

use std::path::Path;
use std::time::Duration;

use hfetch_proto::v1::ShutdownRequest;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::server_info;
use crate::connect::Address;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::retry::Backoff;
use crate::view::json::StoppedJson;

/// A clean stop takes at most 5 s, but for what a busy disk makes of the last syncs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let stopped = stop(context).await?;
    // Of another machine's daemon the end is not seen.
    if let Some(stopped) = stopped
        && context.out.json
    {
        context.out.answer_json(&StoppedJson { stopped })?;
    }
    Ok(Exit::Done)
}

/// Whether one ran and is gone; `None` when that cannot be seen.
pub(super) async fn stop(context: &Context) -> Result<Option<bool>, CliError> {
    let daemon = match context.dial().await {
        Ok(daemon) => daemon,
        // As `systemctl stop` of a unit that does not run.
        Err(error) if error.exit() == Exit::Unreachable => {
            context.out.note("hfetchd does not run");
            return Ok(Some(false));
        }
        Err(error) => return Err(error),
    };
    let info = server_info(&daemon).await?;
    let Address::Socket(socket) = daemon.address.clone() else {
        daemon.admin().shutdown(ShutdownRequest {}).await?;
        context.out.note("hfetchd stops; jobs go on when it runs again");
        return Ok(None);
    };
    if info.mode == "system" {
        return Err(CliError::new(
            Exit::Failed,
            "this is the system's hfetchd, which systemd starts and stops",
        )
        .hint("sudo systemctl stop hfetchd; or `restart` instead of `stop`"));
    }
    daemon.admin().shutdown(ShutdownRequest {}).await?;
    context.on_interrupt("interrupted; hfetchd goes on stopping");
    let started = Instant::now();
    let mut backoff = Backoff::default();
    // The process outlives its socket for a moment; a start before its end would find the state directory held.
    while UnixStream::connect(&socket).await.is_ok() || is_alive(info.pid) {
        if started.elapsed() > PATIENCE {
            let message = format!(
                "hfetchd (pid {}) is still there after {} s",
                info.pid,
                PATIENCE.as_secs()
            );
            return Err(CliError::new(Exit::Failed, message).hint("`hfctl daemon logs` tells what it is doing"));
        }
        tokio::time::sleep(backoff.step().min(Duration::from_millis(200))).await;
    }
    context.out.note("hfetchd has stopped; jobs go on when it runs again");
    Ok(Some(true))
}

/// Whether the process runs; one that has ended and waits for its parent (`Z`) does not.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| !rest.starts_with(['Z', 'X']))
    })
}

#[cfg(test)]
mod tests {
    use super::is_alive;

    #[test]
    fn we_are_alive_and_pid_zero_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
    }
}
