//! The jobs table: submit, read, list, move.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    error::{Act as _, StoreError},
    events, row, schedules,
    thread::WriteContext,
};
use crate::model::{EventKind, Failure, HoldReason, IllegalMove, Job, JobId, JobMove, JobState, NewEvent, RepoKind};

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
    /// Of held jobs, those for one of these reasons; empty: any.
    pub held_for: Vec<HoldReason>,
    /// Of this user name; empty: any.
    pub user: String,
    /// Whose repository id holds this text; empty: any.
    pub repo: String,
    /// Only rows before this one (the last of the page before).
    pub before_row: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// Lists of strings as JSON, which SQL reads with `json_each`.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and lists of strings always serialise")
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
    let job_move = match job_move {
        // Who lets it go on says yes.
        JobMove::Resume if before.hold_reason == Some(HoldReason::Approval) => JobMove::Approve,
        other => other,
    };
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
                    JobMove::Pause | JobMove::Resume | JobMove::Approve | JobMove::Retry => Stuck::No,
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
                 bytes_reused = 0, bytes_partial = 0, files_total = 0, files_done = 0, files_to_fetch = NULL, \
                 bytes_to_fetch = NULL WHERE row = ?1",
                [before.row],
            )
            .act("forget the plan")?;
    }
    if job_move == JobMove::Approve {
        context
            .db
            .execute("UPDATE jobs SET hold_above = NULL WHERE row = ?1", [before.row])
            .act("keep a yes")?;
    }
    // The same hold again, with another sentence: worth storing, not worth an event each time.
    let same_hold = hold_reason.is_some() && before.state == to && before.hold_reason == hold_reason;
    let job = get(context.db, Scope::All, id)?;
    if to.is_final() && job.spec.schedule.is_some() {
        schedules::note_end(context.db, &job)?;
    }
    if !same_hold {
        events::append(context, &job, NewEvent::of(&job, EventKind::StateChanged))?;
    }
    Ok(job)
}

/// Jobs of a repository that wait for an endpoint to answer need not wait any longer.
pub(super) fn hasten(
    context: &mut WriteContext<'_>,
    kind: RepoKind,
    repo_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let changed = context
        .db
        .execute(
            "UPDATE jobs SET next_attempt_at = ?3 WHERE state = 'held' AND hold_reason = 'endpoint' AND kind = ?1 \
             AND repo_id = ?2 AND next_attempt_at > ?3",
            params![kind.as_str(), repo_id, now.as_millisecond()],
        )
        .act("hasten jobs")?;
    Ok(changed > 0)
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
