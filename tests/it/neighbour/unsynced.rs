//! How much a download may have written and not synced: what a crash costs, and what a slow disk has to swallow at once. The
//! disk here takes two seconds for each sync, and the daemon's calls are read from what `strace` wrote down.

use std::collections::HashMap;

use anyhow::Context as _;
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    python::skip,
};

use super::{FILE, MIB, hub};

/// Claimed every 24 MiB, and nothing more is read from 40 MiB on; what was gathered by then is still written.
const MOST: u64 = 48 * MIB;

/// The most bytes of partial files that were written and not synced at any moment of a log.
fn most_unsynced(log: &str) -> anyhow::Result<u64> {
    let (mut written, mut synced, mut most) = (0_u64, 0_u64, 0_u64);
    // By thread: a sync covers what was written before it began.
    let mut begun: HashMap<&str, u64> = HashMap::new();
    for line in log.lines().filter(|line| !line.contains("exited")) {
        let (thread, rest) = line.trim_start().split_once(' ').context("a thread")?;
        let rest = rest.trim_start();
        let ended = || {
            rest.rsplit_once("= ")
                .and_then(|(_, result)| result.split(' ').next()?.parse::<u64>().ok())
        };
        let is_write = rest.starts_with("pwritev(") || rest.starts_with("<... pwritev resumed");
        if rest.starts_with("fdatasync(") {
            begun.insert(thread, written);
        }
        match ended() {
            Some(bytes) if is_write => written += bytes,
            Some(_) => synced = synced.max(begun.remove(thread).unwrap_or(0)),
            None => {}
        }
        most = most.max(written - synced);
    }
    anyhow::ensure!(synced > 0, "nothing was synced:\n{}", &log[..log.len().min(2000)]);
    Ok(most)
}

#[tokio::test]
async fn what_is_written_and_not_synced_is_bounded() -> anyhow::Result<()> {
    let hub = hub(160 * MIB)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let log = scratch.path("calls");
    let path = log.display().to_string();
    let within = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        "signal=none",
        "-o",
        &path,
        "-e",
        "trace=pwritev,fdatasync",
        "-e",
        "inject=fdatasync:delay_enter=2000000",
    ];
    let tried = std::process::Command::new("strace")
        .args(["-D", "-f", "-o", "/dev/null", "true"])
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        skip("no strace here");
        return Ok(());
    }
    let scratch = scratch.daemon_within(&within);
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    // strace writes its last lines after the daemon is gone.
    let most = eventually("all calls", async || {
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        most_unsynced(&text).map_err(|error| error.to_string())
    })
    .await?;
    assert!(most <= MOST, "{} MiB", most / MIB);
    assert!(most > MIB, "the log tells of no partial file");
    check::finished(&scratch, &[&hub])?;
    // Connections that wait for the disk look slow, and are not: nobody fetches for them what they have in their sockets.
    let sent = hub.journal().bytes_sent_for(FILE) / MIB;
    assert!(sent <= 160 + 16, "{sent} MiB were sent");
    Ok(())
}
