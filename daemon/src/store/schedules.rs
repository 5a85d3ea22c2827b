//! Recurring pulls: which there are, and what the ends of their jobs say.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    jobs::{Scope, to_json},
    row,
    thread::WriteContext,
};
use crate::model::{Job, Owner, Pull, Schedule, ScheduleId};

/// A checked schedule.
#[derive(Debug, Clone)]
pub struct NewSchedule {
    /// Whose.
    pub owner: Owner,
    /// What is pulled.
    pub pull: Pull,
    /// When.
    pub cron: String,
    /// On which clock.
    pub timezone: Option<String>,
    /// Earlier revisions that stay.
    pub keep: Option<u32>,
    /// Name of the token in the owner's token file.
    pub token_ref: Option<String>,
    /// What was due before then is not to be run.
    pub now: Timestamp,
}

fn one(db: &Connection, scope: Scope, id: &ScheduleId) -> Result<Schedule, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT * FROM schedules WHERE id = ?2 AND (?1 IS NULL OR uid = ?1)")
        .act("read a schedule")?;
    let mut rows = statement
        .query(params![scope.column(), id.as_str()])
        .act("read a schedule")?;
    match rows.next().act("read a schedule")? {
        Some(row) => row::schedule(row),
        None => Err(StoreError::NoSuchSchedule(id.to_string())),
    }
}

fn list(db: &Connection, scope: Scope) -> Result<Vec<Schedule>, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT * FROM schedules WHERE ?1 IS NULL OR uid = ?1 ORDER BY row")
        .act("list schedules")?;
    let mut rows = statement.query([scope.column()]).act("list schedules")?;
    let mut schedules = Vec::new();
    while let Some(row) = rows.next().act("list schedules")? {
        schedules.push(row::schedule(row)?);
    }
    Ok(schedules)
}

fn find(db: &Connection, scope: Scope, prefix: &str) -> Result<Schedule, StoreError> {
    let mut statement = db
        .prepare_cached(
            "SELECT * FROM schedules WHERE id >= ?2 AND id < ?2 || '{' AND (?1 IS NULL OR uid = ?1) LIMIT 2",
        )
        .act("find a schedule")?;
    let mut rows = statement
        .query(params![scope.column(), prefix])
        .act("find a schedule")?;
    let read = |row: Option<&Row<'_>>| row.map(row::schedule).transpose();
    let first = read(rows.next().act("find a schedule")?)?;
    let second = read(rows.next().act("find a schedule")?)?;
    match (first, second) {
        (Some(found), None) => Ok(found),
        (None, _) => Err(StoreError::NoSuchSchedule(prefix.to_owned())),
        (Some(_), Some(_)) => Err(StoreError::AmbiguousSchedule(prefix.to_owned())),
    }
}

