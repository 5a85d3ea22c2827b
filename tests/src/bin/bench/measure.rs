//! Runs one command to its end and counts what it used.

use std::{
    fs::File,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};
use hfetch_tests::harness::{cpu_seconds, peak_memory};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::time::{Duration, Instant, sleep};

/// How often we look whether a command has ended.
const LOOK: Duration = Duration::from_millis(2);
/// How many looks pass between two at its memory.
const LOOKS: u32 = 10;

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It did what it should.
    Did(Used),
    /// It ended with an error or with wrong files.
    Failed(String),
    /// It was ended by us.
    TooSlow(Duration),
    /// It has no way to do this.
    Cannot(String),
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Of the command that a user types.
    pub(crate) seconds: f64,
    /// User and system, the daemon's included.
    pub(crate) cpu_seconds: f64,
    /// The largest resident set, of the daemon where there is one.
    pub(crate) peak_bytes: u64,
    /// Bytes that the server sent, where it counts them.
    pub(crate) sent_bytes: Option<u64>,
    /// Requests that the server got, where it counts them.
    pub(crate) requests: Option<u64>,
}

/// How a command ended, if it did.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself, in good order or not.
    Itself { code: Option<i32>, used: Used },
    /// We killed it because its time was over.
    Killed,
}

/// A process group of our own, ended with its owner.
pub(crate) struct Group(pub(crate) Child);

impl Group {
    /// Starts a command; what it says goes to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        let name = command.get_program().to_owned();
        Ok(Self(
            command.spawn().with_context(|| format!("{name:?} does not start"))?,
        ))
    }

    pub(crate) fn pid(&self) -> anyhow::Result<Pid> {
        i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("a pid")
    }

    /// Ends it with all that it started, without asking.
    pub(crate) fn kill(&mut self) {
        if let (Ok(pid), Ok(None)) = (self.pid(), self.0.try_wait()) {
            // It may have ended this moment.
            kill_process_group(pid, Signal::KILL).ok();
            self.0.wait().ok();
        }
    }

    /// Waits for its end, for so long; `stop` may end it earlier, as if its time were over.
    pub(crate) async fn wait(&mut self, limit: Duration, mut stop: impl FnMut() -> bool) -> anyhow::Result<Ended> {
        let began = Instant::now();
        let pid = self.pid()?;
        let mut used = Used::default();
        for look in 0.. {
            // It stays a zombie until it is waited for, so that its times can still be read.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(pid), options)?.is_some() {
                used.seconds = began.elapsed().as_secs_f64();
                used.cpu_seconds = cpu_seconds(self.0.id())?;
                let status = self.0.wait()?;
                return Ok(Ended::Itself {
                    code: status.code(),
                    used,
                });
            }
            if look % LOOKS == 0 {
                used.peak_bytes = used.peak_bytes.max(peak_memory(self.0.id()));
            }
            if began.elapsed() > limit || stop() {
                self.kill();
                return Ok(Ended::Killed);
            }
            sleep(LOOK).await;
        }
        bail!("a command that never ends")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
