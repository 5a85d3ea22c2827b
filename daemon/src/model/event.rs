//! What watchers may hear. Past tense, numbered, committed with the change that it tells.

use jiff::Timestamp;

use super::{Failure, HoldReason, JobId, JobState, RepoKind};

/// Number of an event: strictly increasing over the life of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventSeq(pub u64);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A job was accepted.
    Submitted,
    /// Its commit is pinned and its files are known.
    Planned,
    /// It moved to another state.
    StateChanged,
    /// One of its files is published.
    FileDone,
    /// Something a person may want to know.
    Warning,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Submitted,
        Self::Planned,
        Self::StateChanged,
        Self::FileDone,
        Self::Warning,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Planned => "planned",
            Self::StateChanged => "state_changed",
            Self::FileDone => "file_done",
            Self::Warning => "warning",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An event before the store numbers it.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// State of the job after it.
    pub state: JobState,
    /// Why it is held, when it is.
    pub hold_reason: Option<HoldReason>,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// Path in the repository, for events of one file.
    pub file: String,
    /// A sentence for people; may be empty.
    pub detail: String,
    /// The pinned commit, or empty.
    pub commit: String,
    /// Bytes of the file or of the plan.
    pub bytes: u64,
}

/// A committed event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its number.
    pub seq: EventSeq,
    /// When it was committed.
    pub at: Timestamp,
    /// The job that it is about.
    pub job_id: JobId,
    /// The job's repository.
    pub repo_id: String,
    /// And its kind.
    pub repo_kind: RepoKind,
    /// The job's owner.
    pub uid: u32,
    /// Name of the owner.
    pub user: String,
    /// What happened.
    pub what: NewEvent,
}
