//! Floor 2: the job store. The only module that speaks SQL. An answer to a write means committed and synced.
//!
//! Two databases with two promises: `jobs.db` (queue, files, events; survives power cuts) and `progress.db` (hints that
//! may be lost at any time). Each has one thread that owns its writing connection; queries on `jobs.db` have a second,
//! read-only one, so that a long listing does not delay a submit.

mod accept;
mod aliases;
mod backup;
mod block_checks;
mod closed;
mod deadlines;
mod error;
mod events;
mod every;
mod files;
mod holdings;
mod jobs;
mod judgements;
mod ledger;
mod leftovers;
mod migrate;
mod old_claims;
mod open;
mod pacing;
mod partials;
mod places;
mod progress;
mod prune;
mod queries;
mod refs;
mod replan;
mod row;
mod running;
mod schedule_runs;
mod schedules;
mod thread;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use self::{
    accept::{NewJob, RequestKey, Submitted},
    block_checks::NewChecks,
    error::StoreError,
    files::{FileDone, PlanHead},
    holdings::{Held, Holdings, Unfinished},
    jobs::{Filter, MoveNote, Scope, Stuck},
    judgements::{EndpointStats, StoredJudgement},
    ledger::{Asked, InHand},
    leftovers::{Claimants, Place},
    old_claims::OldClaim,
    progress::{Claim, Verified},
    prune::{Forgotten, Horizon},
    refs::RefRecord,
    replan::KnownPlan,
    schedule_runs::{NewRun, RunWish},
    schedules::NewSchedule,
};
use self::{
    open::{Durability, open_progress, open_reader, open_writer},
    thread::Worker,
};
use crate::model::{
    Event, EventKind, EventSeq, Failure, FileId, FileRecord, HoldReason, Job, JobId, JobMove, JobState, NewEvent,
};

/// Jobs that are moved in one transaction.
const MOVED_AT_ONCE: usize = 100;

/// Handle of the store; clones share the same threads.
#[derive(Clone)]
pub struct Store {
    jobs: Worker,
    /// Queries that users cause.
    reads: Worker,
    /// Queries of the dispatcher, which must not wait for those.
    queue: Worker,
    progress: Worker,
    /// Where `jobs.db` is; locked by who copies it.
    copying: Arc<Mutex<PathBuf>>,
}

/// Tells when the threads have closed their databases. Wait for it after the last [`Store`] is dropped.
pub struct StoreThreads {
    threads: Vec<JoinHandle<()>>,
    failed: CancellationToken,
}

impl StoreThreads {
    /// Cancelled when the job database failed in a way that only a restart can mend: nobody was told "ok" since.
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Blocks until the databases are closed.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a store thread panicked");
            }
        }
    }
}

impl Store {
    /// Opens (or creates) the databases in a directory and starts their threads. `on_commit` hears the events of each
    /// transaction after it is committed; it must not block. Blocks on the disk.
    ///
    /// # Errors
    /// When a database is newer than this program, foreign or damaged, or the disk refuses.
    pub fn open(dir: &Path, on_commit: Box<dyn Fn(Vec<Event>) + Send>) -> Result<(Self, StoreThreads), StoreError> {
        let jobs_path = dir.join("jobs.db");
        backup::before_migration(&jobs_path, &migrate::JOBS)?;
        let jobs_db = open_writer(&jobs_path, &migrate::JOBS, Durability::Full)?;
        let reads_db = open_reader(&jobs_path)?;
        let queue_db = open_reader(&jobs_path)?;
        let progress_db = open_progress(&dir.join("progress.db"))?;
        ledger::join(&jobs_db, &progress_db)?;
        let io = |source| StoreError::Io {
            act: "start a thread for",
            path: dir.to_owned(),
            source,
        };
        let (jobs, jobs_thread) = Worker::start("store-jobs", jobs_db, on_commit).map_err(io)?;
        let (reads, reads_thread) = Worker::start("store-reads", reads_db, Box::new(drop)).map_err(io)?;
        let (queue, queue_thread) = Worker::start("store-queue", queue_db, Box::new(drop)).map_err(io)?;
        let (progress, progress_thread) = Worker::start("store-progress", progress_db, Box::new(drop)).map_err(io)?;
        // Hints may fail; the queue may not.
        let failed = jobs.failed();
        let store = Self {
            jobs,
            reads,
            queue,
            progress,
            copying: Arc::new(Mutex::new(jobs_path)),
        };
        let threads = vec![reads_thread, queue_thread, progress_thread, jobs_thread];
        Ok((store, StoreThreads { threads, failed }))
    }

    /// Version of the newest schema of `jobs.db`.
    pub fn schema_version() -> u32 {
        migrate::JOBS.newest()
    }

