//! What forecasts are made of: the open jobs, and how fast the line was.

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    Store,
    error::{Act as _, StoreError},
    row,
};
use crate::model::Job;

/// Jobs that a forecast looks at; what is behind them begins in the far future.
const MOST: u32 = 2000;

fn open_jobs(db: &Connection) -> Result<Vec<Job>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM jobs WHERE state IN ('queued', 'active', 'held') ORDER BY priority DESC, row LIMIT ?1",
        )
        .act("read the open jobs")?;
    let mut rows = statement.query([MOST]).act("read the open jobs")?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().act("read the open jobs")? {
        jobs.push(row::job(row)?);
    }
    Ok(jobs)
}

impl Store {
    /// Jobs that are queued, active or held, in the order in which they are begun.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open_jobs(&self) -> Result<Vec<Job>, StoreError> {
        self.queue.read(open_jobs).await
    }

    /// Whether an open job has to be ready by a time.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn have_deadlines(&self) -> Result<bool, StoreError> {
        let look = |db: &Connection| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM jobs WHERE ready_by IS NOT NULL AND state IN ('queued', 'active', 'held'))",
            )
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .act("look for deadlines")
        };
        self.queue.read(look).await
    }

    /// What the line was measured to bring, in bytes per second.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn goodput(&self) -> Result<Option<u64>, StoreError> {
        let read = |db: &Connection| {
            db.query_row("SELECT bytes_per_sec FROM goodput", [], |row| row.get(0))
                .optional()
                .act("read what the line brings")
        };
        self.progress.read(read).await
    }

    /// Keeps it for the next start.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_goodput(&self, bytes_per_sec: Option<u64>) -> Result<(), StoreError> {
        let Some(rate) = bytes_per_sec else { return Ok(()) };
        let keep = self.progress.write(move |context| {
            context
                .db
                .execute(
                    "INSERT OR REPLACE INTO goodput (one, bytes_per_sec) VALUES (1, ?1)",
                    [rate],
                )
                .act("keep what the line brings")
        });
        keep.await.map(drop)
    }
}
