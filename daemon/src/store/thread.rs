//! One OS thread that owns one connection and runs closures on it: no SQLite call ever blocks the runtime. Writes that
//! wait together are committed together (group commit), and answered after the commit.

use std::{io, thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::StoreError;
use crate::model::Event;

/// Commands that wait together; a full queue makes callers wait.
const QUEUE: usize = 1024;
/// At most so many writes in one transaction: bounds the time until the first is answered.
const GROUP: usize = 256;

/// Called with the events of a transaction, in order, after it is committed.
pub(super) type OnCommit = Box<dyn Fn(Vec<Event>) + Send>;

/// What a write sees: the open transaction, and where its events gather until the commit.
pub(super) struct WriteContext<'a> {
    pub(super) db: &'a Connection,
    pub(super) events: &'a mut Vec<Event>,
}

/// Answers the caller of one write, once the outcome of the whole group is known.
type Reply = Box<dyn FnOnce(Result<(), GroupFailure>) + Send>;
/// One change: what it does, given the transaction, or - without one - the reason why it is not done.
type Write = Box<dyn FnOnce(Result<&mut WriteContext<'_>, GroupFailure>) -> (Reply, bool) + Send>;
type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Why a group of changes was not committed.
#[derive(Debug, Clone)]
enum GroupFailure {
    /// No room on the disk.
    Full,
    Other(String),
}

impl From<GroupFailure> for StoreError {
    fn from(failure: GroupFailure) -> Self {
        match failure {
            GroupFailure::Full => Self::Full,
            GroupFailure::Other(why) => Self::NotCommitted(why),
        }
    }
}

enum Command {
    Write(Write),
    Read(Read),
}

/// Handle of the thread. The thread ends, its connection closed, when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Worker {
    commands: mpsc::Sender<Command>,
    failed: CancellationToken,
}

impl Worker {
    /// Starts the thread. The join handle tells when the connection is closed.
    pub(super) fn start(
        name: &str,
        db: Connection,
        on_commit: OnCommit,
    ) -> Result<(Self, thread::JoinHandle<()>), io::Error> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let failed = CancellationToken::new();
        let on_failure = failed.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Also when a query panics: then nobody answers any more.
            let guard = on_failure.clone().drop_guard();
            run(&db, queue, &on_commit, &on_failure);
            guard.disarm();
        })?;
        Ok((Self { commands, failed }, thread))
    }

    /// Cancelled when the database failed in a way that only a restart can mend.
    pub(super) fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Runs a change in a savepoint of the next transaction. `Ok` means committed. An error undoes this change alone.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut WriteContext<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let write: Write = Box::new(move |context| {
            let outcome = match context {
                Ok(context) => change(context),
                Err(failure) => Err(failure.into()),
            };
            let keep = outcome.is_ok();
            let reply: Reply = Box::new(move |committed| {
                let result = match (outcome, committed) {
                    (Ok(_), Err(failure)) => Err(failure.into()),
                    (outcome, _) => outcome,
                };
                // A caller that went away does not undo its change.
                drop(answer.send(result));
            });
            (reply, keep)
        });
        self.commands
            .send(Command::Write(write))
            .await
            .map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a query outside any transaction.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let read: Read = Box::new(move |db| drop(answer.send(query(db))));
        self.commands
            .send(Command::Read(read))
            .await
            .map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)?
    }
}

fn run(db: &Connection, mut queue: mpsc::Receiver<Command>, on_commit: &OnCommit, failed: &CancellationToken) {
    while let Some(first) = queue.blocking_recv() {
        match first {
            Command::Read(read) => read(db),
            Command::Write(write) => {
                let mut group = vec![write];
                let mut reads = Vec::new();
                while group.len() < GROUP {
                    match queue.try_recv() {
                        Ok(Command::Write(write)) => group.push(write),
                        // Asked after the writes: answered after them.
                        Ok(Command::Read(read)) => reads.push(read),
                        Err(_) => break,
                    }
                }
                commit_group(db, group, on_commit, failed);
                reads.into_iter().for_each(|read| read(db));
            }
        }
    }
    // Leaves one file behind instead of three; a failure costs nothing, the log is replayed at the next open.
    if let Err(error) = db.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%error, "checkpoint at close");
    }
}

/// Every member of the group hears what became of it.
fn commit_group(db: &Connection, group: Vec<Write>, on_commit: &OnCommit, failed: &CancellationToken) {
    let mut replies = Vec::with_capacity(group.len());
    let mut events = Vec::new();
    // Once nobody knows what is on the disk, nobody is told "ok" any more.
    let mut trouble = match failed.is_cancelled() {
        true => Err(GroupFailure::Other("the database failed before".into())),
        false => step(db, "BEGIN IMMEDIATE", failed),
    };
    for write in group {
        // After trouble the rest is not tried: it could not be committed.
        if trouble.is_ok() {
            trouble = step(db, "SAVEPOINT one", failed);
        }
        if let Err(failure) = &trouble {
            replies.push(write(Err(failure.clone())).0);
            continue;
        }
        let before = events.len();
        let (reply, keep) = write(Ok(&mut WriteContext {
            db,
            events: &mut events,
        }));
        replies.push(reply);
        if !keep {
            events.truncate(before);
            trouble = if db.is_autocommit() {
                // A full disk in the middle of a statement: SQLite has undone the whole transaction by itself.
                Err(GroupFailure::Full)
            } else {
                step(db, "ROLLBACK TO one", failed)
            };
        }
        if trouble.is_ok() {
            trouble = step(db, "RELEASE one", failed);
        }
    }
    if trouble.is_ok() {
        trouble = step(db, "COMMIT", failed);
    }
    if trouble.is_err() && !db.is_autocommit() {
        // SQLite may have rolled back by itself; what is left is undone here.
        trouble = trouble.and(step(db, "ROLLBACK", failed));
    }
    if trouble.is_ok() && !events.is_empty() {
        on_commit(events);
    }
    for reply in replies {
        reply(trouble.clone());
    }
}

/// One statement of the transaction's own. A failed sync is never tried again, because nobody knows what is on the disk then:
/// but for a full disk and another program's lock, the daemon has to start anew.
fn step(db: &Connection, sql: &str, failed: &CancellationToken) -> Result<(), GroupFailure> {
    use rusqlite::ErrorCode;
    db.execute_batch(sql).map_err(|error| {
        tracing::error!(%error, sql, "the store");
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => GroupFailure::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => GroupFailure::Other(error.to_string()),
            _ => {
                failed.cancel();
                GroupFailure::Other(error.to_string())
            }
        }
    })
}