    /// Version of the SQLite library.
    pub fn sqlite_version() -> &'static str {
        rusqlite::version()
    }

    /// Stores a job. Repeating the call with the same request key gives the same job.
    ///
    /// # Errors
    /// `RequestReused`, `QueueFull`, or a failure of the database.
    pub async fn submit(&self, new: NewJob) -> Result<Submitted, StoreError> {
        self.jobs.write(move |context| accept::submit(context, new)).await
    }

    /// Reads a job.
    ///
    /// # Errors
    /// `NoSuchJob` also when it is another user's.
    pub async fn job(&self, scope: Scope, id: &JobId) -> Result<Job, StoreError> {
        let id = id.clone();
        self.reads.read(move |db| jobs::get(db, scope, &id)).await
    }

    /// Finds the job whose id begins with `prefix` (from `JobId::parse_prefix`).
    ///
    /// # Errors
    /// `NoSuchJob`, or `AmbiguousJob` when several fit.
    pub async fn find_job(&self, scope: Scope, prefix: String) -> Result<JobId, StoreError> {
        self.reads.read(move |db| queries::find(db, scope, &prefix)).await
    }

    /// A page of jobs, newest first, and the number of the newest event at that moment.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_jobs(&self, filter: Filter) -> Result<(Vec<Job>, EventSeq), StoreError> {
        self.reads
            .read(move |db| {
                // The number first: an event between the two reads is told twice rather than never.
                let seq = events::newest(db)?;
                Ok((queries::list(db, &filter)?, seq))
            })
            .await
    }

    /// Moves a job to another state, with its event.
    ///
    /// # Errors
    /// `NoSuchJob`, or `IllegalMove` when its state does not allow it.
    pub async fn move_job(
        &self,
        scope: Scope,
        id: &JobId,
        job_move: JobMove,
        note: MoveNote,
    ) -> Result<Job, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| jobs::apply(context, scope, &id, job_move, &note))
            .await
    }

    /// Moves all jobs in some states that allow it, some at a time: others do not wait for a thousand.
    ///
    /// # Errors
    /// When the database refuses; those before were moved.
    pub async fn move_all(
        &self,
        scope: Scope,
        which: (&'static [JobState], &'static [HoldReason]),
        job_move: JobMove,
        note: MoveNote,
    ) -> Result<Vec<Job>, StoreError> {
        let ids = self.jobs.read(move |db| queries::ids_in(db, scope, which)).await?;
        let mut moved = Vec::with_capacity(ids.len());
        for some in ids.chunks(MOVED_AT_ONCE) {
            let (some, note) = (some.to_vec(), note.clone());
            let jobs = self
                .jobs
                .write(move |context| jobs::apply_to_all(context, scope, &some, job_move, &note))
                .await?;
            moved.extend(jobs);
        }
        Ok(moved)
    }

    /// Gives a job another reference to a token of its owner.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_token_ref(&self, id: &JobId, reference: String) -> Result<(), StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| jobs::set_token_ref(context, &id, &reference))
            .await
    }

    /// The next queued jobs in line, but of some users none; `weight` tells the share of a user.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn next_queued(
        &self,
        limit: u32,
        except: HashSet<u32>,
        weight: impl Fn(&str) -> u32 + Send + 'static,
    ) -> Result<Vec<Job>, StoreError> {
        self.queue
            .read(move |db| queries::next_queued(db, limit, &except, weight))
            .await
    }

    /// Puts held jobs whose next attempt is due back into the queue, except those that are being worked on. Tells when the
    /// next one is due.
    ///
    /// # Errors
    /// When the database refuses; those before were moved.
    pub async fn release_holds(&self, now: Timestamp, except: Vec<JobId>) -> Result<Option<Timestamp>, StoreError> {
        let (due, next) = self.queue.read(move |db| queries::due_holds(db, now)).await?;
        let due: Vec<JobId> = due.into_iter().filter(|id| !except.contains(id)).collect();
        for some in due.chunks(MOVED_AT_ONCE) {
            let some = some.to_vec();
            let note = MoveNote::default();
            self.jobs
                .write(move |context| jobs::apply_to_all(context, Scope::All, &some, JobMove::Requeue, &note))
                .await?;
        }
        Ok(next)
    }

    /// Whether a job's plan is stored whole.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_planned(&self, job_row: i64) -> Result<bool, StoreError> {
        self.queue.read(move |db| files::is_planned(db, job_row)).await
    }

    /// Stores some files of a plan that is being made. Keep batches to some thousands: others wait meanwhile.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_files(&self, job_row: i64, files: Vec<FileRecord>) -> Result<(), StoreError> {
        self.jobs
            .write(move |context| files::add(context, job_row, &files))
            .await
    }

    /// Makes the stored files the job's plan.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn finish_plan(&self, id: &JobId, head: PlanHead) -> Result<Job, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| files::finish_plan(context, &id, &head))
            .await
    }

    /// Files of a plan that are still to be fetched, after one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pending_files(&self, job_row: i64, after: FileId, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
        self.queue
            .read(move |db| files::pending(db, job_row, after, limit))
            .await
    }

    /// All files of a job in path order, after a path.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_files(&self, job_row: i64, after: String, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
        self.reads.read(move |db| files::list(db, job_row, &after, limit)).await
    }

    /// Records files of a job as published. Safe to repeat.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn files_done(&self, id: &JobId, done: Vec<FileDone>) -> Result<Job, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| files::mark_done(context, &id, &done))
            .await
    }

    /// Records why a file was given up.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn file_failed(&self, job_row: i64, file: FileId, failure: Failure) -> Result<(), StoreError> {
        self.jobs
            .write(move |context| files::mark_failed(context, job_row, file, &failure))
            .await
    }

    /// Makes the files of a job that were given up pending again.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn reopen_files(&self, job_row: i64) -> Result<(), StoreError> {
        self.jobs.write(move |context| files::reopen(context, job_row)).await
    }

    /// Number of files of a running job's plan that are not published; `None` when it has no plan, or runs no more.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unfinished_files(&self, job_row: i64) -> Result<Option<u64>, StoreError> {
        self.queue.read(move |db| files::unfinished(db, job_row)).await
    }

    /// Tells watchers of a job something that changes no state.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn warn(&self, id: &JobId, file: String, detail: String) -> Result<(), StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| {
                let job = jobs::get(context.db, Scope::All, &id)?;
                let event = NewEvent {
                    file,
                    detail,
                    ..NewEvent::of(&job, EventKind::Warning)
                };
                events::append(context, &job, event)
            })
            .await
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_open;
#[cfg(test)]
mod tests_upgrade;
