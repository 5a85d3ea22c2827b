//! How fast and when: the terms of jobs, changed while they run, and the global limit that a user set.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    events, jobs,
    jobs::{MoveNote, Scope},
    row,
    thread::WriteContext,
};
use crate::model::{EventKind, HoldReason, Job, JobChange, JobId, JobMove, JobState, NewEvent, SetLimit, SetLimits};

/// Changes an open job, with an event in which `told` says what changed. One that waits for its window or its time is queued
/// again, for the dispatcher to look at what it may do now.
fn change(
    context: &mut WriteContext<'_>,
    scope: Scope,
    id: &JobId,
    change: &JobChange,
    told: &str,
) -> Result<Job, StoreError> {
    let job = jobs::get(context.db, scope, id)?;
    if job.state.is_final() {
        return Err(StoreError::Ended(job.state));
    }
    let pacing = &job.spec.pacing;
    let limit = change.limit.unwrap_or(pacing.limit);
    let window = change.window.as_ref().unwrap_or(&pacing.window);
    let start_at = change.start_at.unwrap_or(pacing.start_at);
    context
        .db
        .execute(
            "UPDATE jobs SET priority = ?2, rate_limit = ?3, time_window = ?4, start_at = ?5 WHERE row = ?1",
            params![
                job.row,
                change.priority.unwrap_or(job.spec.priority) as i64,
                limit,
                window,
                start_at.map(Timestamp::as_millisecond),
            ],
        )
        .act("change a job")?;
    let held = job.state == JobState::Held && job.hold_reason == Some(HoldReason::Window);
    if held && (change.window.is_some() || change.start_at.is_some()) {
        let note = MoveNote {
            detail: told.to_owned(),
            ..MoveNote::default()
        };
        return jobs::apply(context, Scope::All, id, JobMove::Requeue, &note);
    }
    let job = jobs::get(context.db, Scope::All, id)?;
    let event = NewEvent {
        detail: told.to_owned(),
        ..NewEvent::of(&job, EventKind::StateChanged)
    };
    events::append(context, &job, event)?;
    Ok(job)
}

/// Queued jobs that may not run at any time, oldest first.
fn timed(db: &Connection) -> Result<Vec<Job>, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM jobs WHERE state = 'queued' AND (time_window IS NOT NULL OR start_at IS NOT NULL) ORDER BY row",
        )
        .act("read jobs with a time")?;
    let mut rows = statement.query([]).act("read jobs with a time")?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().act("read jobs with a time")? {
        found.push(row::job(row)?);
    }
    Ok(found)
}

fn requeue_timed(context: &mut WriteContext<'_>) -> Result<(), StoreError> {
    let ids: Vec<String> = context
        .db
        .prepare_cached("SELECT id FROM jobs WHERE state = 'held' AND hold_reason IN ('window', 'budget') ORDER BY row")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .act("read jobs that wait for their time")?;
    for id in ids.iter().filter_map(|id| JobId::parse(id).ok()) {
        jobs::apply(context, Scope::All, &id, JobMove::Requeue, &MoveNote::default())?;
    }
    Ok(())
}

fn set_limits(db: &Connection) -> Result<SetLimits, StoreError> {
    let rows: Vec<(String, String, Option<i64>)> = db
        .prepare_cached("SELECT kind, value, until FROM global_limits")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })
        .act("read the global limit")?;
    let mut limits = SetLimits::default();
    for (kind, text, until) in rows {
        let until = until
            .map(|ms| {
                Timestamp::from_millisecond(ms).map_err(|_| StoreError::Row {
                    table: "global_limits",
                    key: kind.clone(),
                    what: format!("until is `{ms}`"),
                })
            })
            .transpose()?;
        let place = if until.is_some() {
            &mut limits.temporary
        } else {
            &mut limits.lasting
        };
        *place = Some(SetLimit { text, until });
    }
    Ok(limits)
}

fn keep_limits(db: &Connection, limits: &SetLimits) -> Result<(), StoreError> {
    db.execute("DELETE FROM global_limits", [])
        .act("forget the global limit")?;
    let both = [("lasting", &limits.lasting), ("temporary", &limits.temporary)];
    for (kind, limit) in both
        .into_iter()
        .filter_map(|(kind, limit)| Some((kind, limit.as_ref()?)))
    {
        let until = limit.until.map(Timestamp::as_millisecond);
        db.execute(
            "INSERT INTO global_limits (kind, value, until) VALUES (?1, ?2, ?3)",
            params![kind, limit.text, until],
        )
        .act("keep the global limit")?;
    }
    Ok(())
}

impl Store {
    /// Changes a job that has not ended; `told` is what its event says.
    ///
    /// # Errors
    /// `NoSuchJob`, or `Ended`.
    pub async fn change_job(&self, scope: Scope, id: &JobId, what: JobChange, told: String) -> Result<Job, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| change(context, scope, &id, &what, &told))
            .await
    }

    /// Queued jobs with a window or a time to begin, oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn queued_with_times(&self) -> Result<Vec<Job>, StoreError> {
        self.queue.read(timed).await
    }

    /// Queues all jobs again that wait for their window or for a budget: those may have changed.
    ///
    /// # Errors
    /// When the database refuses; then none is moved.
    pub async fn requeue_timed(&self) -> Result<(), StoreError> {
        self.jobs.write(requeue_timed).await
    }

    /// The global limits that were set.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set_limits(&self) -> Result<SetLimits, StoreError> {
        self.queue.read(set_limits).await
    }

    /// Keeps them over restarts, in place of those before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_limits(&self, limits: SetLimits) -> Result<(), StoreError> {
        self.jobs.write(move |context| keep_limits(context.db, &limits)).await
    }
}
