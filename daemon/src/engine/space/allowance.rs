//! How much of the disks a user's jobs may keep (`users.NAME.max_disk`). Before a job begins to fetch, it is looked at what they
//! keep already, what those at work will bring, and what this one would add; who would have too much waits.
//!
//! What the queue remembers is no less than what is there, so that who is far from the line costs one query. Only near it the
//! disk is asked: of a cache what is still in the revisions that were asked for counts, of a local directory what was brought
//! there, for as long as it exists.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::lacking;
use crate::{
    cache,
    engine::{
        caches,
        finish::SPACE_RETRY,
        leftovers::place_of,
        progress::lock,
        shared::{JobContext, blocking},
        stop::JobStop,
    },
    model::{CommitHash, Destination, HoldReason, JobId, units::show_bytes},
    store::{Holdings, Place},
};

/// The disks are looked at for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a user's jobs brought to one place.
#[derive(Debug, Default)]
struct Kept {
    commits: HashSet<CommitHash>,
    /// As the queue remembers it.
    asked: u64,
}

/// What a user has, seen from a job that wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    keeps: u64,
    /// What the job adds to it.
    adds: u64,
}

fn by_place(holdings: &Holdings) -> HashMap<Place, Kept> {
    let mut places: HashMap<Place, Kept> = HashMap::new();
    for held in &holdings.held {
        let kept = places.entry(held.place.clone()).or_default();
        kept.commits.insert(held.commit.clone());
        kept.asked = match held.place.destination {
            Destination::Cache(_) => kept.asked.saturating_add(held.bytes),
            // A newer commit's files take the places of the older one's.
            Destination::LocalDir(_) => kept.asked.max(held.bytes),
        };
    }
    places
}

/// What the other jobs of a user have begun, or will bring when they are at work.
fn of_others(holdings: &Holdings, id: &JobId, at_work: &HashSet<JobId>) -> u64 {
    let others = holdings.unfinished.iter().filter(|job| job.id != *id);
    let bytes = others.map(|job| match at_work.contains(&job.id) {
        true => job.rest,
        false => job.partial,
    });
    bytes.fold(0, u64::saturating_add)
}

/// What a job adds to its place, in which so much was asked for and is there, when it has `rest` to bring of which `lacks` are
/// not there.
fn added((asked, there): (u64, u64), rest: u64, lacks: u64) -> u64 {
    // Of a local directory it is not known what is there: only what the job lacks comes on top.
    let rest = if there == u64::MAX { rest.min(lacks) } else { rest };
    let after = asked.saturating_add(rest).min(there.saturating_add(lacks));
    after.saturating_sub(asked.min(there))
}

/// The numbers, and how much would be enough.
fn too_much(user: &str, share: Share, may: u64) -> Option<String> {
    let over = share.keeps.saturating_add(share.adds).checked_sub(may)?;
    (over > 0 && share.adds > 0).then(|| {
        format!(
            "would keep {} more; jobs of {user} keep {} and may keep {} (users.NAME.max_disk): {} less have to be kept",
            show_bytes(share.adds),
            show_bytes(share.keeps),
            show_bytes(may),
            show_bytes(over)
        )
    })
}

/// Lets a planned job begin that lacks `rest` at most, unless its user's jobs would then keep too much; one that finds all its
/// files in their places begins in any case. One job of a user at a
/// time: the next one may come when this one's space is promised, and what is given back is dropped.
///
/// # Errors
/// A hold with numbers.
pub(super) async fn enter(
    context: &JobContext,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    rest: u64,
) -> Result<Option<OwnedMutexGuard<()>>, JobStop> {
    let shared = &context.shared;
    let Some(may) = shared.config().users.of(&context.owner.user).max_disk else {
        return Ok(None);
    };
    let turns = lock(&shared.allowing).entry(context.owner.uid).or_default().clone();
    let turn = context.unless_stopped(turns.lock_owned()).await?;
    let holdings = shared.store.holdings(context.owner.uid).await?;
    let others = of_others(&holdings, &context.id, &shared.promises.ids());
    let places = by_place(&holdings);
    let asked = places.values().fold(others, |sum, kept| sum.saturating_add(kept.asked));
    if asked.saturating_add(rest) <= may {
        return Ok(Some(turn));
    }
    let lacks = lacking(context, store, commit).await?;
    if lacks == 0 {
        return Ok(Some(turn));
    }
    let share = share(context, places, others, commit, (rest, lacks)).await;
    match too_much(&context.owner.user, share, may) {
        None => Ok(Some(turn)),
        Some(why) => Err(JobStop::Hold {
            reason: HoldReason::Disk,
            detail: format!("{} {why}", context.spec.repo_id),
            retry_after: SPACE_RETRY,
        }),
    }
}

