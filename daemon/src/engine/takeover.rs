//! Several jobs want one file: one fetches it, the others wait - and one of them takes it over when it can do better.
//!
//! What was fetched stays; only who goes on changes. While the file moves, terms decide, and while it does not, whose run is
//! newer. Who stands still itself does not ask by its terms: what would it do better? So no file goes round.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    progress::{JobProgress, Worker, lock},
    shared::JobContext,
    small::SMALL,
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
    /// It takes over nothing that it did not fetch itself, and nobody takes over from it.
    forced: bool,
    give_way: CancellationToken,
    /// Of its [`Seated`].
    key: Arc<()>,
}

/// The right to fetch, shown to those who wait, until it is dropped.
pub(super) struct Seated {
    seat: Arc<Seat>,
    give_way: CancellationToken,
    key: Arc<()>,
    #[expect(dead_code, reason = "held for its drop")]
    worker: Option<Worker>,
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
    /// It waits for something itself.
    stands_still: bool,
}

/// Whether a job that waits should fetch in place of the one that does: it may go faster, or its user prefers it. Of a file that
/// does not move, the job whose run began last: it may know of something new, or its user has asked for another try.
fn comes_first(waiter: Standing, holder: Standing, is_stuck: bool) -> bool {
    if is_stuck {
        return waiter.since > holder.since;
    }
    if waiter.stands_still {
        return false;
    }
    let [may, has] = [waiter, holder].map(|job| job.limit.unwrap_or(u64::MAX));
    if may != has {
        return may > has;
    }
    waiter.uid == holder.uid && waiter.priority > holder.priority
}

impl Seated {
    /// Shows the job as the one who fetches a file.
    pub(super) fn new(context: &JobContext, store: &cache::Store, file: &FileRecord) -> Self {
        let worker = is_large(file).then(|| context.progress.worker(u32::MAX)).flatten();
        let seat = context.shared.seats.of(store.staging_key(&file.digest));
        let (give_way, key) = (CancellationToken::new(), Arc::new(()));
        *lock(&seat.0) = Some(Holder {
            job: context.id.clone(),
            row: context.row,
            uid: context.owner.uid,
            since: context.since,
            progress: context.progress.clone(),
            forced: context.spec.force_download,
            give_way: give_way.clone(),
            key: key.clone(),
        });
        Self {
            seat,
            give_way,
            key,
            worker,
        }
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
        // The next one may have it already.
        let mut holder = lock(&self.seat.0);
        if holder
            .as_ref()
            .is_some_and(|holder| Arc::ptr_eq(&holder.key, &self.key))
        {
            *holder = None;
        }
    }
}

fn is_large(file: &FileRecord) -> bool {
    file.size >= SMALL
}

/// One who waits for a file.
struct Waiter<'a> {
    context: &'a JobContext,
    file: &'a FileRecord,
    seat: Arc<Seat>,
    /// Whom it has asked for the file.
    asked: Option<Arc<()>>,
    /// The place that it keeps for a large one.
    worker: Option<Worker>,
    /// It is shown as held, as the one is that it waits for.
    told: bool,
}

