//! What stays, and what must not come back: refs and late jobs, files with twins, jobs that are over.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt as _};

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Content, Kind, RepoBuilder, SimHub, Storage, StoredFile},
};

use super::{BIG, MIB};

fn push(hub: &SimHub, path: &str, bytes: &'static [u8]) -> anyhow::Result<String> {
    let file = StoredFile {
        content: Content::memory(bytes).into(),
        storage: Storage::Plain,
    };
    hub.change_repo(Kind::Model, "org/m", |repo| {
        repo.push("main", "change", |files| drop(files.insert(path.to_owned(), file)));
        repo.commit("main").map(|commit| commit.sha.clone()).unwrap_or_default()
    })
}

#[tokio::test]
async fn a_late_job_does_not_take_a_branch_back() -> anyhow::Result<()> {
    let repo = RepoBuilder::model("org/m").seeded(BIG, MIB, 1).file("a.json", "{}");
    let hub = SimHub::builder().repo(repo).start()?;
    let gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let late = scratch.submit(&["org/m"]).await?;
    gate.reached().await;
    scratch.hfctl(["pause", &late]).await?.ok()?;
    let old = scratch.show(&late).await?["commit"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let new = push(&hub, "a.json", b"{\"a\": 1}")?;
    let quick = scratch.submit(&["org/m", "a.json"]).await?;
    scratch.wait_done(&[&quick]).await?;
    let main = scratch.cache().join("models--org--m/refs/main");
    assert_eq!(std::fs::read_to_string(&main)?, new);
    gate.release();
    scratch.hfctl(["resume", &late]).await?.ok()?;
    scratch.wait_done(&[&late]).await?;
    assert_ne!(old, new);
    assert_eq!(std::fs::read_to_string(&main)?, new, "the branch went back");
    // Its own files are there, and it is said why the branch stays.
    assert!(
        scratch
            .cache()
            .join(format!("models--org--m/snapshots/{old}/{BIG}"))
            .exists()
    );
    let events = scratch.hfctl(["watch", "--json", "--after", "0", &late]).await?.ok()?;
    assert!(events.contains(&format!("main stays at {new}")), "{events}");
    // A fresh look moves it on.
    let newest = push(&hub, "a.json", b"{\"a\": 2}")?;
    let last = scratch.submit(&["org/m", "a.json"]).await?;
    scratch.wait_done(&[&last]).await?;
    assert_eq!(std::fs::read_to_string(&main)?, newest);
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

#[tokio::test]
async fn equal_files_of_a_local_directory_are_fetched_once() -> anyhow::Result<()> {
    let names = ["a/model.bin", "b/model.bin", "c.bin", "d.bin"];
    let repo = names
        .iter()
        .fold(RepoBuilder::model("org/m"), |repo, name| repo.seeded(name, 2 * MIB, 5));
    let hub = SimHub::builder().repo(repo).start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let dir = scratch.path("out");
    let args = ["download", "org/m", "--local-dir", dir.to_str().unwrap_or_default()];
    scratch.hfctl(args).await?.ok()?;
    let sent: u64 = names.iter().map(|name| hub.journal().bytes_sent_for(name)).sum();
    assert_eq!(sent, 2 * MIB, "{}", hub.journal().text());
    let first = std::fs::read(dir.join(names[0]))?;
    let mut inodes = BTreeSet::new();
    for name in names {
        let meta = std::fs::metadata(dir.join(name))?;
        assert_eq!(meta.nlink(), 1, "{name} is not a file of its own");
        inodes.insert(meta.ino());
        assert_eq!(std::fs::read(dir.join(name))?, first, "{name}");
    }
    assert_eq!(inodes.len(), names.len());
    // The one that is changed is made whole again from another, and the others stay as they are.
    std::fs::write(dir.join(names[2]), b"mine")?;
    scratch.hfctl(args).await?.ok()?;
    assert_eq!(std::fs::read(dir.join(names[2]))?, first);
    let sent: u64 = names.iter().map(|name| hub.journal().bytes_sent_for(name)).sum();
    assert_eq!(sent, 2 * MIB, "{}", hub.journal().text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn jobs_that_are_over_are_forgotten_and_open_ones_are_not() -> anyhow::Result<()> {
    let repo = RepoBuilder::model("org/m").seeded(BIG, MIB, 1).file("a.json", "{}");
    let hub = SimHub::builder().repo(repo).start()?;
    let _gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let open = scratch.submit(&["org/m"]).await?;
    let old = scratch.submit(&["org/m", "a.json"]).await?;
    scratch.wait_done(&[&old]).await?;
    let newer = scratch.submit(&["org/m", "a.json"]).await?;
    scratch.wait_done(&[&newer]).await?;
    let newest = scratch.submit(&["org/m", "a.json"]).await?;
    scratch.wait_done(&[&newest]).await?;
    daemon.stop().await?;
    // What is old is looked for at every start.
    let daemon = scratch
        .daemon_with(&[("HFETCH_JOBS__KEEP_COUNT", "2"), ("HFETCH_JOBS__KEEP_FILES", "1ms")])
        .await?;
    eventually("a forgotten job", async || {
        let ran = scratch.hfctl(["show", &old]).await.map_err(|error| error.to_string())?;
        if ran.code == 4 { Ok(()) } else { Err(ran.stdout) }
    })
    .await?;
    for verb in ["watch", "wait", "retry"] {
        let ran = scratch.hfctl([verb, &old]).await?;
        assert_eq!(ran.code, 4, "{verb}: {}", ran.stderr);
    }
    assert_eq!(scratch.state_of(&newer).await?, "done");
    let ran = scratch.hfctl(["show", "--files", &newer]).await?;
    assert!(ran.stderr.contains("jobs.keep_files"), "{}", ran.stderr);
    let open = scratch.hfctl(["show", "--files", "--json", &open]).await?.json()?;
    assert_eq!(open["files"].as_array().map(Vec::len), Some(2), "{open}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
