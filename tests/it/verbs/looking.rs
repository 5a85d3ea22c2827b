//! Looking at jobs: `wait`, `list`, beginnings of ids.

use std::collections::BTreeMap;

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
};

use super::{BIG, MIB};

fn hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/small").seeded("config.json", 700, 1))
        .repo(RepoBuilder::model("org/big").seeded(BIG, MIB, 2))
        .start()
}

#[tokio::test]
async fn wait_tells_how_jobs_ended() -> anyhow::Result<()> {
    let hub = hub()?;
    let gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let done = scratch.submit(&["org/small"]).await?;
    let failed = scratch.submit(&["org/none"]).await?;
    let cancelled = scratch.submit(&["org/big"]).await?;
    let slow = scratch.submit(&["org/big"]).await?;
    scratch.hfctl(["cancel", &cancelled]).await?.ok()?;
    for (ids, code) in [
        (&[&done][..], 0),
        (&[&failed], 5),
        (&[&cancelled], 5),
        (&[&done, &failed], 5),
        (&[&done, &done], 0),
        (&[&done, &"zzzzzzzzzz".to_owned()], 4),
    ] {
        let args = ["wait"].into_iter().chain(ids.iter().map(|id| id.as_str()));
        let ran = scratch.hfctl(args).await?;
        assert_eq!(ran.code, code, "{ids:?}: {}", ran.stderr);
    }
    let ran = scratch.hfctl(["wait", &slow, "--timeout", "1s"]).await?;
    assert!(ran.stderr.contains("they go on"), "{}", ran.stderr);
    ran.exits(1)?;
    scratch.until(&slow, "active").await?;
    gate.release();
    let jobs = scratch.hfctl(["wait", &slow, &done, "--json"]).await?.json()?;
    assert_eq!(jobs.as_array().map(Vec::len), Some(2), "{jobs}");
    assert_eq!((&jobs[0]["state"], &jobs[1]["state"]), (&"done".into(), &"done".into()));
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn the_beginning_of_an_id_is_enough() -> anyhow::Result<()> {
    let hub = hub()?;
    let _gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // There are 32 first characters: two of 33 jobs share one.
    let mut by_first: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (first, pair) = loop {
        let id = scratch.submit(&["org/big"]).await?;
        let first = id[..1].to_owned();
        let same = by_first.entry(first.clone()).or_default();
        same.push(id);
        if let [one, other] = &same[..] {
            break (first, [one.clone(), other.clone()]);
        }
    };
    let ran = scratch.hfctl(["show", &first]).await?;
    assert!(ran.stderr.contains("more than one"), "{}", ran.stderr);
    ran.exits(2)?;
    let ran = scratch.hfctl(["pause", &first]).await?;
    assert!(ran.stderr.contains("more than one"), "{}", ran.stderr);
    assert_ne!(ran.code, 0);
    let common = pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    for id in &pair {
        let prefix = &id[..=common];
        assert_eq!(scratch.show(prefix).await?["id"], id.as_str());
        // An id that was read aloud.
        assert_eq!(scratch.show(&prefix.to_uppercase()).await?["id"], id.as_str());
        scratch.hfctl(["pause", prefix]).await?.ok()?;
        assert_eq!(scratch.state_of(id).await?, "paused");
    }
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    scratch.hfctl(["wait", &pair[0][..=common]]).await?.exits(5)?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn list_shows_what_is_asked_for() -> anyhow::Result<()> {
    let hub = hub()?;
    let _gate = hub.hold_bodies(BIG, 0);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let ran = scratch.hfctl(["list"]).await?;
    assert!(ran.stderr.contains("no jobs"), "{}", ran.stderr);
    assert_eq!(ran.ok()?, "");
    let done = scratch.submit(&["org/small"]).await?;
    scratch.until(&done, "done").await?;
    let failed = scratch.submit(&["org/none"]).await?;
    scratch.until(&failed, "failed").await?;
    let paused = scratch.submit(&["org/big"]).await?;
    scratch.hfctl(["pause", &paused]).await?.ok()?;
    let active = scratch.submit(&["org/big"]).await?;
    scratch.until(&active, "active").await?;
    let user = scratch.show(&done).await?["user"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let all = [&active, &paused, &failed, &done];
    for (args, wanted) in [
        (&[][..], &all[..]),
        (&["--state", "done"], &[&done]),
        (&["--state", "failed,paused"], &[&paused, &failed]),
        (&["--state", "failed", "--state", "done"], &[&failed, &done]),
        (&["--state", "held"], &[]),
        (&["--repo", "org/big"], &[&active, &paused]),
        (&["--repo", "small"], &[&done]),
        (&["--repo", "%"], &[]),
        (&["--repo", "big", "--state", "active"], &[&active]),
        (&["--user", &user], &all),
        (&["--user", "somebody-else"], &[]),
        (&["-n", "2"], &[&active, &paused]),
        (&["--all", "--page-size", "1"], &all),
    ] {
        let args = ["list", "--json"].into_iter().chain(args.iter().copied());
        let line: Vec<&str> = args.collect();
        let list = scratch.hfctl(&line).await?.json()?;
        let ids: Vec<&str> = list["jobs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|job| job["id"].as_str())
            .collect();
        assert_eq!(ids, wanted, "{line:?}");
    }
    // Who says how many they want has them, and hears nothing of the rest.
    for (args, told) in [(["-n", "2"], false), (["--page-size", "2"], true)] {
        let ran = scratch.hfctl(["list"].into_iter().chain(args)).await?;
        assert_eq!(ran.stderr.contains("there are more"), told, "{}", ran.stderr);
        let lines = ran.ok()?;
        assert_eq!(lines.lines().count(), 3, "a head and two jobs: {lines}");
    }
    // The table for people has one line a job, below its head.
    let table = scratch.hfctl(["list", "--state", "failed"]).await?.ok()?;
    assert!(table.contains(&failed) && !table.contains(&done), "{table}");
    scratch.hfctl(["list", "--state", "nonsense"]).await?.exits(2)?;
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