/// The same twice is one: who asks again because the answer was lost gets what is there.
fn add(context: &mut WriteContext<'_>, new: &NewSchedule) -> Result<(Schedule, bool), StoreError> {
    let same = |known: &Schedule| {
        known.owner.uid == new.owner.uid
            && known.pull == new.pull
            && (&known.cron, &known.timezone, known.keep) == (&new.cron, &new.timezone, new.keep)
    };
    if let Some(known) = list(context.db, Scope::Uid(new.owner.uid))?.into_iter().find(same) {
        // Another token is what it may be asked for again for.
        context
            .db
            .execute(
                "UPDATE schedules SET token_ref = coalesce(?2, token_ref) WHERE row = ?1",
                params![known.row, new.token_ref],
            )
            .act("change a schedule's token reference")?;
        return Ok((one(context.db, Scope::All, &known.id)?, true));
    }
    let mut random = fastrand::Rng::new();
    let id = loop {
        let id = ScheduleId::random(&mut random);
        match one(context.db, Scope::All, &id) {
            Err(StoreError::NoSuchSchedule(_)) => break id,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    };
    let Pull {
        repo_id,
        kind,
        revision,
        terms,
    } = &new.pull;
    context
        .db
        .execute(
            "INSERT INTO schedules (id, uid, user, repo_id, kind, revision, terms, cron, timezone, keep, token_ref, \
             settled_until, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)",
            params![
                id.as_str(),
                new.owner.uid,
                new.owner.user,
                repo_id.as_str(),
                kind.as_str(),
                revision.as_str(),
                to_json(terms),
                new.cron,
                new.timezone,
                new.keep,
                new.token_ref,
                new.now.as_millisecond(),
            ],
        )
        .act("add a schedule")?;
    Ok((one(context.db, Scope::All, &id)?, false))
}

/// What was due while it was paused is not made up for.
fn set_paused(
    context: &mut WriteContext<'_>,
    scope: Scope,
    id: &ScheduleId,
    paused: bool,
    now: Timestamp,
) -> Result<Schedule, StoreError> {
    let known = one(context.db, scope, id)?;
    context
        .db
        .execute(
            "UPDATE schedules SET paused = ?2, settled_until = CASE WHEN paused > ?2 THEN ?3 ELSE settled_until END \
             WHERE row = ?1",
            params![known.row, paused, now.as_millisecond()],
        )
        .act("pause a schedule")?;
    one(context.db, scope, id)
}

fn remove(context: &mut WriteContext<'_>, scope: Scope, id: &ScheduleId) -> Result<(), StoreError> {
    let known = one(context.db, scope, id)?;
    context
        .db
        .execute("DELETE FROM schedules WHERE row = ?1", [known.row])
        .act("remove a schedule")?;
    Ok(())
}

/// A job of a run has ended: what it came to outlives it.
pub(super) fn note_end(db: &Connection, job: &Job) -> Result<(), StoreError> {
    db.execute(
        "UPDATE schedule_runs SET state = ?2, commit_hash = ?3, files_to_fetch = ?4, bytes_to_fetch = ?5 WHERE job_id = ?1",
        params![
            job.id.as_str(),
            job.state.as_str(),
            job.commit.as_ref().map(ToString::to_string).unwrap_or_default(),
            job.difference.map(|difference| difference.files),
            job.difference.map(|difference| difference.bytes),
        ],
    )
    .act("note the end of a run")?;
    Ok(())
}

impl Store {
    /// Adds a schedule, unless the user has the same one: then that, and `true`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_schedule(&self, new: NewSchedule) -> Result<(Schedule, bool), StoreError> {
        self.jobs.write(move |context| add(context, &new)).await
    }

    /// Schedules, in the order in which they were added.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn schedules(&self, scope: Scope) -> Result<Vec<Schedule>, StoreError> {
        self.queue.read(move |db| list(db, scope)).await
    }

    /// Finds the schedule whose id begins with `prefix` (from `JobId::parse_prefix`).
    ///
    /// # Errors
    /// `NoSuchSchedule`, or `AmbiguousSchedule` when several fit.
    pub async fn find_schedule(&self, scope: Scope, prefix: String) -> Result<Schedule, StoreError> {
        self.reads.read(move |db| find(db, scope, &prefix)).await
    }

    /// Stops a schedule, or lets it run again from now on.
    ///
    /// # Errors
    /// `NoSuchSchedule`.
    pub async fn pause_schedule(
        &self,
        scope: Scope,
        id: &ScheduleId,
        paused: bool,
        now: Timestamp,
    ) -> Result<Schedule, StoreError> {
        let id = id.clone();
        self.jobs
            .write(move |context| set_paused(context, scope, &id, paused, now))
            .await
    }

    /// Removes a schedule and what is known of its runs; their jobs stay.
    ///
    /// # Errors
    /// `NoSuchSchedule`.
    pub async fn remove_schedule(&self, scope: Scope, id: &ScheduleId) -> Result<(), StoreError> {
        let id = id.clone();
        self.jobs.write(move |context| remove(context, scope, &id)).await
    }

    /// The schedule of a job that is one of its runs.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn schedule_of(&self, job: &crate::model::JobId) -> Result<Option<Schedule>, StoreError> {
        let job = job.clone();
        let read = move |db: &Connection| {
            let mut statement = db
                .prepare_cached(
                    "SELECT schedules.* FROM jobs JOIN schedules ON schedules.id = jobs.schedule WHERE jobs.id = ?1",
                )
                .act("read a job's schedule")?;
            let mut rows = statement.query([job.as_str()]).act("read a job's schedule")?;
            rows.next().act("read a job's schedule")?.map(row::schedule).transpose()
        };
        self.queue.read(read).await
    }
}
