//! What happens because time has passed: held jobs that are due, and what is old and over is forgotten.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;

use super::{dispatcher::Dispatcher, ledger, leftovers, renew, shared::Shared};
use crate::{
    model::{Event, HoldReason, JobState},
    store::{Forgotten, Horizon, StoreError},
};

/// After a failure of the store the queue is looked at again.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(5);
/// What is old is looked for so often.
const FORGET: Duration = Duration::from_secs(3600);
/// Tokens that no job needs are looked for so often.
const FORGET_TOKENS: Duration = Duration::from_secs(600);
/// Days of the ledger that are kept: a year can be compared with the one before.
const LEDGER_DAYS: i64 = 800;

impl Dispatcher {
    /// Held jobs whose time has come go back into the queue; the queue is looked at.
    pub(super) async fn look_again(&mut self) {
        self.look_at_queue = true;
        self.next_look = None;
        self.next_due = None;
        let mine = self.jobs.keys().cloned().collect();
        match self.shared.store.release_holds(self.shared.clock.now(), mine).await {
            Ok(None) => {}
            Ok(Some(next)) => self.look_at(next),
            Err(error) => {
                tracing::error!(%error, "held jobs cannot be released");
                self.look_within(STORE_RETRY);
            }
        }
    }

    /// A job without tasks was moved, by a user or by its own submit.
    pub(super) fn on_idle_moved(&mut self, event: &Event) {
        match (event.what.state, event.what.hold_reason) {
            (JobState::Cancelled, _) => self.clearing.up_after(&event.job_id),
            // The store knows when it is due.
            (_, Some(HoldReason::Access | HoldReason::Window)) => self.look_within(Duration::ZERO),
            _ => {}
        }
    }

    /// Looks at held jobs and at the queue after this time at the latest.
    pub(super) fn look_within(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.next_look = Some(self.next_look.map_or(due, |known| known.min(due)));
    }
}

/// Forgets what is old and tokens that nobody needs, beside the dispatcher: it may take a while.
pub(super) async fn forget_now_and_then(shared: Arc<Shared>, root: CancellationToken) {
    tokio::join!(forget_old(shared.clone(), root.clone()), forget_tokens(shared, root));
}

/// Forgets what is old, at the start and every hour.
async fn forget_old(shared: Arc<Shared>, root: CancellationToken) {
    let mut hours = interval(FORGET);
    // Beside the rest: a disk that hangs keeps it for as long as it likes.
    let mut sweeping = JoinSet::new();
    loop {
        tokio::select! {
            () = root.cancelled() => return,
            _ = hours.tick() => {}
        }
        while sweeping.try_join_next().is_some() {}
        if sweeping.is_empty() {
            let shared = shared.clone();
            sweeping.spawn(async move {
                if let Err(error) = leftovers::sweep_all(&shared).await {
                    tracing::error!(%error, "old partial files cannot be looked for");
                }
            });
        }
        // What was begun is small; the rest waits for the next start.
        tokio::select! {
            () = root.cancelled() => return,
            outcome = forget(&shared) => if let Err(error) = outcome {
                tracing::error!(%error, "what is old cannot be forgotten");
            }
        }
    }
}

/// Forgets tokens of ended jobs, at the start and every ten minutes.
async fn forget_tokens(shared: Arc<Shared>, root: CancellationToken) {
    let mut looks = interval(FORGET_TOKENS);
    loop {
        tokio::select! {
            () = root.cancelled() => return,
            _ = looks.tick() => {}
        }
        if let Err(error) = renew::forget_tokens(&shared).await {
            tracing::error!(%error, "tokens of ended jobs cannot be forgotten");
        }
    }
}

async fn forget(shared: &Shared) -> Result<(), StoreError> {
    let config = shared.config();
    let before = |keep: Duration| {
        let keep = jiff::SignedDuration::try_from(keep).unwrap_or(jiff::SignedDuration::MAX);
        Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::MIN)
    };
    let events = shared
        .store
        .prune(before(config.events.keep), config.events.keep_count)
        .await?;
    let horizon = Horizon {
        jobs_before: before(config.jobs.keep),
        jobs_kept: config.jobs.keep_count,
        files_before: before(config.jobs.keep_files),
    };
    let Forgotten { jobs, files } = shared.store.prune_jobs(horizon).await?;
    let days = match ledger::today(shared).checked_sub(jiff::Span::new().days(LEDGER_DAYS)) {
        Ok(before) => shared.store.prune_ledger(before).await?,
        Err(_) => 0,
    };
    if events + jobs + files + days > 0 {
        tracing::debug!(events, jobs, files, days, "what is old was forgotten");
    }
    Ok(())
}
