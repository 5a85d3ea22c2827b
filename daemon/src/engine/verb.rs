//! What users do to jobs, as moves between states.

use crate::model::{JobId, JobMove, JobState};

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

    pub(super) fn states(self) -> &'static [JobState] {
        match self {
            Self::Pause => &[JobState::Queued, JobState::Active, JobState::Held],
            Self::Resume => &[JobState::Paused],
            Self::Cancel => &[JobState::Queued, JobState::Active, JobState::Held, JobState::Paused],
            // Not cancelled ones: "all" should not bring back what somebody ended on purpose.
            Self::Retry => &[JobState::Failed],
        }
    }
}
