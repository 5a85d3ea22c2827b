//! Questions about many jobs.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    jobs::{Filter, Scope, to_json},
    row,
};
use crate::{
    model::{HoldReason, Job, JobId, JobState},
    sched::queue::{self, Line},
};

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
    let reasons: Vec<&str> = filter.held_for.iter().map(|reason| reason.as_str()).collect();
    let reasons = to_json(&reasons);
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR uid = ?1) AND row < ?2 \
             AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3))) \
             AND (state <> 'held' OR ?7 = '[]' OR hold_reason IN (SELECT value FROM json_each(?7))) \
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
            filter.limit,
            reasons
        ])
        .act("list jobs")?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().act("list jobs")? {
        jobs.push(row::job(row)?);
    }
    Ok(jobs)
}

/// Ids in one of some states, oldest first; of held ones those with one of some reasons, or with any when none is named.
pub(super) fn ids_in(
    db: &Connection,
    scope: Scope,
    (states, held_for): (&[JobState], &[HoldReason]),
) -> Result<Vec<JobId>, StoreError> {
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let words = to_json(&words);
    let reasons: Vec<&str> = held_for.iter().map(|reason| reason.as_str()).collect();
    let reasons = to_json(&reasons);
    let mut statement = db
        .prepare_cached(
            "SELECT id FROM jobs WHERE (?1 IS NULL OR uid = ?1) AND state IN (SELECT value FROM json_each(?2)) \
             AND (state <> 'held' OR ?3 = '[]' OR hold_reason IN (SELECT value FROM json_each(?3))) ORDER BY row",
        )
        .act("list ids")?;
    let ids = statement
        .query_map(params![scope.column(), words, reasons], |row| row.get::<_, String>(0))
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

/// Who has jobs waiting, and how many of his are being worked on: one step of an index for each user, however many jobs wait.
const WAITING_USERS: &str = "WITH RECURSIVE line (uid) AS (\
         SELECT min(uid) FROM jobs INDEXED BY jobs_queue WHERE state = 'queued' \
         UNION ALL \
         SELECT (SELECT min(uid) FROM jobs INDEXED BY jobs_queue WHERE state = 'queued' AND jobs.uid > line.uid) FROM line \
         WHERE line.uid IS NOT NULL) \
     SELECT uid, (SELECT count(*) FROM jobs INDEXED BY jobs_by_state WHERE state = 'active' AND jobs.uid = line.uid) FROM line \
     WHERE uid IS NOT NULL";
const WAITING_JOBS: &str =
    "SELECT row, user FROM jobs WHERE state = 'queued' AND uid = ?1 ORDER BY priority DESC, row LIMIT ?2";

/// The next jobs in line, but of some users none: of each user those of higher priority first, then the older ones; users take turns by weight.
pub(super) fn next_queued(
    db: &Connection,
    limit: u32,
    except: &HashSet<u32>,
    weight: impl Fn(&str) -> u32,
) -> Result<Vec<Job>, StoreError> {
    let mut users = db.prepare_cached(WAITING_USERS).act("read the queue")?;
    let mut waiting = db.prepare_cached(WAITING_JOBS).act("read the queue")?;
    let users = users
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect::<Result<Vec<(u32, u64)>, _>>)
        .act("read the queue")?;
    let mut lines = Vec::with_capacity(users.len());
    for (uid, working) in users.into_iter().filter(|(uid, _)| !except.contains(uid)) {
        let jobs = waiting
            .query_map(params![uid, limit], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect::<Result<Vec<(i64, String)>, _>>)
            .act("read the queue")?;
        let Some((_, user)) = jobs.first() else { continue };
        lines.push(Line {
            weight: weight(user),
            working,
            waiting: jobs.iter().map(|(row, _)| *row).collect(),
        });
    }
    let mut statement = db
        .prepare_cached("SELECT * FROM jobs WHERE row = ?1")
        .act("read the queue")?;
    let mut jobs = Vec::new();
    for row_id in queue::next(&lines, limit as usize) {
        let mut rows = statement.query([row_id]).act("read the queue")?;
        if let Some(row) = rows.next().act("read the queue")? {
            jobs.push(row::job(row)?);
        }
    }
    Ok(jobs)
}

/// Without statistics SQLite takes the index of all held jobs.
const DUE: &str = "SELECT id FROM jobs INDEXED BY jobs_due WHERE state = 'held' AND next_attempt_at <= ?1 \
     ORDER BY next_attempt_at";
