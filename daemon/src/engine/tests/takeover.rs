//! A kill while a file changes hands.

use hfetch_tests::{
    check,
    tree::{self, Entry},
};

use super::*;
use crate::model::Priority;

/// A file so large reserves its space while no other does: a job can be stopped there, before it opens its partial file.
const SIZE: u64 = 24 * MB;
const NOW: &str = "2026-03-01T12:00:00Z";

/// What a kill leaves of a world.
struct Killed {
    dir: tempfile::TempDir,
    time: watch::Sender<Timestamp>,
    config: watch::Sender<Arc<Config>>,
    threads: StoreThreads,
}

impl World {
    /// Every task ends where it is: nothing is put right, nothing more is written.
    async fn kill(self) -> Killed {
        let Running { mut tasks, threads, .. } = self.running;
        drop(self.engine);
        tasks.shutdown().await;
        Killed {
            dir: self.dir,
            time: self.time,
            config: self.config,
            threads,
        }
    }

    async fn tells(&self, id: &JobId, words: &str) {
        let told = eventually(words, async || {
            let detail = self.engine.progress(id).map(|reading| reading.detail);
            match detail.as_ref().is_some_and(|detail| detail.contains(words)) {
                true => Ok(()),
                false => Err(format!("{detail:?}")),
            }
        });
        told.await.unwrap();
    }

    fn cache(&self) -> std::path::PathBuf {
        self.dir.path().join("hub")
    }
}

impl Killed {
    async fn start_again(self) -> World {
        let Self {
            dir,
            time,
            config,
            threads,
        } = self;
        shared::blocking(move || threads.join()).await;
        let (engine, running) = begin(&dir, time.subscribe(), config.subscribe()).await;
        World {
            dir,
            time,
            config,
            engine,
            running,
        }
    }
}

#[tokio::test]
async fn a_kill_between_the_last_claim_of_one_job_and_the_first_of_the_next_costs_nothing() {
    // Before the next one has opened the file, and when it has claimed it and has not got a byte.
    for has_claimed in [false, true] {
        let hub = hub(SIZE);
        let toml = format!("[[endpoints]]\nname = 'hub'\nurl = '{}'\n", hub.endpoint());
        let world = World::start(NOW, &toml).await;
        let shared = world.engine.shared.clone();
        let gate = hub.hold_bodies(FILE, 8 * MB);
        let one = world.submit((7, "ann"), |wish| wish.priority = Priority::Low).await;
        gate.reached().await;
        let path = shared
            .open_place(&world.place())
            .unwrap()
            .list_partials()
            .unwrap()
            .remove(0)
            .path;
        let claim = async || shared.store.claim(path.clone()).await.unwrap();
        let mut reserving = Some(shared.reserving.lock().await);
        let next = world.submit((7, "ann"), |wish| wish.priority = Priority::High).await;
        world.tells(&one, &format!("waiting for job {next}")).await;
        if has_claimed {
            reserving = None;
            let taken = eventually("its first claim", async || match claim().await {
                Some(claim) if claim.job == next.as_str() => Ok(()),
                other => Err(format!("{other:?}")),
            });
            taken.await.unwrap();
        }
        let asked = hub.journal().len();
        let killed = world.kill().await;
        let left = claim().await.unwrap();
        assert_eq!(left.job, if has_claimed { next.as_str() } else { one.as_str() });
        let kept: u64 = left.ranges.iter().map(|range| range.len()).sum();
        assert!(kept + 2 * IN_FLIGHT >= 8 * MB, "{kept}");
        drop(reserving);
        drop(shared);
        let world = killed.start_again().await;
        let published = tree::entries(&world.cache()).unwrap();
        let is_whole = |entry: &Entry| matches!(entry, Entry::File(SIZE, _));
        assert!(!published.values().any(is_whole), "{published:?}");
        gate.release();
        for id in [&one, &next] {
            world.until(id, JobState::Done, None).await;
        }
        assert_eq!(tree::faults(&world.cache()).unwrap(), Vec::<String>::new());
        assert_eq!(world.files_of_main().len(), 1);
        let again = check::sent_again(&hub, FILE, asked);
        assert!(again <= 2 * IN_FLIGHT, "{again}\n{}", hub.journal().text());
        world.stop().await;
    }
}
