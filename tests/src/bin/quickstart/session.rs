//! A daemon of our own and the commands that talk to it: child processes, ended by their own pid.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use hfetch_tests::sim::SimHub;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    place::Places,
    stage::{Stage, quoted},
};

/// The daemon answers long before.
const START: Duration = Duration::from_secs(20);
/// It promises to stop in 5 s.
const STOP: Duration = Duration::from_secs(8);
/// Lines of its log that are shown after a failure.
const LOG_LINES: usize = 12;
/// What a demonstration keeps of the caller's environment: how to talk to the terminal.
const TERMINAL: [&str; 9] = [
    "PATH",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "COLUMNS",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
];
/// Would make the daemon a service of somebody else, or its configuration another one.
const NOT_OURS: [&str; 10] = [
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "JOURNAL_STREAM",
    "XDG_RUNTIME_DIR",
];

/// Everything that is started, and where it lives.
pub(crate) struct Session<'a> {
    stage: &'a Stage,
    places: Places,
    more_env: Vec<(&'static str, OsString)>,
    daemon: Option<Child>,
    hub: Option<SimHub>,
}

impl<'a> Session<'a> {
    /// Nothing runs yet.
    pub(crate) fn new(stage: &'a Stage, places: Places) -> Self {
        Self {
            stage,
            places,
            more_env: Vec::new(),
            daemon: None,
            hub: None,
        }
    }

