//! A file system that takes no more files: jobs wait for it and lose nothing.

use std::path::PathBuf;

use hfetch_tests::{
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
};

use super::{BIG, MIB};
use crate::doctor::with_few_inodes;

#[tokio::test]
async fn without_inodes_a_job_waits_and_goes_on() -> anyhow::Result<()> {
    const FILES: u64 = 60;
    let repo = RepoBuilder::model("org/m").seeded(BIG, 3 * MIB, 1);
    let repo = (0..FILES).fold(repo, |repo, number| {
        repo.seeded(&format!("f{number}.json"), 500, number)
    });
    let hub = SimHub::builder().repo(repo).start()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[storage]\nmin_free = 0\n")?;
    let Some(scratch) = with_few_inodes(scratch).await? else {
        return Ok(());
    };
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    let held = scratch.until(&id, "held (disk)").await?;
    assert!(
        held["detail"].as_str().is_some_and(|detail| detail.contains("inode")),
        "{held}"
    );
    // What lies there is the daemon's view.
    let cache = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), scratch.cache().display()));
    for number in 0..1500 {
        std::fs::remove_file(cache.join(number.to_string()))?;
    }
    scratch.hfctl(["retry", &id]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    let told = scratch.hfctl(["cache", "verify"]).await?;
    assert!(
        told.stderr.contains(&format!("{} files sound, 0 bad", FILES + 1)),
        "{told:?}"
    );
    told.ok()?;
    // Nothing came that had no place.
    let asked = hub
        .journal()
        .count(|record| record.file.is_some() && record.status == 206);
    assert!(asked as u64 <= FILES + 8, "{}", hub.journal().text());
    assert_eq!(hub.journal().bytes_sent_for(BIG), 3 * MIB, "{}", hub.journal().text());
    daemon.stop().await?;
    Ok(())
}
