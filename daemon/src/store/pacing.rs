//! How fast and when: the terms of jobs, changed while they run, and the global limit that a user set.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    MOVED_AT_ONCE, Store,
    error::{Act as _, StoreError},
    events, jobs,
    jobs::{MoveNote, Scope},
    row,
    thread::WriteContext,
};
use crate::model::{
    EventKind, HoldReason, IllegalMove, Job, JobChange, JobId, JobMove, JobState, NewEvent, Pacing, SetLimit, SetLimits,
};

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
    context
        .db
        .execute(
            "UPDATE jobs SET priority = ?2, rate_limit = ?3, time_window = ?4 WHERE row = ?1",
            params![
                job.row,
                change.priority.unwrap_or(job.spec.priority) as i64,
                limit,
                window,
            ],
        )
        .act("change a job")?;
    let held = job.state == JobState::Held && job.hold_reason == Some(HoldReason::Window);
    if held && change.window.is_some() {
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

/// Holds a job for its window, if its terms are those by which it was judged, and it is in one of some states. Otherwise `None`:
/// it has to be judged again.
fn hold_for_window(
    context: &mut WriteContext<'_>,
    id: &JobId,
    judged: &Pacing,
    states: &[JobState],
    note: &MoveNote,
) -> Result<Option<Job>, StoreError> {
    let job = jobs::get(context.db, Scope::All, id)?;
    let job_move = JobMove::Hold(HoldReason::Window);
    if !states.contains(&job.state) {
        return Err(IllegalMove {
            from: job.state,
            job_move,
        }
        .into());
    }
    let pacing = &job.spec.pacing;
    if (&pacing.window, pacing.start_at) != (&judged.window, judged.start_at) {
        return Ok(None);
    }
    jobs::apply(context, Scope::All, id, job_move, note).map(Some)
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

/// Jobs that wait for their time, oldest first.
fn waiting(db: &Connection) -> Result<Vec<JobId>, StoreError> {
    let ids: Vec<String> = db
        .prepare_cached("SELECT id FROM jobs WHERE state = 'held' AND hold_reason IN ('window', 'budget') ORDER BY row")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .act("read jobs that wait for their time")?;
    Ok(ids.iter().filter_map(|id| JobId::parse(id).ok()).collect())
}

/// Those of them that still do.
fn requeue_timed(context: &mut WriteContext<'_>, ids: &[JobId]) -> Result<(), StoreError> {
    for id in ids {
        let reason = match jobs::get(context.db, Scope::All, id) {
            Ok(job) => job.hold_reason,
            Err(StoreError::NoSuchJob(_)) => None,
            Err(error) => return Err(error),
        };
        if matches!(reason, Some(HoldReason::Window | HoldReason::Budget)) {
            jobs::apply(context, Scope::All, id, JobMove::Requeue, &MoveNote::default())?;
        }
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

    /// Holds a job for its window, unless its terms have changed since they were judged: then `None`.
    ///
    /// # Errors
    /// `NoSuchJob`, or `IllegalMove` when it is in none of these states.
    pub async fn hold_for_window(
        &self,
        id: &JobId,
        judged: Pacing,
        states: &'static [JobState],
        note: MoveNote,
    ) -> Result<Option<Job>, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| hold_for_window(context, &id, &judged, states, &note))
            .await
    }

    /// Queued jobs with a window or a time to begin, oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn queued_with_times(&self) -> Result<Vec<Job>, StoreError> {
        self.queue.read(timed).await
    }

    /// Queues all jobs again that wait for their window or for a budget: those may have changed. Some at a time: others do
    /// not wait for a thousand.
    ///
    /// # Errors
    /// When the database refuses; those before were moved.
    pub async fn requeue_timed(&self) -> Result<(), StoreError> {
        for some in self.jobs.read(waiting).await?.chunks(MOVED_AT_ONCE) {
            let some = some.to_vec();
            self.jobs.write(move |context| requeue_timed(context, &some)).await?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, new_job};
    use super::*;
    use crate::model::Priority;

    #[tokio::test]
    async fn who_got_another_window_is_not_held_for_the_old_one() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let mut new = new_job(1, "a/b", Priority::Normal, None);
        new.spec.pacing.window = Some("23:00-07:00".into());
        let job = store.submit(new).await.unwrap().job;
        let start = store.move_job(Scope::All, &job.id, JobMove::Start, MoveNote::default());
        start.await.unwrap();
        let change = JobChange {
            priority: None,
            limit: None,
            window: Some(None),
        };
        store
            .change_job(Scope::All, &job.id, change, "window off".into())
            .await
            .unwrap();
        // Judged by its old terms, it would sleep until the evening.
        let hold = |judged: Pacing, states| store.hold_for_window(&job.id, judged, states, MoveNote::default());
        assert!(
            hold(job.spec.pacing.clone(), &[JobState::Active])
                .await
                .unwrap()
                .is_none()
        );
        let now = store.job(Scope::All, &job.id).await.unwrap();
        assert_eq!(now.state, JobState::Active);
        let refused = hold(now.spec.pacing.clone(), &[JobState::Queued]).await;
        assert!(matches!(refused, Err(StoreError::IllegalMove(_))), "{refused:?}");
        let held = hold(now.spec.pacing, &[JobState::Active]).await.unwrap().unwrap();
        assert_eq!(
            (held.state, held.hold_reason),
            (JobState::Held, Some(HoldReason::Window))
        );
    }

    #[tokio::test]
    async fn thousands_that_wait_for_their_time_are_moved_some_at_a_time() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let mut ids = Vec::new();
        for _ in 0..MOVED_AT_ONCE + 1 {
            let mut new = new_job(1, "a/b", Priority::Normal, None);
            new.max_queued = 10_000;
            ids.push(store.submit(new).await.unwrap().job.id);
        }
        let first = store.job(Scope::All, &ids[0]).await.unwrap();
        let hold = store.hold_queued(first.row, Some(1), HoldReason::Budget, MoveNote::default(), Vec::new());
        hold.await.unwrap();
        let counted = async |state| {
            let counts = store.counts().await.unwrap();
            counts
                .iter()
                .find(|(of, _)| *of == state)
                .map_or(0, |(_, count)| *count)
        };
        assert_eq!(counted(JobState::Held).await, ids.len() as u64);
        // One waits for something else by now.
        let moves = [JobMove::Requeue, JobMove::Hold(HoldReason::Disk)];
        for job_move in moves {
            let moved = store.move_job(Scope::All, &ids[5], job_move, MoveNote::default());
            moved.await.unwrap();
        }
        store.requeue_timed().await.unwrap();
        assert_eq!(counted(JobState::Held).await, 1);
        let other = store.job(Scope::All, &ids[5]).await.unwrap();
        assert_eq!(other.hold_reason, Some(HoldReason::Disk));
    }
}
