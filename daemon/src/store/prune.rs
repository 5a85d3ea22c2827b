//! Forgetting what is over: jobs, their files, their request ids. What is open is never touched, and everything goes in
//! small transactions, so that a submit does not wait for it.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, accept,
    error::{Act as _, StoreError},
    events,
    jobs::to_json,
    ledger,
};

/// Request ids are remembered for a week, or as long as their jobs.
const REQUESTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Jobs of one transaction.
const JOBS: u32 = 200;
/// Files of one transaction.
const FILES: u32 = 2000;

/// From when on what has ended is forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// Jobs that ended before go.
    pub jobs_before: Timestamp,
    /// Of those that ended after it, so many of the newest stay.
    pub jobs_kept: u64,
    /// Files of jobs that ended before go.
    pub files_before: Timestamp,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Jobs.
    pub jobs: usize,
    /// Files of jobs, also of those that stay.
    pub files: usize,
}

/// The end of the newest job that may go, in milliseconds since 1970.
fn newest_end(db: &Connection, horizon: Horizon) -> Result<i64, StoreError> {
    let beyond: Option<i64> = db
        .query_row(
            "SELECT ended_at FROM jobs WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1 OFFSET ?1",
            [horizon.jobs_kept],
            |row| row.get(0),
        )
        .optional()
        .act("look for old jobs")?;
    let before = horizon.jobs_before.as_millisecond() - 1;
    Ok(beyond.map_or(before, |beyond| beyond.max(before)))
}

/// Rows of jobs that ended by then, oldest first. The newest row of all stays: its number must not be given out twice.
fn old_jobs(db: &Connection, ended_by: i64) -> Result<Vec<i64>, StoreError> {
    rows(
        db,
        "SELECT row FROM jobs WHERE ended_at <= ?1 AND row < (SELECT max(row) FROM jobs) ORDER BY ended_at LIMIT ?2",
        ended_by,
    )
}

/// Rows of jobs that ended by then and whose files are still there.
fn jobs_with_files(db: &Connection, ended_by: i64) -> Result<Vec<i64>, StoreError> {
    rows(
        db,
        "SELECT row FROM jobs WHERE ended_at <= ?1 AND EXISTS (SELECT 1 FROM files WHERE job_row = row) LIMIT ?2",
        ended_by,
    )
}

fn rows(db: &Connection, sql: &str, ended_by: i64) -> Result<Vec<i64>, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut statement| {
            let rows = statement.query_map(params![ended_by, JOBS], |row| row.get(0))?;
            rows.collect()
        })
        .act("look for old jobs")
}

/// Some files of these jobs; a job that was queued again meanwhile keeps its own.
fn delete_files(db: &Connection, rows: &str, ended_by: i64) -> Result<usize, StoreError> {
    db.execute(
        "DELETE FROM files WHERE id IN (SELECT files.id FROM json_each(?1) JOIN jobs ON jobs.row = value \
         JOIN files ON files.job_row = jobs.row WHERE jobs.ended_at <= ?2 LIMIT ?3)",
        params![rows, ended_by, FILES],
    )
    .act("forget files")
}

fn delete_jobs(db: &Connection, rows: &str, ended_by: i64) -> Result<usize, StoreError> {
    ledger::forget_jobs(db, rows, ended_by)?;
    db.execute(
        "DELETE FROM requests WHERE job_id IN (SELECT jobs.id FROM json_each(?1) JOIN jobs ON jobs.row = value \
         WHERE jobs.ended_at <= ?2)",
        params![rows, ended_by],
    )
    .act("forget requests")?;
    db.execute(
        "DELETE FROM jobs WHERE row IN (SELECT value FROM json_each(?1)) AND ended_at <= ?2",
        params![rows, ended_by],
    )
    .act("forget jobs")
}

impl Store {
    /// Forgets old events and request ids, in small transactions. Returns how many events went.
    ///
    /// # Errors
    /// When the database refuses; what went until then is gone.
    pub async fn prune(&self, events_before: Timestamp, events_kept: u64) -> Result<usize, StoreError> {
        let before = Timestamp::now().checked_sub(REQUESTS_KEPT).unwrap_or(Timestamp::MIN);
        self.jobs
            .write(move |context| accept::forget_requests(context.db, before))
            .await?;
        let first_kept = self
            .reads
            .read(move |db| events::first_kept(db, events_before, events_kept))
            .await?;
        let mut gone = 0;
        loop {
            let some = self
                .jobs
                .write(move |context| events::prune_some(context.db, first_kept))
                .await?;
            gone += some;
            if some < events::PRUNED {
                return Ok(gone);
            }
        }
    }

    /// Forgets jobs that are over and old, and, sooner, their files. Safe to stop anywhere and to repeat.
    ///
    /// # Errors
    /// When the database refuses; what went until then is gone.
    pub async fn prune_jobs(&self, horizon: Horizon) -> Result<Forgotten, StoreError> {
        let mut gone = Forgotten::default();
        let files_by = horizon.files_before.as_millisecond() - 1;
        loop {
            let old = self.reads.read(move |db| jobs_with_files(db, files_by)).await?;
            if old.is_empty() {
                break;
            }
            let files = self.prune_files(&old, files_by).await?;
            gone.files += files;
            // They were all queued again since.
            if files == 0 {
                break;
            }
        }
        let ended_by = self.reads.read(move |db| newest_end(db, horizon)).await?;
        loop {
            let old = self.reads.read(move |db| old_jobs(db, ended_by)).await?;
            gone.files += self.prune_files(&old, ended_by).await?;
            let list = to_json(&old);
            let jobs = match old.is_empty() {
                true => 0,
                false => {
                    self.jobs
                        .write(move |context| delete_jobs(context.db, &list, ended_by))
                        .await?
                }
            };
            gone.jobs += jobs;
            if jobs == 0 {
                return Ok(gone);
            }
        }
    }

