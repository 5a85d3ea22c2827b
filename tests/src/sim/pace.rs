//! How fast bodies go out: a rate for all connections together, one for each, and a wait before each answer.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::journal::lock;

/// The most that is written at a time.
pub(crate) const MAX_CHUNK: u64 = 1024 * 1024;
/// A bucket may lag by this much and catch up at once.
const BURST: Duration = Duration::from_millis(20);

/// Speeds that can be changed while bodies are under way. Rates are in bytes per second.
#[derive(Debug, Default)]
pub struct Pace {
    total: Meter,
    connection_rate: Mutex<Option<u64>>,
    latency: Mutex<Duration>,
}

/// A token bucket that grants at once and makes the taker wait afterwards.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    state: Mutex<MeterState>,
}

#[derive(Debug, Default)]
struct MeterState {
    rate: Option<u64>,
    free_at: Option<Instant>,
}

impl Pace {
    /// Limits all bodies together; `None` takes the limit away.
    pub fn set_total(&self, bytes_per_sec: Option<u64>) {
        self.total.set_rate(bytes_per_sec);
    }

    /// Limits each connection.
    pub fn set_per_connection(&self, bytes_per_sec: Option<u64>) {
        *lock(&self.connection_rate) = bytes_per_sec;
    }

    /// Waits this long before each answer.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
    }

    pub(crate) fn latency(&self) -> Duration {
        *lock(&self.latency)
    }

    /// Cuts a chunk so small that a change of rate is felt at once.
    pub(crate) fn chunk(&self, want: u64) -> u64 {
        let slower = [lock(&self.total.state).rate, *lock(&self.connection_rate)]
            .into_iter()
            .flatten()
            .min();
        slower.map_or(want, |rate| want.min((rate / 100).max(1)))
    }

    /// When `bytes` may go out on the connection that owns this meter; `None` is now.
    pub(crate) fn take(&self, connection: &Meter, bytes: u64) -> Option<Instant> {
        connection.adopt_rate(*lock(&self.connection_rate));
        let (own, all) = (connection.take(bytes), self.total.take(bytes));
        own.max(all)
    }
}

impl Meter {
    fn set_rate(&self, rate: Option<u64>) {
        *lock(&self.state) = MeterState { rate, free_at: None };
    }

    fn adopt_rate(&self, rate: Option<u64>) {
        let changed = lock(&self.state).rate != rate;
        if changed {
            self.set_rate(rate);
        }
    }

    fn take(&self, bytes: u64) -> Option<Instant> {
        let mut state = lock(&self.state);
        let rate = state.rate?.max(1);
        let now = Instant::now();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let begin = state.free_at.unwrap_or(now).max(earliest);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let end = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        state.free_at = Some(end);
        (end > now).then_some(end)
    }
}