    /// Folder of the programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.places.programs
    }

    /// The cache that stays.
    pub(crate) fn cache(&self) -> &Path {
        &self.places.cache
    }

    /// A scratch folder for files of the demonstration.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.places.scratch.path().join(name)
    }

    /// Keeps a Hub for as long as the session lasts; clients and daemons talk to it from now on.
    pub(crate) fn talk_to(&mut self, hub: SimHub) -> &SimHub {
        self.more_env = vec![("HF_ENDPOINT", hub.endpoint().into())];
        self.hub.insert(hub)
    }

    /// The Hub.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn hub(&self) -> anyhow::Result<&SimHub> {
        self.hub.as_ref().context("no simulated Hub")
    }

    /// In the scratch folder, for its path must be short; hfetchd's own choice when the state is there too.
    fn socket(&self) -> PathBuf {
        self.scratch(if self.places.simulated {
            "state/hfetchd.sock"
        } else {
            "hfetchd.sock"
        })
    }

    /// The variables by which everything below finds its way; shown, so that what is shown can be repeated.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub(crate) fn show_environment(&self) -> anyhow::Result<()> {
        for (name, value) in self.environment() {
            let assignment = format!("{name}={}", quoted(&value.to_string_lossy()));
            self.stage.line(&format!("  export {assignment}"))?;
        }
        Ok(())
    }

    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut address = OsString::from("unix:");
        address.push(self.socket());
        let mut all = vec![
            ("HFCTL_ADDRESS", address),
            ("HF_HUB_CACHE", self.places.cache.clone().into()),
        ];
        all.extend(self.more_env.iter().cloned());
        all
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.places.programs.join(program));
        if self.places.simulated {
            command.env_clear().env("HOME", self.scratch("home"));
            for name in TERMINAL {
                command.envs(std::env::var_os(name).map(|value| (name, value)));
            }
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HFETCH_") {
                command.env_remove(name);
            }
        }
        for name in NOT_OURS {
            command.env_remove(name);
        }
        command
            .env("XDG_CONFIG_HOME", self.scratch("config"))
            .envs(self.environment())
            .kill_on_drop(true);
        command
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it ends or is silent.
    pub(crate) async fn start_daemon(&mut self, comment: &str) -> anyhow::Result<()> {
        let (state, socket) = (self.places.state.clone(), self.socket());
        let mut words: Vec<&OsStr> = vec!["hfetchd".as_ref(), "--state-dir".as_ref(), state.as_ref()];
        if !socket.starts_with(&state) {
            words.extend([OsStr::new("--socket"), socket.as_ref()]);
        }
        self.stage.command(&words, comment)?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.scratch("hfetchd.log"))?;
        let mut command = self.command("hfetchd");
        // A group of its own: Ctrl-C ends it through us, in order.
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        if !self.places.simulated {
            // Jobs carry the token of their submitter.
            command.env_remove("HF_TOKEN").env_remove("HUGGING_FACE_HUB_TOKEN");
        }
        let daemon = self.daemon.insert(command.spawn().context("hfetchd does not start")?);
        let deadline = Instant::now() + START;
        while UnixStream::connect(&socket).await.is_err() {
            if let Some(status) = daemon.try_wait()? {
                bail!("hfetchd ended with {status}");
            }
            ensure!(Instant::now() < deadline, "hfetchd does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// SIGKILL: what a power cut or the kernel's out-of-memory killer does.
    ///
    /// # Errors
    /// When there is no daemon.
    pub(crate) async fn kill_daemon(&mut self, comment: &str) -> anyhow::Result<()> {
        let mut daemon = self.daemon.take().context("no daemon runs")?;
        let pid = daemon.id().context("hfetchd has ended by itself")?.to_string();
        self.stage
            .command(&["kill".as_ref(), "-9".as_ref(), pid.as_ref()], comment)?;
        Ok(daemon.kill().await?)
    }

    /// Starts `hfctl` in the terminal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn_hfctl(&self, arguments: &[&OsStr], comment: &str) -> anyhow::Result<Child> {
        let mut words = vec!["hfctl".as_ref()];
        words.extend(arguments);
        self.stage.command(&words, comment)?;
        self.command("hfctl")
            .args(arguments)
            .spawn()
            .context("hfctl does not start")
    }

    /// Runs `hfctl` in the terminal.
    ///
    /// # Errors
    /// When it fails; it has said why.
    pub(crate) async fn hfctl(&self, arguments: &[&OsStr], comment: &str) -> anyhow::Result<()> {
        let status = self.spawn_hfctl(arguments, comment)?.wait().await?;
        check(arguments, status)
    }

    /// Runs `hfctl`, shows the answer, and gives it.
    ///
    /// # Errors
    /// As [`Session::hfctl`].
    pub(crate) async fn answer(&self, arguments: &[&OsStr], comment: &str) -> anyhow::Result<String> {
        let mut words = vec!["hfctl".as_ref()];
        words.extend(arguments);
        self.stage.command(&words, comment)?;
        let answer = self.asked(arguments).await?;
        self.stage.line(answer.trim_end())?;
        Ok(answer.trim().to_owned())
    }

    /// Runs `hfctl` for ourselves.
    ///
    /// # Errors
    /// As [`Session::hfctl`].
    pub(crate) async fn asked(&self, arguments: &[&OsStr]) -> anyhow::Result<String> {
        let mut command = self.command("hfctl");
        // Not `output()`, which would keep the messages on stderr from the terminal.
        let child = command.args(arguments).stdout(Stdio::piped()).spawn();
        let output = child.context("hfctl does not start")?.wait_with_output().await?;
        check(arguments, output.status)?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The end of the daemon's log, for somebody who has to find out why.
    pub(crate) fn tell_log(&self) {
        let log = std::fs::read_to_string(self.scratch("hfetchd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        if !lines.is_empty() {
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
            self.stage.failed(&format!("the last words of hfetchd:\n  {last}"));
        }
    }

    /// Stops what runs: asks first, then does not ask. The scratch folder goes, and when all is `done` the state too.
    pub(crate) async fn close(mut self, done: bool) {
        if let Some(mut daemon) = self.daemon.take() {
            interrupt(&daemon, Signal::TERM);
            if timeout(STOP, daemon.wait()).await.is_err() {
                self.stage.failed("hfetchd does not stop and is killed");
                daemon.kill().await.ok();
            }
        }
        if let Some(hub) = self.hub.take() {
            // Its threads end with this process at the latest.
            hub.stop().await.ok();
        }
        let state = &self.places.state;
        let removed = match (self.places.simulated, done) {
            // It lies in the scratch folder.
            (true, _) => Ok(()),
            (false, true) => std::fs::remove_dir_all(state),
            (false, false) => {
                let state = state.display();
                self.stage.failed(&format!(
                    "the same command goes on from {state}; remove that to begin anew"
                ));
                Ok(())
            }
        };
        if let Err(error) = removed.and(self.places.scratch.close()) {
            self.stage.failed(&format!("not everything was removed: {error}"));
        }
    }
}

/// Sends a signal to a child, if it still runs.
pub(crate) fn interrupt(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended this moment.
        kill_process(pid, signal).ok();
    }
}

fn check(arguments: &[&OsStr], status: ExitStatus) -> anyhow::Result<()> {
    let verb = arguments.first().unwrap_or(&"".as_ref()).to_string_lossy().into_owned();
    ensure!(status.success(), "`hfctl {verb}` ended with {status}");
    Ok(())
}
