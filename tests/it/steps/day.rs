//! What is done in a day, and what it leaves; and a small day of work that touches every way to bring a file: a download into the
//! cache, one into a local directory (with two files of one content), and one that is cancelled in its middle.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use hfetch_tests::{
    check,
    harness::{PATIENCE, Ran, Scratch, eventually},
    sim::{Gate, RepoBuilder, SimHub},
    tree,
};
use tokio::{
    net::UnixStream,
    process::Child,
    time::{Instant, sleep, timeout},
};

const MIB: u64 = 1 << 20;
/// Looks at jobs so often.
const LOOK: Duration = Duration::from_millis(50);

/// The Hub of all days, and what is done in one.
pub(super) struct Day {
    pub(super) hub: SimHub,
    steps: &'static [Step],
    /// Of the daemon; empty for none.
    config: &'static str,
    /// Holds the job that is cancelled. Never opened.
    _gate: Gate,
}

/// What hfctl was told, and must therefore hold: jobs by their request ids, and cancelled ones.
#[derive(Debug, Default)]
pub(super) struct Answered {
    jobs: BTreeMap<&'static str, String>,
    cancelled: bool,
}

/// What a day leaves: cache and local directory, by path. What carries a time is left out but for what matters in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left(BTreeMap<PathBuf, String>);

impl Day {
    pub(super) fn new() -> anyhow::Result<Self> {
        let hub = SimHub::builder()
            .repo(
                RepoBuilder::model("org/m")
                    // Large enough that its partial file is made durable, and that claims are.
                    .seeded("model.safetensors", 9 * MIB, 1)
                    .seeded("a/twin.bin", MIB, 2)
                    .seeded("b/twin.bin", MIB, 2)
                    .file("config.json", "{}")
                    .file("empty", ""),
            )
            .repo(RepoBuilder::model("org/slow").seeded("slow.bin", 12 * MIB, 3))
            .start()?;
        Ok(Self::of(hub, STEPS, ""))
    }

    /// Steps with a Hub of their own; `org/slow` is held inside its file for ever.
    pub(super) fn of(hub: SimHub, steps: &'static [Step], config: &'static str) -> Self {
        let gate = hub.hold_bodies("slow.bin", 9 * MIB);
        Self {
            hub,
            steps,
            config,
            _gate: gate,
        }
    }

    pub(super) fn scratch(&self) -> anyhow::Result<Scratch> {
        let scratch = Scratch::new(self.hub.endpoint())?;
        match self.config {
            "" => Ok(scratch),
            config => scratch.config(config),
        }
    }

    /// The day itself. Ends early, with an error, when the daemon does not do what it is asked.
    pub(super) async fn live(&self, scratch: &Scratch, answered: &Mutex<Answered>) -> anyhow::Result<()> {
        listening(scratch).await?;
        for step in self.steps {
            step.run(scratch, answered, false).await?.ok()?;
        }
        self.end(scratch, false).await
    }

    /// The same where one call fails: what is refused is asked for again, what is held is pushed, what failed is tried again.
    pub(super) async fn live_through(&self, scratch: &Scratch, answered: &Mutex<Answered>) -> anyhow::Result<()> {
        listening(scratch).await?;
        for step in self.steps {
            let mut tries = 0;
            while let Err(error) = step.run(scratch, answered, true).await?.ok() {
                tries += 1;
                ensure!(
                    tries < 20,
                    "{step:?} is refused again and again: {error}\n{}",
                    scratch.log()
                );
                sleep(LOOK).await;
            }
        }
        self.end(scratch, true).await
    }

    /// Waits until the jobs are done, and what the cancelled one has left is gone where it is not kept.
    async fn end(&self, scratch: &Scratch, push: bool) -> anyhow::Result<()> {
        let submits = self.steps.iter().filter(|step| matches!(step, Step::Submit(..)));
        jobs_done(scratch, submits.count(), push).await?;
        if self.config.contains("keep_partials") {
            let gone = eventually("nothing is left of the cancelled job", async || {
                let slow = scratch.path("slow");
                let mut left = match slow.exists() {
                    true => check::staging(&slow).map_err(|error| error.to_string())?,
                    false => Vec::new(),
                };
                // A killed process's temporary names go an hour later.
                left.retain(|path| path.extension().is_some_and(|extension| extension == "part"));
                let db = check::open(&scratch.state().join("progress.db")).map_err(|error| error.to_string())?;
                let of_slow = "SELECT count(*) FROM claims WHERE path LIKE '%/slow/%'";
                let claims = db.query_row(of_slow, [], |row| row.get::<_, u64>(0));
                match (left.is_empty(), claims) {
                    (true, Ok(0)) => Ok(()),
                    (_, claims) => Err(format!("{left:?}, {claims:?} claims\n{}", scratch.log())),
                }
            });
            gone.await?;
        }
        Ok(())
    }

