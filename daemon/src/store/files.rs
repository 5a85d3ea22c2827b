//! The plan of a job: its files, stored in batches, and what became of them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    events, jobs,
    jobs::Scope,
    row,
    thread::WriteContext,
};
use crate::model::{
    CommitHash, Difference, EventKind, Failure, FileId, FileRecord, Job, JobId, NewEvent, Trust, units::show_bytes,
};

/// Files that are cleared in one transaction.
const CLEARED: u32 = 2000;

/// A plan's head; its files were stored before.
#[derive(Debug, Clone)]
pub struct PlanHead {
    /// The pinned commit.
    pub commit: CommitHash,
    /// When the endpoint was asked for it.
    pub asked_at: Timestamp,
    /// Where the digests came from.
    pub trust: Trust,
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What of them is not in its place, when somebody looked.
    pub difference: Option<Difference>,
}

/// One file that is published now.
#[derive(Debug, Clone, Copy)]
pub struct FileDone {
    /// Which.
    pub id: FileId,
    /// It was there, verified, before it was fetched.
    pub reused: bool,
}

/// Forgets some files of an earlier or an interrupted plan; tells how many.
pub(super) fn clear_some(context: &mut WriteContext<'_>, job_row: i64) -> Result<usize, StoreError> {
    context
        .db
        .execute(
            "DELETE FROM files WHERE id IN (SELECT id FROM files WHERE job_row = ?1 LIMIT ?2) \
             AND (SELECT planned FROM jobs WHERE row = ?1) = 0",
            params![job_row, CLEARED],
        )
        .act("clear a plan")
}

pub(super) fn add(context: &mut WriteContext<'_>, job_row: i64, files: &[FileRecord]) -> Result<(), StoreError> {
    let mut statement = context
        .db
        .prepare_cached("INSERT INTO files (job_row, path, size, digest, state) VALUES (?1, ?2, ?3, ?4, 'pending')")
        .act("store a plan")?;
    for file in files {
        statement
            .execute(params![job_row, file.path.as_str(), file.size, file.digest.to_string()])
            .act("store a plan")?;
    }
    Ok(())
}

/// Makes the stored files the job's plan.
pub(super) fn finish_plan(context: &mut WriteContext<'_>, id: &JobId, head: &PlanHead) -> Result<Job, StoreError> {
    let changed = context
        .db
        .execute(
            "UPDATE jobs SET planned = 1, planned_at = ?6, commit_hash = ?2, trust = ?3, files_total = ?4, bytes_total = ?5, \
             files_to_fetch = ?7, bytes_to_fetch = ?8, files_done = 0, bytes_done = 0, bytes_reused = 0 \
             WHERE id = ?1 AND state IN ('active', 'held') AND ?4 = (SELECT count(*) FROM files WHERE job_row = row)",
            params![
                id.as_str(),
                head.commit.as_str(),
                head.trust.as_str(),
                head.files,
                head.bytes,
                head.asked_at.as_millisecond(),
                head.difference.map(|difference| difference.files),
                head.difference.map(|difference| difference.bytes),
            ],
        )
        .act("store a plan")?;
    if changed == 0 {
        // A user moved the job meanwhile, and what was stored of this plan may be gone.
        return Err(StoreError::PlanOutdated);
    }
    let job = jobs::get(context.db, Scope::All, id)?;
    let mut event = NewEvent::of(&job, EventKind::Planned);
    event.bytes = head.bytes;
    if let Some(Difference { files, bytes }) = head.difference {
        event.detail = format!("{files} of {} files differ, {} to fetch", head.files, show_bytes(bytes));
    }
    events::append(context, &job, event)?;
    Ok(job)
}

pub(super) fn is_planned(db: &Connection, job_row: i64) -> Result<bool, StoreError> {
    db.query_row("SELECT planned FROM jobs WHERE row = ?1", [job_row], |row| row.get(0))
        .act("read a plan's mark")
}

/// Files still to be fetched, in the order of the plan.
pub(super) fn pending(db: &Connection, job_row: i64, after: FileId, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT * FROM files WHERE job_row = ?1 AND state = 'pending' AND id > ?2 ORDER BY id LIMIT ?3")
        .act("read pending files")?;
    collect(
        statement
            .query(params![job_row, after.0, limit])
            .act("read pending files")?,
    )
}

/// All files of a job's plan in path order, after a path.
pub(super) fn list(db: &Connection, job_row: i64, after: &str, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM files WHERE job_row = ?1 AND path > ?2 AND (SELECT planned FROM jobs WHERE row = ?1) = 1 \
             ORDER BY path LIMIT ?3",
        )
        .act("list files")?;
    collect(statement.query(params![job_row, after, limit]).act("list files")?)
}

