//! What the dispatcher does about windows and changed terms: jobs that may not run now are held, those whose window closes are
//! stopped inside their files, and what a user changed is in force at once.

use std::collections::HashSet;

use super::{
    dispatcher::{Dispatcher, Ending},
    timing::{May, may_run},
};
use crate::{
    model::{HoldReason, JobId, JobMove},
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
            let moved = self
                .shared
                .store
                .move_job(Scope::All, &job.id, JobMove::Hold(HoldReason::Window), note)
                .await;
            match moved {
                Ok(_) => self.look_at(until),
                Err(StoreError::IllegalMove(_)) => {}
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
                May::Wait(until, detail) => {
                    let note = MoveNote {
                        detail,
                        next_attempt_at: Some(until),
                        ..MoveNote::default()
                    };
                    active.ending = Some(Ending::Move(JobMove::Hold(HoldReason::Window), note));
                    active.context.cancel.cancel();
                    self.close_when_empty(&id).await;
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