    /// After the strike: a daemon that nothing happens to finishes the day, and all is as it should be.
    pub(super) async fn set_right(
        &self,
        scratch: &Scratch,
        answered: &Mutex<Answered>,
        wanted: &Left,
    ) -> anyhow::Result<()> {
        let daemon = scratch.daemon().await?;
        let (jobs, cancelled) = {
            let answered = answered.lock().unwrap_or_else(|poison| poison.into_inner());
            (answered.jobs.clone(), answered.cancelled)
        };
        for (request, id) in &jobs {
            let ran = scratch.hfctl(["show", id, "--json"]).await?;
            ensure!(ran.code == 0, "job {id} ({request}) is lost: {}", ran.stderr);
        }
        if cancelled && let Some(id) = jobs.get("slow") {
            let state = scratch.state_of(id).await?;
            ensure!(state == "cancelled", "a job that was cancelled is {state}");
        }
        self.live_through(scratch, answered).await?;
        daemon.stop().await?;
        check::sound(scratch, &[])?;
        let left = check::staging(&scratch.cache())?;
        ensure!(
            left.iter().all(|path| !path.to_string_lossy().ends_with(".part")),
            "{left:?}"
        );
        let left = self.left(scratch)?;
        ensure!(left == *wanted, "left is {left:#?}\nand should be {wanted:#?}");
        let faults = self.faults(scratch)?;
        ensure!(faults.is_empty(), "{faults:#?}");
        Ok(())
    }

    /// What is wrong in the caches, at any moment.
    pub(super) fn faults(&self, scratch: &Scratch) -> anyhow::Result<Vec<String>> {
        let mut faults = tree::faults(&scratch.cache())?;
        faults.extend(tree::faults(&scratch.path("slow"))?);
        Ok(faults)
    }

    pub(super) fn left(&self, scratch: &Scratch) -> anyhow::Result<Left> {
        let mut left = BTreeMap::new();
        if let Ok(pins) = fs::read_to_string(scratch.cache().join("models--org--m/.hfetch/pins")) {
            left.insert(PathBuf::from("pins"), pins);
        }
        let roots = [("cache", scratch.cache()), ("local", scratch.path("local"))];
        for (name, root) in roots.into_iter().filter(|(_, root)| root.exists()) {
            for (path, entry) in tree::entries(&root)? {
                let text = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("lock") => continue,
                    // The third line is a time.
                    Some("metadata") => first_lines(&root.join(&path))?,
                    _ => format!("{entry:?}"),
                };
                left.insert(Path::new(name).join(path), text);
            }
        }
        Ok(Left(left))
    }
}

fn first_lines(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().take(2).collect::<Vec<_>>().join(" "))
}

