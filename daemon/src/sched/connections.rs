//! How many connections a server is worth: few at first, more while more bytes come for it, fewer when it refuses.
//!
//! Growth is quick at first (doubling within a few round trips, for a file may be over in a second) and careful later
//! (one probe now and then, kept only when it pays). An epoch in which nobody wanted more connections says nothing.

use std::time::Duration;

/// So many at first: enough to fill most lines, too few to be a nuisance.
const START: u32 = 4;
/// Doubling goes on while it brings this much more.
const WORTH_DOUBLING: f64 = 1.15;
/// A later, smaller step is kept when it brings this much more.
const WORTH_KEEPING: f64 = 1.04;
/// A step down is kept when it costs no more than this.
const COSTS_NOTHING: f64 = 0.98;
/// Fewer are not tried.
const FEW: u32 = 2;
/// Bounds of the length of an epoch while growing; between them it follows the time to the first byte.
const EPOCH: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));
/// An epoch of a probe is longer: its gain is small.
const PROBE_EPOCH: Duration = Duration::from_secs(3);
/// Time from one probe to the next; doubles with each that failed.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));
/// After a refusal the refused number is not tried again for so long.
const AFTER_REFUSAL: Duration = Duration::from_secs(15);
/// Connections that broke without having brought anything, in one epoch, that mean "fewer".
const BROKEN: u32 = 2;

/// What a source looked like at one moment. Counters only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Bytes received from it so far.
    pub bytes: u64,
    /// Connections in use now.
    pub active: u32,
    /// Somebody waits for one more.
    pub wanted_more: bool,
    /// What held the transfers was ours: a bandwidth limit or the disk.
    pub held_by_us: bool,
    /// Usual time from a request to its first byte.
    pub first_byte: Duration,
}

/// The number of connections to one source, adapted to what it gives.
#[derive(Debug)]
pub struct ConnectionLimit {
    limit: u32,
    most: u32,
    phase: Phase,
    epoch: Option<Epoch>,
    /// Bytes per second before the last change, and the limit then.
    before: Option<(f64, u32)>,
    next_probe: Duration,
    probe_every: Duration,
    /// The last step did not seem to pay, which one more epoch must show: a busy machine spoils one, seldom two.
    doubted: bool,
    /// The next probe tries whether fewer would do.
    downwards: bool,
    broken: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling while it pays.
    Growing,
    /// At rest until the next probe.
    Steady,
    /// Trying one step more.
    Probing,
}

#[derive(Debug, Clone, Copy)]
struct Epoch {
    /// Measured from here on: what opened the last connections is over.
    from: Duration,
    until: Duration,
    /// Bytes at `from`, once it has come.
    bytes: Option<(Duration, u64)>,
    /// Readings, and those of them in which all connections were in use and another was wanted.
    seen: u32,
    full: u32,
    held: bool,
}

impl ConnectionLimit {
    /// For a source that takes at most `most` connections.
    pub fn new(most: u32) -> Self {
        Self {
            limit: START.min(most.max(1)),
            most: most.max(1),
            phase: Phase::Growing,
            epoch: None,
            before: None,
            next_probe: Duration::ZERO,
            probe_every: PROBE_EVERY.0,
            doubted: false,
            downwards: false,
            broken: 0,
        }
    }

    /// Connections that may be open now; at least 1.
    pub fn get(&self) -> u32 {
        self.limit.min(self.most)
    }

    /// The configuration changed.
    pub fn set_most(&mut self, most: u32) {
        self.most = most.max(1);
    }

