//! What one user may have: connections at a time, bytes to come, and bytes on disk.

use std::fs;

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Host, Record, RepoBuilder, SimHub, Storage},
};
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn write(scratch: &Scratch, users: &str) -> anyhow::Result<()> {
    Ok(fs::write(
        scratch.path("hfetch.toml"),
        format!("[storage]\nmin_free = 0\n{users}"),
    )?)
}

async fn reload(scratch: &Scratch, users: &str) -> anyhow::Result<()> {
    write(scratch, users)?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    Ok(())
}

fn detail(job: &Value) -> &str {
    job["detail"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_user_has_so_many_connections_whatever_the_number_of_jobs() -> anyhow::Result<()> {
    let repo = |name: &str, seed| RepoBuilder::model(name).seeded_as("model.bin", 64 * MIB, seed, Storage::Linked);
    let hub = SimHub::builder()
        .repo(repo("org/one", 1))
        .repo(repo("org/other", 2))
        .start()?;
    // None of them ends before the test does.
    hub.pace().set_per_connection(Some(300_000));
    let scratch = Scratch::new(hub.endpoint())?.config("")?;
    write(&scratch, "[users.default]\nmax_connections = 2\n")?;
    let daemon = scratch.daemon().await?;
    let first = scratch.submit(&["org/one", "-x", "8"]).await?;
    let open = || {
        let bodies = |record: &Record| record.host == Host::Cdn && record.ended.is_none();
        hub.journal().count(bodies)
    };
    hub.journal().wait_for("both connections", |_| open() >= 2).await;
    let second = scratch.submit(&["org/other", "-x", "8"]).await?;
    // Which says what it waits for; nothing is wrong with it.
    let waiting = eventually("the reason", async || {
        let job = scratch.show(&second).await.map_err(|error| error.to_string())?;
        match detail(&job).contains("2 connections (users.NAME.max_connections)") {
            true => Ok(job),
            false => Err(job.to_string()),
        }
    });
    let waiting = waiting.await?;
    assert_eq!(waiting["state"], "active", "{waiting}");
    assert_eq!(open(), 2, "{}", hub.journal().text());
    reload(&scratch, "[users.default]\nmax_connections = 5\n").await?;
    hub.journal().wait_for("three more", |_| open() >= 5).await;
    let moving = eventually("bytes of the second", async || {
        let job = scratch.show(&second).await.map_err(|error| error.to_string())?;
        match job["bytes_done"].as_u64() > Some(0) && detail(&job).starts_with("downloading") {
            true => Ok(()),
            false => Err(job.to_string()),
        }
    });
    moving.await?;
    assert_eq!(open(), 5, "{}", hub.journal().text());
    reload(&scratch, "").await?;
    hub.journal().wait_for("as many as they ask for", |_| open() > 5).await;
    hub.pace().set_per_connection(None);
    scratch.wait_done(&[&first, &second]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_user_keeps_so_much_on_disk_and_the_rest_waits_with_numbers() -> anyhow::Result<()> {
    let repo = |name: &str, seed| RepoBuilder::model(name).seeded("model.bin", 2 * MIB, seed);
    let hub = SimHub::builder()
        .repo(repo("org/one", 1))
        .repo(repo("org/two", 2))
        .repo(repo("org/three", 3))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?.config("")?;
    write(&scratch, "[users.default]\nmax_disk = '3MiB'\n")?;
    let daemon = scratch.daemon().await?;
    let one = scratch.submit(&["org/one"]).await?;
    scratch.wait_done(&[&one]).await?;
    let two = scratch.submit(&["org/two"]).await?;
    let held = scratch.until(&two, "held (disk)").await?;
    for words in [
        "org/two would keep 2.0 MiB more",
        "keep 2.0 MiB and may keep 3.0 MiB (users.NAME.max_disk)",
        "1.0 MiB less have to be kept",
    ] {
        assert!(detail(&held).contains(words), "no {words:?} in {held}");
    }
    let asked = |repo: &str| {
        let of = |record: &Record| record.repo.as_deref() == Some(repo) && record.file.is_some();
        hub.journal().count(of)
    };
    assert_eq!(asked("org/two"), 0, "{}", hub.journal().text());
    // What is there already may be asked for again.
    let again = scratch.submit(&["org/one", "model.bin"]).await?;
    scratch.wait_done(&[&again]).await?;
    // Room is made, by the user or by whoever sets the limit.
    scratch.hfctl(["cache", "rm", "org/one", "--yes"]).await?.ok()?;
    scratch.hfctl(["retry", &two]).await?.ok()?;
    scratch.wait_done(&[&two]).await?;
    let three = scratch.submit(&["org/three"]).await?;
    scratch.until(&three, "held (disk)").await?;
    reload(&scratch, "[users.default]\nmax_disk = '4MiB'\n").await?;
    scratch.hfctl(["retry", &three]).await?.ok()?;
    scratch.wait_done(&[&three]).await?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_user_begins_no_more_than_is_to_come_and_the_next_one_begins_as_bytes_come() -> anyhow::Result<()> {
    let repo = |name: &str, seed| RepoBuilder::model(name).seeded_as("model.bin", 8 * MIB, seed, Storage::Linked);
    let hub = SimHub::builder()
        .repo(repo("org/one", 1))
        .repo(repo("org/two", 2))
        .repo(repo("org/three", 3))
        .start()?;
    let gate = hub.hold_bodies("model.bin", MIB);
    let scratch = Scratch::new(hub.endpoint())?.config("")?;
    write(&scratch, "[users.default]\nmax_active = '5MiB'\n")?;
    let daemon = scratch.daemon().await?;
    let ids = [
        scratch.submit(&["org/one", "-x", "1"]).await?,
        scratch.submit(&["org/two", "-x", "1"]).await?,
        scratch.submit(&["org/three", "-x", "1"]).await?,
    ];
    gate.reached().await;
    let waiting = eventually("the reason", async || {
        let job = scratch.show(&ids[1]).await.map_err(|error| error.to_string())?;
        match detail(&job).contains("less than 5.0 MiB to come (users.NAME.max_active)") {
            true => Ok(job),
            false => Err(job.to_string()),
        }
    });
    let waiting = waiting.await?;
    assert_eq!(waiting["state"], "queued", "{waiting}");
    assert_eq!(scratch.state_of(&ids[2]).await?, "queued");
    // Without the limit the second and the third begin at once, though nothing has ended.
    reload(&scratch, "").await?;
    scratch.until(&ids[2], "active").await?;
    scratch.until(&ids[1], "active").await?;
    gate.release();
    scratch.wait_done(&ids.each_ref().map(String::as_str)).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