/// Other files of a job that have the same content, those in their places first.
pub(super) fn twins(
    db: &Connection,
    job_row: i64,
    file: &FileRecord,
    limit: u32,
) -> Result<Vec<FileRecord>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM files WHERE job_row = ?1 AND digest = ?2 AND id <> ?3 ORDER BY state = 'done' DESC, id LIMIT ?4",
        )
        .act("look for twins of a file")?;
    collect(
        statement
            .query(params![job_row, file.digest.to_string(), file.id.0, limit])
            .act("look for twins of a file")?,
    )
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<FileRecord>, StoreError> {
    let mut files = Vec::new();
    while let Some(row) = rows.next().act("read a file")? {
        files.push(row::file(row)?);
    }
    Ok(files)
}

/// Records published files of one job; a file recorded before is left as it is, so repeating is safe.
pub(super) fn mark_done(context: &mut WriteContext<'_>, id: &JobId, done: &[FileDone]) -> Result<Job, StoreError> {
    let job = jobs::get(context.db, Scope::All, id)?;
    let (mut files, mut bytes, mut reused_bytes) = (0, 0, 0);
    for file in done {
        let row: Option<(String, i64)> = {
            let mut statement = context
                .db
                .prepare_cached(
                    "UPDATE files SET state = 'done', reused = ?2, failure_kind = NULL, failure_message = NULL, \
                     failure_hint = NULL WHERE id = ?1 AND job_row = ?3 AND state <> 'done' RETURNING path, size",
                )
                .act("mark a file done")?;
            let mut rows = statement
                .query(params![file.id.0, file.reused, job.row])
                .act("mark a file done")?;
            match rows.next().act("mark a file done")? {
                Some(row) => Some((row.get(0).act("read a path")?, row.get(1).act("read a size")?)),
                None => None,
            }
        };
        let Some((path, size)) = row else { continue };
        let size = u64::try_from(size).unwrap_or(0);
        files += 1;
        bytes += size;
        reused_bytes += if file.reused { size } else { 0 };
        let event = NewEvent {
            file: path,
            bytes: size,
            detail: if file.reused { "already there, verified" } else { "" }.to_owned(),
            ..NewEvent::of(&job, EventKind::FileDone)
        };
        events::append(context, &job, event)?;
    }
    jobs::add_done(context.db, job.row, files, bytes, reused_bytes)?;
    jobs::get(context.db, Scope::All, id)
}

/// Records why a file was given up.
pub(super) fn mark_failed(
    context: &mut WriteContext<'_>,
    job_row: i64,
    file: FileId,
    failure: &Failure,
) -> Result<(), StoreError> {
    context
        .db
        .execute(
            "UPDATE files SET state = 'failed', failure_kind = ?2, failure_message = ?3, failure_hint = ?4 \
             WHERE id = ?1 AND job_row = ?5",
            params![file.0, failure.kind.as_str(), failure.message, failure.hint, job_row],
        )
        .act("mark a file failed")?;
    Ok(())
}

/// Files that were given up are tried again when their job starts again.
pub(super) fn reopen(context: &mut WriteContext<'_>, job_row: i64) -> Result<(), StoreError> {
    context
        .db
        .execute(
            "UPDATE files SET state = 'pending', failure_kind = NULL, failure_message = NULL, failure_hint = NULL \
             WHERE job_row = ?1 AND state = 'failed'",
            [job_row],
        )
        .act("reopen failed files")?;
    Ok(())
}

/// Published files that are gone from their places are to be fetched again.
pub(super) fn take_back(context: &mut WriteContext<'_>, id: &JobId, gone: &[FileId]) -> Result<Job, StoreError> {
    let job = jobs::get(context.db, Scope::All, id)?;
    for file in gone {
        context
            .db
            .prepare_cached(
                "UPDATE jobs SET files_done = files_done - 1, bytes_done = bytes_done - file.size, \
                 bytes_reused = bytes_reused - file.reused * file.size \
                 FROM (SELECT size, reused FROM files WHERE id = ?1 AND job_row = ?2 AND state = 'done') AS file \
                 WHERE row = ?2",
            )
            .and_then(|mut statement| statement.execute(params![file.0, job.row]))
            .act("take a file off the count")?;
        context
            .db
            .prepare_cached(
                "UPDATE files SET state = 'pending', reused = 0 WHERE id = ?1 AND job_row = ?2 AND state = 'done'",
            )
            .and_then(|mut statement| statement.execute(params![file.0, job.row]))
            .act("reopen a file")?;
    }
    jobs::get(context.db, Scope::All, id)
}

/// Number of files of a running job's plan that are not published; `None` when it has no plan, or runs no more.
pub(super) fn unfinished(db: &Connection, job_row: i64) -> Result<Option<u64>, StoreError> {
    db.query_row(
        "SELECT max(0, files_total - (SELECT count(*) FROM files WHERE job_row = ?1 AND state = 'done')) FROM jobs \
         WHERE row = ?1 AND planned = 1 AND state IN ('active', 'held')",
        [job_row],
        |row| row.get(0),
    )
    .optional()
    .act("count unfinished files")
}

