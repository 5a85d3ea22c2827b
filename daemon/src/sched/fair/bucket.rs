//! A limit that is paid for afterwards: what came is taken off, possibly below zero, and nothing more is granted until time has
//! made up for it.

use std::time::Duration;

/// What may be granted at once after an idle time: this part of a second at the rate.
const BURST: u64 = 20;
/// At least so many bytes.
const LEAST_BURST: u64 = 16 << 10;
const NANOS: i128 = 1_000_000_000;

/// One limit. Without a rate it is always open and counts nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    bytes_per_sec: Option<u64>,
    /// In byte-nanoseconds, so that no part of a byte is lost. Below zero: what was granted in advance.
    level: i128,
    /// The time that `level` is of.
    at: Duration,
}

impl Bucket {
    /// Begins empty, so that the first moments of a limit are no faster than the others.
    pub(super) fn new(now: Duration, bytes_per_sec: Option<u64>) -> Self {
        Self {
            bytes_per_sec: bytes_per_sec.map(|rate| rate.max(1)),
            level: 0,
            at: now,
        }
    }

    pub(super) fn rate(&self) -> Option<u64> {
        self.bytes_per_sec
    }

    /// Another rate from now on. What is owed stays owed, what was saved is gone.
    pub(super) fn set_rate(&mut self, now: Duration, bytes_per_sec: Option<u64>) {
        let bytes_per_sec = bytes_per_sec.map(|rate| rate.max(1));
        if bytes_per_sec == self.bytes_per_sec {
            return;
        }
        self.refill(now);
        let owed = self.level.min(0);
        *self = Self::new(now.max(self.at), bytes_per_sec);
        self.level = if bytes_per_sec.is_some() { owed } else { 0 };
    }

    pub(super) fn refill(&mut self, now: Duration) {
        let Some(rate) = self.bytes_per_sec else { return };
        let elapsed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let come = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX / NANOS / NANOS);
        let most = i128::from(burst(rate)) * NANOS;
        self.level = come
            .saturating_mul(i128::from(rate))
            .saturating_add(self.level)
            .min(most);
    }

    /// Whether something may be granted, as of the last refill.
    pub(super) fn is_open(&self) -> bool {
        self.bytes_per_sec.is_none() || self.level > 0
    }

    pub(super) fn charge(&mut self, bytes: u64) {
        if self.bytes_per_sec.is_some() {
            self.level = self.level.saturating_sub(i128::from(bytes).saturating_mul(NANOS));
        }
    }

    /// When it opens if nothing more is charged.
    pub(super) fn opens_at(&self) -> Duration {
        let Some(rate) = self.bytes_per_sec.filter(|_| self.level <= 0) else {
            return self.at;
        };
        let wait = (-self.level) / i128::from(rate) + 1;
        self.at
            .saturating_add(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
    }
}

/// The most that a limit saves up, in bytes.
pub(super) fn burst(bytes_per_sec: u64) -> u64 {
    (bytes_per_sec / BURST).max(LEAST_BURST)
}
