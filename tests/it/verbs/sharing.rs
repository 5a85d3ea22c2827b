//! Jobs that share: a file, the places for jobs at work, and trouble that one word from a user ends.

use std::collections::BTreeSet;

use hfetch_proto::v1::{EventType, JobState};
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Host, RepoBuilder, SimHub},
};
use serde_json::Value;

use super::{BIG, BIG_SIZE, MIB, big_hub, in_the_middle};
use crate::watch::hearing::replay;

fn bytes_done(job: &Value) -> u64 {
    job["bytes_done"].as_u64().unwrap_or(0)
}

/// Waits until a job shows so many bytes.
async fn shows(scratch: &Scratch, id: &str, least: u64) -> anyhow::Result<Value> {
    eventually("the bytes of a job", async || {
        let job = scratch.show(id).await.map_err(|error| error.to_string())?;
        match bytes_done(&job) >= least {
            true => Ok(job),
            false => Err(job.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn who_waits_for_another_jobs_file_sees_how_far_it_is() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (first, gate) = in_the_middle(&hub, &scratch).await?;
    let second = scratch.submit(&["org/big"]).await?;
    let job = shows(&scratch, &second, 64 * MIB).await?;
    let detail = job["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(&format!("waiting for job {first}")), "{job}");
    let files = scratch.hfctl(["show", "--json", "--files", &second]).await?.json()?;
    assert!(files["files"][0]["bytes_done"].as_u64() >= Some(64 * MIB), "{files}");
    // Paused, and over a crash, both know what is there.
    for id in [&second, &first] {
        scratch.hfctl(["pause", id]).await?.ok()?;
        shows(&scratch, id, 64 * MIB).await?;
    }
    scratch.hfctl(["resume", &first]).await?.ok()?;
    shows(&scratch, &first, 64 * MIB).await?;
    daemon.kill().await?;
    let daemon = scratch.daemon().await?;
    for id in [&first, &second] {
        shows(&scratch, id, 32 * MIB).await?;
    }
    assert_eq!(scratch.state_of(&second).await?, "paused");
    gate.release();
    scratch.hfctl(["resume", &second]).await?.ok()?;
    scratch.wait_done(&[&first, &second]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_crash_does_not_make_a_paused_job_forget() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    // Of one that was killed at work, only the claims tell; then it is paused before it works again.
    scratch.hfctl(["set", &id, "--limit", "1MiB/s"]).await?.ok()?;
    let seen = bytes_done(&scratch.show(&id).await?);
    assert!(seen >= 90 * MIB, "{seen}");
    daemon.kill().await?;
    hub.take_down(Host::Hub).await;
    let daemon = scratch.daemon().await?;
    let least = seen.saturating_sub(64 * MIB);
    shows(&scratch, &id, least).await?;
    let paused = scratch.hfctl(["pause", &id, "--json"]).await?.json()?;
    assert!(bytes_done(&paused[0]) >= least, "{paused}");
    shows(&scratch, &id, least).await?;
    // What `cancel` answers is what was there a moment ago.
    let cancelled = scratch.hfctl(["cancel", &id, "--json"]).await?.json()?;
    assert!(bytes_done(&cancelled[0]) >= least, "{cancelled}");
    gate.release();
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn a_held_job_tries_at_once_when_a_user_says_so() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    hub.take_down(Host::Cdn).await;
    hub.take_down(Host::Hub).await;
    gate.release();
    let job = scratch.until(&id, "held (endpoint)").await?;
    // It says once what is the matter, and shows no speed.
    let detail = job["detail"].as_str().unwrap_or_default();
    assert_eq!(detail.matches("refused").count(), 1, "{detail}");
    assert_eq!(
        (&job["bytes_per_sec"], &job["eta_sec"]),
        (&0.into(), &Value::Null),
        "{job}"
    );
    let ran = scratch.hfctl(["resume", &id]).await?;
    assert!(ran.stderr.contains(&format!("`hfctl retry {id}`")), "{}", ran.stderr);
    ran.exits(1)?;
    hub.bring_up(Host::Cdn)?;
    hub.bring_up(Host::Hub)?;
    let asked = hub.journal().len();
    let tried = scratch.hfctl(["retry", &id, "--json"]).await?.json()?;
    assert_eq!(tried[0]["state"], "queued", "{tried}");
    // Its plan is as good as before.
    assert_eq!(tried[0]["bytes_total"], BIG_SIZE, "{tried}");
    scratch.wait_done(&[&id]).await?;
    let listed = |record: &hfetch_tests::sim::Record| record.seq >= asked && record.path.contains("/tree/");
    assert_eq!(hub.journal().count(listed), 0, "{}", hub.journal().text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn when_the_hub_is_back_no_more_jobs_work_than_may() -> anyhow::Result<()> {
    const JOBS: u64 = 6;
    let repos = (0..JOBS).map(|number| RepoBuilder::model(&format!("org/m{number}")).seeded(BIG, 3 * MIB, number));
    let hub = repos.fold(SimHub::builder(), |hub, repo| hub.repo(repo)).start()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nmax_active_jobs = 1\n")?;
    hub.take_down(Host::Hub).await;
    let daemon = scratch.daemon().await?;
    let mut ids = Vec::new();
    for number in 0..JOBS {
        ids.push(scratch.submit(&[&format!("org/m{number}")]).await?);
    }
    for id in &ids {
        scratch.until(id, "held (endpoint)").await?;
    }
    hub.bring_up(Host::Hub)?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    scratch.wait_done(&ids).await?;
    // From the first byte on, as the events tell it: a job that works is one that is active and was not held a moment ago.
    let events = replay(&scratch, 0).await?;
    let planned = events.iter().position(|event| event.r#type() == EventType::Planned);
    let mut working: BTreeSet<&str> = BTreeSet::new();
    for event in &events[planned.unwrap_or(0)..] {
        match event.state() {
            JobState::Active => working.insert(&event.job_id),
            _ => working.remove(event.job_id.as_str()),
        };
        assert!(working.len() <= 1, "{working:?} at {event:?}");
    }
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn the_mirror_of_a_shell_comes_before_the_other_endpoints() -> anyhow::Result<()> {
    let repo = || RepoBuilder::model("org/m").seeded("config.json", 700, 1);
    let (hub, mirror) = (
        SimHub::builder().repo(repo()).start()?,
        SimHub::builder().repo(repo()).start()?,
    );
    let config = format!(
        "[[endpoints]]\nname = \"hub\"\nurl = \"{}\"\ntoken = \"own\"\n[[endpoints]]\nname = \"mirror\"\nurl = \"{}\"\n",
        hub.endpoint(),
        mirror.endpoint()
    );
    let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    let args = ["submit", "org/m", "--json"];
    for (shell, expected) in [
        ("", [hub.endpoint(), mirror.endpoint()]),
        (mirror.endpoint(), [mirror.endpoint(), hub.endpoint()]),
    ] {
        let job = scratch.hfctl_with(args, &[("HF_ENDPOINT", shell)]).await?.json()?;
        assert_eq!(job["endpoints"], serde_json::json!(expected), "{job}");
        scratch.wait_done(&[job["id"].as_str().unwrap_or_default()]).await?;
    }
    // One that nobody configured is meant alone.
    let other = SimHub::builder().repo(repo()).start()?;
    let job = scratch
        .hfctl_with(args, &[("HF_ENDPOINT", other.endpoint())])
        .await?
        .json()?;
    assert_eq!(job["endpoints"], serde_json::json!([other.endpoint()]), "{job}");
    scratch.wait_done(&[job["id"].as_str().unwrap_or_default()]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub, &mirror, &other])
}
