//! `hfctl schedule` against the real daemon: what a user types, and what comes of it.

use anyhow::Context as _;
use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Content, Kind, RepoBuilder, SimHub, Storage, StoredFile},
};
use serde_json::Value;

async fn answer(scratch: &Scratch, line: &str) -> anyhow::Result<Value> {
    let ran = scratch.hfctl(line.split_whitespace().chain(["--json"])).await?;
    let stderr = ran.stderr.clone();
    ran.json().with_context(|| format!("{line}: {stderr}"))
}

#[tokio::test]
async fn a_schedule_is_added_run_paused_and_removed() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").file("a.txt", "a").file("b.bin", "b"))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let line = "schedule add org/m --timezone Asia/Shanghai --include *.txt --priority low --keep 2 --hold-above 1KiB";
    let add = |cron| {
        line.split_whitespace()
            .chain(["--cron", cron])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let added = scratch.hfctl(add("30 0 1 1 *")).await?;
    assert_eq!(added.code, 0, "{}", added.stderr);
    assert!(
        added.stderr.contains("org/m runs next") && added.stderr.contains("00:30 CST"),
        "{}",
        added.stderr
    );
    let id = added.stdout.trim().to_owned();
    // Typed twice, it is one.
    let again = scratch.hfctl(add("30 0 1 1 *")).await?;
    assert_eq!(again.stdout.trim(), id);
    let bad = scratch.hfctl(add("30 0 * *")).await?;
    assert!(bad.code == 2 && bad.stderr.contains("five fields"), "{}", bad.stderr);

    let job = scratch.hfctl(["schedule", "run", &id]).await?;
    let job = job.stdout.trim().to_owned();
    scratch.wait_done(&[&job]).await?;
    let job = answer(&scratch, &format!("show {job}")).await?;
    assert_eq!(
        (
            &job["schedule"],
            &job["files_to_fetch"],
            &job["bytes_to_fetch"],
            &job["hold_above"],
            &job["priority"]
        ),
        (&id.as_str().into(), &1.into(), &1.into(), &1024.into(), &"low".into())
    );
    // Nothing to do: no job on stdout.
    let same = scratch.hfctl(["schedule", "run", &id[..6]]).await?;
    assert_eq!((same.code, same.stdout.as_str()), (0, ""), "{}", same.stderr);
    assert!(
        same.stderr.contains("main still means the same commit"),
        "{}",
        same.stderr
    );

    // More than it may fetch unasked.
    let large = StoredFile {
        content: std::sync::Arc::new(Content::seeded(9, 5000)),
        storage: Storage::Plain,
    };
    hub.change_repo(Kind::Model, "org/m", |repo| {
        repo.push("main", "more", |files| drop(files.insert("c.txt".to_owned(), large)))
    })?;
    let held = scratch.hfctl(["schedule", "run", &id]).await?;
    let held = held.stdout.trim().to_owned();
    let waited = scratch.hfctl(["wait", &held]).await?;
    assert_eq!(waited.code, 5, "{}", waited.stderr);
    assert!(
        waited.stderr.contains("waits for a yes") && waited.stderr.contains(&format!("hfctl resume {held}")),
        "{}",
        waited.stderr
    );
    let overlap = scratch.hfctl(["schedule", "run", &id, "--json"]).await?.exits(1)?;
    let overlap: Value = serde_json::from_str(&overlap)?;
    assert_eq!(
        (&overlap["outcome"], &overlap["job"]),
        (&"overlap".into(), &Value::Null)
    );
    let job = answer(&scratch, &format!("show {held}")).await?;
    assert_eq!((&job["state"], &job["reason"]), (&"held".into(), &"approval".into()));
    scratch.hfctl(["resume", &held]).await?.ok()?;
    scratch.wait_done(&[&held]).await?;

    let shown = answer(&scratch, &format!("schedule show {id}")).await?;
    let told = shown["last_runs"].as_array().context("runs")?;
    let outcomes: Vec<&str> = told.iter().filter_map(|run| run["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["overlap", "job", "unchanged", "job"], "{shown}");
    assert_eq!(
        (&told[1]["state"], &told[1]["bytes_to_fetch"]),
        (&"done".into(), &5000.into())
    );
    assert_eq!(shown["next_runs"].as_array().map(Vec::len), Some(5));
    let text = scratch.hfctl(["schedule", "show", &id]).await?;
    for word in [
        "next runs:",
        "00:30 CST",
        "keeps:",
        "2 earlier revisions",
        "1 file, 4.8 KiB",
        "asked for",
    ] {
        assert!(text.stdout.contains(word), "{word}: {}", text.stdout);
    }

    scratch.hfctl(["schedule", "pause", &id]).await?.ok()?;
    let list = answer(&scratch, "schedule list").await?;
    assert_eq!(
        (&list[0]["paused"], &list[0]["next_runs"]),
        (&true.into(), &Value::Array(vec![]))
    );
    let table = scratch.hfctl(["schedule", "list"]).await?.stdout;
    assert!(table.contains("paused") && table.contains("overlap"), "{table}");
    scratch.hfctl(["schedule", "resume", &id]).await?.ok()?;
    scratch.hfctl(["schedule", "remove", &id]).await?.ok()?;
    let gone = scratch.hfctl(["schedule", "show", &id]).await?;
    assert!(
        gone.code == 4 && gone.stderr.contains("hfctl schedule list"),
        "{}",
        gone.stderr
    );
    assert_eq!(scratch.state_of(&held).await?, "done", "its jobs stay");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_held() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded("a.bin", 3 << 20, 1))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let told = scratch
        .hfctl(["submit", "org/m", "--hold-above", "1MiB", "--dry-run"])
        .await?;
    assert!(
        told.code == 0
            && told
                .stderr
                .contains("the job would be held: 3.0 MiB are to be fetched, more than 1.0 MiB"),
        "{}",
        told.stderr
    );
    let bad = scratch.hfctl(["submit", "org/m", "--hold-above", "much"]).await?;
    assert_eq!(bad.code, 2, "{}", bad.stderr);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
