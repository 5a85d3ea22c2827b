//! Memory of the daemon: what it takes at most, whatever it downloads. The figure is the kernel's, of the resident set.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Host, PlainShape, RepoBuilder, SimHub, Storage},
};

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";

#[tokio::test]
async fn thousands_of_files_take_no_memory_each() -> anyhow::Result<()> {
    const FILES: u64 = 5000;
    let repo = (0..FILES).fold(RepoBuilder::dataset("org/many"), |repo, number| {
        repo.seeded(
            &format!("data/{:03}/{number:06}.json", number / 100),
            100 + number % 50,
            number,
        )
    });
    let hub = SimHub::builder().repo(repo).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let idle = daemon.peak_memory();
    let id = scratch.submit(&["org/many", "--dataset"]).await?;
    scratch.wait_done(&[&id]).await?;
    let grown = daemon.peak_memory() - idle;
    // Most of it does not depend on their number: buffers, caches of the databases, events for watchers. When the plan and
    // all that was fetched were held, five thousand took 45 MiB, and each thousand 6 more.
    assert!(grown < 32 * MIB, "{} MiB above those of an idle daemon", grown / MIB);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

/// The most that the daemon takes with so many connections to a server that sends as fast as it can.
async fn peak_with(connections: usize, size: u64) -> anyhow::Result<u64> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked))
        .start()?;
    let config = format!(
        "[transfer]\nconnections = {connections}\n\
         [[endpoints]]\nname = \"hub\"\nurl = \"{}\"\nmax_connections = {connections}\n",
        hub.endpoint()
    );
    let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    // Slow enough that each connection pays; once all are there, as fast as it goes.
    hub.pace().set_per_connection(Some(200_000));
    let id = scratch.submit(&["org/m"]).await?;
    let open = || {
        let bodies = |record: &hfetch_tests::sim::Record| record.host == Host::Cdn && record.ended.is_none();
        hub.journal().count(bodies)
    };
    hub.journal()
        .wait_for("all connections", |_| open() >= connections)
        .await;
    hub.pace().set_per_connection(None);
    scratch.wait_done(&[&id]).await?;
    let peak = daemon.peak_memory();
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    Ok(peak)
}

#[tokio::test]
async fn sixteen_connections_take_less_than_64_mib() -> anyhow::Result<()> {
    let peak = peak_with(16, 384 * MIB).await?;
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
    Ok(())
}

#[tokio::test]
async fn sixty_four_connections_take_less_than_128_mib() -> anyhow::Result<()> {
    let peak = peak_with(64, 512 * MIB).await?;
    assert!(peak < 128 * MIB, "{} MiB", peak / MIB);
    Ok(())
}
