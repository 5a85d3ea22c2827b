//! What the dispatcher does about what it hears: users' changes, which are stored before anybody is told.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::broadcast::error::TryRecvError;

use super::{
    Events,
    dispatcher::{Dispatcher, Ending},
};
use crate::{
    model::{Event, EventKind, JobId, JobState},
    store::StoreError,
};

impl Dispatcher {
    /// Hears one event and those that wait behind it.
    pub(super) async fn on_events(&mut self, first: Arc<Event>, events: &mut Events) {
        let (mut moved, mut changed) = (HashSet::new(), HashSet::new());
        let mut next = Some(first);
        while let Some(event) = next {
            let queued = event.what.state == JobState::Queued;
            match event.what.kind {
                EventKind::Submitted => self.look_at_queue = true,
                EventKind::StateChanged => {
                    self.look_at_queue |= queued;
                    let works = matches!(event.what.state, JobState::Active | JobState::Held);
                    if self.jobs.contains_key(&event.job_id) {
                        let set = if works { &mut changed } else { &mut moved };
                        set.insert(event.job_id.clone());
                    } else {
                        self.on_idle_moved(&event);
                    }
                }
                EventKind::Planned | EventKind::FileDone | EventKind::Warning => {}
            }
            next = match events.try_recv() {
                Ok(event) => Some(event),
                Err(TryRecvError::Lagged(_)) => return self.on_lost_events().await,
                Err(TryRecvError::Empty | TryRecvError::Closed) => None,
            };
        }
        self.stop_moved(moved).await;
        self.on_changed(changed).await;
    }

    /// Ends the tasks of a job that is to be moved so when they are gone.
    pub(super) async fn stop_with(&mut self, id: &JobId, ending: Ending) {
        if let Some(active) = self.jobs.get_mut(id) {
            active.ending = Some(ending);
            // Others may want them, however long the tasks take to end.
            active.files.clear();
            active.lane.close();
            active.context.cancel.cancel();
            self.close_when_empty(id).await;
        }
    }

    pub(super) async fn on_lost_events(&mut self) {
        self.look_at_queue = true;
        self.stop_moved(self.jobs.keys().cloned().collect()).await;
        self.on_changed(self.jobs.keys().cloned().collect()).await;
    }

    /// Ends the tasks of jobs that users took away. The event may be old: what counts is the row.
    pub(super) async fn stop_moved(&mut self, ids: HashSet<JobId>) {
        for id in ids {
            let works = match self.shared.store.state_of(&id).await {
                Ok(state) => matches!(state, JobState::Active | JobState::Held),
                // It had ended, and was forgotten before its tasks were gone.
                Err(StoreError::NoSuchJob(_)) => false,
                Err(error) => {
                    tracing::error!(job = %id, %error, "a job cannot be read");
                    self.unread.insert(id);
                    continue;
                }
            };
            if !works {
                self.stop_with(&id, Ending::Told).await;
            }
        }
    }
}