    async fn prune_files(&self, rows: &[i64], ended_by: i64) -> Result<usize, StoreError> {
        let mut gone = 0;
        loop {
            let list = to_json(&rows);
            let files = self
                .jobs
                .write(move |context| delete_files(context.db, &list, ended_by))
                .await?;
            gone += files;
            if files < FILES as usize {
                return Ok(gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, new_job};
    use super::*;
    use crate::{
        model::{Digest, FileId, FileRecord, FileState, Job, JobMove, JobState, Priority, RepoPath},
        store::{MoveNote, Scope},
    };

    fn one_file(path: &str) -> FileRecord {
        FileRecord {
            id: FileId(0),
            path: RepoPath::parse(path).unwrap(),
            size: 1,
            digest: Digest::GitSha1([3; 20]),
            state: FileState::Pending,
            reused: false,
            failure: None,
        }
    }

    /// A job with one file that has ended.
    async fn done_job(store: &Store, request: Option<&str>) -> Job {
        let new = new_job(1, "a/b", Priority::Normal, request.map(|id| (id, &b"x"[..])));
        let job = store.submit(new).await.unwrap().job;
        let note = MoveNote::default;
        store
            .move_job(Scope::All, &job.id, JobMove::Start, note())
            .await
            .unwrap();
        store.add_files(job.row, vec![one_file("x")]).await.unwrap();
        store
            .move_job(Scope::All, &job.id, JobMove::Finish, note())
            .await
            .unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn horizon(jobs_before: i64, jobs_kept: u64, files_before: i64) -> Horizon {
        Horizon {
            jobs_before: at(jobs_before),
            jobs_kept,
            files_before: at(files_before),
        }
    }

    /// Beyond the end of any job.
    const LATER: i64 = 4_000_000_000_000;

    #[tokio::test]
    async fn what_is_open_stays_and_what_is_old_goes() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let old = done_job(store, Some("r1")).await;
        let again = new_job(1, "a/b", Priority::Normal, Some(("r2", b"x")));
        let again = store.submit(again).await.unwrap().job;
        for job_move in [JobMove::Cancel, JobMove::Retry] {
            let note = MoveNote::default();
            store.move_job(Scope::All, &again.id, job_move, note).await.unwrap();
        }
        store.add_files(again.row, vec![one_file("x")]).await.unwrap();
        let newest = done_job(store, Some("r3")).await;
        // Nothing is old yet.
        let gone = store.prune_jobs(horizon(0, 10, 0)).await.unwrap();
        assert_eq!(gone, Forgotten::default());
        // The files first: the jobs stay.
        let gone = store.prune_jobs(horizon(0, 10, LATER)).await.unwrap();
        assert_eq!(gone, Forgotten { jobs: 0, files: 2 });
        assert_eq!(store.job(Scope::All, &old.id).await.unwrap().state, JobState::Done);
        assert!(store.pending_files(old.row, FileId(0), 10).await.unwrap().is_empty());
        // The newest row stays whatever its age, so that no number is used twice.
        let gone = store.prune_jobs(horizon(LATER, 10, LATER)).await.unwrap();
        assert_eq!(gone, Forgotten { jobs: 1, files: 0 });
        assert!(matches!(
            store.job(Scope::All, &old.id).await,
            Err(StoreError::NoSuchJob(_))
        ));
        assert!(store.job(Scope::All, &newest.id).await.is_ok());
        // What was queued again has its files.
        assert_eq!(store.pending_files(again.row, FileId(0), 10).await.unwrap().len(), 1);
        // The request of the one that went makes a job again, and a fresh one.
        let once_more = done_job(store, Some("r1")).await;
        assert!(once_more.id != old.id && once_more.row > newest.row);
    }

    #[tokio::test]
    async fn beyond_the_count_the_oldest_go() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let mut jobs = Vec::new();
        for _ in 0..5 {
            jobs.push(done_job(store, None).await);
        }
        let gone = store.prune_jobs(horizon(0, 5, 0)).await.unwrap();
        assert_eq!(gone, Forgotten::default());
        store.prune_jobs(horizon(0, 2, 0)).await.unwrap();
        assert!(store.job(Scope::All, &jobs[0].id).await.is_err());
        assert!(store.job(Scope::All, &jobs[4].id).await.is_ok());
    }

    #[tokio::test]
    async fn however_many_events_are_old_they_all_go_and_the_newest_stays() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let new = new_job(1, "a/b", Priority::Normal, None);
        let job = store.submit(new).await.unwrap().job;
        let warn = (0..events::PRUNED + 9).map(|_| store.warn(&job.id, String::new(), "x".into()));
        futures_util::future::try_join_all(warn).await.unwrap();
        let all = events::PRUNED + 10;
        assert_eq!(store.prune(at(0), all as u64).await.unwrap(), 0);
        assert_eq!(store.prune(at(0), all as u64 - 1).await.unwrap(), 1);
        assert_eq!(store.prune(at(LATER), all as u64).await.unwrap(), all - 2);
        assert_eq!(store.newest_event().await.unwrap().0, all as u64);
        assert_eq!(store.prune(at(LATER), 0).await.unwrap(), 0, "the newest stays");
    }
}
