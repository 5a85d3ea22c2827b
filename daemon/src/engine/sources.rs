//! The servers that bytes come from, as the whole daemon knows them: how many connections each is worth, how fast it is, and
//! whether it answers at all. Who wants a connection asks here; what is free goes to the file that has fewest.
//!
//! One small mutex guards the books and is never held over an await; bytes are counted without it.

mod book;
#[cfg(test)]
mod tests;
mod users;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use self::book::{Book, State, Waiting, mean};
pub(super) use self::book::{Usual, Wish};
use super::progress::lock;
use crate::{
    hub::Endpoint,
    sched::{
        backoff,
        connections::{ConnectionLimit, Reading},
    },
};

/// The number of connections is thought over so often while bytes come.
const SAMPLE_MS: u64 = 25;
/// Failures in a row without a byte after which a source is left alone for a while.
const BREAKER: u32 = 5;
/// A transfer that brought less tells nothing of the speed of a connection.
const TELLS_SPEED: u64 = 256 << 10;
/// What held us a moment ago still shows in the rate.
const HELD_MS: u64 = 200;
/// What all connections together may gather before they write, and the bounds for one of them.
const GATHER: (usize, usize, usize) = (2 << 20, 128 << 10, 512 << 10);

/// Number of a source; good as long as the daemon runs.
pub(super) type SourceId = usize;

/// All sources. Clones are the same.
#[derive(Clone)]
pub(super) struct Sources {
    started: Instant,
    book: Arc<Mutex<Book>>,
    /// When our own limits last held a transfer.
    held_ms: Arc<AtomicU64>,
}

/// Counted without the book's lock.
#[derive(Default)]
struct Counters {
    bytes: AtomicU64,
    last_byte_ms: AtomicU64,
    next_sample_ms: AtomicU64,
}

/// The right to one connection to a source, until it is dropped.
pub(super) struct Slot {
    sources: Sources,
    /// To which.
    pub(super) source: SourceId,
    user: u32,
    served: AtomicBool,
}

/// A wish that waits. Dropped, it is withdrawn.
pub(super) struct Request {
    sources: Sources,
    ticket: u64,
    granted: oneshot::Receiver<Slot>,
}

/// The connections of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFigures {
    /// Scheme, host and port.
    pub(super) origin: String,
    /// Open now.
    pub(super) connections: u32,
    /// As many as pay.
    pub(super) connections_limit: u32,
}

impl Sources {
    /// None known yet; `most` connections in all.
    pub(super) fn new(most: u32) -> Self {
        Self {
            started: Instant::now(),
            book: Arc::new(Mutex::new(Book {
                most,
                ..Book::default()
            })),
            held_ms: Arc::default(),
        }
    }

    /// The connections of every source there was.
    pub(super) fn figures(&self) -> Vec<SourceFigures> {
        let book = lock(&self.book);
        let figures = book.ids.iter().map(|(origin, id)| {
            let source = &book.sources[*id];
            SourceFigures {
                origin: origin.clone(),
                connections: source.active,
                connections_limit: source.limit.get(),
            }
        });
        figures.collect()
    }

    /// The source that an endpoint is, which takes at most `most` connections.
    pub(super) fn of(&self, endpoint: &Endpoint, most: u32) -> SourceId {
        let key = endpoint.origin().ascii_serialization();
        let mut book = lock(&self.book);
        if let Some(id) = book.ids.get(&key).copied() {
            book.sources[id].limit.set_most(most);
            return id;
        }
        let id = book.sources.len();
        book.sources.push(State {
            counters: Arc::default(),
            limit: ConnectionLimit::new(most),
            active: 0,
            served: 0,
            proven: (0, Duration::ZERO),
            failures: 0,
            closed_until: None,
            bytes_per_sec: 0.0,
            first_byte: 0.0,
            small_bytes_per_sec: 0.0,
        });
        book.ids.insert(key, id);
        id
    }

