//! Partial files that nobody wants, beside jobs that begin to want them.

use std::path::PathBuf;

use futures_util::FutureExt as _;

use super::*;
use crate::{
    cache::{self, Partial},
    engine::leftovers::{Which, leaving, remove_some, sweep},
    store::Claim,
};

const NOW: &str = "2026-03-01T12:00:00Z";

impl World {
    async fn with_one_file(hub: &SimHub) -> (Self, Arc<cache::Store>) {
        let toml = format!("[[endpoints]]\nname = 'hub'\nurl = '{}'\n", hub.endpoint());
        let world = Self::start(NOW, &toml).await;
        let store = world.engine.shared.open_place(&world.place()).unwrap();
        (world, Arc::new(store))
    }

    async fn act(&self, id: &JobId, verb: Verb) {
        self.engine
            .act(Scope::All, Chosen::One(id.clone()), verb)
            .await
            .unwrap();
    }

    /// What a job leaves that brings 2 MB and is stopped then.
    async fn stopped(&self, hub: &SimHub, store: &cache::Store, verb: Verb) -> (JobId, Partial) {
        let gate = hub.hold_bodies(FILE, 2 * MB);
        let id = self.submit((7, "ann"), |_| {}).await;
        gate.reached().await;
        self.act(&id, verb).await;
        let digest = store.list_partials().unwrap().remove(0).digest;
        // Once the job has done with it.
        drop(self.engine.shared.turns.take(store.staging_key(&digest)).await);
        (id, store.list_partials().unwrap().remove(0))
    }

    async fn claim(&self, path: &Path) -> Option<Claim> {
        self.engine.shared.store.claim(path.to_owned()).await.unwrap()
    }

    async fn is_there_and_claimed(&self, path: &Path) -> (bool, bool) {
        (path.exists(), self.claim(path).await.is_some())
    }
}

#[tokio::test]
async fn what_a_job_has_gone_on_with_since_the_look_stays() {
    let hub = hub(8 * MB);
    let (world, store) = World::with_one_file(&hub).await;
    let (shared, place) = (&world.engine.shared, world.place());
    let (_, listed) = world.stopped(&hub, &store, Verb::Cancel).await;
    let looked = leaving(shared, &place, Which::AllLeft, vec![listed.clone()])
        .await
        .unwrap();
    assert_eq!(looked, [listed]);
    // Before it is removed a job goes on with it, and rests.
    let (id, as_it_rests) = world.stopped(&hub, &store, Verb::Pause).await;
    for some in [looked, vec![as_it_rests.clone()]] {
        assert_eq!(
            remove_some(shared, &store, &place, Which::AllLeft, some).await.unwrap(),
            0
        );
        assert_eq!(world.is_there_and_claimed(&as_it_rests.path).await, (true, true));
    }
    world.act(&id, Verb::Resume).await;
    world.until(&id, JobState::Done, None).await;
    // At each stop what was under way to two connections.
    let twice = hub.journal().duplicate_bytes(FILE);
    assert!(twice <= 2 * 2 * IN_FLIGHT, "{twice}\n{}", hub.journal().text());
    world.stop().await;
}

#[tokio::test]
async fn what_somebody_is_about_to_begin_with_stays() {
    let hub = hub(8 * MB);
    let (world, store) = World::with_one_file(&hub).await;
    let (shared, place) = (&world.engine.shared, world.place());
    let (_, partial) = world.stopped(&hub, &store, Verb::Cancel).await;
    // As a job that has its turn, and has not opened the file yet.
    let turn = shared.turns.take(store.staging_key(&partial.digest)).await;
    assert_eq!(sweep(shared, &store, place.clone(), Which::AllLeft).await, 0);
    assert_eq!(world.is_there_and_claimed(&partial.path).await, (true, true));
    drop(turn);
    assert!(sweep(shared, &store, place, Which::AllLeft).await >= 2 * MB);
    assert_eq!(world.is_there_and_claimed(&partial.path).await, (false, false));
    world.stop().await;
}

