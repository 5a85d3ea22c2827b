//! What becomes of the partial files of jobs that users end.

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::RepoBuilder,
};

use super::{BIG, MIB, big_hub, in_the_middle, stop};

async fn nothing_is_left(scratch: &Scratch) -> anyhow::Result<()> {
    eventually("the partial file goes", async || {
        let left = check::staging(&scratch.cache()).map_err(|error| error.to_string())?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn partial_files_of_cancelled_jobs_go_in_time() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[storage]\nkeep_partials = '1s'\n")?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    stop(&hub, &scratch, "cancel", &id).await?;
    nothing_is_left(&scratch).await?;
    gate.release();
    // One that is not being worked on when it is cancelled.
    hub.put_repo(RepoBuilder::model("org/big").seeded(BIG, 120 * MIB, 8));
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    stop(&hub, &scratch, "pause", &id).await?;
    daemon.stop().await?;
    gate.release();
    let daemon = scratch.daemon().await?;
    assert!(!check::staging(&scratch.cache())?.is_empty(), "paused is not ended");
    scratch.hfctl(["cancel", &id]).await?.ok()?;
    nothing_is_left(&scratch).await?;
    // The claims went with them.
    eventually("the claims go", async || {
        let db = check::open(&scratch.state().join("progress.db")).map_err(|error| error.to_string())?;
        let claims = db.query_row("SELECT count(*) FROM claims", [], |row| row.get::<_, u64>(0));
        match claims.map_err(|error| error.to_string())? {
            0 => Ok(()),
            some => Err(format!("{some} claims")),
        }
    })
    .await?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn who_prunes_need_not_wait_for_the_hour() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    for verb in [&["cache", "prune"][..], &["cache", "rm", "org/big"]] {
        let (id, gate) = in_the_middle(&hub, &scratch).await?;
        stop(&hub, &scratch, "pause", &id).await?;
        gate.release();
        // Of one that is not over, all stays.
        let told = scratch.hfctl(verb.iter().chain(&["--yes"])).await?.ok()?;
        assert!(!told.contains("unfinished"), "{told}");
        scratch.hfctl(["cancel", &id]).await?.ok()?;
        let told = scratch.hfctl(verb).await?.ok()?;
        assert!(told.contains("would remove unfinished downloads of org/big"), "{told}");
        assert!(!check::staging(&scratch.cache())?.is_empty(), "only told");
        let swept = scratch.hfctl(verb.iter().chain(&["--yes", "--json"])).await?.json()?;
        assert!(swept[0]["partial_bytes_freed"].as_u64() >= Some(100 * MIB), "{swept}");
        nothing_is_left(&scratch).await?;
    }
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn a_job_that_needs_room_takes_it_from_those_that_ended() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[storage]\nmin_free = 0\n")?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    stop(&hub, &scratch, "cancel", &id).await?;
    gate.release();
    assert!(!check::staging(&scratch.cache())?.is_empty(), "for an hour");
    // More than there is.
    std::fs::write(scratch.path("hfetch.toml"), "[storage]\nmin_free = '99.999%'\n")?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    hub.put_repo(RepoBuilder::model("org/other").seeded(BIG, 2 * MIB, 8));
    let next = scratch.submit(&["org/other"]).await?;
    let held = scratch.until(&next, "held (disk)").await?;
    assert_eq!(held["state"], "held", "{held}");
    let left = check::staging(&scratch.cache())?;
    let is_partial = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "part");
    assert!(!left.iter().any(is_partial), "{left:?}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
