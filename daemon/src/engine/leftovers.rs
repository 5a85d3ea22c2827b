//! Partial files that no job will go on with: those of failed jobs stay for a while, those of cancelled ones for an hour, so
//! that another try need not fetch them again; a disk that is too full for another job gets their room at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime::Handle, time::timeout};

use super::shared::{JobContext, Shared, blocking};
use crate::{
    cache::{self, IdlePartial, Partial},
    model::{JobSpec, JobState},
    store::{Claimants, OldClaim, Place, StoreError},
};

/// The partial files of a cancelled job stay so long.
const AFTER_CANCEL: Duration = Duration::from_secs(3600);
/// Other destinations are looked at for so long while a job waits for room; one of them may hang.
const LOOK_AROUND: Duration = Duration::from_secs(10);
/// Partial files that are removed together, while who wants one of them waits.
const TOGETHER: usize = 32;
/// What was verified so long ago is hashed again when it is next wanted.
const VERIFIED_KEPT: Duration = Duration::from_secs(180 * 24 * 3600);

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// What was kept for long enough.
    Old,
    /// What jobs of ours have left, however lately.
    AllLeft,
}

pub(super) fn place_of(spec: &JobSpec) -> Place {
    Place {
        destination: spec.destination.clone(),
        kind: spec.kind,
        repo_id: spec.repo_id.clone(),
    }
}

/// Whether a partial file may go that was last written to at `written`.
fn goes(claimants: &Claimants, which: Which, written: Timestamp, keep: Duration, now: Timestamp) -> bool {
    if claimants.wanted {
        return false;
    }
    let is_over = |since: Timestamp, keep: Duration| {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        since.checked_add(keep).is_ok_and(|end| end <= now)
    };
    if claimants.left.is_empty() {
        // Of a job that nobody remembers, or of another daemon, only its age speaks.
        return claimants.placed || is_over(written, keep);
    }
    which == Which::AllLeft
        || claimants.left.iter().all(|(state, ended_at)| match state {
            JobState::Cancelled => is_over(*ended_at, keep.min(AFTER_CANCEL)),
            _ => is_over(*ended_at, keep),
        })
}

/// Removes from the staging folder of a place what no job will go on with, and the folder if that leaves it empty; tells how
/// many bytes became free. Never what a transfer has open. Trouble leaves things as they are: a later sweep comes by.
pub(super) async fn sweep(shared: &Shared, store: &Arc<cache::Store>, place: Place, which: Which) -> u64 {
    let listed = store.clone();
    let partials = match blocking(move || listed.list_partials()).await {
        Ok(partials) => partials,
        Err(error) => {
            tracing::debug!(%error, "a staging folder cannot be read");
            return 0;
        }
    };
    let freed = match partials.is_empty() {
        true => 0,
        false => match remove(shared, store, place, which, partials).await {
            Ok(freed) => freed,
            Err(error) => {
                tracing::warn!(%error, "old partial files stay");
                0
            }
        },
    };
    let emptied = store.clone();
    if let Err(error) = blocking(move || emptied.remove_empty_staging()).await {
        tracing::debug!(%error, "a staging folder stays");
    }
    freed
}

async fn remove(
    shared: &Shared,
    store: &Arc<cache::Store>,
    place: Place,
    which: Which,
    partials: Vec<Partial>,
) -> Result<u64, StoreError> {
    // Most stay, and are kept from nobody.
    let leaving = leaving(shared, &place, which, partials).await?;
    let mut freed = 0;
    for some in leaving.chunks(TOGETHER) {
        freed += remove_some(shared, store, &place, which, some.to_vec()).await?;
    }
    Ok(freed)
}

