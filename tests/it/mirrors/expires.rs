//! A verdict holds until it expires, also over a restart, and then the mirror is asked anew.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub, Storage},
};
use rusqlite::Connection;
use serde_json::Value;

use super::{FILE, MIB, hub_of, scratch};

/// The origin alone would take minutes.
fn repo() -> RepoBuilder {
    RepoBuilder::model("org/m")
        .seeded_as(FILE, 48 * MIB, 5, Storage::Linked)
        .plain("config.json", b"{\"a\": 1}".to_vec())
}

/// What is known of the mirror.
async fn known(scratch: &Scratch) -> anyhow::Result<Value> {
    let listed = scratch.hfctl(["endpoint", "list", "--json"]).await?.json()?;
    let all = listed.as_array().cloned().unwrap_or_default();
    Ok(all
        .into_iter()
        .find(|one| one["name"] == "mirror")
        .unwrap_or(Value::Null))
}

/// Lets all verdicts be an hour older than they are.
#[expect(clippy::disallowed_methods, reason = "the past of a daemon that does not run")]
fn age(scratch: &Scratch) -> anyhow::Result<()> {
    let db = Connection::open(scratch.state().join("jobs.db"))?;
    let changed = db.execute("UPDATE judgements SET at = at - 3600000, until = until - 3600000", [])?;
    anyhow::ensure!(changed > 0, "no verdict is stored");
    Ok(())
}

fn bytes_of(hub: &SimHub) -> u64 {
    hub.journal().bytes_sent_for(FILE)
}

#[tokio::test]
async fn a_verdict_is_asked_for_again_when_it_has_expired() -> anyhow::Result<()> {
    let origin = hub_of(repo())?;
    let mirror = hub_of(repo().plain("more.txt", b"newer".to_vec()))?;
    let scratch = scratch(&origin, &mirror, false)?;
    let daemon = scratch.daemon().await?;
    scratch
        .hfctl(["endpoint", "probe", "--repo", "org/m"])
        .await?
        .exits(1)?;
    let bad = known(&scratch).await?;
    assert_eq!(bad["fault"], "other_commit", "{bad:#}");
    // It is mended now, and nobody looks before the time.
    mirror.put_repo(repo());
    let id = scratch.submit(&["org/m", "config.json"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    let daemon = scratch.daemon().await?;
    assert_eq!(known(&scratch).await?, bad);
    assert_eq!(bytes_of(&mirror), 0, "{}", mirror.journal().text());
    daemon.stop().await?;
    age(&scratch)?;
    let daemon = scratch.daemon().await?;
    origin.pace().set_total(Some(200_000));
    let id = scratch.submit(&["org/m"]).await?;
    let journal = mirror.journal();
    journal
        .wait_for("bytes of the mirror", |_| bytes_of(&mirror) > MIB)
        .await;
    scratch.wait_done(&[&id]).await?;
    let good = known(&scratch).await?;
    assert_eq!(
        (&good["state"], &good["fault"]),
        (&"good".into(), &Value::Null),
        "{good:#}"
    );
    daemon.stop().await?;
    // What the speed was measured with came for nothing.
    check::tidied(&scratch, &[&origin, &mirror])
}
