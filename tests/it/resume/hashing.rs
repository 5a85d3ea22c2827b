//! What was hashed before a kill is not read again, and after another boot of the machine all of it is.

use hfetch_tests::{
    check,
    harness::{Daemon, Scratch, eventually, file_bytes},
    own_network,
    sim::{RepoBuilder, SimHub},
};

use super::MIB;

const FILE: &str = "model.safetensors";
const SIZE: u64 = 160 * MIB;
const KILLED_AT: u64 = 128 * MIB;
/// What may be hashed and not claimed, with the block that it is in.
const LAG: u64 = 48 * MIB;
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Kills a daemon when all it has is claimed, and gives what the next one reads of files to bring the download to its end.
async fn read_after(between: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/big").seeded(FILE, SIZE, 7))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies(FILE, KILLED_AT);
    // One connection: what is there is there without a gap.
    let id = scratch.submit(&["org/big", "-x", "1"]).await?;
    gate.reached().await;
    check::taken(&hub).await?;
    eventually("the last claim", async || match check::claimed(&scratch) {
        Ok(bytes) if bytes >= KILLED_AT - MIB => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    // Hashing may lag behind what came; it is claimed on its own.
    eventually("the hashed blocks", async || match check::hashed(&scratch) {
        Ok(bytes) if bytes >= KILLED_AT - LAG => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    daemon.kill().await?;
    gate.release();
    between()?;
    let daemon = scratch.daemon().await?;
    scratch.wait_done(&[&id]).await?;
    let read = read(&daemon)?;
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])?;
    Ok(read)
}

fn read(daemon: &Daemon<'_>) -> anyhow::Result<u64> {
    Ok(file_bytes(daemon.pid())?.0)
}

#[test]
fn what_was_hashed_is_read_again_after_a_boot_only() -> anyhow::Result<()> {
    own_network::run(
        "resume::hashing::what_was_hashed_is_read_again_after_a_boot_only",
        async {
            let same = read_after(|| Ok(())).await?;
            // What came since, what was claimed and not hashed yet, and the daemon's own files.
            let most = SIZE - KILLED_AT + LAG + 16 * MIB;
            assert!(same < most, "{} MiB were read", same / MIB);
            let dir = tempfile::tempdir()?;
            let boot = dir.path().join("boot");
            std::fs::write(&boot, "00000000-0000-4000-8000-000000000001\n")?;
            let another_boot = || {
                let boot = boot.display().to_string();
                hfetch_tests::recorder::run(&["mount", "--bind", &boot, BOOT])
            };
            let other = read_after(another_boot).await?;
            assert!(other >= SIZE, "only {} MiB were read", other / MIB);
            Ok(())
        },
    )
}
