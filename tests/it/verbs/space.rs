//! A disk on which one job fits, and not two.

use hfetch_tests::{
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
};

use super::MIB;
use crate::doctor::with_disk;

const DISK: &str = "mkdir -p \"$CACHE\" && mount -t tmpfs -o size=96m none \"$CACHE\" && exec \"$0\" \"$@\"";

/// The first one has its first file under way, and its second one before it: what that needs is not free for another job.
#[tokio::test]
async fn what_a_job_still_needs_is_not_given_to_another() -> anyhow::Result<()> {
    let first = RepoBuilder::model("org/first")
        .seeded("a.bin", 40 * MIB, 1)
        .seeded("b.bin", 24 * MIB, 2);
    let hub = SimHub::builder()
        .repo(first)
        .repo(RepoBuilder::model("org/second").seeded("c.bin", 30 * MIB, 3))
        .repo(RepoBuilder::model("org/little").seeded("d.bin", 4 * MIB, 4))
        .start()?;
    let gate = hub.hold_bodies("a.bin", 5 * MIB);
    let scratch = Scratch::new(hub.endpoint())?.config("[storage]\nmin_free = '8MiB'\n")?;
    let Some(scratch) = with_disk(scratch, DISK).await? else {
        return Ok(());
    };
    let daemon = scratch.daemon().await?;
    let first = scratch.submit(&["org/first", "-j", "1"]).await?;
    gate.reached().await;
    let second = scratch.submit(&["org/second"]).await?;
    let held = scratch.until(&second, "held (disk)").await?;
    let detail = held["detail"].as_str().unwrap_or_default();
    for word in [
        "org/second still needs 30.0 MiB",
        "24.0 MiB are for another job",
        "8.0 MiB must stay free",
        "more have to become free",
    ] {
        assert!(detail.contains(word), "no {word:?} in {detail:?}");
    }
    assert_eq!(hub.journal().bytes_sent_for("c.bin"), 0);
    // What fits beside both goes on.
    let little = scratch.submit(&["org/little"]).await?;
    scratch.wait_done(&[&little]).await?;
    gate.release();
    scratch.wait_done(&[&first]).await?;
    // Nothing is promised any more, and it is still too much: 28 MiB are free.
    scratch.hfctl(["retry", &second]).await?.ok()?;
    let alone = hfetch_tests::harness::eventually("another reason", async || {
        let job = scratch.show(&second).await.map_err(|error| error.to_string())?;
        let detail = job["detail"].as_str().unwrap_or_default();
        let held = job["state"] == "held" && !detail.contains("another job");
        if held {
            Ok(detail.to_owned())
        } else {
            Err(job.to_string())
        }
    });
    let alone = alone.await?;
    assert!(alone.contains("org/second still needs 30.0 MiB"), "{alone}");
    // As somebody makes room.
    scratch.hfctl(["cache", "rm", "org/first", "--yes"]).await?.ok()?;
    scratch.hfctl(["retry", &second]).await?.ok()?;
    scratch.wait_done(&[&second]).await?;
    daemon.stop().await?;
    Ok(())
}
