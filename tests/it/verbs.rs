//! What users do to jobs: pause, resume, cancel, retry.

mod afterwards;
mod leftovers;
mod looking;
mod requests;
mod rooms;
mod sharing;
mod space;
mod takeover;
mod telling;

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Ending, Gate, RepoBuilder, SimHub},
};

const MIB: u64 = 1 << 20;
const BIG: &str = "model.safetensors";
const BIG_SIZE: u64 = 160 * MIB;

fn big_hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded(BIG, BIG_SIZE, 7))
        .start()
}

/// A job in the middle of its file, with everything received that was sent.
async fn in_the_middle(hub: &SimHub, scratch: &Scratch) -> anyhow::Result<(String, Gate)> {
    in_the_middle_with(hub, scratch, &[]).await
}

async fn in_the_middle_with(hub: &SimHub, scratch: &Scratch, args: &[&str]) -> anyhow::Result<(String, Gate)> {
    let gate = hub.hold_bodies(BIG, 100 * MIB);
    let args: Vec<&str> = ["org/big"].iter().chain(args).copied().collect();
    let id = scratch.submit(&args).await?;
    gate.reached().await;
    check::taken(hub).await?;
    Ok((id, gate))
}

/// Runs a verb that stops a job, and waits until its connections are gone.
async fn stop(hub: &SimHub, scratch: &Scratch, verb: &str, id: &str) -> anyhow::Result<()> {
    scratch.hfctl([verb, id]).await?.ok()?;
    let open = |journal: &hfetch_tests::sim::Journal| {
        journal.count(|record| record.file.as_deref() == Some(BIG) && record.ending == Ending::Open)
    };
    hub.journal()
        .wait_for("closed connections", |journal| open(journal) == 0)
        .await;
    Ok(())
}

#[tokio::test]
async fn a_pause_inside_a_file_costs_nothing() -> anyhow::Result<()> {
    // Connections that help each other at the end of a file cost a little; one alone has nobody to help.
    for (args, repeats) in [(&[][..], 4 * MIB), (&["-x", "1"], MIB)] {
        a_pause(args, repeats).await?;
    }
    Ok(())
}

