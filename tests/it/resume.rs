//! Kills and stops in the middle of a download.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
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
    check::finished(&scratch, &[&hub])?;
    let again = hub.journal().bytes_sent_for("model.safetensors") - size;
    assert!(again <= 64 * MIB + 8 * MIB, "{} MiB were fetched again", again / MIB);
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
    Ok(())
}
