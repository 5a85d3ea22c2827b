//! Live figures of active jobs: counters that transfers bump, rates sampled now and then. Never stored.

mod counted;
mod waiting;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use self::counted::count;
pub(super) use self::{
    counted::Counted,
    waiting::{StandsBy, Waiting},
};
use crate::{
    model::{FileId, FileRecord, Job},
    sched::rate::{RateMeter, eta_sec},
};

/// Figures of one active job. Shared by its transfers; every method is cheap and never blocks.
#[derive(Debug)]
pub(super) struct JobProgress {
    started: Instant,
    /// Bytes of published files.
    published: AtomicU64,
    /// Bytes of unfinished files that are in their partial files.
    partial: AtomicI64,
    /// Sizes of unfinished files that have their space on the disk.
    placed: AtomicU64,
    /// Bytes of unfinished files whose transfers have ended.
    kept: AtomicU64,
    /// Bytes received over the network since the job became active.
    received: AtomicU64,
    /// Milliseconds after `started` when the last byte came.
    last_byte_ms: AtomicU64,
    bytes_per_sec: AtomicU64,
    /// Bytes that were lost after they had come: so many come again.
    again: AtomicU64,
    /// Bytes that came and are on their way to the disk.
    to_write: AtomicU64,
    connections: AtomicU32,
    files_done: AtomicU64,
    bytes_total: AtomicU64,
    files_total: AtomicU64,
    /// Whether `waiting` holds something: asked for every chunk, so without the lock.
    is_waiting: AtomicBool,
    waiting: Mutex<Option<Waiting>>,
    stage: Mutex<String>,
    /// Told beside whatever it waits for.
    beside: Mutex<String>,
    /// What is done with each file in hand. The largest is the one to tell of: small ones come and go.
    files: Mutex<BTreeMap<(u64, FileId), String>>,
    /// Bytes of each unfinished file that are in its partial file.
    unfinished: Mutex<HashMap<FileId, Arc<AtomicI64>>>,
    /// Bytes of unfinished files that an earlier run left, until the first of them is taken up again.
    recalled: AtomicU64,
    /// Bytes of files that this job had in hand and will have again: on disk, and in nobody's figures just now.
    put_by: Mutex<HashMap<FileId, u64>>,
    /// Large files in transfer, and those that are asked of other jobs.
    workers: AtomicU32,
    /// Tasks that do nothing but wait for other jobs.
    standing_by: AtomicU32,
    /// Of each file that another job is fetching, while this one waits for it.
    seen: Mutex<HashMap<FileId, Arc<AtomicI64>>>,
    meter: Mutex<RateMeter>,
}

/// A reading of the figures of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressReading {
    /// Bytes on disk, those of unfinished files included.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before the plan.
    pub bytes_total: u64,
    /// Over the last seconds.
    pub bytes_per_sec: u64,
    /// Seconds; `None` when nothing moves.
    pub eta_sec: Option<u64>,
    /// Files published.
    pub files_done: u64,
    /// Files selected.
    pub files_total: u64,
    /// Open connections.
    pub connections: u32,
    /// What it is doing or waiting for.
    pub detail: String,
}

impl JobProgress {
    /// Figures of a stored job.
    pub(super) fn new(job: &Job) -> Self {
        let progress = Self::unstored();
        progress.recorded(job);
        progress.recalled.store(job.bytes_partial, Relaxed);
        progress
    }

    /// Figures that begin at nothing.
    pub(super) fn unstored() -> Self {
        Self {
            started: Instant::now(),
            published: AtomicU64::default(),
            partial: AtomicI64::default(),
            placed: AtomicU64::default(),
            kept: AtomicU64::default(),
            received: AtomicU64::default(),
            last_byte_ms: AtomicU64::default(),
            bytes_per_sec: AtomicU64::default(),
            again: AtomicU64::default(),
            to_write: AtomicU64::default(),
            connections: AtomicU32::default(),
            files_done: AtomicU64::default(),
            bytes_total: AtomicU64::default(),
            files_total: AtomicU64::default(),
            is_waiting: AtomicBool::default(),
            waiting: Mutex::default(),
            stage: Mutex::default(),
            beside: Mutex::default(),
            files: Mutex::default(),
            unfinished: Mutex::default(),
            recalled: AtomicU64::default(),
            put_by: Mutex::default(),
            workers: AtomicU32::default(),
            standing_by: AtomicU32::default(),
            seen: Mutex::default(),
            meter: Mutex::default(),
        }
    }

