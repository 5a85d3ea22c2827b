//! What a download takes from the machine it runs on: page cache, priority, memory. Counts, not times.

mod unsynced;

use std::{fs::File, io::Write as _, path::PathBuf};

use anyhow::Context as _;
use hfetch_tests::{
    check,
    harness::{Daemon, Scratch},
    page_cache,
    python::skip,
    sim::{Kind, RepoBuilder, SimHub, Storage},
};

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";

fn hub(size: u64) -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked))
        .start()
}

/// The share of a file that is in memory, percent, begun ones included.
fn cached(path: &std::path::Path) -> anyhow::Result<u64> {
    let size = std::fs::metadata(path)?.len();
    let resident = page_cache::resident(path)?.context("no fincore")?;
    Ok((resident * 100).div_ceil(size))
}

/// A memory file system has nothing but its page cache.
fn on_a_disk(scratch: &Scratch) -> anyhow::Result<bool> {
    const TMPFS: u64 = 0x0102_1994;
    let kind = rustix::fs::statfs(scratch.path(""))?.f_type;
    Ok(u64::try_from(kind)? != TMPFS)
}

fn blob(scratch: &Scratch, hub: &SimHub) -> PathBuf {
    let repo = hub.repo(Kind::Model, "org/m").expect("it is there");
    let commit = repo.commit("main").expect("one");
    let folder = scratch.cache().join("models--org--m/snapshots");
    folder.join(&commit.sha).join(FILE)
}

#[tokio::test]
async fn a_download_leaves_the_page_cache_and_others_stay_in_it() -> anyhow::Result<()> {
    for (value, least, most) in [("drop", 0, 0), ("keep", 90, 100)] {
        let hub = hub(96 * MIB)?;
        let config = format!("[storage]\npage_cache = \"{value}\"\n");
        let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
        if !on_a_disk(&scratch)? {
            skip("temporary files are in memory here");
            return Ok(());
        }
        if page_cache::resident(&scratch.path("hfetch.toml"))?.is_none() {
            skip("there is no fincore");
            return Ok(());
        }
        // A file of somebody else on the same disk, read before and during the download.
        let hot = scratch.path("hot");
        let mut file = File::create(&hot)?;
        file.write_all(&vec![7; 32 << 20])?;
        file.sync_all()?;
        std::fs::read(&hot)?;
        let daemon = scratch.daemon().await?;
        let gate = hub.hold_bodies(FILE, 60 * MIB);
        let id = scratch.submit(&["org/m"]).await?;
        gate.reached().await;
        std::fs::read(&hot)?;
        gate.release();
        scratch.wait_done(&[&id]).await?;
        let (ours, theirs) = (cached(&blob(&scratch, &hub))?, cached(&hot)?);
        assert!(
            (least..=most).contains(&ours),
            "{value}: {ours} % of the download are in memory"
        );
        assert_eq!(theirs, 100, "{value}: somebody else's file");
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])?;
    }
    Ok(())
}

/// Names and priorities of the daemon's threads: 20 is normal, 39 the lowest.
fn threads(daemon: &Daemon<'_>) -> anyhow::Result<Vec<(String, i64)>> {
    let mut threads = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", daemon.pid()))? {
        // It may end while we look.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else {
            continue;
        };
        let (head, rest) = stat.rsplit_once(") ").expect("a name in brackets");
        let name = head.split_once('(').expect("a name in brackets").1;
        let nice = rest.split_whitespace().nth(16).expect("the niceness").parse()?;
        threads.push((name.to_owned(), nice));
    }
    Ok(threads)
}

#[tokio::test]
async fn hashing_and_the_disk_stand_back() -> anyhow::Result<()> {
    let hub = hub(64 * MIB)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let usual = threads(&daemon)?.iter().map(|(_, nice)| *nice).min().expect("a thread");
    let gate = hub.hold_bodies(FILE, 40 * MIB);
    let id = scratch.submit(&["org/m"]).await?;
    gate.reached().await;
    let threads = threads(&daemon)?;
    for (name, least) in [("hfetch-disk", 5), ("hfetch-hash", 10)] {
        let mut ours = threads.iter().filter(|(thread, _)| thread == name).peekable();
        assert!(ours.peek().is_some(), "no {name} in {threads:?}");
        assert!(ours.all(|(_, nice)| *nice == usual.max(least)), "{threads:?}");
    }
    let mut others = threads.iter().filter(|(name, _)| !name.starts_with("hfetch-"));
    assert!(others.all(|(_, nice)| *nice == usual), "{threads:?}");
    gate.release();
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
