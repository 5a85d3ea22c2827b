//! What was asked and what was answered: the witness of every test.
//!
//! Counts are of bytes handed to the kernel; what a killed peer never read lies below the size of socket buffers.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

pub use super::record::{Ending, Host, Record};
use super::wire::{FileTag, Headers, Request};
use crate::PATIENCE;

/// The list of all exchanges. Cheap to clone; all clones are one journal.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    exchanges: Mutex<Vec<Arc<Exchange>>>,
    violations: Mutex<Vec<String>>,
    failed_handshakes: AtomicU64,
    changed: watch::Sender<u64>,
}

/// The journal's side of one running exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    journal: Arc<Inner>,
    sent: AtomicU64,
    record: Mutex<Record>,
    file_offset: AtomicU64,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            started: Instant::now(),
            exchanges: Mutex::default(),
            violations: Mutex::default(),
            failed_handshakes: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn open(&self, host: Host, connection: u64, peer: SocketAddr, request: &Request) -> Arc<Exchange> {
        let mut exchanges = lock(&self.inner.exchanges);
        let record = Record {
            seq: exchanges.len() as u64,
            host,
            connection,
            peer,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.0.clone(),
            body: request.body.clone(),
            status: 0,
            repo: None,
            file: None,
            sent: 0..0,
            body_bytes: 0,
            started: self.inner.started.elapsed(),
            ended: None,
            ending: Ending::Open,
            faults: Vec::new(),
        };
        let exchange = Arc::new(Exchange {
            journal: Arc::clone(&self.inner),
            sent: AtomicU64::new(0),
            record: Mutex::new(record),
            file_offset: AtomicU64::new(u64::MAX),
        });
        exchanges.push(Arc::clone(&exchange));
        drop(exchanges);
        self.inner.notify();
        exchange
    }

    pub(crate) fn violation(&self, text: String) {
        lock(&self.inner.violations).push(text);
        self.inner.notify();
    }

    pub(crate) fn failed_handshake(&self) {
        self.inner.failed_handshakes.fetch_add(1, Ordering::AcqRel);
        self.inner.notify();
    }

    /// TLS handshakes that the peer broke off, or that failed otherwise.
    pub fn failed_handshakes(&self) -> u64 {
        self.inner.failed_handshakes.load(Ordering::Acquire)
    }

    /// Connections on which something was asked of one origin.
    pub fn connections(&self, host: Host) -> usize {
        let of_host = self.filter(|record| record.host == host);
        let numbers: std::collections::BTreeSet<u64> = of_host.iter().map(|record| record.connection).collect();
        numbers.len()
    }

    /// All exchanges so far, oldest first.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.inner.exchanges)
            .iter()
            .map(|exchange| exchange.snapshot())
            .collect()
    }

    /// Those from number `seq` on; use [`Journal::len`] as a mark before an act.
    pub fn records_since(&self, seq: u64) -> Vec<Record> {
        let skip = super::content::index(seq);
        lock(&self.inner.exchanges)
            .iter()
            .skip(skip)
            .map(|exchange| exchange.snapshot())
            .collect()
    }

    /// Number of exchanges so far.
    pub fn len(&self) -> u64 {
        lock(&self.inner.exchanges).len() as u64
    }

    /// Whether nothing was asked yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that satisfy a condition.
    pub fn filter(&self, mut wanted: impl FnMut(&Record) -> bool) -> Vec<Record> {
        self.records().into_iter().filter(|record| wanted(record)).collect()
    }

    /// How many satisfy a condition.
    pub fn count(&self, wanted: impl FnMut(&Record) -> bool) -> usize {
        self.filter(wanted).len()
    }

    /// Those for one percent-encoded path, or for one file's path in its repository.
    pub fn requests_for(&self, path: &str) -> Vec<Record> {
        self.filter(|record| record.path == path || record.file.as_deref() == Some(path))
    }

    /// Bytes of a file (path in its repository) that were sent, over all answers.
    pub fn bytes_sent_for(&self, file: &str) -> u64 {
        self.ranges_of(file).iter().map(|range| range.end - range.start).sum()
    }

    /// Bytes of a file that were sent more than once.
    pub fn duplicate_bytes(&self, file: &str) -> u64 {
        let mut ranges = self.ranges_of(file);
        ranges.sort_by_key(|range| range.start);
        let (mut covered_to, mut duplicate) = (0, 0);
        for range in ranges {
            duplicate += range.end.min(covered_to).saturating_sub(range.start);
            covered_to = covered_to.max(range.end);
        }
        duplicate
    }

    /// What was sent of a file, one range an answer.
    pub fn ranges_of(&self, file: &str) -> Vec<Range<u64>> {
        let about = |record: &Record| record.file.as_deref() == Some(file) && !record.sent.is_empty();
        self.filter(about).into_iter().map(|record| record.sent).collect()
    }

    /// Body bytes sent by one origin.
    pub fn body_bytes(&self, host: Host) -> u64 {
        self.filter(|record| record.host == host)
            .iter()
            .map(|record| record.body_bytes)
            .sum()
    }

    /// The values of `Authorization` that one origin saw, in order, with repetitions.
    pub fn authorizations(&self, host: Host) -> Vec<String> {
        let of_host = self.filter(|record| record.host == host);
        of_host
            .iter()
            .filter_map(|record| record.header("authorization").map(str::to_owned))
            .collect()
    }

    /// Exchanges that have not ended.
    pub fn open_exchanges(&self) -> Vec<Record> {
        self.filter(|record| record.ending == Ending::Open)
    }

    /// What must never happen and did: a credential at the CDN, a panic of the Hub itself.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.inner.violations).clone()
    }

    /// As [`Journal::violations`], and forgets them: for tests that provoke one.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.inner.violations))
    }

    /// One line for each exchange.
    pub fn text(&self) -> String {
        self.records().iter().map(|record| record.line() + "\n").collect()
    }

    /// Changes whenever something was asked, sent or ended.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Returns once the condition holds; looks again whenever something was asked, sent or ended.
    ///
    /// Not for tests that pause their clock, whose minutes pass at once.
    ///
    /// # Panics
    /// After a minute, with the journal as text.
    pub async fn wait_for(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut changes = self.subscribe();
        let wait = async {
            loop {
                changes.mark_unchanged();
                if condition(self) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited in vain for: {what}\njournal:\n{}", self.text());
        }
    }
}