    /// The store's figures changed.
    pub(super) fn recorded(&self, job: &Job) {
        self.published.store(job.bytes_done, Relaxed);
        self.files_done.store(job.files_done, Relaxed);
        self.bytes_total.store(job.bytes_total, Relaxed);
        self.files_total.store(job.files_total, Relaxed);
    }

    /// Bytes came over the network: whatever was waited for is over.
    pub(super) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
        let now = self.started.elapsed().as_millis();
        self.last_byte_ms.store(u64::try_from(now).unwrap_or(u64::MAX), Relaxed);
        self.moved();
    }

    /// Bytes of the files whose transfers ended early, or were not begun again.
    pub(super) fn kept(&self) -> u64 {
        let put_by: u64 = lock(&self.put_by).values().sum();
        self.kept.load(Relaxed) + self.recalled.load(Relaxed) + put_by
    }

    /// A byte came since the job became active.
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Relaxed) > 0
    }

    /// Bytes that had come were lost: as many of those that come next are their repetition.
    pub(super) fn lost(&self, bytes: u64) {
        self.again.fetch_add(bytes, Relaxed);
    }

    /// How many of so many bytes that came repeat lost ones.
    pub(super) fn repeats(&self, bytes: u64) -> u64 {
        if self.again.load(Relaxed) == 0 {
            return 0;
        }
        let left = |again: u64| Some(again.saturating_sub(bytes));
        self.again.fetch_update(Relaxed, Relaxed, left).unwrap_or(0).min(bytes)
    }

    /// Takes a place for one more large file, if one of `most` is free; it is given back when dropped.
    pub(super) fn worker(self: &Arc<Self>, most: u32) -> Option<Worker> {
        let one_more = |workers: u32| (workers < most).then_some(workers + 1);
        let taken = self.workers.fetch_update(Relaxed, Relaxed, one_more);
        taken.is_ok().then(|| Worker(self.clone()))
    }

    /// A connection is open.
    pub(super) fn is_connected(&self) -> bool {
        self.connections.load(Relaxed) > 0
    }

    /// Bytes came and are to be written.
    pub(super) fn to_write(&self, bytes: u64) {
        self.to_write.fetch_add(bytes, Relaxed);
    }

    /// They are in the figures, or somebody else's are.
    pub(super) fn no_more_to_write(&self, bytes: u64) {
        self.to_write.fetch_sub(bytes, Relaxed);
    }

    /// Bytes that came and would be lost now if nothing was synced: those in the figures, and those on their way there.
    pub(super) fn in_hand(&self) -> u64 {
        self.own_bytes().saturating_add(self.to_write.load(Relaxed))
    }

    /// Bytes of the files that are here, or that this job has written of them.
    fn own_bytes(&self) -> u64 {
        let partial = u64::try_from(self.partial.load(Relaxed)).unwrap_or(0);
        (self.published.load(Relaxed) + partial).min(self.bytes_total.load(Relaxed))
    }

    /// Bytes of files that have no space on the disk yet.
    pub(super) fn to_place(&self) -> u64 {
        let there = self.published.load(Relaxed).saturating_add(self.placed.load(Relaxed));
        self.bytes_total.load(Relaxed).saturating_sub(there)
    }

    /// A file has its space, until it is recorded or given up.
    pub(super) fn place(self: &Arc<Self>, size: u64) -> Placed {
        self.placed.fetch_add(size, Relaxed);
        Placed(self.clone(), size)
    }

    #[cfg(test)]
    pub(super) fn selects(&self, bytes: u64) {
        self.bytes_total.store(bytes, Relaxed);
    }

    /// Bytes that are still to come again.
    pub(super) fn still_lost(&self) -> u64 {
        self.again.load(Relaxed)
    }

    /// Bytes per second over the last seconds.
    pub(super) fn bytes_per_sec(&self) -> u64 {
        self.bytes_per_sec.load(Relaxed)
    }

    /// Bytes of an unfinished file were written (or, negative, given up).
    pub(super) fn written(&self, bytes: i64) {
        self.partial.fetch_add(bytes, Relaxed);
    }

    /// What is being done, for people.
    pub(super) fn stage(&self, text: impl Into<String>) {
        *lock(&self.stage) = text.into();
    }

    /// What is being done with one file, for people; until the [`FileInHand`] is dropped.
    pub(super) fn file_stage(&self, file: &FileRecord, doing: &str) {
        let text = format!("{doing} {}", file.path.as_str().escape_debug());
        lock(&self.files).insert((file.size, file.id), text);
    }

    pub(super) fn file_in_hand(self: &Arc<Self>, file: &FileRecord) -> FileInHand {
        FileInHand(self.clone(), (file.size, file.id))
    }

    /// Bytes of the unfinished files that are on disk.
    pub(super) fn unfinished(&self) -> HashMap<FileId, u64> {
        let mut bytes: HashMap<FileId, u64> = HashMap::new();
        for files in [&self.seen, &self.unfinished] {
            bytes.extend(lock(files).iter().map(|(id, counted)| (*id, count(counted))));
        }
        bytes
    }

    fn detail(&self) -> String {
        if let Some(waiting) = self.waiting() {
            return waiting.detail;
        }
        let largest = lock(&self.files).last_key_value().map(|(_, text)| text.clone());
        largest.unwrap_or_else(|| lock(&self.stage).clone())
    }

    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Relaxed);
        Connected(self.clone())
    }

    /// Time since the last byte, or since the job became active.
    pub(super) fn idle(&self) -> Duration {
        self.started
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last_byte_ms.load(Relaxed)))
    }

    pub(super) fn sample(&self) {
        let rate = lock(&self.meter).sample(self.started.elapsed(), self.received.load(Relaxed));
        self.bytes_per_sec.store(rate, Relaxed);
    }

    pub(super) fn read(&self) -> ProgressReading {
        let bytes_total = self.bytes_total.load(Relaxed);
        let seen: u64 = lock(&self.seen).values().map(|bytes| count(bytes)).sum();
        let bytes_done = (self.own_bytes() + seen + self.kept()).min(bytes_total);
        let bytes_per_sec = self.bytes_per_sec.load(Relaxed);
        ProgressReading {
            bytes_done,
            bytes_total,
            bytes_per_sec,
            // Of what another job fetches, its own speed tells nothing.
            eta_sec: eta_sec(bytes_total - bytes_done, bytes_per_sec)
                .filter(|_| bytes_total > 0 && lock(&self.seen).is_empty()),
            files_done: self.files_done.load(Relaxed),
            files_total: self.files_total.load(Relaxed),
            connections: self.connections.load(Relaxed),
            detail: self.detail(),
        }
    }
}

