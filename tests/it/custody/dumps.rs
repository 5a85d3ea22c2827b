//! A crash leaves no picture of the daemon's memory, in which tokens are.

use std::{fs, os::unix::process::ExitStatusExt as _, process::Stdio};

use hfetch_tests::{
    harness::{PATIENCE, Scratch},
    python,
};
use rustix::process::Signal;
use tokio::process::Command;

use super::{CANARY, gated_hub, holding, typed};

/// Becomes the program that follows, where the system would let it dump as much as it likes.
const ALLOWED: &str = "cd \"$CRASH_DIR\" && ulimit -c unlimited && exec \"$0\" \"$@\"";

#[tokio::test]
async fn a_crash_dumps_nothing() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    let scratch = Scratch::new(hub.endpoint())?.daemon_within(&["sh", "-c", ALLOWED]);
    let dir = scratch.path("crash");
    fs::create_dir(&dir)?;
    let scratch = scratch.env("CRASH_DIR", &dir.display().to_string());
    // The same crash of a program that does not mind: does this system dump at all?
    let mut other = Command::new("sh");
    other.args(["-c", ALLOWED, "sleep", "600"]).env("CRASH_DIR", &dir);
    let mut other = other.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let pid = other
        .id()
        .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    let pid = pid.ok_or_else(|| anyhow::anyhow!("it ended"))?;
    let comm = format!("/proc/{}/comm", pid.as_raw_nonzero());
    hfetch_tests::harness::eventually("sleep", async || {
        let name = fs::read_to_string(&comm).unwrap_or_default();
        if name.trim() == "sleep" { Ok(()) } else { Err(name) }
    })
    .await?;
    rustix::process::kill_process(pid, Signal::ABORT)?;
    let status = tokio::time::timeout(PATIENCE, other.wait()).await??;
    if !status.core_dumped() {
        python::skip("this system makes no core dumps");
        return Ok(());
    }
    for entry in fs::read_dir(&dir)? {
        fs::remove_file(entry?.path())?;
    }

    let daemon = scratch.daemon().await?;
    typed(&scratch, &["login"], CANARY).await?.ok()?;
    // In the middle of a transfer: the token is in memory.
    let gate = hub.hold_bodies("model.safetensors", 5 << 20);
    scratch.submit(&["org/gated"]).await?;
    gate.reached().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid()))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = core.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{limits}");
    daemon.signal(Signal::ABORT)?;
    let status = daemon.wait().await?;
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false), "{status}");
    assert_eq!(fs::read_dir(&dir)?.count(), 0, "something was left behind");
    let found = holding(&scratch.path(""), CANARY)?;
    assert!(
        found
            .iter()
            .all(|path| path.starts_with(scratch.state().join("tokens"))),
        "{found:?}"
    );
    Ok(())
}
