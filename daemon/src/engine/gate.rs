//! Where connections pay for the bytes that came. The allocator of `sched` decides; here is its lock, its timer, and who waits.
//!
//! A connection that has paid reads on; one that waits leaves its bytes in the socket, whose window closes. Without any limit a
//! payment is one look at a flag.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::progress::lock;
use crate::{
    hub::Hub,
    model::Job,
    sched::fair::{Allocator, CapKey, JobKey, JobTerms, Payer, Ticket, UserKey},
};

/// Bounds of what may be under way on a connection under a limit. The system makes its buffer twice as large.
const WINDOW: (u64, u64) = (16 << 10, 48 << 10);
/// The same while we give way to others. What comes at once when a connection reads on makes others wait: it is a hundredth of
/// a second of the line, and more where the line is so fast that a long way would not be filled otherwise.
const COURTEOUS_WINDOW: (u64, u64) = (16 << 10, 256 << 10);
/// Above this rate the system's own windows are of no account.
const FAST: u64 = 32_000_000;
/// The window of a connection that was under a limit and is no more.
const WIDE: usize = 4 << 20;

/// The gate. Clones are one gate.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    started: Instant,
    hub: Hub,
    /// There is a limit somewhere.
    limited: AtomicBool,
    /// Grows with every change of a limit.
    epoch: AtomicU64,
    state: Mutex<State>,
    /// The timer has to think again.
    changed: Notify,
}

#[derive(Default)]
struct State {
    allocator: Allocator,
    /// The limit of everything, and what we go down to for the sake of others, in bytes per second.
    limit: Option<u64>,
    giving_way: Option<u64>,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// When the timer will look.
    wakes_at: Option<Duration>,
    /// The jobs that are worked on.
    jobs: HashMap<JobKey, Known>,
    /// By `endpoint ORIGIN` and `window NAME`.
    caps: HashMap<String, CapKey>,
}

/// A job that is worked on.
struct Known {
    user: UserKey,
    name: String,
    window: Option<CapKey>,
    terms: JobTerms,
}

/// The limits of a configuration at one moment, in bytes per second.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) all: Option<u64>,
    /// By name as in [`Gate::set_rates`]; what is not in here has no limit.
    pub(super) across: HashMap<String, u64>,
}

/// What may be under way on one connection under a limit: a tenth of a second of it, within bounds.
fn window(bytes_per_sec: u64) -> Option<usize> {
    let bytes = (bytes_per_sec / 10).clamp(WINDOW.0, WINDOW.1);
    usize::try_from(bytes).ok().filter(|_| bytes_per_sec < FAST)
}

/// The same while it is for others' sake that we go slowly. Powers of two: the rate changes often, and each change of a window
/// takes a while.
fn courteous_window(bytes_per_sec: u64) -> Option<usize> {
    let bytes = (bytes_per_sec / 100).clamp(COURTEOUS_WINDOW.0, COURTEOUS_WINDOW.1);
    usize::try_from(1_u64 << bytes.ilog2())
        .ok()
        .filter(|_| bytes_per_sec < FAST)
}

/// The name of an endpoint's limit.
pub(super) fn endpoint_cap(origin: &str) -> String {
    format!("endpoint {origin}")
}

/// The name of a window's limit.
pub(super) fn window_cap(name: &str) -> String {
    format!("window {name}")
}

/// What one connection pays with.
pub(super) struct Toll {
    gate: Gate,
    user: UserKey,
    job: JobKey,
    endpoint: CapKey,
    /// The epoch of the last look at the window, and the window then.
    seen: (u64, Option<usize>),
}

impl Gate {
    pub(super) fn new(hub: Hub) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            hub,
            limited: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Changes something and lets the timer grant what may be granted now.
    fn change(&self, change: impl FnOnce(&mut State, Duration)) {
        let mut state = lock(&self.0.state);
        change(&mut state, self.now());
        let limited = state.allocator.is_limited();
        // What was listed without a limit is not charged to the one that begins now.
        if limited && !self.0.limited.swap(limited, Relaxed) {
            self.0.hub.take_listed_bytes();
        }
        self.0.limited.store(limited, Relaxed);
        self.0.epoch.fetch_add(1, Relaxed);
        drop(state);
        self.0.changed.notify_one();
    }

    /// Whether there is a limit somewhere.
    pub(super) fn is_limited(&self) -> bool {
        self.0.limited.load(Relaxed)
    }

    /// Sets all limits but those of jobs, and the shares of users.
    pub(super) fn set_rates(&self, rates: &Rates, weight: impl Fn(&str) -> u32) {
        self.change(|state, now| {
            state.limit = rates.all;
            state.set_all(now);
            for name in rates.across.keys() {
                state.cap(name);
            }
            for (name, cap) in &state.caps {
                state.allocator.set_cap(now, *cap, rates.across.get(name).copied());
            }
            for known in state.jobs.values() {
                state.allocator.set_weight(known.user, weight(&known.name));
            }
        });
    }

    /// Keeps everything below a rate for the sake of others on the line, beside all limits.
    pub(super) fn give_way(&self, bytes_per_sec: Option<u64>) {
        if lock(&self.0.state).giving_way != bytes_per_sec {
            self.change(|state, now| {
                state.giving_way = bytes_per_sec;
                state.set_all(now);
            });
        }
    }

