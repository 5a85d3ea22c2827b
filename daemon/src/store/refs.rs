//! The refs that jobs have written: how old the knowledge behind each of them is.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store,
    error::{Act as _, StoreError},
};

/// What we know of a ref that we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefRecord {
    /// The commit that we wrote into it.
    pub commit: String,
    /// When an endpoint said so.
    pub planned_at: Timestamp,
}

fn planned_at(db: &Connection, job_row: i64) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = db
        .query_row("SELECT planned_at FROM jobs WHERE row = ?1", [job_row], |row| {
            row.get(0)
        })
        .act("read a plan's age")?;
    Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

fn record(db: &Connection, path: &Path) -> Result<Option<RefRecord>, StoreError> {
    let row: Option<(String, i64)> = db
        .query_row(
            "SELECT commit_hash, planned_at FROM refs WHERE path = ?1",
            [path.to_string_lossy()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .act("read a ref's age")?;
    Ok(row.and_then(|(commit, at)| {
        let planned_at = Timestamp::from_millisecond(at).ok()?;
        Some(RefRecord { commit, planned_at })
    }))
}

impl Store {
    /// When the plan of a job was made; `None` when it has none, or an older version of this program made it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn planned_at(&self, job_row: i64) -> Result<Option<Timestamp>, StoreError> {
        self.queue.read(move |db| planned_at(db, job_row)).await
    }

    /// What we know of a ref, by the path of its file.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ref_record(&self, path: PathBuf) -> Result<Option<RefRecord>, StoreError> {
        self.queue.read(move |db| record(db, &path)).await
    }

    /// Notes what was written into a ref. Safe to repeat.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_ref(&self, path: PathBuf, written: RefRecord) -> Result<(), StoreError> {
        self.jobs
            .write(move |context| {
                context
                    .db
                    .execute(
                        "INSERT OR REPLACE INTO refs (path, commit_hash, planned_at) VALUES (?1, ?2, ?3)",
                        params![
                            path.to_string_lossy(),
                            written.commit,
                            written.planned_at.as_millisecond()
                        ],
                    )
                    .act("note a ref")?;
                Ok(())
            })
            .await
    }
}
