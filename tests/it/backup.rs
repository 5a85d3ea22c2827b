//! `hfctl daemon backup`, and a daemon that goes on from what it gave.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::ensure;
use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
};
use serde_json::Value;

const TOKEN: &str = "hf_canaryCanaryCanaryCanaryCanary99";

async fn ids(scratch: &Scratch) -> anyhow::Result<Vec<Value>> {
    let list = scratch.hfctl(["list", "--json"]).await?.json()?;
    let jobs = list["jobs"].as_array().cloned().unwrap_or_default();
    Ok(jobs.into_iter().map(|job| job["id"].clone()).collect())
}

#[tokio::test]
async fn jobs_go_on_from_a_copy() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/done").seeded("a.bin", 100_000, 1))
        .repo(RepoBuilder::model("org/half").seeded("b.bin", 9 << 20, 2))
        .token(TOKEN, "ann")
        .start()?;
    let gate = hub.hold_bodies("b.bin", 100_000);
    let scratch = Scratch::new(hub.endpoint())?.env("HF_TOKEN", TOKEN);
    let daemon = scratch.daemon().await?;
    let done = scratch.submit(&["org/done"]).await?;
    scratch.wait_done(&[&done]).await?;
    let half = scratch.submit(&["org/half"]).await?;
    gate.reached().await;
    scratch.hfctl(["alias", "add", "mine", "org/half"]).await?.ok()?;

    let copy = scratch.path("copy.db");
    let path = copy.display().to_string();
    let ran = scratch.hfctl(["daemon", "backup", &path]).await?;
    assert_eq!(ran.ok()?.trim(), path);
    assert_eq!(fs::metadata(&copy)?.permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&copy)?;
    ensure!(
        !bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()),
        "the token is in it"
    );
    // What is there is not touched.
    fs::write(scratch.path("mine"), "mine")?;
    let ran = scratch
        .hfctl(["daemon", "backup", &scratch.path("mine").display().to_string()])
        .await?;
    assert!(
        ran.code == 1 && ran.stderr.contains("is there already"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(scratch.path("mine"))?, "mine");
    let ran = scratch
        .hfctl(["daemon", "backup", &scratch.path("none/x").display().to_string()])
        .await?;
    assert!(ran.code == 1 && ran.stderr.contains("none/x"), "{}", ran.stderr);
    let left: Vec<_> = fs::read_dir(scratch.path(""))?
        .chain(fs::read_dir(scratch.state())?)
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    assert!(
        !left
            .iter()
            .any(|name| name.ends_with(".part") || name.ends_with(".copy")),
        "{left:?}"
    );

    // Everything is lost, and put back.
    let before = ids(&scratch).await?;
    daemon.kill().await?;
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(scratch.state().join(format!("jobs.db{end}"))).ok();
    }
    fs::copy(&copy, scratch.state().join("jobs.db"))?;
    gate.release();
    let daemon = scratch.daemon().await?;
    assert_eq!(ids(&scratch).await?, before);
    scratch.wait_done(&[&half]).await?;
    assert_eq!(scratch.state_of(&done).await?, "done");
    let aliases = scratch.hfctl(["alias", "list"]).await?.ok()?;
    assert!(aliases.contains("org/half"), "{aliases}");
    daemon.stop().await?;
    // A kill may cost bytes, and never a right one.
    check::sound(&scratch, &[&hub])
}
