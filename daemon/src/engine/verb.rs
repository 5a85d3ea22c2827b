//! What users do to jobs, as moves between states.

use super::{Engine, error::CallError};
use crate::{
    model::{HoldReason, Job, JobId, JobMove, JobState},
    store::{Filter, MoveNote, Scope},
};

/// Which jobs a verb acts on.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// One, by its id.
    One(JobId),
    /// All in a state that the verb fits.
    All,
}

/// What a user can do to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Stop it inside a file.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
    /// Once more, with a fresh plan.
    Retry,
}

impl Verb {
    pub(super) fn job_move(self) -> JobMove {
        match self {
            Self::Pause => JobMove::Pause,
            Self::Resume => JobMove::Resume,
            Self::Cancel => JobMove::Cancel,
            Self::Retry => JobMove::Retry,
        }
    }

    /// Which jobs "all" means: in these states, and of held ones those for these reasons (none named: any).
    pub fn which(self) -> (&'static [JobState], &'static [HoldReason]) {
        (self.states(), self.held_for())
    }

    fn states(self) -> &'static [JobState] {
        match self {
            Self::Pause => &[JobState::Queued, JobState::Active, JobState::Held],
            Self::Resume => &[JobState::Paused],
            Self::Cancel => &[JobState::Queued, JobState::Active, JobState::Held, JobState::Paused],
            // Not cancelled ones: "all" should not bring back what somebody ended on purpose.
            Self::Retry => &[JobState::Failed, JobState::Held],
        }
    }

    fn held_for(self) -> &'static [HoldReason] {
        match self {
            // What waits for a time or for a yes would be held again at once.
            Self::Retry => &[
                HoldReason::Endpoint,
                HoldReason::RateLimited,
                HoldReason::Access,
                HoldReason::Disk,
            ],
            Self::Pause | Self::Resume | Self::Cancel => &[],
        }
    }
}

impl Engine {
    /// Acts on one job or on all that the verb fits. Stored first, then told to the transfers.
    ///
    /// # Errors
    /// When the job does not exist or its state does not allow it.
    pub async fn act(&self, scope: Scope, chosen: Chosen, verb: Verb) -> Result<Vec<Job>, CallError> {
        let store = &self.shared.store;
        Ok(match chosen {
            Chosen::One(id) => vec![store.move_job(scope, &id, verb.job_move(), MoveNote::default()).await?],
            Chosen::All => {
                store
                    .move_all(scope, verb.which(), verb.job_move(), MoveNote::default())
                    .await?
            }
        })
    }

    /// The ids of all jobs that a filter shows, however many; `limit` is the size of a page.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn job_ids(&self, filter: Filter) -> Result<Vec<JobId>, CallError> {
        Ok(self.shared.store.job_ids(filter).await?)
    }
}
