//! The real programs, as a user runs them: `hfetchd` in a scratch state directory, `hfctl` against it.
//!
//! Processes are ended by their own pid, and with their owner.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use hfetch_proto::v1::{
    admin_service_client::AdminServiceClient, event_service_client::EventServiceClient,
    job_service_client::JobServiceClient, name_service_client::NameServiceClient,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use crate::own_network;

mod callers;
mod process;
mod ran;

pub use callers::{channel_as, channel_to};
pub use process::{cpu_seconds, file_bytes, memory, peak_memory};
pub use ran::Ran;

pub use crate::PATIENCE;

/// Folder with `hfetchd` and `hfctl` of this build. `cargo test --workspace` has built them, for both packages have tests of
/// their own; the same command is given once more for a run of this package alone. Not `cargo build`: it would unify
/// features differently and compile both programs again.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows its own path");
        let profile_dir = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_owned();
        // There they were built before it began, and nothing can be fetched.
        if std::env::var_os(own_network::INSIDE).is_some() {
            return profile_dir;
        }
        let release = profile_dir.file_name() == Some(OsStr::new("release"));
        let status = std::process::Command::new(env!("CARGO"))
            .args(["test", "--workspace", "--no-run", "--quiet", "--locked", "--offline"])
            .args(release.then_some("--release"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the programs do not build");
        profile_dir
    })
}

/// A scratch folder with everything that a daemon of a user knows: home, caches, state.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
    endpoint: String,
    extra_env: Vec<(String, String)>,
    config: Option<PathBuf>,
    /// Words before the daemon's command.
    daemon_within: Vec<String>,
}

impl Scratch {
    /// A new one, for daemons and clients that talk to `endpoint`.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn new(endpoint: &str) -> anyhow::Result<Self> {
        // Short: a socket's path has 107 bytes at most.
        let dir = tempfile::Builder::new().prefix("hf-").tempdir()?;
        Ok(Self {
            dir,
            endpoint: endpoint.to_owned(),
            extra_env: Vec::new(),
            config: None,
            daemon_within: Vec::new(),
        })
    }

    /// Sets a variable for the daemon and for clients.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.extra_env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the daemon by this command, which must become it.
    #[must_use]
    pub fn daemon_within(mut self, words: &[&str]) -> Self {
        self.daemon_within = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Writes a config file for the daemon.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn config(mut self, toml: &str) -> anyhow::Result<Self> {
        let path = self.path("hfetch.toml");
        std::fs::write(&path, toml)?;
        self.config = Some(path);
        Ok(self)
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The Hugging Face cache.
    pub fn cache(&self) -> PathBuf {
        self.path("hub")
    }

    /// The daemon's state directory.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.path("state/hfetchd.sock")
    }

    /// The environment of a user, and nothing of ours.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.display().to_string();
        let mut env = vec![
            ("PATH".into(), std::env::var("PATH").unwrap_or_default()),
            ("HOME".into(), text(self.path("home"))),
            ("HF_HOME".into(), text(self.path("home/hf"))),
            ("HF_HUB_CACHE".into(), text(self.cache())),
            ("HF_ENDPOINT".into(), self.endpoint.clone()),
            ("HF_HUB_DISABLE_TELEMETRY".into(), "1".into()),
            ("HFCTL_ADDRESS".into(), format!("unix:{}", self.socket().display())),
        ];
        env.extend(self.extra_env.clone());
        env
    }

    /// A command with that environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment())
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it ends first, with its log.
    pub async fn daemon(&self) -> anyhow::Result<Daemon<'_>> {
        self.daemon_with(&[]).await
    }

    /// The same, with variables of its own.
    ///
    /// # Errors
    /// As [`Scratch::daemon`].
    pub async fn daemon_with(&self, env: &[(&str, &str)]) -> anyhow::Result<Daemon<'_>> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("hfetchd.log"))?;
        let program = programs().join("hfetchd");
        let mut command = match self.daemon_within.split_first() {
            Some((first, rest)) => {
                let mut command = self.command(first);
                command.args(rest).arg(program);
                command
            }
            None => self.command(program),
        };
        // As its units and `hfctl daemon start` have it.
        command.env("MALLOC_ARENA_MAX", "2");
        command.arg("--state-dir").arg(self.state()).envs(env.iter().copied());
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("hfetchd does not start")?;
        let mut daemon = Daemon { scratch: self, child };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).await.is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("hfetchd ended with {status}:\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "hfetchd does not answer:\n{}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(daemon)
    }

    /// What all daemons of this folder have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("hfetchd.log")).unwrap_or_default()
    }

    /// Runs `hfctl` to its end.
    ///
    /// # Errors
    /// When it cannot be run, or hangs.
    pub async fn hfctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> anyhow::Result<Ran> {
        self.hfctl_with(args, &[]).await
    }

    /// The same, with variables of its own.
    ///
    /// # Errors
    /// As [`Scratch::hfctl`].
    pub async fn hfctl_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Ran> {
        let mut command = self.command(programs().join("hfctl"));
        command.args(args).envs(env.iter().copied());
        let output = tokio::time::timeout(PATIENCE * 2, command.output())
            .await
            .with_context(|| format!("hfctl hangs; the daemon's log:\n{}", self.log()))??;
        Ok(Ran::from(output))
    }

    /// A channel to the daemon.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        channel_to(self.socket()).await
    }

    /// A client of the jobs' service.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn jobs(&self) -> anyhow::Result<JobServiceClient<Channel>> {
        Ok(JobServiceClient::new(self.channel().await?))
    }

    /// A client of the events' service.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn events(&self) -> anyhow::Result<EventServiceClient<Channel>> {
        Ok(EventServiceClient::new(self.channel().await?))
    }

    /// A client of the names' service.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn names(&self) -> anyhow::Result<NameServiceClient<Channel>> {
        Ok(NameServiceClient::new(self.channel().await?))
    }

    /// A client of the daemon's own service.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn admin(&self) -> anyhow::Result<AdminServiceClient<Channel>> {
        Ok(AdminServiceClient::new(self.channel().await?))
    }
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon<'a> {
    scratch: &'a Scratch,
    child: Child,
}

