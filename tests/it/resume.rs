//! Kills and stops in the middle of a download.

use hfetch_tests::{
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
    tree,
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
    daemon.kill().await?;
    gate.release();
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["wait", id.trim()]).await?.ok()?;
    daemon.stop().await?;
    assert_eq!(tree::faults(&scratch.cache())?, Vec::<String>::new());
    let again = hub.journal().bytes_sent_for("model.safetensors") - size;
    assert!(again <= 64 * MIB + 8 * MIB, "{} MiB were fetched again", again / MIB);
    hub.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_clean_stop_costs_nothing() -> anyhow::Result<()> {
    let size = 200 * MIB;
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded("model.safetensors", size, 7))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 100 * MIB);
    let id = scratch.hfctl(["submit", "org/big"]).await?.ok()?;
    gate.reached().await;
    // Everything that was sent has arrived before the stop.
    hfetch_tests::harness::eventually("100 MiB", async || {
        let job = scratch
            .hfctl(["show", "--json", id.trim()])
            .await
            .and_then(|ran| ran.json());
        let done = job.map_err(|error| error.to_string())?["bytes_done"]
            .as_u64()
            .unwrap_or(0);
        if done + 8 * MIB >= 100 * MIB {
            Ok(())
        } else {
            Err(format!("{done} bytes"))
        }
    })
    .await?;
    daemon.stop().await?;
    gate.release();
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["wait", id.trim()]).await?.ok()?;
    daemon.stop().await?;
    assert_eq!(tree::faults(&scratch.cache())?, Vec::<String>::new());
    assert_eq!(
        hub.journal().duplicate_bytes("model.safetensors"),
        0,
        "{}",
        hub.journal().text()
    );
    hub.assert_clean();
    Ok(())
}
