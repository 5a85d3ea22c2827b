//! Recurring pulls: what is pulled when, and what became of each time.

use jiff::Timestamp;

use super::{JobId, JobState, Owner, Priority, RepoId, RepoKind, Revision, Selection};

/// Names a schedule; the same kind of word as a job's.
pub type ScheduleId = JobId;

/// What each run pulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The repository.
    pub repo_id: RepoId,
    /// Its kind.
    pub kind: RepoKind,
    /// What is looked at again each time.
    pub revision: Revision,
    /// The rest.
    pub terms: Terms,
}

/// How a run pulls, in the words in which it was asked for: they are checked anew each time, for the configuration may have
/// changed. Empty means not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "as in message JobSpec of job.proto")]
pub struct Terms {
    pub selection: Selection,
    pub cache_dir: String,
    pub local_dir: String,
    pub endpoints: Vec<String>,
    pub priority: Priority,
    pub connections: Option<u32>,
    pub max_workers: Option<u32>,
    pub limit: String,
    pub window: String,
    pub hold_above: String,
    pub preferred_cache_dir: String,
    pub preferred_endpoint: String,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
    /// It came over TCP, where fewer places and endpoints may be named.
    pub remote: bool,
}

/// A stored schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Row number.
    pub row: i64,
    /// Whose it is: runs are this user's jobs.
    pub owner: Owner,
    /// What is pulled.
    pub pull: Pull,
    /// When, as a cron expression of five fields.
    pub cron: String,
    /// IANA name of the clock; `None`: that of windows and timetables.
    pub timezone: Option<String>,
    /// Earlier revisions of its own that stay; `None`: all.
    pub keep: Option<u32>,
    /// Name of the token in the owner's token file.
    pub token_ref: Option<String>,
    /// It does not run.
    pub paused: bool,
    /// What was due until then has been run, or is not to be.
    pub settled_until: Timestamp,
    /// When it was added.
    pub created_at: Timestamp,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// There is a job.
    Job,
    /// The revision means the commit that it meant before: nothing to do.
    Unchanged,
    /// The job of the run before is not over.
    Overlap,
    /// A job could not be queued: what was asked for is not allowed any more, or the queue is full.
    Refused,
}

impl RunOutcome {
    const ALL: [Self; 4] = [Self::Job, Self::Unchanged, Self::Overlap, Self::Refused];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Unchanged => "unchanged",
            Self::Overlap => "overlap",
            Self::Refused => "refused",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// One time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRun {
    /// When it was due; `None`: a user asked for it.
    pub due_at: Option<Timestamp>,
    /// When it was.
    pub ran_at: Timestamp,
    /// What it came to.
    pub outcome: RunOutcome,
    /// A sentence for people.
    pub detail: String,
    /// Its job.
    pub job: Option<JobId>,
    /// Where that stands, or stood when it was last heard of.
    pub state: Option<JobState>,
    /// The commit; empty: not known.
    pub commit: String,
    /// What was to be fetched.
    pub difference: Option<Difference>,
}

/// What of a plan is not in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Difference {
    /// Number of files.
    pub files: u64,
    /// Bytes to fetch for them: without those in partial files.
    pub bytes: u64,
}
