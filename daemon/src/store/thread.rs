//! One OS thread that owns one connection and runs closures on it: no SQLite call ever blocks the runtime. Writes that
//! wait together are committed together (group commit), and answered after the commit.

use std::{io, thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::error::{Act as _, StoreError};
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
type Reply = Box<dyn FnOnce(Result<(), String>) + Send>;
type Write = Box<dyn FnOnce(&mut WriteContext<'_>) -> (Reply, bool) + Send>;
type Read = Box<dyn FnOnce(&Connection) + Send>;

enum Command {
    Write(Write),
    Read(Read),
}

/// Handle of the thread. The thread ends, its connection closed, when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Worker {
    commands: mpsc::Sender<Command>,
}

impl Worker {
    /// Starts the thread. The join handle tells when the connection is closed.
    pub(super) fn start(
        name: &str,
        db: Connection,
        on_commit: OnCommit,
    ) -> Result<(Self, thread::JoinHandle<()>), io::Error> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&db, queue, &on_commit))?;
        Ok((Self { commands }, thread))
    }

    /// Runs a change in a savepoint of the next transaction. `Ok` means committed. An error undoes this change alone.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut WriteContext<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let write: Write = Box::new(move |context| {
            let outcome = change(context);
            let keep = outcome.is_ok();
            let reply: Reply = Box::new(move |committed| {
                let result = match committed {
                    Ok(()) => outcome,
                    Err(why) => Err(outcome.err().unwrap_or(StoreError::NotCommitted(why))),
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

fn run(db: &Connection, mut queue: mpsc::Receiver<Command>, on_commit: &OnCommit) {
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
                commit_group(db, group, on_commit);
                reads.into_iter().for_each(|read| read(db));
            }
        }
    }
    // Leaves one file behind instead of three; a failure costs nothing, the log is replayed at the next open.
    if let Err(error) = db.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::debug!(%error, "checkpoint at close");
    }
}

fn commit_group(db: &Connection, group: Vec<Write>, on_commit: &OnCommit) {
    let mut replies = Vec::with_capacity(group.len());
    let mut events = Vec::new();
    let outcome = (|| {
        db.execute_batch("BEGIN IMMEDIATE").act("begin a transaction")?;
        for write in group {
            db.execute_batch("SAVEPOINT one").act("set a savepoint")?;
            let before = events.len();
            let (reply, keep) = write(&mut WriteContext {
                db,
                events: &mut events,
            });
            replies.push(reply);
            if !keep {
                events.truncate(before);
                db.execute_batch("ROLLBACK TO one").act("undo one change")?;
            }
            db.execute_batch("RELEASE one").act("release a savepoint")?;
        }
        db.execute_batch("COMMIT").act("commit")
    })();
    let committed = match outcome {
        Ok(()) => Ok(()),
        Err(error) => {
            // Never retried: after a failed sync nobody knows what is on the disk. Callers hear it, none was told "ok".
            tracing::error!(%error, source = ?std::error::Error::source(&error), "a group of changes was not committed");
            if !db.is_autocommit()
                && let Err(error) = db.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "rollback failed");
            }
            Err(error.to_string())
        }
    };
    if committed.is_ok() && !events.is_empty() {
        on_commit(events);
    }
    for reply in replies {
        reply(committed.clone());
    }
}
