//! Many small files, and many jobs for the same ones: a request each, published in batches, killed in the middle.

use std::time::Duration;

use hfetch_proto::v1::{JobSpec, SubmitJobRequest};
use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Kind, Matcher, PlainShape, Record, RepoBuilder, Rule, SimHub},
    tree,
};

const FILES: usize = 600;

fn repo(files: usize) -> RepoBuilder {
    (0..files).fold(RepoBuilder::model("org/small"), |repo, number| {
        // Some are empty, and some are equal: those are one content.
        let (size, seed) = match number % 10 {
            0 => (0, 0),
            1 => (700, 1),
            _ => (2000 + number as u64, number as u64),
        };
        repo.seeded(&format!("data/{}/{number}.json", number % 7), size, seed)
    })
}

fn hub(files: usize) -> anyhow::Result<SimHub> {
    let hub = SimHub::builder().repo(repo(files)).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    Ok(hub)
}

/// So many jobs for the same files.
async fn submit(scratch: &Scratch, count: usize) -> anyhow::Result<Vec<String>> {
    let mut client = scratch.jobs().await?;
    let mut ids = Vec::new();
    for _ in 0..count {
        let spec = JobSpec {
            name: "org/small".to_owned(),
            ..JobSpec::default()
        };
        let request = SubmitJobRequest {
            spec: Some(spec),
            ..SubmitJobRequest::default()
        };
        let answer = client.submit_job(request).await?.into_inner();
        ids.extend(answer.job.map(|job| job.id));
    }
    assert_eq!(ids.len(), count);
    Ok(ids)
}

/// Requests for files.
fn asked(hub: &SimHub) -> usize {
    hub.journal().count(|record| record.file.is_some())
}

#[tokio::test]
async fn each_content_costs_one_request_and_what_is_there_none() -> anyhow::Result<()> {
    let hub = hub(FILES)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["download", "org/small", "--quiet"]).await?.ok()?;
    // A tenth is empty, and a tenth is one content.
    assert_eq!(asked(&hub), FILES - 2 * FILES / 10 + 1, "{}", hub.journal().text());
    assert_eq!(hub.journal().count(|record| record.method == "HEAD"), 0);
    let before = hub.journal().len();
    scratch.hfctl(["download", "org/small", "--quiet"]).await?.ok()?;
    // Which commit it is. What is in it is known.
    assert_eq!(hub.journal().len() - before, 1, "{}", hub.journal().text());
    let listed = scratch.hfctl(["list", "--json"]).await?.json()?;
    let newest = &listed["jobs"][0];
    assert_eq!(newest["bytes_reused"], newest["bytes_total"], "{newest}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn equal_files_of_a_local_directory_cost_one_request() -> anyhow::Result<()> {
    let equal = |repo: RepoBuilder, number| repo.seeded(&format!("data/{number}.json"), 700, 1);
    let repo = (0..400).fold(RepoBuilder::model("org/small"), equal);
    let hub = SimHub::builder().repo(repo).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let dir = scratch.path("dir").display().to_string();
    scratch
        .hfctl(["download", "org/small", "--quiet", "--local-dir", &dir])
        .await?
        .ok()?;
    // They are looked for in two parts; the second may be late for the first one's bytes.
    assert!(asked(&hub) <= 2, "{}", hub.journal().text());
    assert_eq!(std::fs::read_dir(scratch.path("dir/data"))?.count(), 400);
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn kills_between_batches_leave_whole_files_and_cost_little() -> anyhow::Result<()> {
    // Whoever kept nothing would have asked for all that came before the last kill once more.
    const FILES: usize = 2000;
    const SIZE: u64 = 60_000;
    /// What all small files on their way may take in memory: fetched, and not published yet.
    const IN_MEMORY: u64 = 24 << 20;
    let file = |repo: RepoBuilder, number| {
        let path = format!("data/{}/{number}.json", number % 7);
        repo.seeded(&path, SIZE + number as u64, number as u64)
    };
    let repo = (0..FILES).fold(RepoBuilder::model("org/small"), file);
    let hub = SimHub::builder().repo(repo).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    let scratch = Scratch::new(hub.endpoint())?;
    let mut daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/small"]).await?;
    let mut kills = 0;
    for requests in [600, 1200, 1850] {
        hub.journal()
            .wait_for("the next kill", |journal| journal.len() >= requests)
            .await;
        daemon.kill().await?;
        kills += 1;
        assert_eq!(
            tree::faults(&scratch.cache())?,
            Vec::<String>::new(),
            "after kill {kills}"
        );
        daemon = scratch.daemon().await?;
    }
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])?;
    let again = (asked(&hub) - FILES) as u64;
    assert!(
        again <= kills * (IN_MEMORY / SIZE),
        "{again} files again after {kills} kills"
    );
    Ok(())
}

