//! The jobs table: submit, read, list, move.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    error::{Act as _, StoreError},
    events, requests, row,
    thread::WriteContext,
};
use crate::model::{
    Destination, EventKind, Failure, HoldReason, IllegalMove, Job, JobId, JobMove, JobSpec, JobState, NewEvent, Owner,
};

/// Whose rows a call may see; part of every query that a user can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's: the operator, and the daemon itself.
    All,
    /// One user's.
    Uid(u32),
}

impl Scope {
    /// The value of `?1 IS NULL OR uid = ?1`.
    pub(super) fn column(self) -> Option<u32> {
        match self {
            Self::All => None,
            Self::Uid(uid) => Some(uid),
        }
    }
}

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

/// What a move tells besides the state.
#[derive(Debug, Clone, Default)]
pub struct MoveNote {
    /// A sentence for people.
    pub detail: String,
    /// When a held job tries again.
    pub next_attempt_at: Option<Timestamp>,
    /// What to note of the time without a byte.
    pub stuck: Stuck,
    /// Why it failed; needed by `JobMove::Fail`.
    pub failure: Option<Failure>,
}

/// How a move changes a job's `stuck_since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stuck {
    /// Not at all.
    #[default]
    AsBefore,
    /// Bytes came, or a user took it into his hands: it is not stuck.
    No,
    /// Nothing came; counted from before if it was stuck already.
    Yes,
}

/// Which jobs to list.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whose.
    pub scope: Scope,
    /// In one of these states; empty: any.
    pub states: Vec<JobState>,
    /// Of this user name; empty: any.
    pub user: String,
    /// Whose repository id holds this text; empty: any.
    pub repo: String,
    /// Only rows before this one (the last of the page before).
    pub before_row: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

const INSERT: &str = "INSERT INTO jobs (id, uid, user, repo_id, kind, revision, selection, destination, path, endpoints, \
     priority, connections, max_workers, force_download, token_ref, state, created_at, rate_limit, time_window, start_at, \
     own_endpoint, ready_by, bytes_expected) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 'queued', ?16, ?17, ?18, ?19, ?20, ?21, ?22)";

/// In the words of the index `jobs_open`.
pub(super) const OPEN_JOBS: &str =
    "SELECT count(*) FROM jobs WHERE uid = ?1 AND state IN ('queued', 'active', 'held', 'paused')";

pub(super) fn submit(context: &mut WriteContext<'_>, new: NewJob) -> Result<Submitted, StoreError> {
    let db = context.db;
    let now = Timestamp::now();
    if let Some(request) = &new.request
        && let Some(job) = requests::known(db, new.owner.uid, request)?
    {
        return Ok(Submitted { job, existing: true });
    }
    let queued: u64 = db
        .prepare_cached(OPEN_JOBS)
        .and_then(|mut statement| statement.query_row([new.owner.uid], |row| row.get(0)))
        .act("count open jobs")?;
    if queued >= new.max_queued {
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
            ])
        })
        .act("insert a job")?;
    if let Some(request) = &new.request {
        db.execute(
            "INSERT INTO requests (uid, request_id, fingerprint, job_id, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                new.owner.uid,
                request.id,
                request.fingerprint,
                id.as_str(),
                now.as_millisecond()
            ],
        )
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

/// Lists of strings as JSON, which SQL reads with `json_each`.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and lists of strings always serialise")
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

pub(super) fn get(db: &Connection, scope: Scope, id: &JobId) -> Result<Job, StoreError> {
    let mut statement = db
        .prepare_cached("SELECT * FROM jobs WHERE id = ?2 AND (?1 IS NULL OR uid = ?1)")
        .act("read a job")?;
    let mut rows = statement
        .query(params![scope.column(), id.as_str()])
        .act("read a job")?;
    match rows.next().act("read a job")? {
        Some(row) => row::job(row),
        None => Err(StoreError::NoSuchJob(id.to_string())),
    }
}

/// Moves a job that is being worked on: refused when a user has taken it away meanwhile.
pub(super) fn apply_to_running(
    context: &mut WriteContext<'_>,
    id: &JobId,
    job_move: JobMove,
    note: &MoveNote,
) -> Result<Job, StoreError> {
    let from = get(context.db, Scope::All, id)?.state;
    match from {
        JobState::Active | JobState::Held => apply(context, Scope::All, id, job_move, note),
        _ => Err(IllegalMove { from, job_move }.into()),
    }
}