#[tokio::test]
async fn who_has_the_turn_sees_both_file_and_claim_or_neither() {
    for goes_away in [false, true] {
        let hub = hub(8 * MB);
        let (world, store) = World::with_one_file(&hub).await;
        let shared = &world.engine.shared;
        let (_, Partial { path, digest, .. }) = world.stopped(&hub, &store, Verb::Cancel).await;
        let key: PathBuf = store.staging_key(&digest);
        let mut sweeping = Box::pin(sweep(shared, &store, world.place(), Which::AllLeft));
        while (&mut sweeping).now_or_never().is_none() {
            if let Some(_turn) = shared.turns.try_take(key.clone()) {
                let (there, claimed) = world.is_there_and_claimed(&path).await;
                assert_eq!(there, claimed);
            } else if goes_away && world.claim(&path).await.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // Who asked for it may be gone by now: what was begun goes to its end.
        drop(sweeping);
        let _turn = shared.turns.take(key).await;
        assert_eq!(world.is_there_and_claimed(&path).await, (false, false));
        world.stop().await;
    }
}

#[tokio::test]
async fn of_a_file_that_was_cut_nothing_stays_claimed() {
    let hub = hub(8 * MB);
    let (world, store) = World::with_one_file(&hub).await;
    let (id, partial) = world.stopped(&hub, &store, Verb::Pause).await;
    assert!(world.claim(&partial.path).await.is_some());
    let file = std::fs::OpenOptions::new().write(true).open(&partial.path).unwrap();
    file.set_len(MB).unwrap();
    // The same inode, with the right length again: after a kill the old claim would be believed.
    let gate = hub.hold_bodies(FILE, 0);
    world.act(&id, Verb::Resume).await;
    gate.reached().await;
    assert_eq!(world.is_there_and_claimed(&partial.path).await, (true, false));
    gate.release();
    world.until(&id, JobState::Done, None).await;
    world.stop().await;
}

#[tokio::test]
async fn what_lies_in_a_partial_file_is_not_to_be_fetched() {
    const SIZE: u64 = 8 * MB;
    let hub = hub(SIZE);
    let (world, store) = World::with_one_file(&hub).await;
    let (_, partial) = world.stopped(&hub, &store, Verb::Pause).await;
    let claim = world.claim(&partial.path).await.unwrap();
    let there: u64 = claim.ranges.iter().map(|range| range.len()).sum();
    assert!(there > MB, "{there}");
    for (line, forced, missing, is_held) in [
        ("7MB", false, SIZE - there, false),
        ("1MB", false, SIZE - there, true),
        // Nobody else's bytes are good enough.
        ("7MB", true, SIZE, true),
    ] {
        let wish = |wish: &mut Wish| {
            wish.hold_above = line.to_owned();
            wish.force_download = forced;
        };
        let told = world.engine.preview(submission((8, "bob"), wish)).await.unwrap();
        let would_be_held = told.warnings.iter().any(|text| text.contains("the job would be held"));
        assert_eq!((told.missing, would_be_held), (missing, is_held), "{:?}", told.warnings);
        if is_held {
            let id = world.submit((8, "bob"), wish).await;
            let held = world.until(&id, JobState::Held, Some(HoldReason::Approval)).await;
            assert_eq!(held.difference.map(|difference| difference.bytes), Some(missing));
        }
    }
    let id = world
        .submit((8, "bob"), |wish| wish.hold_above = "7MB".to_owned())
        .await;
    let done = world.until(&id, JobState::Done, None).await;
    assert_eq!(done.difference.map(|difference| difference.bytes), Some(SIZE - there));
    let again = hub.journal().duplicate_bytes(FILE);
    assert!(again <= 2 * IN_FLIGHT, "{again}");
    world.stop().await;
}