    /// Takes a reading at a time since any fixed moment. To be called every few dozen milliseconds while bytes come; true
    /// when the limit changed.
    #[expect(clippy::cast_precision_loss, reason = "rates are compared, not added up")]
    pub fn sample(&mut self, now: Duration, reading: &Reading) -> bool {
        let full = reading.active >= self.get() && reading.wanted_more;
        if self.phase == Phase::Steady {
            self.epoch = None;
            let may = match self.downwards {
                true => self.get() > FEW,
                false => self.limit < self.most,
            };
            if !may {
                self.downwards = !self.downwards;
            }
            if !may || !full || reading.held_by_us || now < self.next_probe {
                return false;
            }
            self.phase = Phase::Probing;
        }
        let length = match self.phase {
            Phase::Growing => (reading.first_byte * 4).clamp(EPOCH.0, EPOCH.1),
            Phase::Steady | Phase::Probing => PROBE_EPOCH,
        };
        let epoch = self.epoch.get_or_insert_with(|| {
            let from = now + reading.first_byte.min(EPOCH.1) + EPOCH.0 / 3;
            Epoch {
                from,
                until: from + length,
                bytes: None,
                seen: 0,
                full: 0,
                held: false,
            }
        });
        if now < epoch.from {
            return false;
        }
        epoch.seen += 1;
        epoch.full += u32::from(full);
        epoch.held |= reading.held_by_us;
        let (since, bytes) = *epoch.bytes.get_or_insert((now, reading.bytes));
        if now < epoch.until || now <= since {
            return false;
        }
        let rate = (reading.bytes.saturating_sub(bytes)) as f64 / (now - since).as_secs_f64();
        // Between two segments a connection is idle for a moment.
        let told = epoch.full * 4 >= epoch.seen * 3 && !epoch.held;
        self.epoch = None;
        self.broken = 0;
        told && self.judge(now, rate)
    }

    fn judge(&mut self, now: Duration, rate: f64) -> bool {
        let limit = self.get();
        match (self.phase, self.before) {
            (Phase::Growing, Some((before, _))) if rate < before * WORTH_DOUBLING && !self.doubted => {
                self.doubted = true;
            }
            (Phase::Growing, Some((before, smaller))) if rate < before * WORTH_DOUBLING => {
                // It did not pay: the smaller number does as well.
                self.limit = if rate < before * WORTH_KEEPING { smaller } else { limit };
                self.rest(now, PROBE_EVERY.0);
            }
            (Phase::Growing, _) => {
                self.doubted = false;
                self.before = Some((rate, limit));
                self.limit = (limit * 2).min(self.most);
                if self.limit == limit {
                    self.rest(now, PROBE_EVERY.0);
                }
            }
            // The first epoch of a probe measures what there is, the second what one step changes.
            (Phase::Probing, None) => {
                self.before = Some((rate, limit));
                let step = (limit / 8).max(1);
                self.limit = match self.downwards {
                    true => limit - step,
                    false => (limit + step).min(self.most),
                };
            }
            (Phase::Probing, Some((before, former))) => {
                let good = rate >= before * if self.downwards { COSTS_NOTHING } else { WORTH_KEEPING };
                if good {
                    self.rest(now, PROBE_EVERY.0);
                } else {
                    self.limit = former;
                    self.downwards = !self.downwards;
                    self.rest(now, (self.probe_every * 2).min(PROBE_EVERY.1));
                }
            }
            (Phase::Steady, _) => {}
        }
        self.get() != limit
    }

    /// The server was away and is back: how many it takes now is found out as at first.
    pub fn begin_anew(&mut self) {
        *self = Self::new(self.most);
    }

    fn rest(&mut self, now: Duration, until_probe: Duration) {
        self.phase = Phase::Steady;
        self.doubted = false;
        self.before = None;
        self.epoch = None;
        self.probe_every = until_probe;
        self.next_probe = now + until_probe;
    }

    /// The server refused one more connection while `working` others went on: that many it takes.
    pub fn refused(&mut self, now: Duration, working: u32) {
        if working == 0 {
            return;
        }
        self.limit = self.get().min(working);
        self.rest(now, AFTER_REFUSAL.max((self.probe_every * 2).min(PROBE_EVERY.1)));
    }

    /// A connection broke before it brought anything worth having.
    pub fn broke(&mut self, now: Duration) {
        self.broken += 1;
        if self.broken >= BROKEN {
            self.broken = 0;
            self.limit = (self.get() * 7 / 10).max(1);
            self.rest(now, PROBE_EVERY.0);
        }
    }

    /// The server asked for fewer requests.
    pub fn rate_limited(&mut self, now: Duration) {
        self.limit = (self.get() / 2).max(1);
        self.rest(now, PROBE_EVERY.0);
    }
}

#[cfg(test)]
mod tests;
