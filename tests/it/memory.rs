//! Memory of the daemon: what it takes at most, whatever it downloads. The figure is the kernel's, of the resident set.

use std::{fs::File, path::Path, process::Command};

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Host, PlainShape, RepoBuilder, SimHub, Storage},
};

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";
/// What a release build has mapped of its program (`RssFile`), rounded up. The promises count it; a debug build maps more.
const PROGRAM: u64 = 16 * MIB;

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

/// Connections that every server is tried with at first: whether more pay is measured, and a busy machine measures badly.
const AT_FIRST: usize = 4;

/// The most that the daemon takes with so many connections to servers that send as fast as they can.
async fn peak_with(connections: usize, size: u64) -> anyhow::Result<u64> {
    let hub = |_| {
        let repo = RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked);
        SimHub::builder().repo(repo).start()
    };
    let hubs: Vec<SimHub> = (0..connections / AT_FIRST).map(hub).collect::<anyhow::Result<_>>()?;
    let hubs: Vec<&SimHub> = hubs.iter().collect();
    let config = format!("[transfer]\nconnections = {connections}\n");
    let scratch = Scratch::new(hubs[0].endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    // Slow until all are there; then as fast as it goes.
    let set_pace = |rate| hubs.iter().for_each(|hub| hub.pace().set_per_connection(rate));
    set_pace(Some(200_000));
    let mut args = vec!["org/m"];
    for hub in &hubs {
        args.extend(["--endpoint", hub.endpoint()]);
    }
    let id = scratch.submit(&args).await?;
    let bodies = |record: &hfetch_tests::sim::Record| record.host == Host::Cdn && record.ended.is_none();
    eventually("all connections", async || {
        let open: usize = hubs.iter().map(|hub| hub.journal().count(bodies)).sum();
        (open >= connections).then_some(()).ok_or_else(|| open.to_string())
    })
    .await?;
    set_pace(None);
    scratch.wait_done(&[&id]).await?;
    let peak = daemon.peak_data() + PROGRAM;
    daemon.stop().await?;
    check::finished(&scratch, &hubs)?;
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

/// Mounts an image ($1) at a folder ($2) that nobody else sees, and becomes the rest.
const ON_AN_IMAGE: &str = r#"mount -o loop "$1" "$2" && shift 2 && exec "$@""#;

/// A file system of 1.1 TiB in a file with nothing in it; what is reserved there takes no room here.
fn huge_disk(image: &Path) -> anyhow::Result<()> {
    File::create(image)?.set_len(1100 << 30)?;
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-T", "largefile4", "-O", "^has_journal", "-m", "0"])
        .args(["-E", "lazy_itable_init=1,nodiscard"])
        .arg(image)
        .output()?;
    anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

#[tokio::test]
async fn a_file_of_a_tebibyte_takes_no_more_memory() -> anyhow::Result<()> {
    // Its hash is on trust: nobody waits for its end.
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").giant(FILE, 1 << 40, 5, &"a".repeat(64)))
        .start()?;
    let config = format!(
        "[transfer]\nconnections = 16\n[[endpoints]]\nname = \"hub\"\nurl = \"{}\"\nmax_connections = 16\n",
        hub.endpoint()
    );
    let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
    let (image, cache) = (scratch.path("disk.img"), scratch.cache());
    huge_disk(&image)?;
    std::fs::create_dir_all(&cache)?;
    let (image, cache) = (image.display().to_string(), cache.display().to_string());
    let within = ["unshare", "-m", "sh", "-c", ON_AN_IMAGE, "sh", &image, &cache];
    let tried = Command::new(within[0]).args(&within[1..]).arg("true").output()?;
    if !tried.status.success() {
        eprintln!("no loop devices here: {}", String::from_utf8_lossy(&tried.stderr));
        return Ok(());
    }
    let scratch = scratch.daemon_within(&within);
    // From the beginning, and from where a kill left it.
    let mut id = None;
    for part in [1024, 1536] {
        let gate = hub.hold_bodies(FILE, part * MIB);
        let daemon = scratch.daemon().await?;
        if id.is_none() {
            id = Some(scratch.submit(&["org/m"]).await?);
        }
        gate.reached().await;
        let peak = daemon.peak_data() + PROGRAM;
        assert!(peak < 64 * MIB, "{} MiB after {part}", peak / MIB);
        daemon.kill().await?;
        gate.release();
    }
    let daemon = scratch.daemon().await?;
    // What is there is known at once.
    let job = scratch.show(&id.unwrap_or_default()).await?;
    assert_eq!(job["bytes_total"], 1_u64 << 40, "{job}");
    let kept = job["bytes_done"].as_u64().unwrap_or(0);
    assert!(kept > 1024 * MIB, "{} MiB are left", kept / MIB);
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    daemon.stop().await?;
    Ok(())
}