/// A file that is being worked on; nothing is told of it any more when this is dropped.
pub(super) struct FileInHand(Arc<JobProgress>, (u64, FileId));

impl Drop for FileInHand {
    fn drop(&mut self) {
        lock(&self.0.files).remove(&self.1);
    }
}

/// A place for a large file.
pub(super) struct Worker(Arc<JobProgress>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Relaxed);
    }
}

/// The space of an unfinished file.
#[derive(Debug)]
pub(super) struct Placed(Arc<JobProgress>, u64);

impl Drop for Placed {
    fn drop(&mut self) {
        self.0.placed.fetch_sub(self.1, Relaxed);
    }
}

/// Counts an open connection while it lives.
pub(super) struct Connected(Arc<JobProgress>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// When a wait ends, on the wall clock.
pub(super) fn wall_time(until: Instant) -> Timestamp {
    let left = until.saturating_duration_since(Instant::now());
    let left = jiff::SignedDuration::try_from(left).unwrap_or(jiff::SignedDuration::MAX);
    Timestamp::now().saturating_add(left).unwrap_or(Timestamp::MAX)
}

/// A panic while one of these was held leaves a counter or a text behind, nothing half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, FileState, RepoPath};

    #[test]
    fn the_largest_file_is_told_of() {
        let progress = Arc::new(JobProgress::unstored());
        progress.stage("finishing");
        let file = |id, path: &str, size| FileRecord {
            id: FileId(id),
            path: RepoPath::parse(path).unwrap(),
            size,
            digest: Digest::parse(&"0".repeat(64)).unwrap(),
            state: FileState::Pending,
            reused: false,
            failure: None,
        };
        let (small, large) = (file(1, "a.json", 10), file(2, "b.bin", 1000));
        let in_hand = [&small, &large].map(|file| progress.file_in_hand(file));
        progress.file_stage(&large, "downloading");
        progress.file_stage(&small, "publishing");
        assert_eq!(progress.read().detail, "downloading b.bin");
        drop(in_hand);
        assert_eq!(progress.read().detail, "finishing");
    }
}
