//! The plan of a job: its files, stored in batches, and what became of them.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    events, jobs,
    jobs::Scope,
    row,
    thread::WriteContext,
};
use crate::model::{CommitHash, EventKind, Failure, FileId, FileRecord, Job, JobId, NewEvent, Trust};

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
}

/// One file that is published now.
#[derive(Debug, Clone, Copy)]
pub struct FileDone {
    /// Which.
    pub id: FileId,
    /// It was there, verified, before it was fetched.
    pub reused: bool,
}

/// Forgets what an interrupted planner left.
pub(super) fn clear(context: &mut WriteContext<'_>, job_row: i64) -> Result<(), StoreError> {
    context
        .db
        .execute("DELETE FROM files WHERE job_row = ?1", [job_row])
        .act("clear a plan")?;
    Ok(())
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
             files_done = 0, bytes_done = 0, bytes_reused = 0 \
             WHERE id = ?1 AND state IN ('active', 'held') AND ?4 = (SELECT count(*) FROM files WHERE job_row = row)",
            params![
                id.as_str(),
                head.commit.as_str(),
                head.trust.as_str(),
                head.files,
                head.bytes,
                head.asked_at.as_millisecond(),
            ],
        )
        .act("store a plan")?;
    if changed == 0 {
        // A user moved the job meanwhile, and what was stored of this plan may be gone.
        return Err(StoreError::PlanOutdated);
    }
    let job = jobs::get(context.db, Scope::All, id)?;
    let event = NewEvent {
        bytes: head.bytes,
        ..NewEvent::of(&job, EventKind::Planned)
    };
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

/// All files of a job in path order, after a path.
pub(super) fn list(db: &Connection, job_row: i64, after: &str, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT * FROM files WHERE job_row = ?1 AND path > ?2 ORDER BY path LIMIT ?3")
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

/// Number of files that are not published.
pub(super) fn unfinished(db: &Connection, job_row: i64) -> Result<u64, StoreError> {
    db.query_row(
        "SELECT count(*) FROM files WHERE job_row = ?1 AND state <> 'done'",
        [job_row],
        |row| row.get(0),
    )
    .act("count unfinished files")
}

impl Store {
    /// Other files of a job with the same content, those in their places first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn twins(&self, job_row: i64, file: FileRecord, limit: u32) -> Result<Vec<FileRecord>, StoreError> {
        self.queue.read(move |db| twins(db, job_row, &file, limit)).await
    }
}