impl Inner {
    fn notify(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}

impl Exchange {
    fn snapshot(&self) -> Record {
        let mut record = lock(&self.record).clone();
        record.body_bytes = self.sent.load(Ordering::Acquire);
        let offset = self.file_offset.load(Ordering::Acquire);
        if offset != u64::MAX {
            record.sent = offset..offset + record.body_bytes;
        }
        record
    }

    pub(crate) fn struck(&self, file: Option<&FileTag>, faults: Vec<String>) {
        let mut record = lock(&self.record);
        record.repo = file.map(|file| file.repo.clone());
        record.file = file.map(|file| file.path.clone());
        record.faults = faults;
    }

    /// `file_offset`: the body is the file's own bytes from there on.
    pub(crate) fn answered(&self, status: u16, file_offset: Option<u64>) {
        lock(&self.record).status = status;
        self.file_offset
            .store(file_offset.unwrap_or(u64::MAX), Ordering::Release);
        self.journal.notify();
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::AcqRel);
        self.journal.notify();
    }

    pub(crate) fn end(&self, ending: Ending) {
        let mut record = lock(&self.record);
        if record.ending == Ending::Open {
            record.ending = ending;
            record.ended = Some(self.journal.started.elapsed());
        }
        drop(record);
        self.journal.notify();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Headers {
    pub(crate) fn bearer(&self) -> Option<&str> {
        let value = self.get("authorization")?;
        Some(value.strip_prefix("Bearer ").unwrap_or(value).trim())
    }
}
