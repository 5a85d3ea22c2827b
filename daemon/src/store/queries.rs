//! Questions about many jobs.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    jobs::{Filter, Scope, to_json},
    row,
};
use crate::model::{Job, JobId, JobState};

/// Finds the one job whose id begins with a checked prefix.
pub(super) fn find(db: &Connection, scope: Scope, prefix: &str) -> Result<JobId, StoreError> {
    let mut statement = db
        // `{` follows `z`: a range of the index, where a pattern would walk all jobs.
        .prepare_cached("SELECT id FROM jobs WHERE id >= ?2 AND id < ?2 || '{' AND (?1 IS NULL OR uid = ?1) LIMIT 2")
        .act("find a job")?;
    let ids = statement
        .query_map(params![scope.column(), prefix], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("find a job")?;
    match ids.as_slice() {
        [] => Err(StoreError::NoSuchJob(prefix.to_owned())),
        [id] => JobId::parse(id).map_err(|error| StoreError::Row {
            table: "jobs",
            key: id.clone(),
            what: error.to_string(),
        }),
        _ => Err(StoreError::AmbiguousJob(prefix.to_owned())),
    }
}

pub(super) fn list(db: &Connection, filter: &Filter) -> Result<Vec<Job>, StoreError> {
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let states = to_json(&states);
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR uid = ?1) AND row < ?2 \
             AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3))) \
             AND (?4 = '' OR user = ?4) AND (?5 = '' OR instr(lower(repo_id), lower(?5)) > 0) \
             ORDER BY row DESC LIMIT ?6",
        )
        .act("list jobs")?;
    let mut rows = statement
        .query(params![
            filter.scope.column(),
            filter.before_row.unwrap_or(i64::MAX),
            states,
            filter.user,
            filter.repo,
            filter.limit
        ])
        .act("list jobs")?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().act("list jobs")? {
        jobs.push(row::job(row)?);
    }
    Ok(jobs)
}

/// Ids in one of some states, oldest first.
pub(super) fn ids_in(db: &Connection, scope: Scope, states: &[JobState]) -> Result<Vec<JobId>, StoreError> {
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let words = to_json(&words);
    let mut statement = db
        .prepare_cached(
            "SELECT id FROM jobs WHERE (?1 IS NULL OR uid = ?1) AND state IN (SELECT value FROM json_each(?2)) \
             ORDER BY row",
        )
        .act("list ids")?;
    let ids = statement
        .query_map(params![scope.column(), words], |row| row.get::<_, String>(0))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("list ids")?;
    Ok(ids.iter().filter_map(|id| JobId::parse(id).ok()).collect())
}

/// A queued job and, where a user is named, all queued ones of that user, but not some rows; oldest first.
pub(super) fn queued_ids(
    db: &Connection,
    row: i64,
    of_user: Option<u32>,
    except: &[i64],
) -> Result<Vec<JobId>, StoreError> {
    let ids: Vec<String> = db
        .prepare_cached(
            "SELECT id FROM jobs WHERE state = 'queued' AND (row = ?1 OR uid = ?2) \
             AND row NOT IN (SELECT value FROM json_each(?3)) ORDER BY row",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map(params![row, of_user, to_json(&except)], |row| row.get(0))?;
            rows.collect()
        })
        .act("list queued jobs")?;
    Ok(ids.iter().filter_map(|id| JobId::parse(id).ok()).collect())
}

/// The next jobs in line: higher priority first, then the older one.
pub(super) fn next_queued(db: &Connection, limit: u32) -> Result<Vec<Job>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT * FROM jobs WHERE state = 'queued' ORDER BY priority DESC, row LIMIT ?1")
        .act("read the queue")?;
    let mut rows = statement.query([limit]).act("read the queue")?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().act("read the queue")? {
        jobs.push(row::job(row)?);
    }
    Ok(jobs)
}

/// Held jobs whose time has come, and when the next one's comes.
pub(super) fn due_holds(db: &Connection, now: Timestamp) -> Result<(Vec<JobId>, Option<Timestamp>), StoreError> {
    let mut statement = db
        .prepare_cached("SELECT id, next_attempt_at FROM jobs WHERE state = 'held' AND next_attempt_at IS NOT NULL")
        .act("read held jobs")?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("read held jobs")?;
    let mut due = Vec::new();
    let mut next: Option<i64> = None;
    for (id, at) in rows {
        if at > now.as_millisecond() {
            next = Some(next.map_or(at, |known| known.min(at)));
        } else if let Ok(id) = JobId::parse(&id) {
            due.push(id);
        }
    }
    Ok((due, next.and_then(|at| Timestamp::from_millisecond(at).ok())))
}

/// Number of jobs in each open state.
fn counts(db: &Connection) -> Result<Vec<(JobState, u64)>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT state, count(*) FROM jobs WHERE state IN ('queued', 'active', 'held', 'paused') GROUP BY state",
        )
        .act("count jobs")?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("count jobs")?;
    Ok(rows
        .into_iter()
        .filter_map(|(word, count)| JobState::parse(&word).map(|state| (state, count)))
        .collect())
}

impl Store {
    /// Number of jobs in each open state.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn counts(&self) -> Result<Vec<(JobState, u64)>, StoreError> {
        self.reads.read(counts).await
    }

    /// Returns once the threads that write have answered; what they answer does not matter. Changes nothing.
    pub async fn answers(&self) {
        for writer in [&self.jobs, &self.progress] {
            if let Err(error) = writer.write(|_| Ok(())).await {
                tracing::debug!(%error, "the store answered with trouble");
            }
        }
    }
}
