//! How far open jobs are while nobody works on them. A job that stops notes it; after a crash only the claims on the partial
//! files know, and of a file that several jobs want, only one of them claimed it.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    jobs, progress,
    thread::WriteContext,
};

/// The claim on one partial file: where it is, of which content, how many bytes are there.
type Claimed = (String, String, u64);

fn all_claimed(db: &Connection) -> Result<Vec<Claimed>, StoreError> {
    let rows: Vec<(String, String, String)> = db
        .prepare_cached("SELECT path, digest, ranges FROM claims")
        .and_then(|mut statement| {
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
        })
        .act("read the claims")?;
    let counted = |(path, digest, ranges): (String, String, String)| Some((path, digest, progress::bytes_of(&ranges)?));
    Ok(rows.into_iter().filter_map(counted).collect())
}

/// Notes for every planned job that waits what is there of its files, whoever fetched it.
fn note_all(context: &mut WriteContext<'_>, claimed: &[Claimed]) -> Result<(), StoreError> {
    let waiting: Vec<(i64, String)> = context
        .db
        .prepare_cached("SELECT row, path FROM jobs WHERE state IN ('queued', 'held', 'paused') AND planned = 1")
        .and_then(|mut statement| {
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
        .act("read the jobs that wait")?;
    let mut here: HashMap<i64, u64> = HashMap::new();
    for (path, digest, bytes) in claimed {
        for (row, root) in &waiting {
            let is_inside = path
                .strip_prefix(root.as_str())
                .is_some_and(|rest| rest.starts_with('/'));
            if is_inside && wants(context.db, *row, digest)? {
                *here.entry(*row).or_default() += bytes;
            }
        }
    }
    here.into_iter()
        .try_for_each(|(row, bytes)| jobs::note_partial(context, row, bytes))
}

fn wants(db: &Connection, job_row: i64, digest: &str) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM files WHERE job_row = ?1 AND digest = ?2 AND state = 'pending')")
        .and_then(|mut statement| statement.query_row(params![job_row, digest], |row| row.get(0)))
        .act("look for a content")
}

impl Store {
    /// Notes how far the jobs are that wait: once, after a start.
    ///
    /// # Errors
    /// When a database refuses.
    pub async fn recall_partials(&self) -> Result<(), StoreError> {
        let claimed = self.progress.read(all_claimed).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        self.jobs.write(move |context| note_all(context, &claimed)).await
    }
}