/// Looks at the disk.
async fn share(
    context: &JobContext,
    mut places: HashMap<Place, Kept>,
    others: u64,
    commit: &CommitHash,
    (rest, lacks): (u64, u64),
) -> Share {
    let own = place_of(&context.spec);
    // What is there of its commit counts with what it brings.
    places.entry(own.clone()).or_default().commits.insert(commit.clone());
    let asked = places.values().fold(others, |sum, kept| sum.saturating_add(kept.asked));
    let looked = blocking(move || {
        let mut share = Share { keeps: others, adds: 0 };
        for (place, kept) in places {
            let there = there(&place, &kept);
            share.keeps = share.keeps.saturating_add(kept.asked.min(there));
            if place == own {
                share.adds = added((kept.asked, there), rest, lacks);
            }
        }
        share
    });
    // A disk that hangs keeps nobody waiting: then all counts that was ever asked for.
    timeout(PATIENCE, looked).await.unwrap_or(Share {
        keeps: asked,
        adds: rest.min(lacks),
    })
}

/// Bytes that are still in a place; all that was asked for where that cannot be told.
fn there(place: &Place, kept: &Kept) -> u64 {
    let path = place.destination.path();
    match &place.destination {
        _ if !path.is_dir() => 0,
        Destination::LocalDir(_) => u64::MAX,
        Destination::Cache(_) => match caches::survey(place) {
            Ok(survey) => survey.bytes_of(&kept.commits),
            Err(error) => {
                tracing::warn!(%error, place = %path.display(), "what is kept there cannot be told");
                kept.asked
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{RepoId, RepoKind},
        store::{Held, Unfinished},
    };

    #[test]
    fn a_job_adds_what_was_neither_there_nor_asked_for() {
        // Asked for and there; what the job brings, and what of it is not there; what it adds.
        for (asked, there, rest, lacks, adds) in [
            (0, 0, 10, 10, 10),
            (10, 10, 10, 10, 10),
            // All of it is there, for the user or for others.
            (10, 10, 10, 0, 0),
            (0, 10, 10, 0, 10),
            (0, 100, 10, 4, 10),
            // What was removed comes back.
            (10, 0, 10, 10, 10),
            (10, 4, 10, 6, 6),
            (10, u64::MAX, 5, 5, 5),
            (100, u64::MAX, 100, 1, 1),
        ] {
            let case = (asked, there, rest, lacks);
            assert_eq!(added((asked, there), rest, lacks), adds, "{case:?}");
        }
    }

    #[test]
    fn who_would_have_too_much_hears_how_much() {
        let gib = |number: u64| number << 30;
        let share = |keeps, adds| Share {
            keeps: gib(keeps),
            adds: gib(adds),
        };
        assert_eq!(too_much("ann", share(6, 4), gib(10)), None);
        // Who has too much already may still have what adds nothing.
        assert_eq!(too_much("ann", share(20, 0), gib(10)), None);
        let why = too_much("ann", share(8, 4), gib(10)).unwrap();
        assert_eq!(
            why,
            "would keep 4.0 GiB more; jobs of ann keep 8.0 GiB and may keep 10.0 GiB (users.NAME.max_disk): 2.0 GiB less have \
             to be kept"
        );
        assert!(too_much("ann", share(0, 1), 0).is_some());
    }

    #[test]
    fn what_is_at_work_counts_whole_and_what_waits_as_far_as_it_is_begun() {
        let id = |text: &str| JobId::parse(text).unwrap();
        let unfinished = |text: &str, partial, rest| Unfinished {
            id: id(text),
            partial,
            rest,
        };
        let place = |repo: &str| Place {
            destination: Destination::Cache("/hub".into()),
            kind: RepoKind::Model,
            repo_id: RepoId::parse(repo).unwrap(),
        };
        let held = |repo: &str, digit: &str, bytes| Held {
            place: place(repo),
            commit: CommitHash::parse(&digit.repeat(40)).unwrap(),
            bytes,
        };
        let holdings = Holdings {
            held: vec![held("org/a", "1", 10), held("org/a", "2", 20), held("org/b", "1", 5)],
            unfinished: vec![
                unfinished("5d2k8q0x1a", 1, 1000),
                unfinished("5d2k8q0x1b", 2, 200),
                unfinished("5d2k8q0x1c", 3, 300),
            ],
        };
        let at_work = HashSet::from([id("5d2k8q0x1b")]);
        assert_eq!(of_others(&holdings, &id("5d2k8q0x1a"), &at_work), 203);
        let places = by_place(&holdings);
        let a = &places[&place("org/a")];
        assert_eq!((a.asked, a.commits.len(), places.len()), (30, 2, 2));
    }
}
