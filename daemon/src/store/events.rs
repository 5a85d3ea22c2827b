//! Numbered events: each is written in the transaction of the change that it tells.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    jobs::Scope,
    row,
    thread::WriteContext,
};
use crate::model::{Event, EventKind, EventSeq, Job, NewEvent};

/// Events that are forgotten in one transaction.
pub(super) const PRUNED: usize = 2000;

impl NewEvent {
    /// An event of a job as it stands.
    pub fn of(job: &Job, kind: EventKind) -> Self {
        Self {
            kind,
            state: job.state,
            hold_reason: job.hold_reason,
            failure: job.failure.clone(),
            file: String::new(),
            detail: job.detail.clone(),
            commit: job.commit.as_ref().map(ToString::to_string).unwrap_or_default(),
            bytes: 0,
        }
    }
}

pub(super) fn append(context: &mut WriteContext<'_>, job: &Job, what: NewEvent) -> Result<(), StoreError> {
    let now = Timestamp::now();
    // As it will be read back: an event is the same whether it is heard live or later.
    let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    context
        .db
        .prepare_cached(
            "INSERT INTO events (at, job_id, repo_id, repo_kind, uid, user, kind, state, hold_reason, failure_kind, failure_message, \
             failure_hint, file, detail, commit_hash, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                at.as_millisecond(),
                job.id.as_str(),
                job.spec.repo_id.as_str(),
                job.spec.kind.as_str(),
                job.owner.uid,
                job.owner.user,
                what.kind.as_str(),
                what.state.as_str(),
                what.hold_reason.map(|reason| reason.as_str()),
                what.failure.as_ref().map(|failure| failure.kind.as_str()),
                what.failure.as_ref().map(|failure| failure.message.as_str()),
                what.failure.as_ref().map(|failure| failure.hint.as_str()),
                what.file,
                what.detail,
                what.commit,
                what.bytes,
            ])
        })
        .act("append an event")?;
    let seq = u64::try_from(context.db.last_insert_rowid()).unwrap_or_default();
    context.events.push(Event {
        seq: EventSeq(seq),
        at,
        job_id: job.id.clone(),
        repo_id: job.spec.repo_id.to_string(),
        repo_kind: job.spec.kind,
        uid: job.owner.uid,
        user: job.owner.user.clone(),
        what,
    });
    Ok(())
}

/// Number of the newest event ever, 0 before the first.
pub(super) fn newest(db: &Connection) -> Result<EventSeq, StoreError> {
    let seq: Option<u64> = db
        .query_row(
            "SELECT max(seq) FROM (SELECT seq FROM sqlite_sequence WHERE name = 'events')",
            [],
            |row| row.get(0),
        )
        .act("read the newest event")?;
    Ok(EventSeq(seq.unwrap_or(0)))
}

/// Events after a number, oldest first, at most `limit`; refuses when some of them are gone.
pub(super) fn after(db: &Connection, scope: Scope, after: EventSeq, limit: u32) -> Result<Vec<Event>, StoreError> {
    let oldest: Option<u64> = db
        .query_row("SELECT min(seq) FROM events", [], |row| row.get(0))
        .act("read the oldest event")?;
    let pruned = oldest.map_or(newest(db)?.0, |oldest| oldest.saturating_sub(1));
    if after.0 < pruned {
        return Err(StoreError::EventsPruned(pruned));
    }
    let mut statement = db
        .prepare_cached("SELECT * FROM events WHERE seq > ?2 AND (?1 IS NULL OR uid = ?1) ORDER BY seq LIMIT ?3")
        .act("read events")?;
    let mut rows = statement
        .query(params![scope.column(), after.0, limit])
        .act("read events")?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().act("read events")? {
        events.push(row::event(row)?);
    }
    Ok(events)
}

/// The first event that stays, when those are to go that are older than a time or beyond a number; the newest always stays.
/// Numbers are in the order of time.
pub(super) fn first_kept(db: &Connection, before: Timestamp, keep: u64) -> Result<u64, StoreError> {
    let newest = newest(db)?.0;
    let young: Option<u64> = db
        .query_row(
            "SELECT seq FROM events WHERE at >= ?1 ORDER BY seq LIMIT 1",
            [before.as_millisecond()],
            |row| row.get(0),
        )
        .optional()
        .act("look for old events")?;
    let counted = newest.saturating_sub(keep) + 1;
    Ok(young.unwrap_or(newest).max(counted).min(newest))
}

/// Forgets some events before one, the oldest first; tells how many.
pub(super) fn prune_some(db: &Connection, first_kept: u64) -> Result<usize, StoreError> {
    db.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq < ?1 ORDER BY seq LIMIT ?2)",
        params![first_kept, PRUNED],
    )
    .act("prune events")
}

impl Store {
    /// Number of the newest event.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn newest_event(&self) -> Result<EventSeq, StoreError> {
        self.reads.read(newest).await
    }

    /// Events after a number, oldest first.
    ///
    /// # Errors
    /// `EventsPruned` when some of them are gone.
    pub async fn events_after(&self, scope: Scope, after: EventSeq, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.reads.read(move |db| self::after(db, scope, after, limit)).await
    }
}
