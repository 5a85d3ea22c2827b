//! The runs of schedules. One is written in the transaction that settles that it is not due any more, and with its job: dying
//! a step before or after neither loses nor doubles it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, accept,
    accept::NewJob,
    error::{Act as _, StoreError},
    row,
    thread::WriteContext,
};
use crate::model::{CommitHash, JobId, RunOutcome, Schedule, ScheduleRun};

/// Runs of a schedule that are remembered.
const KEPT: u32 = 100;

/// A run that is to be written.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Of which schedule, as it was when the run was decided on.
    pub schedule: Schedule,
    /// When it was due; `None`: a user asks for it.
    pub due_at: Option<Timestamp>,
    /// When it is: what was due until now is settled by it.
    pub now: Timestamp,
    /// What it comes to.
    pub wish: RunWish,
}

/// What a run shall come to.
#[derive(Debug, Clone)]
pub enum RunWish {
    /// A job, unless the one before is not over.
    Job {
        /// It.
        job: Box<NewJob>,
        /// The commit that it will bring, when that is in nobody's place yet.
        makes: Option<CommitHash>,
    },
    /// None.
    None {
        /// Why.
        outcome: RunOutcome,
        /// For people.
        detail: String,
        /// What the revision means; empty: not known.
        commit: String,
    },
}

/// The job of a run that is not over.
const OPEN_JOB: &str = "SELECT jobs.id FROM schedule_runs JOIN jobs ON jobs.id = schedule_runs.job_id \
     WHERE schedule_runs.schedule_row = ?1 AND jobs.state IN ('queued', 'active', 'held', 'paused') LIMIT 1";

/// With the job's row as it is now, where there still is one.
const RUNS: &str = "SELECT run.row, run.due_at, run.ran_at, run.outcome, run.detail, run.job_id, \
     coalesce(jobs.state, run.state) AS state, coalesce(jobs.commit_hash, run.commit_hash) AS commit_hash, \
     coalesce(jobs.files_to_fetch, run.files_to_fetch) AS files_to_fetch, \
     coalesce(jobs.bytes_to_fetch, run.bytes_to_fetch) AS bytes_to_fetch \
     FROM schedule_runs AS run LEFT JOIN jobs ON jobs.id = run.job_id \
     WHERE run.schedule_row = ?1 ORDER BY run.row DESC LIMIT ?2";

fn runs(db: &Connection, schedule: i64, limit: u32) -> Result<Vec<ScheduleRun>, StoreError> {
    let mut statement = db.prepare_cached(RUNS).act("read runs")?;
    let mut rows = statement.query(params![schedule, limit]).act("read runs")?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next().act("read runs")? {
        runs.push(row::run(row)?);
    }
    Ok(runs)
}

