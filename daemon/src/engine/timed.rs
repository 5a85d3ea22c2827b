//! What the dispatcher does about windows and changed terms: jobs that may not run now are held, those whose window closes are
//! stopped inside their files, and what a user changed is in force at once.

use std::collections::HashSet;

use super::{
    dispatcher::{Dispatcher, Ending},
    timing::{May, may_run},
};
use crate::{
    model::{JobId, JobState},
    store::{MoveNote, Scope, StoreError},
};

impl Dispatcher {
    /// Holds queued jobs whose time has not come, so that they are seen as what they are and leave their places to others.
    pub(super) async fn hold_untimely(&mut self) {
        let queued = match self.shared.store.queued_with_times().await {
            Ok(queued) => queued,
            Err(error) => return tracing::error!(%error, "jobs with a window cannot be read"),
        };
        let (config, now) = (self.shared.config(), self.shared.clock.now());
        // One that is still ending is looked at once it has ended.
        let idle: Vec<_> = queued.iter().filter(|job| !self.jobs.contains_key(&job.id)).collect();
        for job in idle {
            let May::Wait(until, detail) = may_run(&config, &job.spec.pacing, now) else {
                continue;
            };
            let note = MoveNote {
                detail,
                next_attempt_at: Some(until),
                ..MoveNote::default()
            };
            let judged = job.spec.pacing.clone();
            let store = &self.shared.store;
            match store.hold_for_window(&job.id, judged, &[JobState::Queued], note).await {
                Ok(Some(_)) => self.look_at(until),
                // It has other terms now. The event of the change makes us look again.
                Ok(None) | Err(StoreError::IllegalMove(_)) => {}
                Err(error) => tracing::error!(job = %job.id, %error, "a job cannot be held"),
            }
        }
    }

    /// Windows have closed: the jobs keep what they have and go on at the next opening.
    pub(super) async fn on_bell(&mut self, ids: Vec<JobId>) {
        for id in ids {
            let Some(active) = self.jobs.get_mut(&id).filter(|active| active.ending.is_none()) else {
                continue;
            };
            // As it is now: a job may have got another window a moment ago.
            let pacing = match self.shared.store.job(Scope::All, &id).await {
                Ok(job) => job.spec.pacing,
                Err(error) => {
                    tracing::error!(job = %id, %error, "a job cannot be read");
                    active.context.spec.pacing.clone()
                }
            };
            let (config, now) = (self.shared.config(), self.shared.clock.now());
            match may_run(&config, &pacing, now) {
                May::Run(_) => self.shared.bells.enter(&config, &id, &pacing, now),
                May::Wait(..) => self.stop_with(&id, Ending::Window).await,
            }
        }
    }

    /// Holds a job that was stopped by its window - or queues it, if it may run after all: the windows or its terms may have
    /// changed while its tasks were ending, and nobody else looks at a job that ends.
    pub(super) async fn store_window(&mut self, id: &JobId) -> bool {
        loop {
            let pacing = match self.shared.store.job(Scope::All, id).await {
                Ok(job) => job.spec.pacing,
                Err(error) => {
                    tracing::error!(job = %id, %error, "a job cannot be read");
                    return matches!(error, StoreError::NoSuchJob(_));
                }
            };
            let May::Wait(until, detail) = may_run(&self.shared.config(), &pacing, self.shared.clock.now()) else {
                return self.disown(id).await;
            };
            let note = MoveNote {
                detail,
                next_attempt_at: Some(until),
                ..MoveNote::default()
            };
            let running = &[JobState::Active, JobState::Held];
            match self.shared.store.hold_for_window(id, pacing, running, note).await {
                Ok(Some(job)) => {
                    tracing::info!(job = %id, state = %job.state, detail = job.detail, "moved");
                    self.look_at(until);
                    return true;
                }
                Ok(None) => {}
                Err(StoreError::IllegalMove(_) | StoreError::NoSuchJob(_)) => return true,
                Err(error) => {
                    tracing::error!(job = %id, %error, "a job cannot be held");
                    return false;
                }
            }
        }
    }

    /// Jobs that are worked on may have other terms.
    pub(super) async fn on_changed(&mut self, ids: HashSet<JobId>) {
        let config = self.shared.config();
        for id in ids {
            match self.shared.store.job(Scope::All, &id).await {
                Ok(job) => {
                    if self.jobs.get(&id).is_some_and(|active| active.ending.is_none()) {
                        self.shared.gate.enter(&job, config.users.of(&job.owner.user).weight);
                        let now = self.shared.clock.now();
                        self.shared.bells.enter(&config, &id, &job.spec.pacing, now);
                    }
                }
                Err(error) => tracing::error!(job = %id, %error, "a job cannot be read"),
            }
        }
    }

    /// Looks at held jobs at this time at the latest.
    pub(super) fn look_at(&mut self, at: jiff::Timestamp) {
        self.next_due = Some(self.next_due.map_or(at, |known| known.min(at)));
    }
}