impl Store {
    /// Forgets the list of an earlier plan, or what an interrupted planner left, in small transactions.
    ///
    /// # Errors
    /// When the database refuses; what went until then is gone.
    pub async fn clear_plan(&self, job_row: i64) -> Result<(), StoreError> {
        loop {
            let cleared = self.jobs.write(move |context| clear_some(context, job_row)).await?;
            if cleared < CLEARED as usize {
                return Ok(());
            }
        }
    }

    /// Makes published files pending again, because they are gone from their places. Safe to repeat.
    ///
    /// # Errors
    /// When the database refuses; then none is.
    pub async fn take_back(&self, id: &JobId, gone: Vec<FileId>) -> Result<Job, StoreError> {
        let id = id.clone();
        self.jobs.write(move |context| take_back(context, &id, &gone)).await
    }

    /// Other files of a job with the same content, those in their places first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn twins(&self, job_row: i64, file: FileRecord, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
        self.queue.read(move |db| twins(db, job_row, &file, limit)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, new_job};
    use super::*;
    use crate::{
        model::{Digest, FileState, JobMove, Priority, RepoPath},
        store::MoveNote,
    };

    #[tokio::test]
    async fn what_is_gone_is_pending_again_and_counts_no_more() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let job = store
            .submit(new_job(1, "a/b", Priority::Normal, None))
            .await
            .unwrap()
            .job;
        let moved = |job_move| store.move_job(Scope::All, &job.id, job_move, MoveNote::default());
        moved(JobMove::Start).await.unwrap();
        let files = [("a", 10), ("b", 100)].map(|(path, size)| FileRecord {
            id: FileId(0),
            path: RepoPath::parse(path).unwrap(),
            size,
            digest: Digest::GitSha1([3; 20]),
            state: FileState::Pending,
            reused: false,
            failure: None,
        });
        store.add_files(job.row, files.to_vec()).await.unwrap();
        // Without a plan nothing can be called whole.
        assert_eq!(store.unfinished_files(job.row).await.unwrap(), None);
        let head = PlanHead {
            commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
            asked_at: Timestamp::now(),
            trust: Trust::Origin,
            files: 2,
            bytes: 110,
            difference: None,
        };
        store.finish_plan(&job.id, head).await.unwrap();
        assert_eq!(store.unfinished_files(job.row).await.unwrap(), Some(2));
        let pending = store.pending_files(job.row, FileId(0), 10).await.unwrap();
        let done = pending.iter().map(|file| FileDone {
            id: file.id,
            reused: file.size == 10,
        });
        store.files_done(&job.id, done.collect()).await.unwrap();
        assert_eq!(store.unfinished_files(job.row).await.unwrap(), Some(0));
        let gone = vec![pending[0].id];
        for _ in 0..2 {
            let job = store.take_back(&job.id, gone.clone()).await.unwrap();
            assert_eq!((job.files_done, job.bytes_done, job.bytes_reused), (1, 100, 0));
        }
        assert_eq!(store.unfinished_files(job.row).await.unwrap(), Some(1));
        let pending = store.pending_files(job.row, FileId(0), 10).await.unwrap();
        assert_eq!(pending.iter().map(|file| file.id).collect::<Vec<_>>(), gone);
        // Taken away and tried again, it is no run of this plan any more, whose list is forgotten some files at a time.
        moved(JobMove::Cancel).await.unwrap();
        assert_eq!(store.unfinished_files(job.row).await.unwrap(), None);
        assert_eq!(store.list_files(job.row, String::new(), 9).await.unwrap().len(), 2);
        store.clear_plan(job.row).await.unwrap();
        assert_eq!(
            store.list_files(job.row, String::new(), 9).await.unwrap().len(),
            2,
            "it has a plan"
        );
        let more = (0..2 * CLEARED).map(|number| FileRecord {
            path: RepoPath::parse(&format!("c/{number}")).unwrap(),
            ..files[0].clone()
        });
        store.add_files(job.row, more.collect()).await.unwrap();
        moved(JobMove::Retry).await.unwrap();
        assert!(store.list_files(job.row, String::new(), 9).await.unwrap().is_empty());
        store.clear_plan(job.row).await.unwrap();
        store.add_files(job.row, files.to_vec()).await.unwrap();
        moved(JobMove::Start).await.unwrap();
        let head = PlanHead {
            commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
            asked_at: Timestamp::now(),
            trust: Trust::Origin,
            files: 2,
            bytes: 110,
            difference: None,
        };
        store.finish_plan(&job.id, head).await.unwrap();
    }
}
