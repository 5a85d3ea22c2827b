//! Numbered events: nothing is lost, nothing comes twice, whoever dies meanwhile.

pub(crate) mod hearing;
mod logs;

use anyhow::{Context as _, bail, ensure};
use hfetch_proto::v1::{EventType, JobSpec, JobState, SubmitJobRequest, WatchRequest};
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{RepoBuilder, SimHub},
};

use self::hearing::{Told, Watch, ended, events_of, is_pruned, newest, replay, strictly_increasing};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_watcher_loses_nothing_over_a_kill() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/big")
                .seeded("model.safetensors", 48 * MIB, 7)
                .seeded("config.json", 700, 8),
        )
        .repo(RepoBuilder::model("org/small").seeded("config.json", 900, 9))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 20 * MIB);
    let mut first = Watch::after(&scratch, 0).await?;
    let id = scratch.submit(&["org/big"]).await?;
    let mut told = Told::start(&scratch, &[&id, "--json", "--after", "0", "--no-progress"])?;
    told.until("event").await?;
    gate.reached().await;
    first
        .until("the plan", |heard| {
            heard.events.iter().any(|event| event.r#type() == EventType::Planned)
        })
        .await?;
    daemon.kill().await?;
    let (heard, _) = first.rest().await?;
    let mut events = heard.events;
    let last = events.last().context("no event at all")?.seq;
    let daemon = scratch.daemon().await?;
    let other = scratch.submit(&["org/small"]).await?;
    let mut second = Watch::after(&scratch, last).await?;
    gate.release();
    second
        .until("both jobs' ends", |heard| {
            [&id, &other].iter().all(|id| ended(&heard.events, id, JobState::Done))
        })
        .await?;
    events.extend(second.heard.events);
    assert!(strictly_increasing(&events), "{events:#?}");
    assert_eq!(events, replay(&scratch, 0).await?);
    // Resuming after any number gives exactly the rest.
    for (index, event) in events.iter().enumerate() {
        assert_eq!(replay(&scratch, event.seq).await?, events[index + 1..]);
    }
    // hfctl, which was there all the time, has told the same as one that comes late.
    let (live, ran) = told.end().await?;
    ran.ok()?;
    let (late, ran) = Told::start(&scratch, &[&id, "--json", "--after", "0", "--no-progress"])?
        .end()
        .await?;
    ran.ok()?;
    assert_eq!(events_of(&live), events_of(&late));
    let of_job: Vec<u64> = events
        .iter()
        .filter(|event| event.job_id == id)
        .map(|event| event.seq)
        .collect();
    let told: Vec<u64> = events_of(&live)
        .iter()
        .filter_map(|line| line["seq"].as_u64())
        .collect();
    assert_eq!(told, of_job);
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

#[tokio::test]
async fn a_live_watcher_hears_every_event_of_many_jobs() -> anyhow::Result<()> {
    const JOBS: usize = 100;
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/small")
                .seeded("config.json", 700, 1)
                .seeded("tokenizer.json", 900, 2),
        )
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut watch = Watch::open(&scratch, WatchRequest::default()).await?;
    watch.until("Ready", |heard| heard.ready.is_some()).await?;
    let jobs = scratch.jobs().await?;
    let mut submits = tokio::task::JoinSet::new();
    for _ in 0..JOBS {
        let mut jobs = jobs.clone();
        submits.spawn(async move {
            let spec = JobSpec {
                name: "org/small".into(),
                ..JobSpec::default()
            };
            let request = SubmitJobRequest {
                spec: Some(spec),
                ..SubmitJobRequest::default()
            };
            jobs.submit_job(request).await
        });
    }
    while let Some(submitted) = submits.join_next().await {
        submitted??;
    }
    watch
        .until("all ends", |heard| {
            let done = heard
                .events
                .iter()
                .filter(|event| event.r#type() == EventType::StateChanged && event.state() == JobState::Done);
            done.count() == JOBS
        })
        .await?;
    let events = &watch.heard.events;
    let began = watch.heard.ready.unwrap_or_default();
    // One user: no number is missing.
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    let expected: Vec<u64> = (began + 1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
    assert_eq!(*events, replay(&scratch, began).await?);
    let submitted = events.iter().filter(|event| event.r#type() == EventType::Submitted);
    assert_eq!(submitted.count(), JOBS);
    drop(watch);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn events_that_are_gone_are_refused_not_skipped() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/small").seeded("config.json", 700, 1))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[events]\nkeep_count = 10\n")?;
    let daemon = scratch.daemon().await?;
    let mut id = String::new();
    for _ in 0..5 {
        id = scratch.submit(&["org/small"]).await?;
        scratch.wait_done(&[&id]).await?;
    }
    daemon.stop().await?;
    let daemon = scratch.daemon().await?;
    let newest = newest(&scratch).await?;
    ensure!(newest > 15, "only {newest} events: nothing to prune");
    // Pruning is one of the first things that a daemon does, but not the first.
    eventually("pruned events", async || {
        let watch = Watch::after(&scratch, 0);
        let watched = async {
            let mut watch = watch.await?;
            while watch.heard.events.last().is_none_or(|event| event.seq < newest) {
                match watch.step().await? {
                    Some(Ok(())) => {}
                    Some(Err(status)) => return Ok::<_, anyhow::Error>(Some(status)),
                    None => break,
                }
            }
            Ok(None)
        };
        match watched.await {
            Ok(status) if is_pruned(status.as_ref()) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    // What is kept can be had, to the last number that makes sense.
    let kept = replay(&scratch, newest - 10).await?;
    assert_eq!(kept.len(), 10);
    assert_eq!(kept.last().map(|event| event.seq), Some(newest));
    let (_, status) = Watch::after(&scratch, newest - 11).await?.rest().await?;
    assert!(is_pruned(status.as_ref()), "{status:?}");
    assert_eq!(replay(&scratch, newest).await?, []);
    // A number that is not there yet belongs to another database.
    let (heard, status) = Watch::after(&scratch, newest + 1).await?.rest().await?;
    assert!(is_pruned(status.as_ref()), "{status:?}");
    assert!(heard.events.is_empty());
    // hfctl says so, and begins with the job as it is.
    let (lines, ran) = Told::start(&scratch, &[&id, "--json", "--after", "0"])?.end().await?;
    assert!(ran.stderr.contains("no longer kept"), "{}", ran.stderr);
    ran.ok()?;
    assert_eq!(lines[0]["job"]["state"], "done", "{lines:?}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn samples_come_while_bytes_flow() -> anyhow::Result<()> {
    let size = 24 * MIB;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded("model.safetensors", size, 7))
        .start()?;
    hub.pace().set_total(Some(12 * MIB));
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", MIB);
    let id = scratch.submit(&["org/big"]).await?;
    gate.reached().await;
    let request = WatchRequest {
        progress_interval_ms: 100,
        snapshot: true,
        ..WatchRequest::default()
    };
    let mut watch = Watch::open(&scratch, request).await?;
    watch.until("Ready", |heard| heard.ready.is_some()).await?;
    let [job] = &watch.heard.snapshot[..] else {
        bail!("{} jobs", watch.heard.snapshot.len());
    };
    assert_eq!((job.id.as_str(), job.state()), (id.as_str(), JobState::Active));
    gate.release();
    watch
        .until("the end", |heard| ended(&heard.events, &id, JobState::Done))
        .await?;
    let samples = &watch.heard.samples;
    assert!(samples.len() >= 5, "{samples:#?}");
    assert!(samples.iter().all(|sample| sample.job_id == id), "{samples:#?}");
    let bytes: Vec<u64> = samples.iter().map(|sample| sample.bytes_done).collect();
    assert!(
        bytes.is_sorted() && bytes.iter().all(|bytes| *bytes <= size),
        "{bytes:?}"
    );
    let between = bytes.iter().filter(|bytes| (1..size).contains(*bytes)).count();
    assert!(between >= 3, "{bytes:?}");
    assert!(samples.iter().all(|sample| sample.bytes_total == size), "{samples:#?}");
    assert!(samples.iter().any(|sample| sample.connections > 0), "{samples:#?}");
    assert!(samples.iter().any(|sample| sample.bytes_per_sec > 0), "{samples:#?}");
    // Nobody asked for samples: none come.
    let mut silent = Watch::after(&scratch, 0).await?;
    silent
        .until("the end", |heard| ended(&heard.events, &id, JobState::Done))
        .await?;
    assert!(silent.heard.samples.is_empty());
    drop((watch, silent));
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn watching_a_job_ends_with_it() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/good").seeded("model.safetensors", 4 * MIB, 7))
        .repo(RepoBuilder::model("org/bad").seeded("other.safetensors", 4 * MIB, 8))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("*.safetensors", 0);
    let good = scratch.submit(&["org/good"]).await?;
    let bad = scratch.submit(&["org/bad"]).await?;
    let mut watch_good = Told::start(&scratch, &[&good, "--json"])?;
    let mut watch_bad = Told::start(&scratch, &[&bad, "--json"])?;
    watch_good.until("ready").await?;
    watch_bad.until("ready").await?;
    assert_eq!(watch_good.heard[0]["job"]["id"], good.as_str());
    scratch.hfctl(["cancel", &bad]).await?.ok()?;
    let (lines, ran) = watch_bad.end().await?;
    ran.exits(5)?;
    assert_eq!(lines.last().map(|line| &line["state"]), Some(&"cancelled".into()));
    gate.release();
    let (lines, ran) = watch_good.end().await?;
    ran.ok()?;
    let last = lines.last().context("no line")?;
    assert_eq!((&last["type"], &last["state"]), (&"event".into(), &"done".into()));
    assert!(
        events_of(&lines).iter().all(|line| line["job"] == good.as_str()),
        "{lines:#?}"
    );
    // What has ended is told at once.
    for (id, state, code) in [(&good, "done", 0), (&bad, "cancelled", 5)] {
        let (lines, ran) = Told::start(&scratch, &[id, "--json"])?.end().await?;
        ran.exits(code)?;
        assert_eq!(lines[0]["job"]["state"], state);
    }
    let ran = scratch.hfctl(["watch", "zzzzzzzzzz", "--json"]).await?;
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
