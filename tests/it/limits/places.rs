//! The places of `transfer.max_active_jobs`: who waits for one says so, and who only waits for others takes none.

use hfetch_proto::v1::WatchRequest;
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{RepoBuilder, SimHub, Storage},
};
use serde_json::Value;

use crate::watch::hearing::Watch;

const MIB: u64 = 1 << 20;

fn large(name: &str, seed: u64) -> RepoBuilder {
    RepoBuilder::model(name).seeded_as("model.bin", 8 * MIB, seed, Storage::Linked)
}

/// A watch of one job, from its state now or from its beginning.
fn told_of(id: &str, snapshot: bool) -> WatchRequest {
    WatchRequest {
        after_seq: (!snapshot).then_some(0),
        job_ids: vec![id.to_owned()],
        progress_interval_ms: 100,
        snapshot,
    }
}

/// Waits until a job is in a state for a reason that has these words.
async fn says(scratch: &Scratch, id: &str, state: &str, words: &str) -> anyhow::Result<Value> {
    eventually(words, async || {
        let job = scratch.show(id).await.map_err(|error| error.to_string())?;
        let told = job["detail"].as_str().unwrap_or_default().contains(words);
        match told && job["state"] == state {
            true => Ok(job),
            false => Err(job.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn a_job_in_the_queue_says_that_all_places_are_taken() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(large("org/one", 1))
        .repo(large("org/two", 2))
        .repo(RepoBuilder::model("org/three").seeded("config.json", 700, 3))
        .start()?;
    let gate = hub.hold_bodies("model.bin", MIB);
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nmax_active_jobs = 2\n")?;
    let daemon = scratch.daemon().await?;
    let ids = [scratch.submit(&["org/one"]).await?, scratch.submit(&["org/two"]).await?];
    for id in &ids {
        scratch.until(id, "active").await?;
    }
    let third = scratch.submit(&["org/three"]).await?;
    let why = "waiting for a place: all 2 of transfer.max_active_jobs are taken";
    says(&scratch, &third, "queued", why).await?;
    let listed = scratch.hfctl(["list"]).await?.ok()?;
    let line = listed.lines().find(|line| line.contains("org/three"));
    assert!(line.is_some_and(|line| line.contains(why)), "{listed}");
    // Who follows it is told when they come, and when they were there before.
    let mut told = Watch::open(&scratch, told_of(&third, true)).await?;
    told.until("the reason", |heard| heard.snapshot.iter().any(|job| job.detail == why))
        .await?;
    let mut replayed = Watch::open(&scratch, told_of(&third, false)).await?;
    replayed
        .until("the reason", |heard| {
            heard.samples.iter().any(|sample| sample.detail == why)
        })
        .await?;
    // Live.
    let toml = "[storage]\nmin_free = 0\n[transfer]\nmax_active_jobs = 1\n";
    std::fs::write(scratch.path("hfetch.toml"), toml)?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    let why = "waiting for the only place of transfer.max_active_jobs";
    says(&scratch, &third, "queued", why).await?;
    replayed
        .until("the new reason", |heard| {
            heard.samples.iter().any(|sample| sample.detail.starts_with(why))
        })
        .await?;
    gate.release();
    scratch.wait_done(&[&ids[0], &ids[1], &third]).await?;
    let done = scratch.show(&third).await?;
    assert!(!done["detail"].as_str().unwrap_or_default().contains("place"), "{done}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn who_waits_for_another_jobs_file_takes_no_place() -> anyhow::Result<()> {
    let one = large("org/one", 1).seeded("config.json", 700, 4);
    let hub = SimHub::builder()
        .repo(one)
        .repo(RepoBuilder::model("org/three").seeded("config.json", 700, 3))
        .start()?;
    let gate = hub.hold_bodies("model.bin", MIB);
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nmax_active_jobs = 2\n")?;
    let daemon = scratch.daemon().await?;
    let first = scratch.submit(&["org/one"]).await?;
    gate.reached().await;
    // Each for the file of the first, and none of them is the same wish.
    let second = scratch.submit(&["org/one", "model.bin"]).await?;
    says(&scratch, &second, "active", "waiting for job").await?;
    let third = scratch.submit(&["org/one", "--include", "model.*"]).await?;
    says(&scratch, &third, "active", "waiting for job").await?;
    // One user's jobs that wait may not fill the memory of all.
    let fourth = scratch.submit(&["org/one", "--include", "*.bin"]).await?;
    says(&scratch, &fourth, "queued", "fewer than 2 jobs of").await?;
    scratch.hfctl(["cancel", &third]).await?.ok()?;
    scratch.until(&fourth, "active").await?;
    says(&scratch, &fourth, "active", "waiting for job").await?;
    scratch.hfctl(["cancel", &fourth]).await?.ok()?;
    // What it holds up no more.
    let other = scratch.submit(&["org/three"]).await?;
    scratch.wait_done(&[&other]).await?;
    assert_eq!(scratch.state_of(&second).await?, "active");
    gate.release();
    scratch.wait_done(&[&first, &second]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn who_waits_for_a_connection_of_its_user_takes_no_place() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(large("org/one", 1))
        .repo(large("org/two", 2))
        .repo(RepoBuilder::model("org/three").seeded("config.json", 700, 3))
        .start()?;
    // A connection that stands still is not cut here: then nobody would wait any more.
    let toml = "[transfer]\nmax_active_jobs = 2\nstall_timeout = '1h'\n[users.default]\nmax_connections = 1\n";
    let scratch = Scratch::new(hub.endpoint())?.config(toml)?;
    let daemon = scratch.daemon().await?;
    let there = scratch.submit(&["org/three"]).await?;
    scratch.wait_done(&[&there]).await?;
    let gate = hub.hold_bodies("model.bin", MIB);
    let first = scratch.submit(&["org/one"]).await?;
    gate.reached().await;
    let second = scratch.submit(&["org/two"]).await?;
    says(
        &scratch,
        &second,
        "active",
        "1 connections (users.NAME.max_connections)",
    )
    .await?;
    // All is there: it needs no connection, only a place.
    let again = scratch.submit(&["org/three"]).await?;
    scratch.wait_done(&[&again]).await?;
    gate.release();
    scratch.wait_done(&[&first, &second]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