/// One thing that a user does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Request id and arguments; `DIR` is the scratch folder.
    Submit(&'static str, &'static [&'static str]),
    /// Waits until a part of the cancelled job's file is there, or it is cancelled.
    Begun(&'static str),
    /// Waits until so many jobs are there, and done but for the cancelled one.
    Done(usize),
    /// Cancels the job of a request.
    Cancel(&'static str),
    /// Anything else; refused with these words it was done before.
    Run(&'static [&'static str], &'static str),
}

const STEPS: &[Step] = &[
    Step::Submit("slow", &["org/slow", "--cache-dir", "DIR/slow"]),
    Step::Submit("cache", &["org/m"]),
    Step::Submit("local", &["org/m", "--local-dir", "DIR/local"]),
    Step::Cancel("slow"),
];

impl Step {
    async fn run(self, scratch: &Scratch, answered: &Mutex<Answered>, push: bool) -> anyhow::Result<Ran> {
        let lock = || answered.lock().unwrap_or_else(|poison| poison.into_inner());
        match self {
            Self::Submit(request, args) => {
                let dir = scratch.path("").display().to_string();
                let args = args.iter().map(|arg| arg.replace("DIR/", &dir));
                let line = ["submit", "--request-id", request].map(str::to_owned);
                let ran = scratch.hfctl(line.into_iter().chain(args)).await?;
                if ran.code == 0 {
                    let id = ran.stdout.trim().to_owned();
                    let known = lock().jobs.insert(request, id.clone());
                    ensure!(known.is_none_or(|known| known == id), "{request} was queued twice");
                }
                Ok(ran)
            }
            Self::Begun(request) => {
                let id = lock().jobs.get(request).cloned().context("it was submitted before")?;
                let deadline = Instant::now() + PATIENCE;
                loop {
                    let ran = scratch.hfctl(["show", &id, "--json"]).await?;
                    let there = check::staging(&scratch.path("slow")).unwrap_or_default();
                    let is_part = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "part");
                    if ran.code != 0 || ran.stdout.contains("\"cancelled\"") || there.iter().any(is_part) {
                        return Ok(ran);
                    }
                    ensure!(Instant::now() < deadline, "nothing comes:\n{}", scratch.log());
                    sleep(LOOK).await;
                }
            }
            Self::Done(count) => {
                jobs_done(scratch, count, push).await?;
                scratch.hfctl(["list"]).await
            }
            Self::Run(args, over) => {
                let mut ran = scratch.hfctl(args).await?;
                if ran.code != 0 && !over.is_empty() && ran.stderr.contains(over) {
                    ran.code = 0;
                }
                Ok(ran)
            }
            Self::Cancel(request) => {
                let id = lock().jobs.get(request).cloned().context("it was submitted before")?;
                let mut ran = scratch.hfctl(["cancel", &id]).await?;
                if ran.code != 0
                    && scratch
                        .hfctl(["show", &id, "--json"])
                        .await?
                        .stdout
                        .contains("\"cancelled\"")
                {
                    // Cancelled before, and asked again.
                    ran.code = 0;
                }
                lock().cancelled |= ran.code == 0;
                Ok(ran)
            }
        }
    }
}

/// Waits until there are so many jobs and all but the one that is cancelled are done.
async fn jobs_done(scratch: &Scratch, count: usize, push: bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ran = scratch.hfctl(["list", "--json"]).await?;
        ensure!(
            Instant::now() < deadline,
            "a job hangs: {}\n{}",
            ran.stdout,
            scratch.log()
        );
        if push && ran.code != 0 {
            // The daemon is going: who waits for its end will see it.
            sleep(LOOK).await;
            continue;
        }
        let list = ran.json()?;
        let jobs = list["jobs"].as_array().cloned().unwrap_or_default();
        let open = jobs
            .iter()
            .filter(|job| job["repo_id"] != "org/slow" && job["state"] != "done")
            .collect::<Vec<_>>();
        if open.is_empty() && jobs.len() == count {
            return Ok(());
        }
        for job in open {
            let id = job["id"].as_str().unwrap_or_default();
            match job["state"].as_str() {
                Some("held") if push => {
                    // It would look again by itself, in half a minute.
                    scratch.hfctl(["pause", id]).await?;
                    scratch.hfctl(["resume", id]).await?;
                }
                // The daemon ended between the two.
                Some("paused") => drop(scratch.hfctl(["resume", id]).await?),
                Some("failed") if push => drop(scratch.hfctl(["retry", id]).await?),
                Some("failed") => bail!("{job}\n{}", scratch.log()),
                _ => {}
            }
        }
        sleep(LOOK).await;
    }
}

/// Waits for the daemon's socket, as long as somebody may still make it.
pub(super) async fn listening(scratch: &Scratch) -> anyhow::Result<()> {
    let connected = eventually("an answer of hfetchd", async || {
        let connected = UnixStream::connect(scratch.socket()).await;
        connected.map(drop).map_err(|error| error.to_string())
    });
    connected.await.with_context(|| scratch.log())
}

/// The daemon's arguments for its config file, if it has one.
pub(super) fn config(scratch: &Scratch) -> Vec<String> {
    let path = scratch.path("hfetch.toml");
    match path.exists() {
        true => vec!["--config".to_owned(), path.display().to_string()],
        false => Vec::new(),
    }
}

/// SIGTERM, and how it ends then.
pub(super) async fn stop(child: &mut Child) -> anyhow::Result<ExitStatus> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("it runs")?;
    let pid = rustix::process::Pid::from_raw(pid).context("a process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    Ok(timeout(PATIENCE, child.wait()).await.context("it does not stop")??)
}