const NEXT_DUE: &str = "SELECT min(next_attempt_at) FROM jobs INDEXED BY jobs_due WHERE state = 'held' \
     AND next_attempt_at > ?1";

/// Held jobs whose time has come, and when the next one's comes.
pub(super) fn due_holds(db: &Connection, now: Timestamp) -> Result<(Vec<JobId>, Option<Timestamp>), StoreError> {
    let now = now.as_millisecond();
    let due = db
        .prepare_cached(DUE)
        .and_then(|mut statement| {
            let rows = statement.query_map([now], |row| row.get::<_, String>(0))?;
            rows.collect::<Result<Vec<_>, _>>()
        })
        .act("read held jobs")?;
    let next: Option<i64> = db
        .prepare_cached(NEXT_DUE)
        .and_then(|mut statement| statement.query_row([now], |row| row.get(0)))
        .act("read held jobs")?;
    let due = due.iter().filter_map(|id| JobId::parse(id).ok()).collect();
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

/// Number of held jobs by what they wait for.
fn held(db: &Connection) -> Result<Vec<(HoldReason, u64)>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT hold_reason, count(*) FROM jobs WHERE state = 'held' GROUP BY hold_reason")
        .act("count held jobs")?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("count held jobs")?;
    let known = rows
        .into_iter()
        .filter_map(|(word, count)| Some((HoldReason::parse(&word)?, count)));
    Ok(known.collect())
}

impl Store {
    /// Number of jobs in each open state.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn counts(&self) -> Result<Vec<(JobState, u64)>, StoreError> {
        self.reads.read(counts).await
    }

    /// Held jobs by what they wait for.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn held(&self) -> Result<Vec<(HoldReason, u64)>, StoreError> {
        self.reads.read(held).await
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, new_job};
    use super::*;
    use crate::{
        model::{JobMove, Priority},
        store::{MoveNote, accept::OPEN_JOBS},
    };

    /// How SQLite goes about a question.
    async fn plan(store: &Store, sql: &'static str) -> String {
        let explain = move |db: &Connection| {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).act("explain")?;
            let any = rusqlite::params_from_iter(vec![1; statement.parameter_count()]);
            let lines = statement.query_map(any, |row| row.get::<_, String>(3)).act("explain")?;
            Ok(lines.collect::<Result<Vec<_>, _>>().act("explain")?.join("\n"))
        };
        store.reads.read(explain).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_asked_often_looks_at_few_rows() {
        let fixture = Fixture::new();
        // Otherwise a submit looks at all jobs that the user ever had.
        let open = plan(&fixture.store, OPEN_JOBS).await;
        assert!(open.contains("jobs_open"), "{open}");
        let waiting = plan(&fixture.store, WAITING_JOBS).await;
        assert!(waiting.contains("jobs_queue") && !waiting.contains("TEMP"), "{waiting}");
        let users = plan(&fixture.store, WAITING_USERS).await;
        assert!(users.matches("jobs_queue").count() == 2, "{users}");
        // Each submit for later asks this, also after a hundred thousand of them.
        for sql in [DUE, NEXT_DUE] {
            let due = plan(&fixture.store, sql).await;
            assert!(
                due.contains("jobs_due (next_attempt_at") && !due.contains("TEMP"),
                "{due}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_waits_behind_all_the_jobs_of_another() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        for _ in 0..9 {
            store.submit(new_job(1, "a/many", Priority::High, None)).await.unwrap();
        }
        let late = store
            .submit(new_job(2, "b/one", Priority::Low, None))
            .await
            .unwrap()
            .job;
        let next = store.next_queued(2, HashSet::new(), |_| 1).await.unwrap();
        assert_eq!(next[1].id, late.id, "high priority is among one's own");
        // Who has a place waits for those who have none.
        let start = store.move_job(Scope::All, &next[0].id, JobMove::Start, MoveNote::default());
        start.await.unwrap();
        assert_eq!(
            store.next_queued(1, HashSet::new(), |_| 1).await.unwrap()[0].id,
            late.id
        );
        let heavy = |user: &str| if user == "user1" { 9 } else { 1 };
        assert_eq!(
            store.next_queued(1, HashSet::new(), heavy).await.unwrap()[0].owner.uid,
            1
        );
        // Who begins nothing now takes nobody's place.
        let others = store.next_queued(9, HashSet::from([1]), heavy).await.unwrap();
        assert_eq!(others.iter().map(|job| job.owner.uid).collect::<Vec<_>>(), [2]);
    }
}