impl Waiter<'_> {
    fn standing(&self, row: i64, uid: u32, since: Instant, progress: &JobProgress) -> Option<Standing> {
        let terms = self.context.shared.gate.terms(row)?;
        Some(Standing {
            uid,
            priority: terms.priority,
            limit: terms.limit,
            since,
            stands_still: progress.own_waiting().is_some(),
        })
    }

    /// Looks at who fetches: tells what is waited for, and asks for the file when this job comes first.
    fn look(&mut self) {
        let (context, path) = (self.context, self.file.path.as_str().escape_debug());
        let holder = lock(&self.seat.0).clone();
        let Some(holder) = holder.filter(|holder| holder.job != context.id) else {
            context
                .progress
                .file_stage(self.file, "waiting for another transfer of");
            return self.take_back();
        };
        let is_own = holder.uid == context.owner.uid;
        // Whose job it is, and what it does, concerns nobody else.
        let name = match is_own {
            true => format!("job {}", holder.job),
            false => "another user's job".to_owned(),
        };
        context
            .progress
            .file_stage(self.file, &format!("waiting for {name}, which fetches"));
        let waiting = holder.progress.own_waiting();
        let is_stuck = waiting.as_ref().is_some_and(|waiting| waiting.lasts() > STUCK_AFTER);
        match waiting {
            Some(waiting) => {
                let why = match is_own {
                    true => waiting.detail,
                    false => format!("it is held ({})", waiting.reason.as_str()),
                };
                let detail = format!("{name} fetches {path}: {why}");
                context.progress.waits_with(waiting.reason, detail, waiting.until);
                self.told = true;
            }
            None => {
                self.take_back();
                // It has what this job stood still for, while this one does nothing by itself.
                if holder.progress.has_received()
                    && holder.progress.idle() < STUCK_AFTER
                    && !context.progress.is_connected()
                {
                    context.progress.moved();
                }
            }
        }
        let is_asked = self.asked.as_ref().is_some_and(|asked| Arc::ptr_eq(asked, &holder.key));
        if is_asked || holder.forced || context.spec.force_download {
            return;
        }
        let ours = self.standing(context.row, context.owner.uid, context.since, &context.progress);
        let theirs = self.standing(holder.row, holder.uid, holder.since, &holder.progress);
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && comes_first(ours, theirs, is_stuck)
            && self.has_place()
        {
            self.asked = Some(holder.key.clone());
            holder.give_way.cancel();
        }
    }

    /// Whether there is a place for the file, where one is needed: without one it would wait in nobody's hands.
    fn has_place(&mut self) -> bool {
        if is_large(self.file) && self.worker.is_none() {
            let most = self.context.shared.config().transfer.max_workers;
            let most = self.context.spec.max_workers.unwrap_or(most).max(1);
            self.worker = self.context.progress.worker(most);
            return self.worker.is_some();
        }
        true
    }

    /// The other one waits no more.
    fn take_back(&mut self) {
        if std::mem::take(&mut self.told) {
            self.context.progress.waits_with_none();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Waits until the job that works on a file has done with it, or leaves it to this one: then with the turn. What that one
/// fetches is as good as this one's own.
pub(super) async fn wait_for_another(
    context: &JobContext,
    store: &cache::Store,
    file: &FileRecord,
) -> Result<Option<Turn>, JobStop> {
    let _in_hand = context.progress.file_in_hand(file);
    let key = store.staging_key(&file.digest);
    // Of a small one nothing is on disk before all of it is.
    let seen = is_large(file).then(|| context.progress.see(file.id, context.shared.partials.of(key.clone())));
    let mut waiter = Waiter {
        context,
        file,
        seat: context.shared.seats.of(key.clone()),
        asked: None,
        worker: None,
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
    let asked = waiter.asked.is_some();
    match (&waited, &seen) {
        (Err(_), Some(seen)) => seen.keep(),
        (Ok(_), Some(seen)) if asked => seen.put_by(),
        _ => {}
    }
    waited.map(|turn| asked.then_some(turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first() {
        let start = Instant::now();
        let job = |uid, priority, limit, second| Standing {
            uid,
            priority,
            limit,
            since: start + Duration::from_secs(second),
            stands_still: false,
        };
        let (low, normal, high) = (Priority::Low, Priority::Normal, Priority::High);
        for (waiter, holder, moves, stuck) in [
            // The same terms: the first one goes on, unless it does not move and the other is newer.
            (job(1, normal, None, 5), job(1, normal, None, 0), false, true),
            (job(2, normal, None, 5), job(1, normal, None, 0), false, true),
            (job(1, normal, None, 0), job(1, normal, None, 5), false, false),
            // A limit of its own.
            (job(1, normal, None, 5), job(1, normal, Some(9), 0), true, true),
            (job(2, normal, Some(10), 0), job(1, normal, Some(9), 5), true, false),
            (job(1, normal, Some(9), 5), job(1, normal, None, 0), false, true),
            (job(1, high, Some(9), 0), job(1, low, None, 5), false, false),
            // Its user's wish, which says nothing about another user's.
            (job(1, high, None, 0), job(1, normal, None, 5), true, false),
            (job(1, low, None, 0), job(1, normal, None, 5), false, false),
            (job(2, high, None, 0), job(1, normal, None, 5), false, false),
        ] {
            assert_eq!(comes_first(waiter, holder, false), moves, "{waiter:?} {holder:?}");
            assert_eq!(comes_first(waiter, holder, true), stuck, "{waiter:?} {holder:?}");
            // Who stands still itself asks for nothing that moves.
            let waiter = Standing {
                stands_still: true,
                ..waiter
            };
            assert!(!comes_first(waiter, holder, false), "{waiter:?} {holder:?}");
        }
    }

    #[test]
    fn no_file_goes_round() {
        let start = Instant::now();
        let mut jobs = Vec::new();
        for uid in [1, 2] {
            for priority in [Priority::Low, Priority::Normal, Priority::High] {
                for limit in [None, Some(9), Some(10)] {
                    jobs.push((uid, priority, limit));
                }
            }
        }
        // Whoever gets the file, in whatever order the others ask: after so many takeovers nobody asks any more.
        let jobs: Vec<Standing> = jobs
            .into_iter()
            .zip((0..18_u64).map(|number| number * 7 % 18))
            .map(|((uid, priority, limit), second)| Standing {
                uid,
                priority,
                limit,
                since: start + Duration::from_secs(second),
                stands_still: false,
            })
            .collect();
        for is_stuck in [false, true] {
            for first in 0..jobs.len() {
                for order in [1, 5, 7, 11, 13, 17] {
                    let (mut holder, mut takeovers) = (first, 0);
                    while let Some(next) = (0..jobs.len())
                        .map(|step| (holder + step * order) % jobs.len())
                        .find(|other| comes_first(jobs[*other], jobs[holder], is_stuck))
                    {
                        holder = next;
                        takeovers += 1;
                        assert!(takeovers < jobs.len(), "a circle from {first} by {order}");
                    }
                }
            }
        }
    }
}