/// Removes what is still to go of some partial files. In their turns: a job may have gone on with one since they were looked at,
/// and none begins one anew before both file and claim are gone.
pub(super) async fn remove_some(
    shared: &Shared,
    store: &Arc<cache::Store>,
    place: &Place,
    which: Which,
    mut some: Vec<Partial>,
) -> Result<u64, StoreError> {
    let mut turns = HashMap::new();
    for digest in some.iter().map(|partial| partial.digest).collect::<HashSet<_>>() {
        // Whoever has it is not done with the file.
        if let Some(turn) = shared.turns.try_take(store.staging_key(&digest)) {
            turns.insert(digest, turn);
        }
    }
    some.retain(|partial| turns.contains_key(&partial.digest));
    let leaving = leaving(shared, place, which, some).await?;
    if leaving.is_empty() {
        return Ok(0);
    }
    let (files, claims, handle) = (store.clone(), shared.store.clone(), Handle::current());
    let gone = blocking(move || {
        // To the end of this, also when the caller goes away.
        let _turns = turns;
        let held = |partial: Partial| {
            let outcome = files.hold_partial(&partial);
            let trouble = |error| tracing::debug!(path = %partial.path.display(), %error, "a partial file stays");
            let idle = outcome.map_err(trouble).ok().flatten()?;
            Some((partial, idle))
        };
        let idle: Vec<(Partial, IdlePartial)> = leaving.into_iter().filter_map(held).collect();
        // The claims first: killed in between, a file without one is begun anew, and a claim without its file might be taken for
        // one on the next.
        let paths = idle.iter().map(|(partial, _)| partial.path.clone()).collect();
        handle.block_on(claims.drop_claims(paths))?;
        let removed = |(partial, idle): (Partial, IdlePartial)| {
            let outcome = idle.remove();
            let trouble = |error| tracing::debug!(path = %partial.path.display(), %error, "a partial file stays");
            outcome.map_err(trouble).unwrap_or(false).then_some(partial)
        };
        Ok::<_, StoreError>(idle.into_iter().filter_map(removed).collect::<Vec<_>>())
    })
    .await?;
    for partial in &gone {
        tracing::info!(path = %partial.path.display(), bytes = partial.allocated_bytes, "removed a partial file that no job wants");
    }
    Ok(gone.iter().map(|partial| partial.allocated_bytes).sum())
}

/// Removes from a place what jobs have left there, however lately, or only tells how many bytes that would free.
pub(super) async fn sweep_left(shared: &Arc<Shared>, place: Place, dry_run: bool) -> Result<u64, StoreError> {
    let (opener, to_open) = (shared.clone(), place.clone());
    let Some(store) = blocking(move || open(&opener, &to_open)).await else {
        return Ok(0);
    };
    if !dry_run {
        return Ok(sweep(shared, &store, place, Which::AllLeft).await);
    }
    let Ok(partials) = blocking(move || store.list_partials()).await else {
        return Ok(0);
    };
    let leaving = leaving(shared, &place, Which::AllLeft, partials).await?;
    Ok(leaving.iter().map(|partial| partial.allocated_bytes).sum())
}

/// Those that may go.
pub(super) async fn leaving(
    shared: &Shared,
    place: &Place,
    which: Which,
    partials: Vec<Partial>,
) -> Result<Vec<Partial>, StoreError> {
    let keep = shared.config().storage.keep_partials;
    let contents = partials
        .iter()
        .map(|partial| (partial.digest, partial.tag.clone()))
        .collect();
    let claimants = shared.store.claimants(place.clone(), contents).await?;
    let now = Timestamp::now();
    let leaving = partials.into_iter().zip(claimants).filter(|(partial, claimants)| {
        let written = Timestamp::from_nanosecond(i128::from(partial.stamp.mtime_ns)).unwrap_or(now);
        goes(claimants, which, written, keep, now)
    });
    Ok(leaving.map(|(partial, _)| partial).collect())
}

/// Opens a place unless it is gone: nothing is made there. Blocks.
fn open(shared: &Shared, place: &Place) -> Option<Arc<cache::Store>> {
    if !place.destination.path().is_dir() {
        return None;
    }
    let trouble = |error| tracing::debug!(path = %place.destination.path().display(), %error, "cannot be opened");
    shared.open_place(place).map_err(trouble).ok().map(Arc::new)
}

/// How long the partial files of a cancelled job stay.
pub(super) fn kept_after_cancel(shared: &Shared) -> Duration {
    shared.config().storage.keep_partials.min(AFTER_CANCEL)
}

