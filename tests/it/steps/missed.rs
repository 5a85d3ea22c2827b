//! Dying around the step that writes the run of a schedule: a run that was missed while the daemon was off happens once, wherever
//! the daemon is struck while it makes up for it.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, stream};
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    python::skip,
    sim::{RepoBuilder, SimHub},
};
use rusqlite::Connection;
use tokio::process::Child;

use super::{AT_A_TIME, CALLS, Site, Strike, can_strace, most_in_a_thread, sample, struck};

/// What the database is written with.
const WRITES: [&str; 3] = ["pwrite64", "fdatasync", "fsync"];
/// Sites of each that are struck where not all are.
const OF_EACH: usize = 8;

fn hub() -> anyhow::Result<SimHub> {
    let repo = RepoBuilder::model("org/m").file("config.json", "{}");
    SimHub::builder().repo(repo).start()
}

/// A state directory whose schedule was due, once a year, while nothing ran.
async fn with_a_missed_run(hub: &SimHub) -> anyhow::Result<Scratch> {
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let added = scratch
        .hfctl(["schedule", "add", "org/m", "--cron", "0 0 1 1 *"])
        .await?;
    added.ok()?;
    daemon.stop().await?;
    let db = write(&scratch)?;
    let year = 366 * 86_400_000_i64;
    let changed = db.execute("UPDATE schedules SET settled_until = settled_until - ?1", [year])?;
    ensure!(changed == 1, "{changed} schedules");
    Ok(scratch)
}

#[expect(clippy::disallowed_methods, reason = "the past of a daemon that does not run")]
fn write(scratch: &Scratch) -> anyhow::Result<Connection> {
    Ok(Connection::open(scratch.state().join("jobs.db"))?)
}

/// Runs, and jobs that are runs.
fn counted(scratch: &Scratch) -> anyhow::Result<(u32, u32)> {
    let db = check::open(&scratch.state().join("jobs.db"))?;
    let count = |sql| db.query_row(sql, [], |row| row.get(0));
    Ok((
        count("SELECT count(*) FROM schedule_runs")?,
        count("SELECT count(*) FROM jobs WHERE schedule IS NOT NULL")?,
    ))
}

/// Waits until the run and its job are seen by others, or the daemon is gone.
async fn ran_or_died(scratch: &Scratch, child: &mut Child) -> anyhow::Result<()> {
    let ran = eventually("the run", async || match counted(scratch) {
        Ok((0, _)) => Err("no run yet".to_owned()),
        Ok(_) => Ok(()),
        // It is recovering what it has not written to the end.
        Err(error) => Err(error.to_string()),
    });
    tokio::select! {
        status = child.wait() => drop(status?),
        ran = ran => {
            ran?;
            // What comes after the run is struck as well, for a while.
            if tokio::time::timeout(Duration::from_millis(300), child.wait()).await.is_err() {
                child.kill().await?;
            }
        }
    }
    Ok(())
}

/// Writes until the job of the run is done.
async fn sites(hub: &SimHub) -> anyhow::Result<Vec<Site>> {
    let scratch = with_a_missed_run(hub).await?;
    let log = scratch.path("calls");
    let nowhere = Site {
        call: String::new(),
        nth: 0,
    };
    let mut child = struck(&scratch, &nowhere, Strike::Nothing, &log)?;
    done(&scratch).await?;
    super::day::stop(&mut child).await?;
    let counts = eventually("all calls", async || {
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        let counts = most_in_a_thread(&text);
        if counts.contains_key("fdatasync") || counts.contains_key("fsync") {
            Ok(counts)
        } else {
            Err(text)
        }
    });
    let counts = counts
        .await?
        .into_iter()
        .filter(|(call, _)| WRITES.contains(&call.as_str()));
    let each = counts.flat_map(|(call, most)| {
        (1..=most).map(move |nth| Site {
            call: call.clone(),
            nth,
        })
    });
    Ok(each.collect())
}

async fn done(scratch: &Scratch) -> anyhow::Result<()> {
    eventually("the job of the run", async || {
        let shown = scratch.hfctl(["schedule", "list", "--json"]).await;
        let shown = shown.map_err(|error| error.to_string())?;
        let stderr = shown.stderr.clone();
        let list = shown.json().map_err(|_| stderr)?;
        match list[0]["last_runs"][0]["state"].as_str() {
            Some("done") => Ok(()),
            _ => Err(list.to_string()),
        }
    })
    .await
}

/// Whether the daemon died with the run written, or without.
async fn strike(hub: &SimHub, site: &Site) -> anyhow::Result<bool> {
    let scratch = with_a_missed_run(hub).await?;
    let mut child = struck(&scratch, site, Strike::Kill, Path::new("/dev/null"))?;
    ran_or_died(&scratch, &mut child).await?;
    let (runs, jobs) = counted(&scratch)?;
    ensure!(runs == jobs && runs <= 1, "right after it: {runs} runs, {jobs} jobs");
    let daemon = scratch.daemon().await?;
    done(&scratch).await?;
    daemon.stop().await?;
    check::sound(&scratch, &[])?;
    let after = counted(&scratch)?;
    ensure!(after == (1, 1), "in the end: {after:?}\n{}", scratch.log());
    // And it stays one.
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["schedule", "list"]).await?.ok()?;
    daemon.stop().await?;
    ensure!(counted(&scratch)? == (1, 1), "once more: {:?}", counted(&scratch)?);
    Ok(runs == 1)
}

#[tokio::test]
async fn dying_while_a_missed_run_is_made_up_for_neither_loses_nor_doubles_it() -> anyhow::Result<()> {
    if !can_strace().await {
        skip("strace cannot follow a program here");
        return Ok(());
    }
    assert!(WRITES.iter().all(|call| CALLS.contains(call)));
    let hub = &hub()?;
    let sites = sample(&sites(hub).await?, OF_EACH, 2);
    let strikes = stream::iter(sites).map(|site| async move {
        let struck = strike(hub, &site).await;
        struck.with_context(|| format!("killed at {} number {}", site.call, site.nth))
    });
    let struck: Vec<_> = strikes.buffer_unordered(AT_A_TIME).collect().await;
    let (mut before, mut after, mut faults) = (0, 0, Vec::new());
    for outcome in struck {
        match outcome {
            Ok(false) => before += 1,
            Ok(true) => after += 1,
            Err(error) => faults.push(format!("{error:?}")),
        }
    }
    println!("killed {before} times before the run was written, {after} times after it");
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    // A rig that strikes on one side only proves half of it.
    assert!(before > 0 && after > 0, "{before} before, {after} after");
    Ok(())
}
