//! Jobs and the moves between their states.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;

use super::{CommitHash, Difference, Failure, JobId, Pacing, RepoId, RepoKind, Revision, ScheduleId};

/// Where a job stands; the words are those of JSON and the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waiting for its turn.
    Queued,
    /// Being planned, transferred, verified or published.
    Active,
    /// Cannot go on right now; goes on by itself.
    Held,
    /// Stopped by a user.
    Paused,
    /// All files are published.
    Done,
    /// Given up, with a failure.
    Failed,
    /// Ended by a user.
    Cancelled,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Active,
        Self::Held,
        Self::Paused,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word of the wire, of the store and of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Active => "active",
            Self::Held => "held",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Done, failed or cancelled: nothing happens to it without a user.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The state after a move.
    ///
    /// # Errors
    /// When the move is not possible from here.
    pub fn apply(self, job_move: JobMove) -> Result<Self, IllegalMove> {
        use JobMove as M;
        let to = match (self, job_move) {
            (Self::Queued | Self::Held, M::Start) => Self::Active,
            (Self::Queued | Self::Active | Self::Held, M::Hold(_)) => Self::Held,
            (Self::Active | Self::Held, M::Requeue) => Self::Queued,
            (Self::Queued | Self::Active | Self::Held, M::Pause) => Self::Paused,
            (Self::Paused, M::Resume) | (Self::Held, M::Approve) => Self::Queued,
            (Self::Queued | Self::Active | Self::Held | Self::Paused, M::Cancel) => Self::Cancelled,
            (Self::Active, M::Finish) => Self::Done,
            (Self::Queued | Self::Active | Self::Held, M::Fail) => Self::Failed,
            (Self::Held | Self::Failed | Self::Cancelled, M::Retry) => Self::Queued,
            _ => return Err(IllegalMove { from: self, job_move }),
        };
        Ok(to)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be done to a job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobMove {
    /// The dispatcher takes it up.
    Start,
    /// It cannot go on for now.
    Hold(HoldReason),
    /// Back into the queue: after a hold, or when the daemon starts again.
    Requeue,
    /// A user stops it.
    Pause,
    /// A user lets it go on.
    Resume,
    /// A user says yes to what it will fetch: what resuming means for a job that waits for that.
    Approve,
    /// A user ends it.
    Cancel,
    /// Everything is published.
    Finish,
    /// It is given up.
    Fail,
    /// A user wants it once more, or at once.
    Retry,
}

impl JobMove {
    /// The state that a user wants with it, when that is one to rest in.
    pub fn aim(self) -> Option<JobState> {
        match self {
            Self::Pause => Some(JobState::Paused),
            Self::Cancel => Some(JobState::Cancelled),
            _ => None,
        }
    }
}

/// A move that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot take the move {job_move:?}")]
pub struct IllegalMove {
    /// The state it is in.
    pub from: JobState,
    /// The move that was tried.
    pub job_move: JobMove,
}

/// Why a job is held; the words are those of JSON and the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldReason {
    /// Outside its time window.
    Window,
    /// The disk is full, or would be.
    Disk,
    /// Access to the repository is not granted yet.
    Access,
    /// The user's or the endpoint's budget is used up.
    Budget,
    /// No endpoint answers.
    Endpoint,
    /// An endpoint told us to wait.
    RateLimited,
    /// More is to be fetched than its user wants to be fetched unasked.
    Approval,
}

impl HoldReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Window,
        Self::Disk,
        Self::Access,
        Self::Budget,
        Self::Endpoint,
        Self::RateLimited,
        Self::Approval,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Disk => "disk",
            Self::Access => "access",
            Self::Budget => "budget",
            Self::Endpoint => "endpoint",
            Self::RateLimited => "rate_limited",
            Self::Approval => "approval",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Order among the jobs of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After the others.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl Priority {
    /// All priorities.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text)
    }
}

/// Who submitted a job, as the kernel told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// User name, or the id in digits when it has none.
    pub user: String,
}

/// Which files of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Selection {
    /// Exact paths, or folders ending in `/`. Empty: all.
    pub files: Vec<String>,
    /// fnmatch patterns of which one must fit; empty: all fit.
    pub include: Vec<String>,
    /// fnmatch patterns of which none may fit.
    pub exclude: Vec<String>,
}

/// Where the files go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A Hugging Face cache (the folder that holds `models--org--name`).
    Cache(PathBuf),
    /// A folder of plain files.
    LocalDir(PathBuf),
}

impl Destination {
    /// The path itself.
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Cache(path) | Self::LocalDir(path) => path,
        }
    }
}

/// Where the digests of a job came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// From the official Hub.
    Origin,
    /// From a mirror: self-consistent at best.
    Mirror,
}

impl Trust {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Mirror => "mirror",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Origin, Self::Mirror]
            .into_iter()
            .find(|trust| trust.as_str() == text)
    }
}

/// What was asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The repository.
    pub repo_id: RepoId,
    /// Its kind.
    pub kind: RepoKind,
    /// The revision as asked.
    pub revision: Revision,
    /// Which files.
    pub selection: Selection,
    /// Where to.
    pub destination: Destination,
    /// Base URLs in order of preference; at least one.
    pub endpoints: Vec<String>,
    /// The origin among them that is the submitter's own HF_ENDPOINT.
    pub own_endpoint: Option<String>,
    /// Order among the user's jobs.
    pub priority: Priority,
    /// How fast, and when.
    pub pacing: Pacing,
    /// Connections for one file; `None`: the default.
    pub connections: Option<u32>,
    /// Files at a time; `None`: the default.
    pub max_workers: Option<u32>,
    /// Fetch even what is there.
    pub force_download: bool,
    /// Name of the token in the owner's token file, never the token.
    pub token_ref: Option<String>,
    /// If more bytes than these are to be fetched, somebody has to say yes first.
    pub hold_above: Option<u64>,
    /// The schedule that it is a run of.
    pub schedule: Option<ScheduleId>,
}

/// A stored job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Row number: the order of submission.
    pub row: i64,
    /// Who wants it.
    pub owner: Owner,
    /// What is wanted.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// Why it is held.
    pub hold_reason: Option<HoldReason>,
    /// A sentence on its state, for people.
    pub detail: String,
    /// When a held job tries again.
    pub next_attempt_at: Option<Timestamp>,
    /// Since when nothing has come, over holds and restarts.
    pub stuck_since: Option<Timestamp>,
    /// The pinned commit, once planned.
    pub commit: Option<CommitHash>,
    /// Where the digests came from, once planned.
    pub trust: Option<Trust>,
    /// Bytes of all selected files, once planned.
    pub bytes_total: u64,
    /// Bytes that were to come when it was submitted; 0: nobody asked.
    pub bytes_expected: u64,
    /// What of the plan was not in its place when it was made; `None`: nobody looked.
    pub difference: Option<Difference>,
    /// Bytes of published files.
    pub bytes_done: u64,
    /// Bytes of files that were there before.
    pub bytes_reused: u64,
    /// Bytes of unfinished files, as they were when the job last stopped moving.
    pub bytes_partial: u64,
    /// Files selected.
    pub files_total: u64,
    /// Files published.
    pub files_done: u64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it first became active.
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

#[cfg(test)]
mod tests;