/// Removes what is old in one place.
pub(super) async fn sweep_old(shared: &Arc<Shared>, place: Place) {
    let (opener, to_open) = (shared.clone(), place.clone());
    if let Some(store) = blocking(move || open(&opener, &to_open)).await {
        sweep(shared, &store, place, Which::Old).await;
    }
}

/// Removes what is old in all places, and hints on what is not there any more.
pub(super) async fn sweep_all(shared: &Arc<Shared>) -> Result<(), StoreError> {
    for place in shared.store.places().await? {
        sweep_old(shared, place).await;
    }
    let before = |keep: Duration| {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::MIN)
    };
    // The file of a younger claim may lie on a disk that is not mounted just now.
    let old = shared
        .store
        .old_claims(before(shared.config().storage.keep_partials))
        .await?;
    let gone = blocking(move || {
        let is_gone = |claim: &OldClaim| {
            let looked = claim.path.symlink_metadata();
            looked.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        old.into_iter().filter(is_gone).collect::<Vec<_>>()
    })
    .await;
    shared.store.drop_old_claims(gone).await?;
    shared.store.forget_verified(before(VERIFIED_KEPT)).await?;
    Ok(())
}

/// Takes back what failed and cancelled jobs have left on the disk of a destination. Says whether anything became free.
pub(super) async fn make_room(context: &JobContext, store: &cache::Store) -> bool {
    let shared = &context.shared;
    let Ok(alone) = shared.making_room.clone().try_lock_owned() else {
        return false;
    };
    let places = match shared.store.places().await {
        Ok(places) => places,
        Err(error) => {
            tracing::warn!(%error, "destinations cannot be read");
            return false;
        }
    };
    let (opener, device) = (shared.clone(), store.device());
    let there = blocking(move || {
        let here = |place: Place| {
            let store = open(&opener, &place).filter(|store| store.device() == device)?;
            let some = store.list_partials().is_ok_and(|partials| !partials.is_empty());
            some.then_some((store, place))
        };
        let found: Vec<_> = places.into_iter().filter_map(here).collect();
        // Kept to the end of this: while one destination hangs, nobody else gets stuck there.
        (found, alone)
    });
    let Ok((found, _alone)) = timeout(LOOK_AROUND, there).await else {
        return false;
    };
    let mut freed = 0;
    for (store, place) in found {
        freed += sweep(shared, &store, place, Which::AllLeft).await;
    }
    freed > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_be_wanted_stays() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (now, day, week) = (at(10_000_000), 86_400, Duration::from_secs(7 * 86_400));
        let before = |secs: i64| at(10_000_000 - secs);
        let left = |all: &[(JobState, i64)]| Claimants {
            left: all.iter().map(|(state, secs)| (*state, before(*secs))).collect(),
            ..Claimants::default()
        };
        let wanted = Claimants {
            wanted: true,
            placed: true,
            ..left(&[(JobState::Cancelled, 9 * day)])
        };
        let placed = Claimants {
            placed: true,
            ..Claimants::default()
        };
        let (cancelled, failed) = (JobState::Cancelled, JobState::Failed);
        // (who, seconds since it was written to, whether it goes in time, whether it goes for want of room)
        for (claimants, written, old, all) in [
            (wanted, 99 * day, false, false),
            (placed, 0, true, true),
            (left(&[(cancelled, 3599)]), 99 * day, false, true),
            (left(&[(cancelled, 3600)]), 3600, true, true),
            (left(&[(failed, 6 * day)]), 99 * day, false, true),
            (left(&[(failed, 7 * day)]), 7 * day, true, true),
            // The one that keeps it longest counts.
            (left(&[(cancelled, 3600), (failed, 3600)]), 3600, false, true),
            // Nobody's that we know.
            (Claimants::default(), 6 * day, false, false),
            (Claimants::default(), 7 * day, true, true),
        ] {
            let goes = |which| goes(&claimants, which, before(written), week, now);
            assert_eq!(
                (goes(Which::Old), goes(Which::AllLeft)),
                (old, all),
                "{claimants:?} {written}"
            );
        }
        // A shorter time is a shorter time for those of cancelled jobs, too.
        let second = Duration::from_secs(1);
        assert!(goes(&left(&[(cancelled, 1)]), Which::Old, before(1), second, now));
    }
}