#[tokio::test]
async fn many_jobs_for_the_same_files_fetch_them_once() -> anyhow::Result<()> {
    const JOBS: usize = 100;
    let hub = hub(40)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // None of them knows what to fetch before all are there.
    let gate = hub.hold_answers(Matcher::any().path("*/revision/*"));
    let ids = submit(&scratch, JOBS).await?;
    gate.reached().await;
    gate.release();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    scratch.wait_done(&ids).await?;
    assert_eq!(asked(&hub), 40 - 2 * 4 + 1, "{}", hub.journal().text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

/// What is in the repository is asked for once, and its files too, however many jobs wait for them.
#[tokio::test]
async fn a_thousand_jobs_cost_what_one_does() -> anyhow::Result<()> {
    const JOBS: usize = 1000;
    let hub = SimHub::builder()
        .repo(repo(10))
        .repo(RepoBuilder::model("org/before").seeded("model.safetensors", 256 << 20, 1))
        .start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    hub.pace().set_total(Some(1_000_000));
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nmax_active_jobs = 1\n")?;
    let daemon = scratch.daemon().await?;
    // None of them is begun before all are there.
    let before = scratch.submit(&["org/before"]).await?;
    scratch.until(&before, "active").await?;
    let ids = submit(&scratch, JOBS).await?;
    scratch.hfctl(["cancel", &before]).await?.ok()?;
    hub.pace().set_total(None);
    // In parts: each has its own minute.
    for ids in ids.chunks(100) {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        scratch.wait_done(&ids).await?;
    }
    let small = hub.journal().filter(|record| record.path.contains("org/small"));
    // Which commit it is, what is in it, and its files but the empty one.
    assert_eq!(small.len(), 2 + 10 - 2 + 1, "{}", hub.journal().text());
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn what_an_earlier_job_planned_counts_for_the_same_files_alone() -> anyhow::Result<()> {
    let hub = hub(20)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // Requests that are not for files.
    let questions = || hub.journal().count(|record| record.file.is_none());
    let requests = async |args: &[&str]| -> anyhow::Result<usize> {
        let before = questions();
        let args = ["download", "org/small", "--quiet"].iter().chain(args);
        scratch.hfctl(args).await?.ok()?;
        Ok(questions() - before)
    };
    let (info, list) = (1, 1);
    assert_eq!(requests(&[]).await?, info + list);
    assert_eq!(requests(&[]).await?, info);
    // Other files, another place, all of it anew: the listing says what they are.
    let selected = ["--include", "data/1/*"];
    assert_eq!(requests(&selected).await?, info + list);
    assert_eq!(requests(&selected).await?, info);
    let place = scratch.path("place").display().to_string();
    assert_eq!(requests(&["--local-dir", &place]).await?, info + list);
    assert_eq!(requests(&["--local-dir", &place]).await?, info);
    assert_eq!(requests(&["--force-download"]).await?, info + list);
    // What went with the plan is gone.
    std::fs::remove_dir_all(scratch.cache())?;
    assert_eq!(requests(&[]).await?, info + list);
    // Another commit has other files.
    hub.change_repo(Kind::Model, "org/small", |repo| {
        repo.push("main", "one less", |files| drop(files.pop_last()));
    })?;
    assert_eq!(requests(&[]).await?, info + list);
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

/// Files that a mirror brings so slowly that they would take minutes, and nobody waits so long here.
#[tokio::test]
async fn small_files_that_drip_are_taken_from_who_has_them_at_once() -> anyhow::Result<()> {
    const SIZE: u64 = 300_000;
    let repo = || {
        (0..60).fold(RepoBuilder::model("org/small"), |repo, number| {
            repo.seeded(&format!("{number}.json"), SIZE, number)
        })
    };
    let quick = SimHub::builder().repo(repo()).start()?;
    let slow = SimHub::builder().repo(repo()).start()?;
    let drip = Fault::Drip(100, Duration::from_millis(100));
    slow.faults().add(Rule::new(Matcher::any().file("*.json"), drip));
    let scratch = Scratch::new(quick.endpoint())?;
    let daemon = scratch.daemon().await?;
    // Until both are at work.
    let gate = quick.hold_bodies("*.json", 0);
    let id = scratch
        .submit(&[
            "org/small",
            "--endpoint",
            quick.endpoint(),
            "--endpoint",
            slow.endpoint(),
        ])
        .await?;
    let drips = |record: &Record| record.file.is_some() && record.sent.end > 200;
    slow.journal()
        .wait_for("files of the slow one", |journal| journal.count(drips) > 0)
        .await;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    assert_eq!(
        slow.journal().count(|record| record.sent.end == SIZE),
        0,
        "{}",
        slow.journal().text()
    );
    check::finished(&scratch, &[&quick, &slow])
}
