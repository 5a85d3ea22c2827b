//! The same thing asked for more than once, and a question that changes nothing.

use std::collections::BTreeSet;

use hfetch_proto::v1::{JobSpec, SubmitJobRequest};
use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
    tree::beside_the_daemon,
};
use tonic::Code;

use super::{BIG, MIB};

fn small_hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(
            RepoBuilder::model("org/small")
                .seeded(BIG, 3 * MIB, 1)
                .seeded("config.json", 700, 2),
        )
        .start()
}

fn request(name: &str, id: &str) -> SubmitJobRequest {
    let spec = JobSpec {
        name: name.to_owned(),
        ..JobSpec::default()
    };
    SubmitJobRequest {
        spec: Some(spec),
        request_id: id.to_owned(),
        ..SubmitJobRequest::default()
    }
}

async fn jobs_known(scratch: &Scratch) -> anyhow::Result<usize> {
    let list = scratch.hfctl(["list", "--json", "--all"]).await?.json()?;
    Ok(list["jobs"].as_array().map_or(0, Vec::len))
}

#[tokio::test]
async fn one_request_id_is_one_job() -> anyhow::Result<()> {
    let hub = small_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let args = ["submit", "org/small", "--request-id", "nightly", "--json"];
    let first = scratch.hfctl(args).await?.json()?;
    assert_eq!(first["existing"], false, "{first}");
    let again = scratch.hfctl(args).await?.json()?;
    assert_eq!((&again["id"], &again["existing"]), (&first["id"], &true.into()));
    let id = first["id"].as_str().unwrap_or_default();
    scratch.wait_done(&[id]).await?;
    // Also after its end, and after a crash.
    daemon.kill().await?;
    let daemon = scratch.daemon().await?;
    let again = scratch.hfctl(args).await?.json()?;
    assert_eq!((&again["id"], &again["state"]), (&first["id"], &"done".into()));
    // Something else under that name is refused, and changes nothing.
    let ran = scratch
        .hfctl(["submit", "org/small", "config.json", "--request-id", "nightly"])
        .await?;
    assert!(
        ran.stderr.contains("nightly") && ran.stderr.contains(id),
        "{}",
        ran.stderr
    );
    ran.exits(1)?;
    assert_eq!(jobs_known(&scratch).await?, 1);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn twenty_calls_at_a_time_make_one_job() -> anyhow::Result<()> {
    let hub = small_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        // Connections of their own: they are truly at a time.
        let mut jobs = scratch.jobs().await?;
        calls.spawn(async move { jobs.submit_job(request("org/small", "once")).await });
    }
    let (mut ids, mut made) = (BTreeSet::new(), 0);
    while let Some(call) = calls.join_next().await {
        let answer = call??.into_inner();
        made += usize::from(!answer.existing);
        ids.extend(answer.job.map(|job| job.id));
    }
    assert_eq!((ids.len(), made), (1, 1), "{ids:?}");
    assert_eq!(jobs_known(&scratch).await?, 1);
    let mut jobs = scratch.jobs().await?;
    let Err(status) = jobs.submit_job(request("org/other", "once")).await else {
        anyhow::bail!("the id was taken for another request");
    };
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(details.contains("REQUEST_ID_REUSED"), "{status:?}");
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    scratch.wait_done(&ids).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn two_jobs_of_one_repository_fetch_it_once() -> anyhow::Result<()> {
    let size = 40 * MIB;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded(BIG, size, 7))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies(BIG, 10 * MIB);
    let first = scratch.submit(&["org/big"]).await?;
    let second = scratch.submit(&["org/big"]).await?;
    gate.reached().await;
    for id in [&first, &second] {
        scratch.until(id, "active").await?;
    }
    gate.release();
    scratch.wait_done(&[&first, &second]).await?;
    // One of them fetched all of it. Of its connections one may have helped another at the end, which costs what is under way.
    let store = hub.cdn_endpoint().trim_start_matches("http://");
    let mut by = 0;
    for id in [&first, &second] {
        let job = scratch.show(id).await?;
        let mut routes = job["routes"].as_array().into_iter().flatten();
        by += usize::from(routes.any(|route| route["host"] == store));
    }
    assert_eq!(by, 1, "{}", hub.journal().text());
    let again = hub.journal().duplicate_bytes(BIG);
    assert!(again <= 4 * MIB, "{again}\n{}", hub.journal().text());
    let sent = hub.journal().bytes_sent_for(BIG);
    assert_eq!(sent, size + again);
    // A third one finds everything.
    let third = scratch.submit(&["org/big"]).await?;
    scratch.wait_done(&[&third]).await?;
    assert_eq!(hub.journal().bytes_sent_for(BIG), sent, "{}", hub.journal().text());
    let job = scratch.hfctl(["show", "--json", "--files", &third]).await?.json()?;
    assert_eq!(
        (&job["bytes_reused"], &job["bytes_done"]),
        (&size.into(), &size.into()),
        "{job}"
    );
    assert_eq!(job["files"][0]["reused"], true, "{job}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_dry_run_tells_sizes_and_changes_nothing() -> anyhow::Result<()> {
    let hub = small_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let before = beside_the_daemon(&scratch)?;
    let text = scratch.hfctl(["submit", "org/small", "--dry-run"]).await?.ok()?;
    for word in [BIG, "config.json", "3.0 MiB", "700", "to fetch"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    let dry = ["submit", "org/small", "--dry-run", "--json"];
    let plan = scratch.hfctl(dry).await?.json()?;
    let all = 3 * MIB + 700;
    assert_eq!(
        (&plan["bytes_total"], &plan["bytes_to_fetch"]),
        (&all.into(), &all.into()),
        "{plan}"
    );
    scratch.hfctl(["submit", "org/none", "--dry-run"]).await?.exits(5)?;
    assert_eq!(beside_the_daemon(&scratch)?, before);
    assert_eq!(jobs_known(&scratch).await?, 0);
    assert_eq!(hub.journal().bytes_sent_for(BIG), 0);
    // With one file there, and with all.
    for (files, left) in [(&["config.json"][..], 3 * MIB), (&[][..], 0)] {
        let args: Vec<&str> = ["org/small"].iter().chain(files).copied().collect();
        let id = scratch.submit(&args).await?;
        scratch.wait_done(&[&id]).await?;
        let before = beside_the_daemon(&scratch)?;
        let plan = scratch.hfctl(dry).await?.json()?;
        assert_eq!(plan["bytes_to_fetch"], left, "{plan}");
        assert_eq!(beside_the_daemon(&scratch)?, before);
    }
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
