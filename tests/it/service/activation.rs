//! `sd_listen_fds(3)`: a socket that was there before the daemon, and stays when it goes.

use std::{fs, os::fd::OwnedFd, os::unix::net::UnixListener, process::Stdio};

use hfetch_tests::harness::{PATIENCE, Scratch, programs};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Child, time::timeout};

/// Starts the daemon as systemd does: the socket is descriptor 3, and the variables name the process itself.
fn activate(scratch: &Scratch, listener: &UnixListener, names: &str) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(scratch.path("hfetchd.log"))?;
    let mut command = scratch.command("/bin/sh");
    command
        .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(programs().join("hfetchd"))
        .arg("--state-dir")
        .arg(scratch.state())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", names)
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone()?)))
        .stdout(Stdio::null())
        .stderr(log);
    Ok(command.spawn()?)
}

fn pid(child: &Child) -> anyhow::Result<Pid> {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    pid.ok_or_else(|| anyhow::anyhow!("it has ended"))
}

#[tokio::test]
async fn callers_wait_for_a_daemon_that_starts_or_restarts() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    fs::create_dir_all(scratch.state())?;
    let listener = UnixListener::bind(scratch.socket())?;

    // Nobody is there yet, and nobody is refused.
    let status = ["daemon", "status", "--json"];
    let (early, daemon) = tokio::join!(scratch.hfctl(status), async {
        activate(&scratch, &listener, "control")
    });
    let mut daemon = daemon?;
    let early = early?.json()?;
    assert_eq!(early["pid"].as_u64(), daemon.id().map(u64::from));
    assert_eq!(early["socket"].as_str(), scratch.socket().to_str());

    kill_process(pid(&daemon)?, Signal::KILL)?;
    daemon.wait().await?;
    let (meanwhile, second) = tokio::join!(scratch.hfctl(status), async {
        activate(&scratch, &listener, "control")
    });
    let mut second = second?;
    assert_eq!(meanwhile?.json()?["pid"].as_u64(), second.id().map(u64::from));

    // It is not ours to remove.
    kill_process(pid(&second)?, Signal::TERM)?;
    let ended = timeout(PATIENCE, second.wait()).await??;
    assert_eq!(ended.code(), Some(0), "{}", scratch.log());
    assert!(scratch.socket().exists());
    Ok(())
}

#[tokio::test]
async fn variables_of_another_process_are_not_ours() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    // Inherited by a child of an activated process: the pid is another one.
    let daemon = scratch.daemon_with(&[("LISTEN_PID", "1"), ("LISTEN_FDS", "1")]).await?;
    scratch.hfctl(["list"]).await?.ok()?;
    daemon.stop().await?;
    Ok(())
}