impl Daemon<'_> {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for yet")
    }

    /// The largest resident set so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.pid())
    }

    /// The same without what is mapped from files, which is the program itself: in a debug build it is much larger.
    pub fn peak_data(&self) -> u64 {
        self.peak_memory().saturating_sub(process::mapped(self.pid()))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .context("a pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Returns once every thread has felt a SIGSTOP.
    ///
    /// # Errors
    /// When the process is gone, or goes on.
    pub async fn stands_still(&self) -> anyhow::Result<()> {
        let threads = PathBuf::from(format!("/proc/{}/task", self.pid()));
        eventually("a stopped daemon", async || {
            for thread in std::fs::read_dir(&threads).map_err(|error| error.to_string())? {
                let path = thread.map_err(|error| error.to_string())?.path().join("stat");
                let stat = std::fs::read_to_string(path).unwrap_or_default();
                let state = stat.rsplit_once(") ").map_or("T", |(_, rest)| &rest[..1]);
                if !matches!(state, "T" | "t" | "Z" | "X") {
                    return Err(stat);
                }
            }
            Ok(())
        })
        .await
    }

    /// SIGKILL, and wait until it is gone.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// SIGTERM; must end with 0. Gives the time that it took.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.signal(Signal::TERM)?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("hfetchd does not stop:\n{}", self.scratch.log()))??;
        let took = began.elapsed();
        ensure!(
            status.success(),
            "hfetchd stopped with {status}:\n{}",
            self.scratch.log()
        );
        Ok(took)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for too long.
    pub async fn wait(mut self) -> anyhow::Result<ExitStatus> {
        Ok(tokio::time::timeout(PATIENCE, self.child.wait()).await??)
    }
}

/// Asks again and again until a condition holds; fails with its last words.
///
/// # Errors
/// When it does not hold in time.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(state) if Instant::now() >= deadline => bail!("{what} never came; last: {state}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
