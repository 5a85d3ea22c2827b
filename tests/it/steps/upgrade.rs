//! An upgrade that dies: the database of an older version, and a daemon that is killed while it makes a new one of it.

use std::{os::unix::process::ExitStatusExt as _, path::Path};

use anyhow::{Context as _, bail, ensure};
use hfetch_proto::v1::ListJobsRequest;
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    python::skip,
};
use rustix::process::Signal;
use tokio::time::timeout;

use super::{
    LAST_BREATH, Shown, Site, Strike, can_strace,
    day::{self, listening},
    most_in_a_thread, sample, strike_all, struck,
};

/// The steps of the schema up to the version that the test begins with, and what could be written by then.
const STEPS: [&str; 3] = [
    include_str!("../../../daemon/src/store/sql/jobs_0001.sql"),
    include_str!("../../../daemon/src/store/sql/jobs_0003.sql"),
    include_str!("../../../daemon/src/store/sql/jobs_0004.sql"),
];
const ROWS: &str = include_str!("../../../daemon/src/store/tests_upgrade.sql");
/// Nothing of it is forgotten because it is old.
const CONFIG: &str = "[jobs]\nkeep = '36500d'\nkeep_files = '36500d'\n[events]\nkeep = '36500d'\n";
const KILLED_OF_EACH: usize = 6;

/// A state directory as an older version left it.
fn old() -> anyhow::Result<Scratch> {
    let scratch = Scratch::new("http://127.0.0.1:9")?.config(CONFIG)?;
    std::fs::create_dir_all(scratch.state())?;
    #[expect(clippy::disallowed_methods, reason = "a test plays an older version")]
    let db = rusqlite::Connection::open(scratch.state().join("jobs.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    for (version, step) in (1..).zip(STEPS) {
        db.execute_batch(step)?;
        let (_, rows) = ROWS
            .split_once(&format!("-- jobs {version}\n"))
            .context("the rows of a version")?;
        db.execute_batch(rows.split("\n-- ").next().unwrap_or_default())?;
    }
    db.pragma_update(None, "application_id", 0x6866_6574)?;
    db.pragma_update(None, "user_version", STEPS.len())?;
    Ok(scratch)
}

/// All that a user sees of it, and what lies behind that.
#[derive(Debug, PartialEq)]
struct Left {
    jobs: Vec<(String, String, i32, u64, String)>,
    numbers: Vec<u64>,
}

async fn left(scratch: &Scratch) -> anyhow::Result<Left> {
    let request = ListJobsRequest {
        page_size: 1000,
        ..ListJobsRequest::default()
    };
    let answer = scratch.jobs().await?.list_jobs(request).await?.into_inner();
    let db = check::open(&scratch.state().join("jobs.db"))?;
    let numbers = [
        "SELECT count(*) FROM files",
        "SELECT count(*) FROM events WHERE kind = 'submitted'",
        "SELECT sum(bytes) FROM ledger",
        "SELECT count(*) FROM aliases",
    ];
    let numbers: Result<_, _> = numbers
        .iter()
        .map(|sql| db.query_row(sql, [], |row| row.get(0)))
        .collect();
    let jobs = answer.jobs.into_iter();
    Ok(Left {
        jobs: jobs
            .map(|job| (job.id, job.user, job.state, job.bytes_done, job.commit))
            .collect(),
        numbers: numbers?,
    })
}

/// An upgrade that nothing happens to: what it leaves, and the sites in it.
async fn undisturbed() -> anyhow::Result<(Left, Vec<Site>)> {
    let scratch = old()?;
    let log = scratch.path("calls");
    let nowhere = Site {
        call: String::new(),
        nth: 0,
    };
    let mut child = struck(&scratch, &nowhere, Strike::Nothing, &log)?;
    listening(&scratch).await?;
    let wanted = left(&scratch).await?;
    // What it has done by now is what an upgrade takes; strace writes line by line.
    let counts = eventually("all calls", async || {
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        let counts = most_in_a_thread(&text);
        let renamed = counts.keys().any(|call| call.starts_with("rename"));
        if renamed { Ok(counts) } else { Err(text) }
    });
    let counts = counts.await?;
    let status = day::stop(&mut child).await?;
    ensure!(status.success(), "it stopped with {status}");
    let sites = counts.into_iter().filter(|(call, _)| call != "write");
    let sites = sites.flat_map(|(call, most)| {
        (1..=most).map(move |nth| Site {
            call: call.clone(),
            nth,
        })
    });
    Ok((wanted, sites.collect()))
}

async fn kill_at(wanted: &Left, site: &Site) -> anyhow::Result<Shown> {
    let scratch = old()?;
    let mut child = struck(&scratch, site, Strike::Kill, Path::new("/dev/null"))?;
    let status = tokio::select! {
        biased;
        status = child.wait() => status?,
        answered = listening(&scratch) => {
            answered?;
            // It may die still, also of its last steps.
            match timeout(LAST_BREATH, child.wait()).await {
                Ok(status) => status?,
                Err(_) => day::stop(&mut child).await?,
            }
        }
    };
    let shown = match status {
        status if status.signal() == Some(Signal::KILL.as_raw()) => Shown::Died,
        // The calls fell otherwise this time, and nobody made so many of them.
        status if status.success() => Shown::WentOn,
        status => bail!("it ended with {status}\n{}", scratch.log()),
    };
    let daemon = scratch.daemon().await?;
    let left = left(&scratch).await?;
    ensure!(left == *wanted, "left is {left:#?}\nand should be {wanted:#?}");
    let copy = check::open(&scratch.state().join("jobs.db.v3"))?;
    let version: usize = copy.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let files: u64 = copy.query_row("SELECT count(*) FROM files", [], |row| row.get(0))?;
    ensure!(
        (version, files) == (STEPS.len(), wanted.numbers[0]),
        "the copy that is kept has version {version} and {files} files"
    );
    daemon.stop().await?;
    Ok(shown)
}

#[tokio::test]
async fn dying_in_an_upgrade_loses_nothing() -> anyhow::Result<()> {
    if !can_strace().await {
        skip("strace cannot follow a program here");
        return Ok(());
    }
    let (wanted, sites) = undisturbed().await?;
    assert_eq!((wanted.jobs.len(), wanted.numbers[0]), (120, 1200), "{wanted:?}");
    println!("{} sites", sites.len());
    let wanted = &wanted;
    let sites = sample(&sites, KILLED_OF_EACH, 2);
    let outcome = strike_all("killed", sites, |site| async move { kill_at(wanted, &site).await }).await;
    println!("{}", outcome.summary());
    assert!(outcome.faults.is_empty(), "{}", outcome.faults.join("\n\n"));
    // A rig that strikes nobody proves nothing.
    assert!(outcome.died() * 2 > outcome.struck, "most sites were not reached");
    Ok(())
}
