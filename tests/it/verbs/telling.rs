//! What a user is told before and while a job runs: its files, gated repositories, aliases without a target.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Gated, RepoBuilder, SimHub},
};

use super::{BIG, BIG_SIZE, MIB, big_hub, in_the_middle, stop};

#[tokio::test]
async fn patterns_that_fit_nothing_are_told_each_time() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded("model.safetensors", 700, 1))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let words = "no file of the repository fits the patterns";
    // Also of the second one, whose plan is that of the first.
    for _ in 0..2 {
        let id = scratch.submit(&["org/m", "--include", "*.safetensros"]).await?;
        let job = scratch.until(&id, "done").await?;
        assert!(
            job["detail"].as_str().is_some_and(|detail| detail.starts_with(words)),
            "{job}"
        );
        let ran = scratch
            .hfctl(["download", "org/m", "--include", "*.safetensros"])
            .await?;
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn the_files_of_a_job_tell_how_far_they_are() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (id, gate) = in_the_middle(&hub, &scratch).await?;
    let file = async || -> anyhow::Result<(String, u64)> {
        let job = scratch.hfctl(["show", "--files", "--json", &id]).await?.json()?;
        let file = &job["files"][0];
        Ok((
            file["state"].as_str().unwrap_or_default().to_owned(),
            file["bytes_done"].as_u64().unwrap_or_default(),
        ))
    };
    let (state, bytes) = file().await?;
    assert!(
        state == "active" && bytes > 50 * MIB && bytes < BIG_SIZE,
        "{state} {bytes}"
    );
    stop(&hub, &scratch, "pause", &id).await?;
    // At rest it is as far as its claims say, and nothing moves.
    hfetch_tests::harness::eventually("a file at rest", async || {
        let (state, bytes) = file().await.map_err(|error| error.to_string())?;
        let job = scratch.show(&id).await.map_err(|error| error.to_string())?;
        let same = job["bytes_done"] == bytes && job["bytes_per_sec"] == 0;
        if state == "pending" && bytes > 50 * MIB && same {
            Ok(())
        } else {
            Err(format!("{state} {bytes} {job}"))
        }
    })
    .await?;
    gate.release();
    scratch.hfctl(["resume", &id]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    assert_eq!(file().await?, ("done".to_owned(), BIG_SIZE));
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn events_name_a_data_set_as_one() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::dataset("org/d").file("a.json", "{}"))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["datasets/org/d"]).await?;
    scratch.wait_done(&[&id]).await?;
    let lines = scratch.hfctl(["watch", "--after", "0", &id]).await?.ok()?;
    assert!(
        !lines.is_empty() && lines.lines().all(|line| line.contains("datasets/org/d")),
        "{lines}"
    );
    let json = scratch.hfctl(["watch", "--json", "--after", "0", &id]).await?.ok()?;
    assert!(json.contains("\"repo_type\":\"dataset\""), "{json}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_dry_run_tells_whether_the_files_may_be_read() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/gated")
                .seeded(BIG, MIB, 1)
                .gated(Gated::Auto, &["alice"]),
        )
        .token("hf_alice", "alice")
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let dry = ["submit", "org/gated", "--dry-run"];
    let ran = scratch.hfctl(dry).await?;
    assert!(
        ran.stdout.contains(BIG),
        "the plan is told all the same: {}",
        ran.stdout
    );
    assert!(ran.stderr.contains("would fail"), "{}", ran.stderr);
    ran.exits(5)?;
    let json = [&dry[..], &["--json"]].concat();
    let plan = scratch.hfctl(&json).await?.exits(5)?;
    let plan: serde_json::Value = serde_json::from_str(&plan)?;
    assert_eq!(plan["failure"]["kind"], "gated", "{plan}");
    let token = [("HF_TOKEN", "hf_alice")];
    let plan = scratch.hfctl_with(&json, &token).await?.json()?;
    assert!(plan["failure"].is_null(), "{plan}");
    assert!(hub.journal().bytes_sent_for(BIG) < 64 << 10, "{}", hub.journal().text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn an_alias_is_kept_but_doubted() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").file("a.json", "{}"))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    for (target, doubt) in [
        ("org/m", ""),
        ("org/m@main", ""),
        ("org/none", "org/none"),
        ("datasets/org/m", "org/m"),
        ("org/m@v9", "v9"),
    ] {
        let ran = scratch.hfctl(["alias", "add", "mine", target]).await?;
        assert_eq!(ran.code, 0, "{target}: {}", ran.stderr);
        assert_eq!(ran.stderr.is_empty(), doubt.is_empty(), "{target}: {}", ran.stderr);
        assert!(ran.stderr.contains(doubt), "{target}: {}", ran.stderr);
    }
    // Offline it is made all the same.
    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:1")];
    let ran = scratch.hfctl_with(["alias", "add", "mine", "org/m"], &nowhere).await?;
    assert!(ran.stderr.contains("could not be checked"), "{}", ran.stderr);
    ran.ok()?;
    let list = scratch.hfctl(["alias", "list"]).await?.ok()?;
    assert!(list.contains("mine"), "{list}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
