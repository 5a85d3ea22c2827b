//! The lock files that Python and hfetch share.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hfetch_tests::harness::{Daemon, PATIENCE};
use hfetch_tests::python::Python;
use hfetch_tests::sim::{Kind, Record, RepoBuilder, SimHub};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::json;

use super::{MIB, OFFLINE, ONLINE, STEPS, User, hashes, says};

const HOLD: &str = include_str!("../../data/python/hold_lock.py");
const WAIT: &str = include_str!("../../data/python/wait_for_lock.py");

fn lock_folder(user: &User, repo: &str) -> PathBuf {
    let folder = format!(".locks/models--{}", repo.replace('/', "--"));
    user.scratch.cache().join(folder)
}

/// The lock file of what a file holds.
fn lock_of(user: &User, hub: &SimHub, repo: &str, file: &str) -> anyhow::Result<String> {
    let there = hub.repo(Kind::Model, repo).context("there")?;
    let etag = there.commit("main").context("main")?.files[file].etag()?.to_owned();
    let folder = lock_folder(user, repo);
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{etag}.lock")).display().to_string())
}

fn asked_by_python(record: &Record, file: &str) -> bool {
    let agent = record.header("user-agent").unwrap_or_default();
    agent.contains("hf_hub/") && record.method == "GET" && record.file.as_deref() == Some(file)
}

#[tokio::test]
async fn we_wait_for_a_lock_of_python_but_not_for_ever() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let repo = |id: &str, seed| RepoBuilder::model(id).seeded("model.safetensors", MIB, seed);
    let hub = SimHub::builder()
        .repo(repo("org/soon", 1))
        .repo(repo("org/never", 2))
        .start()?;
    let user = User::new(python, &hub)?;
    let daemon = user.scratch.daemon().await?;
    let mut jobs = Vec::new();
    for id in ["org/soon", "org/never"] {
        let lock = lock_of(&user, &hub, id, "model.safetensors")?;
        let mut holder = user.python.talk(HOLD, &[&lock], user.environment(OFFLINE))?;
        assert_eq!(holder.hear().await?, "held");
        let job = user.hfctl(&["submit", id]).await?.trim().to_owned();
        says(&user, &job, &lock).await?;
        jobs.push((job, holder));
    }
    let (job, mut holder) = jobs.remove(0);
    holder.say("enough").await?;
    holder.end().await?;
    user.hfctl(&["wait", &job]).await?;
    // The other one holds it still, as a killed job on NFS would.
    let (job, mut holder) = jobs.remove(0);
    user.hfctl(&["wait", &job]).await?;
    holder.say("enough").await?;
    holder.end().await?;
    user.expect_tidy_cache(&["org/soon", "org/never"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}

#[tokio::test]
async fn python_waits_for_our_lock_and_goes_on() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let mut repo = RepoBuilder::model("org/many");
    for number in 0..6 {
        repo = repo.seeded(&format!("part-{number}.bin"), 16 * MIB, number);
    }
    let hub = SimHub::builder().repo(repo).start()?;
    let user = User::new(python, &hub)?;
    let daemon = user.scratch.daemon().await?;
    user.hfctl(&["submit", "org/many", "--wait"]).await?;
    // Now each blob is hashed under its lock before the new one is dropped: long enough to be seen.
    let job = user.hfctl(&["submit", "org/many", "--force-download"]).await?;
    let etag = stop_with_a_lock(&daemon, &lock_folder(&user, "org/many")).await?;
    let there = hub.repo(Kind::Model, "org/many").context("there")?;
    let files = &there.commit("main").context("main")?.files;
    let guarded = files.iter().find(|(_, file)| file.etag().is_ok_and(|of| of == etag));
    let (file, _) = guarded.context("a lock of one of the files")?;
    let lock = lock_of(&user, &hub, "org/many", file)?;

    let mut waiter = user
        .python
        .talk(WAIT, &[&lock, "org/many", file], user.environment(ONLINE))?;
    assert_eq!(waiter.hear().await?, "held");
    daemon.signal(Signal::CONT)?;
    assert_eq!(waiter.hear().await?, "mine");
    let path = waiter.end().await?;
    assert!(path.last().is_some_and(|path| path.ends_with(file)), "{path:?}");
    assert_eq!(
        hub.journal().count(|record| asked_by_python(record, file)),
        0,
        "ours was there"
    );
    user.hfctl(&["wait", job.trim()]).await?;
    user.expect_tidy_cache(&["org/many"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}

/// Stops the daemon (SIGSTOP) at a moment when it holds a lock file; gives the etag.
async fn stop_with_a_lock(daemon: &Daemon<'_>, folder: &Path) -> anyhow::Result<String> {
    let catch = async {
        loop {
            if held_lock(folder)?.is_some() {
                daemon.signal(Signal::STOP)?;
                // The signal reaches the threads one by one: what is held once all stand still stays held.
                daemon.stands_still().await?;
                if let Some(etag) = held_lock(folder)? {
                    return Ok(etag);
                }
                daemon.signal(Signal::CONT)?;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, catch)
        .await
        .context("no lock was seen")?
}

/// A lock file that somebody holds.
fn held_lock(folder: &Path) -> anyhow::Result<Option<String>> {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        let file = std::fs::File::open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    Ok(None)
}

#[tokio::test]
async fn both_download_the_same_at_once() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let repo = RepoBuilder::model("org/both")
        .file("config.json", "{}")
        .seeded("model.safetensors", 6 * MIB, 1);
    let hub = SimHub::builder().repo(repo).start()?;
    let user = User::new(python, &hub)?;
    let daemon = user.scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 2 * MIB);
    let job = user.hfctl(&["submit", "org/both"]).await?;
    gate.reached().await;
    let steps = json!([{ "call": "snapshot_download", "args": { "repo_id": "org/both" } }]).to_string();
    let mut other = user.python.talk(STEPS, &[&steps], user.environment(ONLINE))?;
    hub.journal()
        .wait_for("python to ask", |journal| {
            journal.count(|record| asked_by_python(record, "model.safetensors")) > 0
        })
        .await;
    gate.release();
    user.hfctl(&["wait", job.trim()]).await?;
    let results = other.hear().await?;
    assert!(results.contains("\"ok\""), "{results}");
    other.end().await?;
    let (_, files) = user.snapshot(json!({ "repo_id": "org/both" }), OFFLINE).await?;
    let there = hub.repo(Kind::Model, "org/both").context("there")?;
    assert_eq!(files, hashes(there.commit("main").context("main")?)?);
    user.expect_tidy_cache(&["org/both"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}
