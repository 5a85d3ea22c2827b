//! What the dispatcher does because time has passed: held jobs that are due, old events.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{dispatcher::Dispatcher, routes};

/// After a failure of the store the queue is looked at again.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(5);

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

    /// Looks at held jobs and at the queue after this time at the latest.
    pub(super) fn look_within(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.next_look = Some(self.next_look.map_or(due, |known| known.min(due)));
    }

    /// What was counted of the hosts of active jobs survives a crash but for the last half minute.
    pub(super) async fn store_accounts(&self) {
        for (id, active) in &self.jobs {
            routes::store(&self.shared, id, active.context.row).await;
        }
    }

    pub(super) async fn prune(&self) {
        let events = self.shared.config().events.clone();
        let keep = jiff::SignedDuration::try_from(events.keep).unwrap_or(jiff::SignedDuration::MAX);
        let before = Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::MIN);
        match self.shared.store.prune(before, events.keep_count).await {
            Ok(0) => {}
            Ok(events) => tracing::debug!(events, "old events were forgotten"),
            Err(error) => tracing::error!(%error, "old events cannot be forgotten"),
        }
    }
}
