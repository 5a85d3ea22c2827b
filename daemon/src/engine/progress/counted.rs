//! Bytes of unfinished files in a job's figures: those it fetches itself, and those it sees another job fetch.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use super::{JobProgress, Placed, lock};
use crate::model::FileId;

/// Bytes of an unfinished file in the job's figures; taken off again when the file is recorded, or given up.
pub(in crate::engine) struct Counted {
    progress: Arc<JobProgress>,
    file: FileId,
    bytes: Arc<AtomicI64>,
    _placed: Placed,
    /// The same for jobs that wait for the file. Apart: it is the next one's when this one's turn is over.
    shown: Arc<AtomicI64>,
}

impl Counted {
    /// `shown` is where others see them.
    pub(in crate::engine) fn new(
        progress: Arc<JobProgress>,
        (file, size): (FileId, u64),
        shown: Arc<AtomicI64>,
        bytes: u64,
    ) -> Self {
        shown.store(0, Relaxed);
        let counted = Self {
            _placed: progress.place(size),
            progress,
            file,
            bytes: Arc::default(),
            shown,
        };
        lock(&counted.progress.unfinished).insert(file, counted.bytes.clone());
        lock(&counted.progress.put_by).remove(&file);
        counted.add(bytes);
        counted
    }

    pub(in crate::engine) fn add(&self, bytes: u64) {
        self.change(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Bytes are to be fetched again.
    pub(in crate::engine) fn take(&self, bytes: u64) {
        self.change(-i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn change(&self, bytes: i64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.shown.fetch_add(bytes, Relaxed);
        self.progress.written(bytes);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.progress.written(-self.bytes.load(Relaxed));
        lock(&self.progress.unfinished).remove(&self.file);
    }
}

/// Another job's bytes, shown as this one's until it is dropped.
pub(in crate::engine) struct Seen(Arc<JobProgress>, FileId, Arc<AtomicI64>);

impl Seen {
    /// This job stops: they are there when it goes on.
    pub(in crate::engine) fn keep(&self) {
        self.0.kept.fetch_add(count(&self.2), Relaxed);
    }

    /// This job will go on with the file.
    pub(in crate::engine) fn put_by(&self) {
        lock(&self.0.put_by).insert(self.1, count(&self.2));
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        lock(&self.0.seen).remove(&self.1);
    }
}

impl JobProgress {
    /// A transfer ended before its file did; so many of its bytes stay on disk.
    pub(in crate::engine) fn keep(&self, counted: &Counted) {
        let bytes = u64::try_from(counted.bytes.load(Relaxed)).unwrap_or(0);
        self.kept.fetch_add(bytes, Relaxed);
    }

    /// Another job goes on with the file, and this one will wait for it.
    pub(in crate::engine) fn put_by(&self, counted: &Counted) {
        lock(&self.put_by).insert(counted.file, count(&counted.bytes));
    }

    /// The file is in its place, whoever brought it.
    pub(in crate::engine) fn is_there(&self, file: FileId) {
        lock(&self.put_by).remove(&file);
    }

    /// What an earlier run left is counted file by file from now on.
    pub(in crate::engine) fn taken_up(&self) {
        self.recalled.store(0, Relaxed);
    }

    /// Counts what another job has of a file, until this one has its turn or gives up.
    pub(in crate::engine) fn see(self: &Arc<Self>, file: FileId, bytes: Arc<AtomicI64>) -> Seen {
        self.taken_up();
        lock(&self.seen).insert(file, bytes.clone());
        lock(&self.put_by).remove(&file);
        Seen(self.clone(), file, bytes)
    }
}

pub(super) fn count(bytes: &AtomicI64) -> u64 {
    u64::try_from(bytes.load(Relaxed)).unwrap_or(0)
}
