//! What can go wrong in the store.

use std::path::PathBuf;

use crate::model::{IllegalMove, JobId, JobState};

/// An error of the store. `Sqlite` and `Row` are ours to mend; the others are answers.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a newer program.
    #[error("{} has schema version {found}, this program knows up to {known}: install the version that wrote it", path.display())]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version we know.
        known: u32,
    },
    /// The file is no database of ours.
    #[error("{} is not a database of hfetch (application id {found:#x})", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i32,
    },
    /// The database fails its own check.
    #[error("{} is damaged: {detail}; restore a copy, or move it away to begin with an empty queue", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found first.
        detail: String,
    },
    /// The library is too old to be trusted with a write-ahead log.
    #[error("SQLite {found} has a known corruption bug; 3.51.3 or newer is needed")]
    OldSqlite {
        /// Version of the library.
        found: String,
    },
    /// No job of that id, or not the caller's.
    #[error("no job `{0}`")]
    NoSuchJob(String),
    /// A prefix that fits several jobs.
    #[error("`{0}` fits more than one job")]
    AmbiguousJob(String),
    /// No schedule of that id, or not the caller's.
    #[error("no schedule `{0}`")]
    NoSuchSchedule(String),
    /// A prefix that fits several schedules.
    #[error("`{0}` fits more than one schedule")]
    AmbiguousSchedule(String),
    /// The request id was used for another request.
    #[error("request id `{request_id}` already made job {job_id} from a different request")]
    RequestReused {
        /// The id.
        request_id: String,
        /// The job it made.
        job_id: JobId,
    },
    /// The user has as many open jobs as allowed.
    #[error("{queued} open jobs are queued already; the limit is {limit}")]
    QueueFull {
        /// How many there are.
        queued: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The job's state does not allow the move.
    #[error(transparent)]
    IllegalMove(#[from] IllegalMove),
    /// The job has ended: nothing of it can be changed.
    #[error("the job is {0}: only a job that has not ended can be changed")]
    Ended(JobState),
    /// This event is the newest.
    #[error("event {0} is the newest: a larger number is that of another database, or of an event to come")]
    NoSuchEvent(u64),
    /// Events before this number are gone.
    #[error("events up to {0} are no longer kept")]
    EventsPruned(u64),
    /// A row that does not make sense.
    #[error("row {key} of {table}: {what}")]
    Row {
        /// Table.
        table: &'static str,
        /// Key of the row.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file system of the state directory is full.
    #[error("the disk of the state directory is full")]
    Full,
    /// The library refused.
    #[error("{act}")]
    Sqlite {
        /// What was tried.
        act: &'static str,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// A file operation around the database failed.
    #[error("{act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The plan was made for a job that was moved meanwhile.
    #[error("the job was moved while it was planned")]
    PlanOutdated,
    /// The whole group of changes could not be committed; the daemon stops and recovers.
    #[error("the change could not be committed: {0}")]
    NotCommitted(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Names the act of a failed statement.
pub(super) trait Act<T> {
    fn act(self, act: &'static str) -> Result<T, StoreError>;
}

impl<T> Act<T> for Result<T, rusqlite::Error> {
    fn act(self, act: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
            _ => StoreError::Sqlite { act, source },
        })
    }
}