/// `None`: it is not due any more, because somebody paused, removed or ran it meanwhile.
fn run(context: &mut WriteContext<'_>, new: NewRun) -> Result<Option<ScheduleRun>, StoreError> {
    let NewRun {
        schedule,
        due_at,
        now,
        wish,
    } = new;
    let known: Option<(i64, bool)> = context
        .db
        .query_row(
            "SELECT settled_until, paused FROM schedules WHERE row = ?1 AND id = ?2",
            params![schedule.row, schedule.id.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .act("read a schedule")?;
    let Some((settled_until, paused)) = known else {
        return Ok(None);
    };
    if due_at.is_some() {
        if paused || settled_until != schedule.settled_until.as_millisecond() {
            return Ok(None);
        }
        context
            .db
            .execute(
                "UPDATE schedules SET settled_until = max(settled_until, ?2) WHERE row = ?1",
                params![schedule.row, now.as_millisecond()],
            )
            .act("settle what was due")?;
    }
    let open: Option<String> = context
        .db
        .query_row(OPEN_JOB, [schedule.row], |row| row.get(0))
        .optional()
        .act("look for the run before")?;
    let mut job_id: Option<JobId> = None;
    let mut made = None;
    let (outcome, detail, commit) = match (wish, open) {
        (
            RunWish::None {
                outcome,
                detail,
                commit,
            },
            _,
        ) => (outcome, detail, commit),
        (RunWish::Job { .. }, Some(open)) => {
            let detail = format!("the job of the run before, {open}, is not over");
            (RunOutcome::Overlap, detail, String::new())
        }
        (RunWish::Job { job, makes }, None) => match accept::submit(context, *job) {
            Ok(submitted) => {
                job_id = Some(submitted.job.id);
                made = makes.map(|commit| commit.to_string());
                (RunOutcome::Job, String::new(), String::new())
            }
            // It looked before it wrote anything.
            Err(error @ StoreError::QueueFull { .. }) => (RunOutcome::Refused, error.to_string(), String::new()),
            Err(error) => return Err(error),
        },
    };
    context
        .db
        .execute(
            "INSERT INTO schedule_runs (schedule_row, due_at, ran_at, outcome, detail, job_id, commit_hash, made) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                schedule.row,
                due_at.map(Timestamp::as_millisecond),
                now.as_millisecond(),
                outcome.as_str(),
                detail,
                job_id.as_ref().map(JobId::as_str),
                commit,
                made,
            ],
        )
        .act("write a run")?;
    context
        .db
        .execute(
            "DELETE FROM schedule_runs WHERE schedule_row = ?1 AND row <= \
             (SELECT row FROM schedule_runs WHERE schedule_row = ?1 ORDER BY row DESC LIMIT 1 OFFSET ?2)",
            params![schedule.row, KEPT],
        )
        .act("forget old runs")?;
    Ok(runs(context.db, schedule.row, 1)?.pop())
}

/// Commits that runs have brought, the newest first, each once, and whether the run found its place empty.
fn pulled(db: &Connection, schedule: i64) -> Result<Vec<(CommitHash, bool)>, StoreError> {
    let rows: Vec<(String, bool)> = db
        .prepare_cached(
            "SELECT commit_hash, max(coalesce(made = commit_hash, 0)) FROM schedule_runs \
             WHERE schedule_row = ?1 AND state = 'done' AND commit_hash <> '' GROUP BY commit_hash ORDER BY max(row) DESC",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map([schedule], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
        .act("read what was pulled")?;
    let parsed = rows.into_iter();
    Ok(parsed
        .filter_map(|(commit, made)| Some((CommitHash::parse(&commit)?, made)))
        .collect())
}

/// Whether a commit was also pulled by somebody or something else.
fn is_wanted(db: &Connection, schedule: &Schedule, commit: &str) -> Result<bool, StoreError> {
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE repo_id = ?2 AND kind = ?3 AND commit_hash = ?4 \
             AND coalesce(schedule, '') <> ?5) \
         OR EXISTS (SELECT 1 FROM schedule_runs JOIN schedules ON schedules.row = schedule_row \
             WHERE schedules.row <> ?1 AND repo_id = ?2 AND kind = ?3 AND commit_hash = ?4)",
        params![
            schedule.row,
            schedule.pull.repo_id.as_str(),
            schedule.pull.kind.as_str(),
            commit,
            schedule.id.as_str()
        ],
        |row| row.get(0),
    )
    .act("look who wants a commit")
}

impl Store {
    /// Writes a run, with its job. `None`: it is not due any more.
    ///
    /// # Errors
    /// When the database refuses; then nothing is written.
    pub async fn run_schedule(&self, new: NewRun) -> Result<Option<ScheduleRun>, StoreError> {
        self.jobs.write(move |context| run(context, new)).await
    }

    /// The last runs of a schedule, newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn runs_of(&self, schedule: i64, limit: u32) -> Result<Vec<ScheduleRun>, StoreError> {
        self.reads.read(move |db| runs(db, schedule, limit)).await
    }

    /// Commits that a schedule's runs have brought, the newest first, each once, and whether they were in nobody's place before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pulled(&self, schedule: i64) -> Result<Vec<(CommitHash, bool)>, StoreError> {
        self.queue.read(move |db| pulled(db, schedule)).await
    }

    /// Whether a commit of a schedule's repository was also asked for otherwise.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_wanted_otherwise(&self, schedule: &Schedule, commit: &CommitHash) -> Result<bool, StoreError> {
        let (schedule, commit) = (schedule.clone(), commit.clone());
        self.queue
            .read(move |db| is_wanted(db, &schedule, commit.as_str()))
            .await
    }
}

#[cfg(test)]
mod tests;