    /// A job is worked on, or its terms have changed.
    pub(super) fn enter(&self, job: &Job, weight: u32) {
        self.change(|state, now| {
            let window = job
                .spec
                .pacing
                .window
                .as_deref()
                .map(|name| state.cap(&window_cap(name)));
            let user = job.owner.uid;
            let terms = JobTerms {
                priority: job.spec.priority,
                limit: job.spec.pacing.limit,
            };
            let known = Known {
                user,
                name: job.owner.user.clone(),
                window,
                terms,
            };
            state.jobs.insert(job.row, known);
            state.allocator.set_job(now, user, job.row, terms);
            state.allocator.set_weight(user, weight);
        });
    }

    /// The present terms of a job that is worked on.
    pub(super) fn terms(&self, job: JobKey) -> Option<JobTerms> {
        lock(&self.0.state).jobs.get(&job).map(|known| known.terms)
    }

    /// A job is not worked on any more; its connections are gone.
    pub(super) fn leave(&self, job: JobKey) {
        self.change(|state, _| {
            if let Some(known) = state.jobs.remove(&job) {
                state.allocator.remove_job(known.user, job);
            }
        });
    }

    /// For one connection of a job to an endpoint.
    pub(super) fn toll(&self, job: JobKey, endpoint: &str) -> Toll {
        let mut state = lock(&self.0.state);
        Toll {
            gate: self.clone(),
            user: state.jobs.get(&job).map_or(0, |known| known.user),
            job,
            endpoint: state.cap(&endpoint_cap(endpoint)),
            seen: (u64::MAX, None),
        }
    }

    /// Grants payments when their time has come, until the token is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let wakes_at = {
                let mut state = lock(&self.0.state);
                let granted = state.allocator.serve(self.now());
                for ticket in granted {
                    if let Some(waiter) = state.waiting.remove(&ticket) {
                        // Who went away takes its ticket back by itself.
                        let _gone = waiter.send(());
                    }
                }
                state.wakes_at = state.allocator.next();
                state.wakes_at
            };
            let wake = wakes_at.map(|at| self.0.started + at);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.0.changed.notified() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

impl State {
    fn set_all(&mut self, now: Duration) {
        let all = [self.limit, self.giving_way].into_iter().flatten().min();
        self.allocator.set_all(now, all);
    }

    /// What may be under way on one connection; `None`: as much as the system likes.
    fn window(&self, payer: &Payer) -> Option<usize> {
        let tightest = self.allocator.tightest(payer)?;
        match self.giving_way == Some(tightest) {
            true => courteous_window(tightest),
            false => window(tightest),
        }
    }

    /// The number of a limit across; made when it is new.
    fn cap(&mut self, name: &str) -> CapKey {
        if let Some(cap) = self.caps.get(name) {
            return *cap;
        }
        let cap = CapKey::try_from(self.caps.len()).unwrap_or(CapKey::MAX);
        self.caps.insert(name.to_owned(), cap);
        cap
    }
}

impl Toll {
    /// Bytes that may be under way on this connection, when that has changed since the last call.
    pub(super) fn new_window(&mut self) -> Option<usize> {
        let epoch = self.gate.0.epoch.load(Relaxed);
        if std::mem::replace(&mut self.seen.0, epoch) == epoch {
            return None;
        }
        let state = lock(&self.gate.0.state);
        let window = state.window(&self.payer(&state));
        let before = std::mem::replace(&mut self.seen.1, window);
        // One that was small does not become as large as the system would have made it, but large enough for most lines.
        if before == window { None } else { window.or(Some(WIDE)) }
    }

    fn payer(&self, state: &State) -> Payer {
        Payer {
            user: self.user,
            job: self.job,
            caps: [
                Some(self.endpoint),
                state.jobs.get(&self.job).and_then(|known| known.window),
            ],
        }
    }

    /// Pays for bytes that came: returns at once when there is no limit or nothing is owed, and otherwise when it is this
    /// connection's turn again. Dropped before that, the bytes are counted all the same.
    pub(super) async fn pay(&self, bytes: u64, on_hold: impl Fn(bool)) {
        if !self.gate.0.limited.load(Relaxed) {
            return;
        }
        if let Some(mut waiting) = self.ask(bytes) {
            on_hold(true);
            waiting.granted().await;
            on_hold(false);
        }
    }

    fn ask(&self, bytes: u64) -> Option<Waiting> {
        let inner = &self.gate.0;
        let mut state = lock(&inner.state);
        let now = self.gate.now();
        let listed = inner.hub.take_listed_bytes();
        if listed > 0 {
            state.allocator.charge_all(now, listed);
        }
        let payer = self.payer(&state);
        let ticket = state.allocator.pay(now, payer, bytes)?;
        let (granted, wait) = oneshot::channel();
        state.waiting.insert(ticket, granted);
        let opens_at = state.allocator.opens_at(&payer);
        let sooner = state.wakes_at.is_none_or(|wakes_at| opens_at < wakes_at);
        drop(state);
        if sooner {
            inner.changed.notify_one();
        }
        Some(Waiting {
            gate: self.gate.clone(),
            ticket,
            wait,
            is_over: false,
        })
    }
}

/// A payment that waits for its grant.
struct Waiting {
    gate: Gate,
    ticket: Ticket,
    wait: oneshot::Receiver<()>,
    is_over: bool,
}

impl Waiting {
    async fn granted(&mut self) {
        // An error means that the job is gone, and its gate with it.
        let _granted = (&mut self.wait).await;
        self.is_over = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            let now = self.gate.now();
            let mut state = lock(&self.gate.0.state);
            state.waiting.remove(&self.ticket);
            state.allocator.withdraw(now, self.ticket);
        }
    }
}