async fn a_pause(args: &[&str], repeats: u64) -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle_with(&hub, &scratch, args).await?;
    stop(&hub, &scratch, "pause", &id).await?;
    assert_eq!(scratch.state_of(&id).await?, "paused");
    let (sent, asked) = (hub.journal().bytes_sent_for(BIG), hub.journal().len());
    gate.release();
    // It stays so over a restart.
    daemon.stop().await?;
    let daemon = scratch.daemon().await?;
    assert_eq!(scratch.state_of(&id).await?, "paused");
    assert_eq!(hub.journal().bytes_sent_for(BIG), sent, "a paused job fetched on");
    scratch.hfctl(["resume", &id]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    assert_eq!(check::sent_again(&hub, BIG, asked), 0, "{}", hub.journal().text());
    let again = hub.journal().duplicate_bytes(BIG);
    assert!(again <= repeats, "{again} with {args:?}\n{}", hub.journal().text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn what_a_cancelled_job_has_fetched_serves_the_next_one() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    stop(&hub, &scratch, "cancel", &id).await?;
    assert_eq!(scratch.state_of(&id).await?, "cancelled");
    gate.release();
    assert!(
        !check::staging(&scratch.cache())?.is_empty(),
        "the partial file is gone"
    );
    let next = scratch.submit(&["org/big"]).await?;
    assert_ne!(id, next);
    scratch.wait_done(&[&next]).await?;
    let journal = hub.journal();
    let again = journal.bytes_sent_for(BIG) - BIG_SIZE;
    assert!(again <= 8 * MIB, "{} MiB again\n{}", again / MIB, journal.text());
    assert_eq!(scratch.state_of(&id).await?, "cancelled");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn retry_looks_at_the_hub_again() -> anyhow::Result<()> {
    let hub = SimHub::builder().start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/later"]).await?;
    let job = scratch.until(&id, "failed").await?;
    assert_eq!(job["failure"]["kind"], "not_found", "{job}");
    // Not yet: it fails again.
    scratch.hfctl(["retry", &id]).await?.ok()?;
    scratch.hfctl(["wait", &id]).await?.exits(5)?;
    hub.put_repo(RepoBuilder::model("org/later").seeded(BIG, 2 * MIB, 3));
    let jobs = scratch.hfctl(["retry", &id, "--json"]).await?.json()?;
    assert_eq!(jobs[0]["id"], id.as_str(), "{jobs}");
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    assert!(job["failure"].is_null(), "{job}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_cancelled_job_can_be_tried_again() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    stop(&hub, &scratch, "cancel", &id).await?;
    gate.release();
    // Nobody asked for this one.
    scratch.hfctl(["retry", "--all"]).await?.ok()?;
    assert_eq!(scratch.state_of(&id).await?, "cancelled");
    scratch.hfctl(["retry", &id]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    let again = hub.journal().bytes_sent_for(BIG) - BIG_SIZE;
    assert!(again <= 8 * MIB, "{} MiB again", again / MIB);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_verb_that_does_not_fit_says_why() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/small").seeded("config.json", 700, 1))
        .repo(RepoBuilder::model("org/big").seeded(BIG, MIB, 2))
        .start()?;
    let _gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let done = scratch.submit(&["org/small"]).await?;
    scratch.until(&done, "done").await?;
    let failed = scratch.submit(&["org/none"]).await?;
    scratch.until(&failed, "failed").await?;
    let active = scratch.submit(&["org/big"]).await?;
    scratch.until(&active, "active").await?;
    let paused = scratch.submit(&["org/big"]).await?;
    scratch.hfctl(["pause", &paused]).await?.ok()?;
    let cancelled = scratch.submit(&["org/big"]).await?;
    scratch.hfctl(["cancel", &cancelled]).await?.ok()?;
    for (id, state, verbs) in [
        (&done, "done", &["pause", "resume", "cancel", "retry"][..]),
        (&failed, "failed", &["pause", "resume", "cancel"]),
        (&cancelled, "cancelled", &["pause", "resume", "cancel"]),
        (&active, "active", &["resume", "retry"]),
        (&paused, "paused", &["pause", "retry"]),
    ] {
        for verb in verbs {
            let ran = scratch.hfctl([verb, id.as_str()]).await?;
            let sentence = match (*verb, state) {
                ("pause", "paused") | ("cancel", "cancelled") => format!("{id}: the job is {state} already"),
                _ => format!("{id}: the job is {state} and cannot be"),
            };
            assert!(ran.stderr.contains(&sentence), "{verb}: {}", ran.stderr);
            ran.exits(1)?;
            assert_eq!(scratch.state_of(id).await?, state, "after {verb}");
        }
    }
    for verb in ["pause", "resume", "cancel", "retry", "show", "wait", "watch"] {
        for id in ["zzzzzzzzzz", "zzzzzzzzz", "no-id!"] {
            let ran = scratch.hfctl([verb, id]).await?;
            assert!(ran.stderr.contains(id), "{verb} {id}: {}", ran.stderr);
            assert_eq!(ran.code, 4, "{verb} {id}: {}", ran.stderr);
        }
    }
    for args in [&["pause"][..], &["pause", "--all", &active]] {
        scratch.hfctl(args).await?.exits(2)?;
    }
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn several_jobs_and_all_jobs() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded(BIG, MIB, 2))
        .repo(RepoBuilder::model("org/small").seeded("config.json", 700, 1))
        .start()?;
    let gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let done = scratch.submit(&["org/small"]).await?;
    scratch.until(&done, "done").await?;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(scratch.submit(&["org/big"]).await?);
    }
    let states = async || -> anyhow::Result<Vec<String>> {
        let mut states = Vec::new();
        for id in &ids {
            states.push(scratch.state_of(id).await?);
        }
        Ok(states)
    };
    // What works is done, what does not is told; a job named twice is no news.
    let ran = scratch.hfctl(["pause", &ids[0], "zzzzzzzzzz", &ids[1]]).await?;
    assert!(ran.stderr.contains("zzzzzzzzzz"), "{}", ran.stderr);
    let lines = ran.exits(4)?;
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert_eq!(states().await?[..2], ["paused", "paused"]);
    let ran = scratch.hfctl(["pause", &done, "zzzzzzzzzz", &ids[2]]).await?;
    ran.exits(1)?;
    assert_eq!(states().await?[2], "paused");
    let paused = scratch.hfctl(["pause", "--all", "--json"]).await?.json()?;
    assert_eq!(paused.as_array().map(Vec::len), Some(1), "{paused}");
    assert_eq!(states().await?, ["paused"; 4]);
    let ran = scratch.hfctl(["pause", "--all"]).await?;
    assert!(ran.stderr.contains("is in a state that this changes"), "{}", ran.stderr);
    ran.ok()?;
    scratch.hfctl(["resume", "--all"]).await?.ok()?;
    eventually("all go on", async || {
        let states = states().await.map_err(|error| error.to_string())?;
        let go_on = states.iter().all(|state| state == "active" || state == "queued");
        if go_on { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await?;
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    assert_eq!(states().await?, ["cancelled"; 4]);
    assert_eq!(scratch.state_of(&done).await?, "done");
    gate.release();
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
