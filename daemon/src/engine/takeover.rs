//! Several jobs want one file: one fetches it, the others wait - and one of them takes it over when it can do better.
//!
//! What was fetched stays; only who goes on changes. The rule is strict in each of its parts, so two jobs never take a file from
//! each other in turn.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    progress::{JobProgress, lock},
    shared::JobContext,
    stop::JobStop,
    turns::{Common, Turn},
};
use crate::{
    cache,
    model::{FileRecord, JobId, Priority},
};

/// Who waits looks at the one who fetches so often.
const LOOK: Duration = Duration::from_secs(1);
/// One that waits for so long without a byte does not move.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// Who fetches a file, by its partial file.
pub(super) type Seats = Common<PathBuf, Seat>;

/// The place of the one who fetches.
#[derive(Default)]
pub(super) struct Seat(Mutex<Option<Holder>>);

/// Who fetches.
#[derive(Clone)]
struct Holder {
    job: JobId,
    row: i64,
    uid: u32,
    since: Instant,
    progress: Arc<JobProgress>,
    give_way: CancellationToken,
}

/// The right to fetch, shown to those who wait, until it is dropped.
pub(super) struct Seated {
    seat: Arc<Seat>,
    give_way: CancellationToken,
}

/// What decides between two jobs.
#[derive(Debug, Clone, Copy)]
struct Standing {
    uid: u32,
    priority: Priority,
    /// Of the job alone, in bytes per second.
    limit: Option<u64>,
    /// When its run began.
    since: Instant,
}

/// Whether a job that waits should fetch in place of the one that does: it may go faster, its user prefers it, or the other one
/// does not move and this one has begun after it, so that it knows of something new - or its user has asked for another try.
fn comes_first(waiter: Standing, holder: Standing, is_stuck: bool) -> bool {
    let [may, has] = [waiter, holder].map(|job| job.limit.unwrap_or(u64::MAX));
    if may != has {
        return may > has;
    }
    if waiter.uid == holder.uid && waiter.priority != holder.priority {
        return waiter.priority > holder.priority;
    }
    is_stuck && waiter.since > holder.since
}

impl Seated {
    /// Shows the job as the one who fetches a file.
    pub(super) fn new(context: &JobContext, store: &cache::Store, file: &FileRecord) -> Self {
        let seat = context.shared.seats.of(store.staging_key(&file.digest));
        let give_way = CancellationToken::new();
        *lock(&seat.0) = Some(Holder {
            job: context.id.clone(),
            row: context.row,
            uid: context.owner.uid,
            since: context.since,
            progress: context.progress.clone(),
            give_way: give_way.clone(),
        });
        Self { seat, give_way }
    }

    /// Somebody who comes first asks for the file.
    pub(super) async fn asked(&self) {
        self.give_way.cancelled().await;
    }

    /// Somebody has asked for the file.
    pub(super) fn is_asked(&self) -> bool {
        self.give_way.is_cancelled()
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        *lock(&self.seat.0) = None;
    }
}

/// One who waits for a file.
struct Waiter<'a> {
    context: &'a JobContext,
    file: &'a FileRecord,
    seat: Arc<Seat>,
    /// It has asked for the file.
    asked: bool,
    /// It is shown as held, as the one is that it waits for.
    told: bool,
}

