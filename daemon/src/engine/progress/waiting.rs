//! What a job waits for, or whom it waits with, while no byte comes.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::{JobProgress, lock};
use crate::model::HoldReason;

/// Why nothing moves right now, told by whoever waits.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) reason: HoldReason,
    pub(in crate::engine) detail: String,
    /// When the next attempt is due.
    pub(in crate::engine) until: Instant,
    /// Since when it waits without a byte.
    since: Instant,
    /// It is another job that waits, and this one for that.
    copied: bool,
}

impl Waiting {
    /// How long nothing has moved.
    pub(in crate::engine) fn lasts(&self) -> Duration {
        self.since.elapsed()
    }
}

/// A task of a job that does nothing but wait for another job's file, or for one of its user's connections; until it is dropped.
pub(in crate::engine) struct StandsBy(Arc<JobProgress>);

impl Drop for StandsBy {
    fn drop(&mut self) {
        self.0.standing_by.fetch_sub(1, Relaxed);
    }
}

impl JobProgress {
    /// A task waits for what other jobs have.
    pub(in crate::engine) fn stands_by(self: &Arc<Self>) -> StandsBy {
        self.standing_by.fetch_add(1, Relaxed);
        StandsBy(self.clone())
    }

    /// Tasks that wait for what other jobs have.
    pub(in crate::engine) fn standing_by(&self) -> usize {
        self.standing_by.load(Relaxed) as usize
    }

    /// Something shows that the job moves.
    pub(in crate::engine) fn moved(&self) {
        if self.is_waiting.load(Relaxed) {
            let mut waiting = lock(&self.waiting);
            *waiting = None;
            // Under the lock: a wait that begins now must not lose its mark.
            self.is_waiting.store(false, Relaxed);
        }
    }

    /// What is to be told beside what the job waits for; empty: nothing.
    pub(in crate::engine) fn beside(&self, text: String) {
        *lock(&self.beside) = text;
    }

    /// A transfer waits until `until`.
    pub(in crate::engine) fn waits(&self, reason: HoldReason, detail: String, until: Instant) {
        let beside = lock(&self.beside).clone();
        let detail = match beside.as_str() {
            "" => detail,
            beside => format!("{detail}; {beside}"),
        };
        let mut waiting = lock(&self.waiting);
        self.set_waiting(&mut waiting, (reason, detail, until), false);
    }

    /// Another job waits until `until`, and this one for that one. What this one waits for itself tells more.
    pub(in crate::engine) fn waits_with(&self, reason: HoldReason, detail: String, until: Instant) {
        let mut waiting = lock(&self.waiting);
        let has_own = |known: &Waiting| !known.copied && known.until > Instant::now();
        if !waiting.as_ref().is_some_and(has_own) {
            self.set_waiting(&mut waiting, (reason, detail, until), true);
        }
    }

    fn set_waiting(
        &self,
        waiting: &mut Option<Waiting>,
        (reason, detail, until): (HoldReason, String, Instant),
        copied: bool,
    ) {
        let since = waiting.as_ref().map_or_else(Instant::now, |known| known.since);
        *waiting = Some(Waiting {
            reason,
            detail,
            until,
            since,
            copied,
        });
        self.is_waiting.store(true, Relaxed);
    }

    /// The other job waits no more, or this one no more for it.
    pub(in crate::engine) fn waits_with_none(&self) {
        let mut waiting = lock(&self.waiting);
        if waiting.as_ref().is_some_and(|known| known.copied) {
            *waiting = None;
            self.is_waiting.store(false, Relaxed);
        }
    }

    /// What the job waits for, when no byte came since.
    pub(in crate::engine) fn waiting(&self) -> Option<Waiting> {
        lock(&self.waiting).clone()
    }

    /// The same without what it only waits for with another job.
    pub(in crate::engine) fn own_waiting(&self) -> Option<Waiting> {
        self.waiting().filter(|waiting| !waiting.copied)
    }
}
