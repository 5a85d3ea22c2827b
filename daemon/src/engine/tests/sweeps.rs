//! Sweeps of caches beside jobs that end, begin, and are looked at meanwhile.

use std::{collections::HashSet, fs, path::PathBuf};

use futures_util::future::join_all;

use super::*;
use crate::{
    cache::Removed,
    engine::{caches::folder_of, sweeps::sweep_now},
    model::{Destination, RepoId, RepoKind, Revision},
    store::Place,
};

impl World {
    pub(super) fn place(&self) -> Place {
        Place {
            destination: Destination::Cache(self.dir.path().join("hub")),
            kind: RepoKind::Model,
            repo_id: RepoId::parse("org/m").unwrap(),
        }
    }

    /// Revisions of a file each that no program has made, by their commits.
    fn revisions(&self, count: usize, files: usize) -> Vec<String> {
        let commits: Vec<String> = (0..count).map(|number| format!("{number:040x}")).collect();
        for commit in &commits {
            let snapshot = folder_of(&self.place()).join("snapshots").join(commit);
            fs::create_dir_all(&snapshot).unwrap();
            (0..files).for_each(|number| fs::write(snapshot.join(number.to_string()), b"x").unwrap());
        }
        commits
    }

    /// The files that a ref leads to.
    pub(super) fn files_of_main(&self) -> HashSet<PathBuf> {
        let folder = folder_of(&self.place());
        let commit = fs::read_to_string(folder.join("refs/main")).unwrap();
        let entries = fs::read_dir(folder.join("snapshots").join(commit)).unwrap();
        // Through the links: one that leads nowhere is no file.
        entries
            .map(|entry| fs::canonicalize(entry.unwrap().path()).unwrap())
            .collect()
    }
}

fn config(hub: &SimHub) -> String {
    format!("[[endpoints]]\nname = 'hub'\nurl = '{}'\n", hub.endpoint())
}

const NOW: &str = "2026-03-01T12:00:00Z";

#[tokio::test]
async fn what_a_job_brings_after_the_caches_were_read_stays() {
    let hub = hub(6 * MB);
    let world = World::start(NOW, &config(&hub)).await;
    let gate = hub.hold_bodies(FILE, MB);
    let id = world.submit((7, "ann"), |_| {}).await;
    gate.reached().await;
    // A sweep of many repositories comes to this one only after a while.
    let targets = Arc::default();
    let places = world.engine.cached(&targets).await.unwrap();
    assert_eq!(places, [world.place()]);
    let kept = world
        .engine
        .sweep_places(places.clone(), &targets, false)
        .await
        .unwrap();
    assert!(kept.iter().all(|repo| repo.swept.removed.is_empty()), "{kept:?}");
    gate.release();
    world.until(&id, JobState::Done, None).await;
    let swept = world.engine.sweep_places(places, &targets, false).await.unwrap();
    assert!(swept.is_empty(), "{swept:?}");
    assert_eq!(world.files_of_main().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_job_that_began_during_a_sweep_gets_its_files_again() {
    let hub = hub(2 * MB);
    let world = World::start(NOW, &config(&hub)).await;
    let first = world.submit((7, "ann"), |_| {}).await;
    world.until(&first, JobState::Done, None).await;
    // The sweep has asked for open jobs: there is none.
    let shared = &world.engine.shared;
    assert!(!shared.store.is_worked_on(world.place()).await.unwrap());
    let sweeping = shared.sweeps.begin(shared.turns.take(folder_of(&world.place())).await);
    let second = world.submit((7, "ann"), |_| {}).await;
    let found = eventually("all files are found there", async || {
        let job = world.job(&second).await;
        match (job.files_done, job.files_total) {
            (1, 1) => Ok(()),
            _ => Err(format!("{job:?}")),
        }
    });
    found.await.unwrap();
    let targets = [CacheTarget {
        kind: RepoKind::Model,
        repo: world.place().repo_id,
        revision: Some(Revision::main()),
    }];
    let swept = sweep_now(&world.place(), &targets, false, false).unwrap();
    assert!(
        matches!(swept.swept.removed[..], [Removed::Revision(_), Removed::Blobs(1)]),
        "{swept:?}"
    );
    drop(sweeping);
    world.until(&second, JobState::Done, None).await;
    assert_eq!(world.files_of_main().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn pins_that_are_set_together_are_all_kept() {
    let hub = hub(MB);
    let world = World::start(NOW, &config(&hub)).await;
    let commits = world.revisions(24, 1);
    let set = commits.iter().map(|commit| {
        let target = CacheTarget {
            kind: RepoKind::Model,
            repo: world.place().repo_id,
            revision: Some(Revision::parse(commit).unwrap()),
        };
        world.engine.set_pins(vec![target], true)
    });
    for changed in join_all(set).await {
        assert_eq!(changed.unwrap(), 1);
    }
    let pinned = world.engine.caches().await.unwrap().remove(0).survey.revisions;
    assert!(
        pinned.iter().all(|revision| revision.pinned) && pinned.len() == commits.len(),
        "{pinned:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn who_does_not_read_what_is_verified_keeps_nobody_waiting() {
    let hub = hub(MB);
    let world = World::start(NOW, &config(&hub)).await;
    // More than wait for a slow reader.
    world.revisions(1, 100);
    let mut unread = Vec::new();
    // More than there are threads.
    for _ in 0..40 {
        unread.push(world.engine.verify_caches(Vec::new()).await.unwrap());
    }
    let full = eventually("all wait for their readers", async || {
        let waiting = unread
            .iter()
            .filter(|files| files.files.len() == files.files.max_capacity());
        match waiting.count() {
            40 => Ok(()),
            some => Err(format!("{some}")),
        }
    });
    full.await.unwrap();
    // The same threads and permits.
    let id = world.submit((7, "ann"), |_| {}).await;
    world.until(&id, JobState::Done, None).await;
    let mut seen = 0;
    let mut files = unread.pop().unwrap();
    drop(unread);
    while let Some(file) = files.next().await {
        file.unwrap();
        seen += 1;
    }
    // The job has brought one more meanwhile, or after this revision was listed.
    assert!(seen >= 100, "{seen}");
    world.stop().await;
}