impl Waiter<'_> {
    fn standing(&self, row: i64, uid: u32, since: Instant) -> Option<Standing> {
        let terms = self.context.shared.gate.terms(row)?;
        Some(Standing {
            uid,
            priority: terms.priority,
            limit: terms.limit,
            since,
        })
    }

    /// Looks at who fetches: tells what is waited for, and asks for the file when this job comes first.
    fn look(&mut self) {
        let (context, path) = (self.context, self.file.path.as_str().escape_debug());
        let Some(holder) = lock(&self.seat.0).clone() else {
            context
                .progress
                .file_stage(self.file, "waiting for another transfer of");
            return;
        };
        // Whose job it is concerns nobody else.
        let name = match holder.uid == context.owner.uid {
            true => format!("job {}", holder.job),
            false => "another user's job".to_owned(),
        };
        context
            .progress
            .file_stage(self.file, &format!("waiting for {name}, which fetches"));
        let waiting = holder.progress.waiting();
        let is_stuck = waiting.as_ref().is_some_and(|waiting| waiting.lasts() > STUCK_AFTER);
        match waiting {
            Some(waiting) => {
                let detail = format!("{name} fetches {path}: {}", waiting.detail);
                context.progress.waits(waiting.reason, detail, waiting.until);
                self.told = true;
            }
            None if std::mem::take(&mut self.told) => context.progress.moved(),
            None => {}
        }
        let ours = self.standing(context.row, context.owner.uid, context.since);
        let theirs = self.standing(holder.row, holder.uid, holder.since);
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && comes_first(ours, theirs, is_stuck)
        {
            self.asked = true;
            holder.give_way.cancel();
        }
    }
}

/// Waits until the job that works on a file has done with it, or gives it up to this one: then with the turn. What that one
/// fetches is as good as this one's own.
pub(super) async fn wait_for_another(
    context: &JobContext,
    store: &cache::Store,
    file: &FileRecord,
) -> Result<Option<Turn>, JobStop> {
    let _in_hand = context.progress.file_in_hand(file);
    let key = store.staging_key(&file.digest);
    let seen = context.progress.see(file.id, context.shared.partials.of(key.clone()));
    let mut waiter = Waiter {
        context,
        file,
        seat: context.shared.seats.of(key.clone()),
        asked: false,
        told: false,
    };
    let turn = context.shared.turns.take(key);
    tokio::pin!(turn);
    let waited = loop {
        waiter.look();
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => break Err(JobStop::Cancelled),
            turn = &mut turn => break Ok(turn),
            () = sleep(LOOK) => {}
        }
    };
    if waited.is_err() {
        seen.keep();
    } else if waiter.told {
        context.progress.moved();
    }
    let asked = waiter.asked;
    waited.map(|turn| asked.then_some(turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_is_never_both() {
        let start = Instant::now();
        let job = |uid, priority, limit, second| Standing {
            uid,
            priority,
            limit,
            since: start + Duration::from_secs(second),
        };
        let (low, normal, high) = (Priority::Low, Priority::Normal, Priority::High);
        for (waiter, holder, moves, stuck) in [
            // The same terms: the first one goes on, unless it does not move and the other is newer.
            (job(1, normal, None, 5), job(1, normal, None, 0), false, true),
            (job(2, normal, None, 5), job(1, normal, None, 0), false, true),
            (job(1, normal, None, 0), job(1, normal, None, 5), false, false),
            // A limit of its own.
            (job(1, normal, None, 5), job(1, normal, Some(9), 0), true, true),
            (job(2, normal, Some(10), 5), job(1, normal, Some(9), 0), true, true),
            (job(1, normal, Some(9), 5), job(1, normal, None, 0), false, false),
            (job(1, high, Some(9), 5), job(1, low, None, 0), false, false),
            // Its user's wish, which says nothing about another user's.
            (job(1, high, None, 0), job(1, normal, None, 5), true, true),
            (job(1, low, None, 5), job(1, normal, None, 0), false, false),
            (job(2, high, None, 0), job(1, normal, None, 5), false, false),
        ] {
            assert_eq!(comes_first(waiter, holder, false), moves, "{waiter:?} {holder:?}");
            assert_eq!(comes_first(waiter, holder, true), stuck, "{waiter:?} {holder:?}");
            for is_stuck in [false, true] {
                let both = comes_first(waiter, holder, is_stuck) && comes_first(holder, waiter, is_stuck);
                assert!(!both, "{waiter:?} {holder:?}");
            }
        }
    }
}