/// Moves those of some jobs whose states allow it: another may have been quicker with the rest.
pub(super) fn apply_to_all(
    context: &mut WriteContext<'_>,
    scope: Scope,
    ids: &[JobId],
    job_move: JobMove,
    note: &MoveNote,
) -> Result<Vec<Job>, StoreError> {
    let mut moved = Vec::with_capacity(ids.len());
    for id in ids {
        match apply(context, scope, id, job_move, note) {
            Ok(job) => moved.push(job),
            Err(StoreError::IllegalMove(_) | StoreError::NoSuchJob(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

/// Moves one job: compare and set, with the event of the change.
pub(super) fn apply(
    context: &mut WriteContext<'_>,
    scope: Scope,
    id: &JobId,
    job_move: JobMove,
    note: &MoveNote,
) -> Result<Job, StoreError> {
    let before = get(context.db, scope, id)?;
    let to = before.state.apply(job_move)?;
    let hold_reason = match job_move {
        JobMove::Hold(reason) => Some(reason),
        _ => None,
    };
    let now = Timestamp::now();
    let failure = note.failure.as_ref().filter(|_| job_move == JobMove::Fail);
    context
        .db
        .prepare_cached(
            "UPDATE jobs SET state = ?2, hold_reason = ?3, detail = ?4, next_attempt_at = ?5, failure_kind = ?6, \
             failure_message = ?7, failure_hint = ?8, \
             started_at = CASE WHEN ?2 = 'active' THEN coalesce(started_at, ?9) ELSE started_at END, \
             ended_at = CASE WHEN ?2 IN ('done', 'failed', 'cancelled') THEN ?9 ELSE NULL END, \
             stuck_since = CASE ?10 WHEN 0 THEN stuck_since WHEN 1 THEN NULL ELSE coalesce(stuck_since, ?9) END \
             WHERE row = ?1",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                before.row,
                to.as_str(),
                hold_reason.map(HoldReason::as_str),
                note.detail,
                note.next_attempt_at.map(Timestamp::as_millisecond),
                failure.map(|failure| failure.kind.as_str()),
                failure.map(|failure| failure.message.as_str()),
                failure.map(|failure| failure.hint.as_str()),
                now.as_millisecond(),
                match job_move {
                    JobMove::Pause | JobMove::Resume | JobMove::Retry => Stuck::No,
                    _ => note.stuck,
                } as i64,
            ])
        })
        .act("move a job")?;
    // A held one has a plan that is good; it only need not wait any longer.
    if job_move == JobMove::Retry && before.state.is_final() {
        // A fresh look at the revision: files that are there are found again, not fetched again. The old list, which may be long,
        // is no plan any more; it goes when the new one is stored.
        context
            .db
            .execute(
                "UPDATE jobs SET planned = 0, stuck_since = NULL, commit_hash = NULL, trust = NULL, bytes_total = 0, bytes_done = 0, \
                 bytes_reused = 0, bytes_partial = 0, files_total = 0, files_done = 0 WHERE row = ?1",
                [before.row],
            )
            .act("forget the plan")?;
    }
    // The same hold again, with another sentence: worth storing, not worth an event each time.
    let same_hold = hold_reason.is_some() && before.state == to && before.hold_reason == hold_reason;
    let job = get(context.db, Scope::All, id)?;
    if !same_hold {
        events::append(context, &job, NewEvent::of(&job, EventKind::StateChanged))?;
    }
    Ok(job)
}

/// Keeps how far the unfinished files are, for those who look while nothing moves.
pub(super) fn note_partial(context: &mut WriteContext<'_>, job_row: i64, bytes: u64) -> Result<(), StoreError> {
    context
        .db
        .execute(
            "UPDATE jobs SET bytes_partial = ?2 WHERE row = ?1",
            params![job_row, bytes],
        )
        .act("note the bytes of unfinished files")?;
    Ok(())
}

/// Bytes came: the time without one begins anew.
pub(super) fn unstick(context: &mut WriteContext<'_>, job_row: i64) -> Result<(), StoreError> {
    context
        .db
        .execute("UPDATE jobs SET stuck_since = NULL WHERE row = ?1", [job_row])
        .act("note that a job moves")?;
    Ok(())
}

pub(super) fn set_token_ref(context: &mut WriteContext<'_>, id: &JobId, reference: &str) -> Result<(), StoreError> {
    context
        .db
        .execute(
            "UPDATE jobs SET token_ref = ?2 WHERE id = ?1",
            params![id.as_str(), reference],
        )
        .act("change a job's token reference")?;
    Ok(())
}

/// Forgets request ids of more than a week ago.
pub(super) fn forget_requests(db: &Connection, before: Timestamp) -> Result<(), StoreError> {
    db.execute("DELETE FROM requests WHERE at < ?1", [before.as_millisecond()])
        .act("forget requests")?;
    Ok(())
}

/// Adds to a job's counters, after some of its files are done.
pub(super) fn add_done(
    db: &Connection,
    job_row: i64,
    files: u64,
    bytes: u64,
    reused_bytes: u64,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE jobs SET files_done = files_done + ?2, bytes_done = bytes_done + ?3, bytes_reused = bytes_reused + ?4 \
         WHERE row = ?1",
    )
    .and_then(|mut statement| statement.execute(params![job_row, files, bytes, reused_bytes]))
    .act("count done files")?;
    Ok(())
}
