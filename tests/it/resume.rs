//! Kills and stops in the middle of a download.

mod hashing;

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Ending, RepoBuilder, SimHub},
};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_killed_daemon_goes_on_where_it_was() -> anyhow::Result<()> {
    let size = 200 * MIB;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded("model.safetensors", size, 7))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 150 * MIB);
    let id = scratch.hfctl(["submit", "org/big"]).await?.ok()?;
    gate.reached().await;
    // Nothing is lost in sockets.
    check::taken(&hub).await?;
    daemon.kill().await?;
    let asked = hub.journal().len();
    gate.release();
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["wait", id.trim()]).await?.ok()?;
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])?;
    let again = check::sent_again(&hub, "model.safetensors", asked);
    assert!(again <= 64 * MIB, "{} MiB were fetched again", again / MIB);
    Ok(())
}

#[tokio::test]
async fn a_clean_stop_costs_nothing() -> anyhow::Result<()> {
    // Connections that help each other at the end of a file cost a little; one alone has nobody to help.
    for (connections, repeats) in [("32", 4 * MIB), ("1", MIB)] {
        a_clean_stop(connections, repeats).await?;
    }
    Ok(())
}

async fn a_clean_stop(connections: &str, repeats: u64) -> anyhow::Result<()> {
    let size = 200 * MIB;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded("model.safetensors", size, 7))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 100 * MIB);
    let id = scratch.hfctl(["submit", "org/big", "-x", connections]).await?.ok()?;
    gate.reached().await;
    // Everything that was sent has arrived before the stop.
    check::taken(&hub).await?;
    daemon.stop().await?;
    let asked = hub.journal().len();
    gate.release();
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["wait", id.trim()]).await?.ok()?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    let again = check::sent_again(&hub, "model.safetensors", asked);
    assert_eq!(again, 0, "{}", hub.journal().text());
    let again = hub.journal().duplicate_bytes("model.safetensors");
    assert!(again <= repeats, "{again} by {connections}\n{}", hub.journal().text());
    Ok(())
}

/// What the daemon's system had taken in when it was told to stop is kept, at full speed too.
#[tokio::test]
async fn stops_at_full_speed_keep_what_has_arrived() -> anyhow::Result<()> {
    const SIZE: u64 = 300 * MIB;
    const SEND_BUFFER: usize = 16 << 10;
    const STOPS: u64 = 4;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded("model.safetensors", SIZE, 7))
        .start()?;
    // What the server's own system holds when the connection ends counts as sent: let it be little.
    hub.switch(|switches| switches.send_buffer = Some(SEND_BUFFER));
    let scratch = Scratch::new(hub.endpoint())?;
    let mut daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/big"]).await?;
    let sent = || hub.journal().bytes_sent_for("model.safetensors");
    for stop in 1..=STOPS {
        hub.journal()
            .wait_for("the next stop", |_| sent() >= stop * SIZE / (STOPS + 2))
            .await;
        daemon.stop().await?;
        daemon = scratch.daemon().await?;
    }
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    // Of each answer that a stop cut off: what was on its way at that moment.
    let cut = hub
        .journal()
        .count(|record| record.file.is_some() && record.ending == Ending::PeerClosed);
    let again = hub.journal().duplicate_bytes("model.safetensors");
    let allowed = cut as u64 * (4 * SEND_BUFFER as u64 + (64 << 10));
    assert!(again <= allowed, "{again} of {allowed}\n{}", hub.journal().text());
    Ok(())
}

#[tokio::test]
async fn what_was_removed_meanwhile_is_fetched_again() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/big")
                .file("config.json", "{\"a\": 1}")
                .seeded("model.safetensors", 32 * MIB, 7),
        )
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 8 * MIB);
    let id = scratch.submit(&["org/big"]).await?;
    gate.reached().await;
    eventually("the small file is there", async || {
        let job = scratch.show(&id).await.map_err(|error| error.to_string())?;
        if job["files_done"] == 1 {
            Ok(())
        } else {
            Err(job.to_string())
        }
    })
    .await?;
    scratch.hfctl(["pause", &id]).await?.ok()?;
    gate.release();
    // What a user does who needs the space.
    for folder in ["blobs", "snapshots"] {
        std::fs::remove_dir_all(scratch.cache().join("models--org--big").join(folder))?;
    }
    scratch.hfctl(["resume", &id]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    assert_eq!(
        (&job["files_done"], &job["files_total"]),
        (&2.into(), &2.into()),
        "{job}"
    );
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}
