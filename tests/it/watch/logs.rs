//! What followers write where there is no terminal: when something was, and why a job waits.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use hfetch_tests::{
    check,
    harness::{PATIENCE, Scratch, eventually, programs},
    sim::{RepoBuilder, SimHub},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

use super::hearing::Told;

const MIB: u64 = 1 << 20;
const WHY: &str = "waiting for the only place of transfer.max_active_jobs";

/// Whether a line begins with a time: `12:03:04  `.
fn has_time(line: &str) -> bool {
    let shape = line.chars().take(10).map(|c| if c.is_ascii_digit() { '0' } else { c });
    shape.collect::<String>() == "00:00:00  "
}

fn lines_about<'a>(text: &'a str, words: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(words)).collect()
}

#[tokio::test]
async fn a_follower_of_a_queued_job_hears_why_again_after_an_outage() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/one").seeded("model.bin", 8 * MIB, 1))
        .repo(RepoBuilder::model("org/two").seeded("config.json", 700, 2))
        .start()?;
    let gate = hub.hold_bodies("model.bin", MIB);
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nmax_active_jobs = 1\n")?;
    let daemon = scratch.daemon().await?;
    let first = scratch.submit(&["org/one"]).await?;
    gate.reached().await;
    let second = scratch.submit(&["org/two"]).await?;
    eventually("the reason", async || {
        let job = scratch.show(&second).await.map_err(|error| error.to_string())?;
        match job["detail"].as_str().is_some_and(|detail| detail.starts_with(WHY)) {
            true => Ok(()),
            false => Err(job.to_string()),
        }
    })
    .await?;
    let mut for_programs = Told::start(&scratch, &[&second, "--json"])?;
    for_programs.until("progress").await?;
    let mut for_people = Told::start(&scratch, &[&second])?;
    let line = for_people.line().await?.unwrap_or_default();
    assert!(line.contains(WHY), "{line}");
    daemon.kill().await?;
    let before = for_programs.heard.len();
    let daemon = scratch.daemon().await?;
    // The job has not moved, so no event says it: the daemon has to tell it anew.
    loop {
        for_programs.until("progress").await?;
        let told = for_programs.heard.iter().skip(before);
        let details: Vec<&str> = told.filter_map(|line| line["detail"].as_str()).collect();
        if details.iter().any(|detail| detail.starts_with(WHY)) {
            break;
        }
    }
    gate.release();
    scratch.wait_done(&[&first, &second]).await?;
    for (_, ran) in [for_programs.end().await?, for_people.exit().await?] {
        for words in ["the connection to hfetchd is lost", "hfetchd is back"] {
            let said = lines_about(&ran.stderr, words);
            assert!(said.len() == 1 && has_time(said[0]), "{words}: {}", ran.stderr);
        }
        ran.ok()?;
    }
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn lines_of_download_and_wait_have_a_time() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/one").seeded("model.bin", 2 * MIB, 1))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    for verb in ["download", "wait"] {
        let gate = hub.hold_bodies("model.bin", MIB);
        let what = match verb {
            "wait" => scratch.submit(&["org/one", "--force-download"]).await?,
            _ => "org/one".to_owned(),
        };
        let mut command = scratch.command(programs().join("hfctl"));
        command.args([verb, &what]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("a pipe")?).lines();
        let mut told = Vec::new();
        // Its job stands still: what is told first is a line.
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await?? {
            gate.release();
            told.push(line);
        }
        ensure!(child.wait().await?.success(), "{verb}: {told:#?}");
        // How it ended is no line of a log.
        let end = told.pop().context("an end")?;
        ensure!(end.starts_with("org/one: 1 file"), "{verb}: {end}");
        ensure!(
            !told.is_empty() && told.iter().all(|line| has_time(line)),
            "{verb}: {told:#?}"
        );
    }
    daemon.stop().await?;
    // What is forced comes twice.
    check::sound(&scratch, &[&hub])
}