    /// Asks for a connection.
    pub(super) fn request(&self, wish: Wish) -> Request {
        let (grant, granted) = oneshot::channel();
        let ticket = {
            let mut book = lock(&self.book);
            let ticket = book.next_ticket;
            book.next_ticket += 1;
            book.waiting.push(Waiting { ticket, wish, grant });
            ticket
        };
        self.give();
        Request {
            sources: self.clone(),
            ticket,
            granted,
        }
    }

    /// Gives what is free to those who wait.
    fn give(&self) {
        let grants = {
            let mut book = lock(&self.book);
            let now = self.now();
            book.match_up(now)
        };
        // Without the lock: a grant that nobody takes any more gives itself back.
        for (grant, source, user) in grants {
            let slot = Slot {
                sources: self.clone(),
                source,
                user,
                served: AtomicBool::new(false),
            };
            let _withdrawn = grant.send(slot);
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    /// A meter for the bytes of one connection to a source.
    pub(super) fn meter(&self, source: SourceId) -> SourceMeter {
        SourceMeter {
            sources: self.clone(),
            source,
            counters: lock(&self.book).sources[source].counters.clone(),
        }
    }

    /// Our own limits hold a transfer: its speed says nothing of the source now.
    pub(super) fn held_by_us(&self) {
        self.held_ms.store(self.now_ms(), Relaxed);
    }

    /// How one connection to a source usually does.
    pub(super) fn usual(&self, source: SourceId) -> Usual {
        lock(&self.book).sources[source].usual()
    }

    /// Time since a connection to a source got a byte.
    pub(super) fn idle(&self, source: SourceId) -> Duration {
        let last = lock(&self.book).sources[source].counters.last_byte_ms.load(Relaxed);
        self.now().saturating_sub(Duration::from_millis(last))
    }

    /// Until when a source is left alone because nothing came from it; `None` when it may be tried.
    pub(super) fn closed_until(&self, source: SourceId) -> Option<Instant> {
        let until = lock(&self.book).sources[source].closed_until?;
        (until > self.now()).then(|| self.started + until)
    }

    /// Connections that may be open to a source now.
    #[cfg(test)]
    pub(super) fn limit(&self, source: SourceId) -> u32 {
        lock(&self.book).sources[source].limit.get()
    }

    /// How much a connection should gather before it writes: many connections together stay small.
    pub(super) fn gather_bytes(&self) -> usize {
        let (all, least, most) = GATHER;
        let active = usize::try_from(lock(&self.book).active).unwrap_or(usize::MAX);
        (all / active.max(1)).clamp(least, most)
    }

    /// A connection ended well or not, after so many bytes, which took so long once the first had come after `first_byte`.
    pub(super) fn observed(&self, source: SourceId, bytes: u64, took: Duration, first_byte: Duration) {
        let held = self.is_held();
        let state = &mut lock(&self.book).sources[source];
        mean(&mut state.first_byte, first_byte.as_secs_f64());
        if bytes >= TELLS_SPEED && !held && !took.is_zero() {
            #[expect(clippy::cast_precision_loss, reason = "a mean for decisions")]
            mean(&mut state.bytes_per_sec, bytes as f64 / took.as_secs_f64());
        }
    }

    /// A small file came whole in such a time.
    pub(super) fn brought(&self, source: SourceId, bytes: u64, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a mean for decisions")]
        let rate = bytes as f64 / took.as_secs_f64().max(0.001);
        mean(&mut lock(&self.book).sources[source].small_bytes_per_sec, rate);
    }

    /// How long a small file would take there, asked for now; nothing where that is not known, or where there is no room.
    pub(super) fn would_bring(&self, source: SourceId, bytes: u64) -> Option<Duration> {
        lock(&self.book).sources[source].would_bring(bytes, self.now())
    }

    /// A connection failed without a byte. Many such in a row close the source for a while.
    pub(super) fn failed(&self, source: SourceId) {
        let now = self.now();
        let state = &mut lock(&self.book).sources[source];
        if state.closed_until.is_some_and(|until| until > now) {
            // It was under way when others failed: one outage is not as many as there were connections.
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= BREAKER {
            let wait = backoff::rest(state.failures - BREAKER + 1, None, &mut fastrand::Rng::new());
            state.closed_until = Some(now + wait);
        }
    }

    /// The server refused a connection. True when others to it go on, so that the number was the reason.
    pub(super) fn refused(&self, source: SourceId) -> bool {
        let now = self.now();
        lock(&self.book).sources[source].refused(now)
    }

    /// A connection broke before it brought anything worth having.
    pub(super) fn broke(&self, source: SourceId) {
        let now = self.now();
        lock(&self.book).sources[source].limit.broke(now);
    }

    /// The server asked for fewer requests.
    pub(super) fn rate_limited(&self, source: SourceId) {
        let now = self.now();
        lock(&self.book).sources[source].limit.rate_limited(now);
    }

    fn is_held(&self) -> bool {
        let held = self.held_ms.load(Relaxed);
        held > 0 && self.now_ms().saturating_sub(held) < HELD_MS
    }

    fn sample(&self, source: SourceId) {
        let (now, held_by_us) = (self.now(), self.is_held());
        let more = {
            let mut book = lock(&self.book);
            let wanted_more = book.waiting.iter().any(|waiting| waiting.wish.any_of.contains(&source));
            let state = &mut book.sources[source];
            state.failures = 0;
            let closed_until = state.closed_until.take();
            if closed_until.is_some_and(|until| until <= now) {
                state.limit.begin_anew();
            }
            let reopened = closed_until.is_some();
            let reading = Reading {
                bytes: state.counters.bytes.load(Relaxed),
                active: state.active,
                wanted_more,
                held_by_us,
                first_byte: state.usual().first_byte,
            };
            let changed = state.limit.sample(now, &reading);
            if changed {
                tracing::debug!(source, limit = state.limit.get(), "connections");
            }
            changed || reopened
        };
        if more {
            self.give();
        }
    }
}

impl Request {
    /// Resolves with the slot. Safe to cancel: a slot that was granted meanwhile is kept for the next call.
    pub(super) async fn granted(&mut self) -> Slot {
        match (&mut self.granted).await {
            Ok(slot) => slot,
            // The book outlives all requests, and answers each.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        lock(&self.sources.book)
            .waiting
            .retain(|waiting| waiting.ticket != self.ticket);
    }
}

impl Slot {
    /// Its connection is being fed.
    pub(super) fn serves(&self) {
        if !self.served.swap(true, Relaxed) {
            let now = self.sources.now();
            lock(&self.sources.book).sources[self.source].serves(now);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut book = lock(&self.sources.book);
            book.active -= 1;
            if let Some(user) = book.users.get_mut(&self.user) {
                user.active -= 1;
            }
            let state = &mut book.sources[self.source];
            state.active -= 1;
            state.served -= u32::from(self.served.load(Relaxed));
        }
        self.sources.give();
    }
}

/// Counts the bytes of a source.
pub(super) struct SourceMeter {
    sources: Sources,
    source: SourceId,
    counters: Arc<Counters>,
}

impl SourceMeter {
    /// Bytes came.
    pub(super) fn received(&self, bytes: u64) {
        let now = self.sources.now_ms();
        self.counters.bytes.fetch_add(bytes, Relaxed);
        self.counters.last_byte_ms.store(now, Relaxed);
        let due = self.counters.next_sample_ms.load(Relaxed);
        // One of those that find it due takes the sample.
        if now >= due
            && self
                .counters
                .next_sample_ms
                .compare_exchange(due, now + SAMPLE_MS, Relaxed, Relaxed)
                .is_ok()
        {
            self.sources.sample(self.source);
        }
    }
}
