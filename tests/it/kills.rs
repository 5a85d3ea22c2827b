//! SIGKILL at random moments of a busy daemon. 20 by default; `HFETCH_KILLS=200` is the release lane.

use std::{collections::BTreeMap, ops::Range};

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
    tree,
};

const MIB: u64 = 1 << 20;
/// Bytes of an active file that may be fetched again after a kill.
const AGAIN: u64 = 64 * MIB;
/// What the kernel holds for its connections when their reader dies counts as sent.
const IN_SOCKETS: u64 = 8 * MIB;
const SEND_BUFFER: usize = 64 << 10;
/// Bytes between two kills. A daemon that kept nothing would fetch them all again, most of them of one file: more than
/// it may.
const APART: Range<u64> = 100 * MIB..220 * MIB;
/// Files of the two jobs of one round: one file large enough for several kills, and others beside it.
const FIRST: &[(&str, u64)] = &[("model-1.safetensors", 600 * MIB), ("config.json", 700)];
const SECOND: &[(&str, u64)] = &[("model-2.safetensors", 60 * MIB), ("tokenizer.json", 3 * MIB)];

fn repo(name: &str, files: &[(&str, u64)], round: u64) -> RepoBuilder {
    files
        .iter()
        .enumerate()
        .fold(RepoBuilder::model(name), |repo, (index, (path, size))| {
            repo.seeded(path, *size, round * 100 + index as u64)
        })
}

fn wanted_kills() -> usize {
    std::env::var("HFETCH_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20)
}

#[tokio::test]
async fn random_kills_lose_nothing_and_cost_little() -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(42);
    let (mut kills, mut round, mut most_again) = (0, 0, 0);
    while kills < wanted_kills() {
        round += 1;
        let (first, second) = (format!("org/first-{round}"), format!("org/second-{round}"));
        // Rounds differ in content: nothing of an earlier one can be found again.
        let hub = SimHub::builder()
            .repo(repo(&first, FIRST, round))
            .repo(repo(&second, SECOND, 1000 + round))
            .start()?;
        hub.switch(|switches| switches.send_buffer = Some(SEND_BUFFER));
        hub.pace().set_total(Some(120 * MIB));
        let scratch = Scratch::new(hub.endpoint())?;
        let mut daemon = scratch.daemon().await?;
        let mut ids = vec![scratch.submit(&[&first]).await?];
        let needed: u64 = FIRST.iter().chain(SECOND).map(|(_, size)| size).sum();
        let mut kills_here = 0;
        loop {
            // The next kill falls after a random number of further bytes; the job may well be done before.
            let sent = sent_bytes(&hub, &[&first, &second]);
            let at = sent + random.u64(APART);
            if at >= needed || kills >= wanted_kills() {
                break;
            }
            hub.journal()
                .wait_for("the next kill", |_| sent_bytes(&hub, &[&first, &second]) >= at)
                .await;
            if ids.len() == 1 {
                ids.push(scratch.submit(&[&second]).await?);
            }
            daemon.kill().await?;
            kills += 1;
            kills_here += 1;
            assert_eq!(
                tree::faults(&scratch.cache())?,
                Vec::<String>::new(),
                "after kill {kills}"
            );
            daemon = scratch.daemon().await?;
            let known = scratch.hfctl(["list", "--json"]).await?.json()?;
            for id in &ids {
                assert!(
                    known.to_string().contains(id.as_str()),
                    "job {id} is lost after kill {kills}"
                );
            }
        }
        if ids.len() == 1 {
            ids.push(scratch.submit(&[&second]).await?);
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        scratch.wait_done(&ids).await?;
        daemon.stop().await?;
        check::sound(&scratch, &[&hub])?;
        // Nothing that was to become a file is left; a killed process's temporary names go an hour later.
        let left = check::staging(&scratch.cache())?;
        assert!(
            left.iter().all(|path| !path.to_string_lossy().ends_with(".part")),
            "{left:?}"
        );
        // Of all files together: the engine's own tests.
        let again = again_by_file(&hub, &[&first, &second]);
        for (file, bytes) in &again {
            let allowed = kills_here * (AGAIN + IN_SOCKETS);
            assert!(
                *bytes <= allowed,
                "{file}: {} MiB again after {kills_here} kills",
                bytes / MIB
            );
        }
        let sum: u64 = again.values().sum();
        most_again = most_again.max(sum / kills_here.max(1));
    }
    println!(
        "{kills} kills in {round} rounds; at most {} MiB fetched again per kill of a round",
        most_again / MIB
    );
    Ok(())
}

/// Bytes of bodies of the files of some repositories.
fn sent_bytes(hub: &SimHub, repos: &[&str]) -> u64 {
    hub.journal()
        .records()
        .iter()
        .filter(|record| of(record, repos).is_some())
        .map(|record| record.body_bytes)
        .sum()
}

fn of<'a>(record: &'a hfetch_tests::sim::Record, repos: &[&str]) -> Option<&'a str> {
    let ours = record
        .repo
        .as_deref()
        .is_some_and(|repo| repos.iter().any(|known| repo.ends_with(known)));
    record
        .file
        .as_deref()
        .filter(|_| ours && (200..300).contains(&record.status))
}

/// Bytes of each file that were sent beyond its size.
fn again_by_file(hub: &SimHub, repos: &[&str]) -> BTreeMap<String, u64> {
    let mut sent: BTreeMap<String, u64> = BTreeMap::new();
    for record in hub.journal().records() {
        if let (Some(file), Some(repo)) = (of(&record, repos), record.repo.as_deref()) {
            *sent.entry(format!("{repo}/{file}")).or_default() += record.body_bytes;
        }
    }
    for (file, bytes) in &mut sent {
        let size = FIRST
            .iter()
            .chain(SECOND)
            .find(|(path, _)| file.ends_with(path))
            .map_or(0, |(_, size)| *size);
        *bytes = bytes.saturating_sub(size);
    }
    sent
}
