//! A real daemon with a state directory of its own for each run.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use hfetch_tests::harness::{cpu_seconds, memory, peak_memory};
use rustix::process::{Signal, kill_process};
use tokio::{
    net::UnixStream,
    time::{Duration, Instant, sleep},
};

use crate::measure::Group;

/// It answers long before.
const START: Duration = Duration::from_secs(20);
/// It promises to stop within 5 s.
const STOP: Duration = Duration::from_secs(8);

/// A running hfetchd.
pub(crate) struct Daemon {
    group: Group,
}

/// Its socket in a run's folder.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("s/hfetchd.sock")
}

impl Daemon {
    /// Starts one and waits until it answers.
    pub(crate) async fn start(program: &Path, folder: &Path, env: &[(&str, String)]) -> anyhow::Result<Self> {
        let log = folder.join("hfetchd.log");
        // As its unit starts it: behind everyone else, hashing included.
        let mut command = Command::new("nice");
        command
            .args(["-n", "10"])
            .arg(program)
            .arg("--state-dir")
            .arg(folder.join("s"))
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("MALLOC_ARENA_MAX", "2");
        let config = folder.join("hfetch.toml");
        if config.is_file() {
            command.arg("--config").arg(config);
        }
        let mut group = Group::start(&mut command, &log)?;
        let deadline = Instant::now() + START;
        while UnixStream::connect(socket(folder)).await.is_err() {
            if let Some(status) = group.0.try_wait()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("hfetchd ended with {status}:\n{said}");
            }
            ensure!(Instant::now() < deadline, "hfetchd does not answer");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { group })
    }

    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.group.0.id())
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        memory(self.group.0.id())
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        peak_memory(self.group.0.id())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.group.kill();
    }

    /// SIGTERM, and waits.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(self.group.pid()?, Signal::TERM).context("hfetchd is gone")?;
        let deadline = Instant::now() + STOP;
        while self.group.0.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "hfetchd does not stop");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}
