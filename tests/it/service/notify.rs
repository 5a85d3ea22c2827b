//! `sd_notify(3)`: ready, reloading, stopping, and a watchdog that tells the truth.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use hfetch_tests::harness::{PATIENCE, Scratch};
use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};
use tokio::{net::UnixDatagram, time::timeout};

/// Where the daemon believes systemd to be.
struct Manager(UnixDatagram);

impl Manager {
    fn bind(scratch: &Scratch) -> anyhow::Result<(Self, String)> {
        let path = scratch.path("notify");
        Ok((Self(UnixDatagram::bind(&path)?), path.display().to_string()))
    }

    /// The next message.
    async fn hears(&self) -> anyhow::Result<HashMap<String, String>> {
        let mut buffer = [0; 4096];
        let length = timeout(PATIENCE, self.0.recv(&mut buffer))
            .await
            .context("the daemon says nothing")??;
        std::str::from_utf8(&buffer[..length])?
            .lines()
            .map(|line| line.split_once('=').context("KEY=value"))
            .map(|pair| pair.map(|(key, value)| (key.to_owned(), value.to_owned())))
            .collect()
    }

    /// The next message with a key; those before it are of no interest.
    async fn hears_of(&self, key: &str) -> anyhow::Result<HashMap<String, String>> {
        loop {
            let message = self.hears().await.with_context(|| format!("while waiting for {key}"))?;
            if message.contains_key(key) {
                return Ok(message);
            }
        }
    }
}

fn monotonic_micros() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[tokio::test]
async fn systemd_hears_of_each_turn() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?.config("[transfer]\nmax_active_jobs = 2\n")?;
    let (manager, address) = Manager::bind(&scratch)?;
    let daemon = scratch.daemon_with(&[("NOTIFY_SOCKET", &address)]).await?;
    // A large database on a slow disk is no reason to be killed at the start.
    let first = manager.hears().await?;
    assert_eq!(
        first.get("EXTEND_TIMEOUT_USEC").map(String::as_str),
        Some("60000000"),
        "{first:?}"
    );
    let first = manager.hears_of("READY").await?;
    assert_eq!(first.get("READY").map(String::as_str), Some("1"), "{first:?}");
    assert_eq!(manager.hears_of("STATUS").await?["STATUS"], "idle");

    let before = monotonic_micros();
    daemon.signal(Signal::HUP)?;
    let reloading = manager.hears_of("RELOADING").await?;
    let at: i64 = reloading["MONOTONIC_USEC"].parse()?;
    assert!((before..=monotonic_micros()).contains(&at), "{reloading:?}");
    manager.hears_of("READY").await?;

    // A reload that fails is over all the same, or systemd would wait for it.
    std::fs::write(scratch.path("hfetch.toml"), "[transfer]\nmax_active_jbos = 2\n")?;
    let ran = scratch.hfctl(["daemon", "reload"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("max_active_jobs"), "{}", ran.stderr);
    manager.hears_of("RELOADING").await?;
    manager.hears_of("READY").await?;

    daemon.signal(Signal::TERM)?;
    manager.hears_of("STOPPING").await?;
    assert_eq!(daemon.wait().await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn an_abstract_address_is_understood() -> anyhow::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let name = format!("hfetch-test-{}", scratch.path("").display());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name)?;
    let socket = std::os::unix::net::UnixDatagram::bind_addr(&address)?;
    socket.set_nonblocking(true)?;
    let manager = Manager(UnixDatagram::from_std(socket)?);
    let daemon = scratch.daemon_with(&[("NOTIFY_SOCKET", &format!("@{name}"))]).await?;
    manager.hears_of("READY").await?;
    daemon.stop().await?;
    Ok(())
}

/// Somebody else's lock makes the database hang, not the runtime: a free-running ping would go on.
#[tokio::test]
async fn the_watchdog_is_fed_only_while_the_database_answers() -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_millis(300);
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let (manager, address) = Manager::bind(&scratch)?;
    let micros = LIMIT.as_micros().to_string();
    let daemon = scratch
        .daemon_with(&[("NOTIFY_SOCKET", &address), ("WATCHDOG_USEC", &micros)])
        .await?;
    for _ in 0..3 {
        manager.hears_of("WATCHDOG").await?;
    }
    #[expect(clippy::disallowed_methods, reason = "a test plays another program")]
    let db = rusqlite::Connection::open(scratch.state().join("jobs.db"))?;
    db.busy_timeout(PATIENCE)?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    // What was answered before the lock may still be on its way; then there is nothing for as long as systemd would wait.
    let silent = async { while timeout(LIMIT, manager.hears_of("WATCHDOG")).await.is_ok() {} };
    timeout(PATIENCE, silent).await.context("it is fed all the same")?;
    db.execute_batch("ROLLBACK")?;
    for _ in 0..3 {
        manager.hears_of("WATCHDOG").await?;
    }
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_watchdog_of_another_process_is_not_ours() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let (manager, address) = Manager::bind(&scratch)?;
    let daemon = scratch
        .daemon_with(&[
            ("NOTIFY_SOCKET", &address),
            ("WATCHDOG_USEC", "1000"),
            ("WATCHDOG_PID", "1"),
        ])
        .await?;
    manager.hears_of("READY").await?;
    // A thousand pings would have come before the second status.
    for _ in 0..2 {
        let message = manager.hears().await?;
        assert!(message.contains_key("STATUS"), "{message:?}");
    }
    daemon.stop().await?;
    Ok(())
}
