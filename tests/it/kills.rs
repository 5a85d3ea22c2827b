//! SIGKILL at random moments of a busy daemon. 20 by default; `HFETCH_KILLS=200` is the release lane.

use std::collections::BTreeMap;

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{RepoBuilder, SimHub},
    tree,
};

const MIB: u64 = 1 << 20;
/// Bytes that may be fetched again after a kill: per active file, and in all.
const AGAIN_PER_FILE: u64 = 64 * MIB;
const AGAIN_IN_ALL: u64 = 256 * MIB;
/// What the kernel holds for a connection when its reader dies counts as sent; eight connections a file, four files.
const SLACK_PER_FILE: u64 = 8 * 4 * MIB;
/// Bytes of one round: enough for several kills.
const ROUND: &[(&str, u64)] = &[
    ("model-1.safetensors", 120 * MIB),
    ("model-2.safetensors", 40 * MIB),
    ("tokenizer.json", 3 * MIB),
    ("config.json", 700),
];

fn repo(name: &str, round: u64) -> RepoBuilder {
    ROUND
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
            .repo(repo(&first, round))
            .repo(repo(&second, 1000 + round))
            .start()?;
        hub.pace().set_total(Some(120 * MIB));
        let scratch = Scratch::new(hub.endpoint())?;
        let mut daemon = scratch.daemon().await?;
        let mut ids = vec![scratch.submit(&[&first]).await?];
        let needed: u64 = 2 * ROUND.iter().map(|(_, size)| size).sum::<u64>();
        let mut kills_here = 0;
        loop {
            // The next kill falls after a random number of further bytes; the job may well be done before.
            let sent = sent_bytes(&hub, &[&first, &second]);
            let at = sent + random.u64(MIB..80 * MIB);
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
        let again = again_by_file(&hub, &[&first, &second]);
        for (file, bytes) in &again {
            let allowed = kills_here * (AGAIN_PER_FILE + SLACK_PER_FILE);
            assert!(
                *bytes <= allowed,
                "{file}: {} MiB again after {kills_here} kills",
                bytes / MIB
            );
        }
        let sum: u64 = again.values().sum();
        assert!(
            sum <= kills_here * (AGAIN_IN_ALL + SLACK_PER_FILE),
            "{} MiB again after {kills_here} kills",
            sum / MIB
        );
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
        let size = ROUND
            .iter()
            .find(|(path, _)| file.ends_with(path))
            .map_or(0, |(_, size)| *size);
        *bytes = bytes.saturating_sub(size);
    }
    sent
}
