//! Jobs come in: a submit, safe to repeat.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    events,
    jobs::{MoveNote, Scope, apply, get, to_json},
    thread::WriteContext,
};
use crate::model::{Destination, EventKind, HoldReason, Job, JobId, JobMove, JobSpec, NewEvent, Owner};

/// A checked submit.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Who submits.
    pub owner: Owner,
    /// What.
    pub spec: JobSpec,
    /// Bytes that are to come, when somebody asked.
    pub bytes_expected: u64,
    /// Key that makes a repeated call safe.
    pub request: Option<RequestKey>,
    /// Open jobs that the user may have, this one included.
    pub max_queued: u64,
    /// It waits from the beginning, for this.
    pub held: Option<(HoldReason, MoveNote)>,
}

/// Key and content of a repeatable request.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// The caller's key.
    pub id: String,
    /// Digest of what was asked.
    pub fingerprint: Vec<u8>,
}

/// A stored job and whether an earlier call with the same key had made it.
#[derive(Debug)]
pub struct Submitted {
    /// The job.
    pub job: Job,
    /// It was there before.
    pub existing: bool,
}

const INSERT: &str = "INSERT INTO jobs (id, uid, user, repo_id, kind, revision, selection, destination, path, endpoints, \
     priority, connections, max_workers, force_download, token_ref, state, created_at, rate_limit, time_window, start_at, \
     own_endpoint, ready_by, bytes_expected, hold_above, schedule) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 'queued', ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)";

/// In the words of the index `jobs_open`.
pub(super) const OPEN_JOBS: &str =
    "SELECT count(*) FROM jobs WHERE uid = ?1 AND state IN ('queued', 'active', 'held', 'paused')";

pub(super) fn submit(context: &mut WriteContext<'_>, new: NewJob) -> Result<Submitted, StoreError> {
    let db = context.db;
    let now = Timestamp::now();
    if let Some(request) = &new.request
        && let Some(job) = known_request(db, new.owner.uid, request)?
    {
        return Ok(Submitted { job, existing: true });
    }
    let queued = open_jobs(db, new.owner.uid, new.max_queued)?;
    if let Some(queued) = queued.filter(|queued| *queued >= new.max_queued) {
        return Err(StoreError::QueueFull {
            queued,
            limit: new.max_queued,
        });
    }
    let id = free_id(db)?;
    let spec = &new.spec;
    let (destination, path) = match &spec.destination {
        Destination::Cache(path) => ("cache", path),
        Destination::LocalDir(path) => ("local_dir", path),
    };
    db.prepare_cached(INSERT)
        .and_then(|mut statement| {
            statement.execute(params![
                id.as_str(),
                new.owner.uid,
                new.owner.user,
                spec.repo_id.as_str(),
                spec.kind.as_str(),
                spec.revision.as_str(),
                to_json(&spec.selection),
                destination,
                path.to_string_lossy(),
                to_json(&spec.endpoints),
                spec.priority as i64,
                spec.connections,
                spec.max_workers,
                spec.force_download,
                spec.token_ref,
                now.as_millisecond(),
                spec.pacing.limit,
                spec.pacing.window,
                spec.pacing.start_at.map(Timestamp::as_millisecond),
                spec.own_endpoint,
                spec.pacing.ready_by.map(Timestamp::as_millisecond),
                new.bytes_expected,
                spec.hold_above,
                spec.schedule.as_ref().map(JobId::as_str),
            ])
        })
        .act("insert a job")?;
    if let Some(request) = &new.request {
        db.prepare_cached(
            "INSERT INTO requests (uid, request_id, fingerprint, job_id, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                new.owner.uid,
                request.id,
                request.fingerprint,
                id.as_str(),
                now.as_millisecond()
            ])
        })
        .act("insert a request")?;
    }
    let job = get(db, Scope::All, &id)?;
    events::append(context, &job, NewEvent::of(&job, EventKind::Submitted))?;
    let job = match &new.held {
        None => job,
        Some((reason, note)) => apply(context, Scope::All, &id, JobMove::Hold(*reason), note)?,
    };
    Ok(Submitted { job, existing: false })
}

/// How many open jobs a user has; `None` when all jobs together are fewer than the limit, for to count them costs as much as they
/// are many.
fn open_jobs(db: &Connection, uid: u32, limit: u64) -> Result<Option<u64>, StoreError> {
    let at_most: u64 = db
        .prepare_cached("SELECT ifnull((SELECT max(row) FROM jobs) - (SELECT min(row) FROM jobs) + 1, 0)")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .act("bound the open jobs")?;
    if at_most < limit {
        return Ok(None);
    }
    db.prepare_cached(OPEN_JOBS)
        .and_then(|mut statement| statement.query_row([uid], |row| row.get(0)))
        .map(Some)
        .act("count open jobs")
}

fn known_request(db: &Connection, uid: u32, request: &RequestKey) -> Result<Option<Job>, StoreError> {
    let known: Option<(Vec<u8>, String)> = db
        .prepare_cached("SELECT fingerprint, job_id FROM requests WHERE uid = ?1 AND request_id = ?2")
        .and_then(|mut statement| {
            let found = statement.query_row(params![uid, request.id], |row| Ok((row.get(0)?, row.get(1)?)));
            found.optional()
        })
        .act("look for a request")?;
    let Some((fingerprint, job_id)) = known else {
        return Ok(None);
    };
    let job_id = JobId::parse(&job_id).map_err(|error| StoreError::Row {
        table: "requests",
        key: request.id.clone(),
        what: error.to_string(),
    })?;
    if fingerprint != request.fingerprint {
        return Err(StoreError::RequestReused {
            request_id: request.id.clone(),
            job_id,
        });
    }
    get(db, Scope::All, &job_id).map(Some)
}

impl Store {
    /// The job that a user's request has made, if it has.
    ///
    /// # Errors
    /// `RequestReused`, or a failure of the database.
    pub async fn known_request(&self, uid: u32, request: RequestKey) -> Result<Option<Job>, StoreError> {
        self.reads.read(move |db| known_request(db, uid, &request)).await
    }
}

fn free_id(db: &Connection) -> Result<JobId, StoreError> {
    let mut random = fastrand::Rng::new();
    loop {
        let id = JobId::random(&mut random);
        let taken: bool = db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)")
            .and_then(|mut statement| statement.query_row([id.as_str()], |row| row.get(0)))
            .act("look for an id")?;
        if !taken {
            return Ok(id);
        }
    }
}

/// Forgets request ids of more than a week ago.
pub(super) fn forget_requests(db: &Connection, before: Timestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM requests WHERE at < ?1", [before.as_millisecond()])
        .act("forget requests")?;
    Ok(())
}
