//! How fast we may go so that others on the line do not notice: by the idea of LEDBAT (RFC 6817). What a round trip takes longer
//! than it ever has to is the time that packets wait for each other. Up to a little of it the line is ours; beyond, we give way
//! at once, and come back slowly. Pure: time is a parameter.
//!
//! LEDBAT's fixed target leaves little to whoever fills the line with a shorter queue than that: it would push in until the
//! target is reached. In one queue packets wait in the proportion in which they come, so what may wait goes down with our
//! part of the line.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

/// Packets may wait for each other so long before we give way when the line is ours; on long ways an eighth of the round trip,
/// which varies by itself.
const TARGET: Duration = Duration::from_millis(25);
/// So much of it counts as none, whoever's it is: round trips vary.
const NOISE: f64 = 0.25;
/// Of so many round trips the quickest counts: one that is late by itself says nothing of the line.
const FILTER: usize = 3;
/// The quickest round trip of this time is the one without waiting: long enough for a neighbour's evening, short enough for a
/// way that changed.
const HISTORY: (Duration, u128) = (Duration::from_secs(60), 30);
/// The quickest round trip is known when so many were about as quick.
const SURE: u32 = 3;
/// It has to be seen again after this.
const SEEN_LATELY: Duration = Duration::from_secs(120);

/// Halved in this time when packets wait twice as long as they may, or longer.
const HALVED_IN: Duration = Duration::from_millis(500);
/// We wait so long before we come back: whoever else is there takes breath now and then.
const WAIT: Duration = Duration::from_secs(2);
/// What we come back by in a second, as a part of the most that the line brought: at first, and at most.
const RISE: (f64, f64) = (0.04, 0.25);
/// It doubles after so long without trouble.
const RISE_DOUBLES_IN: f64 = 5.0;
/// What we do not go below: a part of the most that the line brought, and bytes per second.
const LEAST: (f64, f64) = (0.02, 16_384.0);
/// The most that the line brought counts half after so long.
const PEAK_HALF_LIFE: f64 = 600.0;
/// A cap that does not hold us for so long is taken away.
const UNUSED: Duration = Duration::from_secs(5);
/// For so long we take nearly nothing, to see how quick a round trip is without us.
const LOOK: Duration = Duration::from_secs(2);
/// And not more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(120);
/// Longer steps count as one of this length: somebody slept.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// What round trips to one address take.
#[derive(Debug, Clone, Default)]
pub struct RoundTrips {
    /// The quickest of each minute, the newest last.
    quickest: VecDeque<(u128, Duration)>,
    recent: VecDeque<Duration>,
    /// How many were about as quick as the quickest, and when the last of them was.
    sure: u32,
    seen_at: Duration,
}

impl RoundTrips {
    /// Takes one. `elsewhere` is what packets to other addresses wait at this moment: an address that is new when the line is
    /// busy is not slow.
    pub fn add(&mut self, now: Duration, took: Duration, elsewhere: Duration) {
        let minute = now.as_nanos() / HISTORY.0.as_nanos();
        let before = self.base();
        let at_rest = if before.is_none() {
            took.saturating_sub(elsewhere)
        } else {
            took
        };
        match self.quickest.back_mut() {
            Some((last, quickest)) if *last == minute => *quickest = at_rest.min(*quickest),
            _ => self.quickest.push_back((minute, at_rest)),
        }
        self.quickest.retain(|(old, _)| *old + HISTORY.1 > minute);
        let base = self.base().unwrap_or(took);
        let quick = target(base).mul_f64(NOISE);
        if before.is_none_or(|before| before > base + quick) {
            self.sure = 0;
        }
        if took <= base + quick {
            self.sure = self.sure.saturating_add(1);
            self.seen_at = now;
        }
        self.recent.push_back(took);
        if self.recent.len() > FILTER {
            self.recent.pop_front();
        }
    }

    /// The round trip without waiting, as far as it is known.
    pub fn base(&self) -> Option<Duration> {
        self.quickest.iter().map(|(_, took)| *took).min()
    }

    /// How long packets wait for each other.
    pub fn queueing(&self) -> Option<Duration> {
        let quickest = self.recent.iter().min()?;
        Some(quickest.saturating_sub(self.base()?))
    }

    /// The last one was late, and it is not known yet whether that was chance: it is to be asked again soon.
    pub fn is_in_doubt(&self) -> bool {
        let (Some(base), Some(last), Some(queueing)) = (self.base(), self.recent.back(), self.queueing()) else {
            return false;
        };
        let may = target(base);
        last.saturating_sub(base) > may && (queueing <= may || self.recent.len() < FILTER)
    }

    /// What it says of the line at a moment.
    pub fn seen(&self, now: Duration) -> Option<Seen> {
        let base = self.base()?;
        Some(Seen {
            queueing: self.queueing()?,
            base,
            target: target(base),
            stale: self.sure < SURE || now.saturating_sub(self.seen_at) > SEEN_LATELY,
        })
    }
}

/// How long packets may wait on a way when the line is ours.
fn target(base: Duration) -> Duration {
    TARGET.max(base / 8)
}

/// What is seen of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How long packets wait for each other.
    pub queueing: Duration,
    /// How long a round trip takes when they do not.
    pub base: Duration,
    /// How long they may when the line is ours.
    pub target: Duration,
    /// `base` was not seen for a while, or never surely.
    pub stale: bool,
}

impl Seen {
    /// 1 when packets wait as long as they may when the line is ours.
    pub fn load(&self) -> f64 {
        self.queueing.as_secs_f64() / self.target.as_secs_f64()
    }
}

/// Finds the rate at which nobody is in our way.
#[derive(Debug, Clone, Default)]
pub struct Controller {
    cap: Option<f64>,
    /// The most that the line brought.
    peak: f64,
    at: Option<Duration>,
    calm_since: Option<Duration>,
    /// Since when the cap has not been what holds us.
    free_since: Option<Duration>,
    looked_at: Option<Duration>,
}

impl Controller {
    /// What we may have from now on, in bytes per second; `None`: as much as comes. `seen` is `None` when nothing is known of
    /// the line; `bytes_per_sec` is what came over about the last second.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn update(&mut self, now: Duration, seen: Option<Seen>, bytes_per_sec: u64) -> Option<u64> {
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_sub(at))
            .min(LONGEST_STEP);
        self.at = Some(now);
        let rate = bytes_per_sec as f64;
        let fades = 0.5_f64.powf(passed.as_secs_f64() / PEAK_HALF_LIFE);
        self.peak = (self.peak * fades).max(rate);
        let Some(seen) = seen else {
            (self.cap, self.calm_since, self.free_since) = (None, None, None);
            return None;
        };
        if self.is_looking(now, &seen) {
            return Some(whole(self.least()));
        }
        match self.load(&seen, rate) {
            load if load > 1.0 => self.give_way(load - 1.0, passed, rate),
            load => self.come_back(now, 1.0 - load, passed, rate),
        }
        self.cap.map(whole)
    }

    /// 1 when packets wait as long as they may beside our part of the line.
    fn load(&self, seen: &Seen, rate: f64) -> f64 {
        let ours = self.cap.map_or(self.peak, |cap| cap.min(rate));
        seen.load() / (ours / self.peak.max(1.0)).clamp(NOISE, 1.0)
    }

    /// What we never go below.
    fn least(&self) -> f64 {
        (self.peak * LEAST.0).max(LEAST.1)
    }

    /// Whether we look at this moment how quick a round trip is without us.
    fn is_looking(&mut self, now: Duration, seen: &Seen) -> bool {
        let since = self.looked_at.map(|at| now.saturating_sub(at));
        if since.is_some_and(|since| since < LOOK) {
            return true;
        }
        let begins = seen.stale && since.is_none_or(|since| since >= LOOK_EVERY);
        if begins {
            self.looked_at = Some(now);
        }
        begins
    }

    fn give_way(&mut self, over: f64, passed: Duration, rate: f64) {
        (self.calm_since, self.free_since) = (None, None);
        // A cap that we did not use is not where we begin, but neither is one moment in which nothing came.
        let from = self.cap.map_or(rate, |cap| cap.min(rate.max(cap / 2.0)));
        let steps = passed.as_secs_f64() / HALVED_IN.as_secs_f64();
        let over = over.min(1.0);
        self.cap = Some((from * (1.0 - over * over / 2.0).powf(steps)).max(self.least()));
    }

    fn come_back(&mut self, now: Duration, room: f64, passed: Duration, rate: f64) {
        let calm_since = *self.calm_since.get_or_insert(now);
        let Some(cap) = self.cap else { return };
        if rate > cap / 2.0 {
            self.free_since = None;
            let calm = now.saturating_sub(calm_since).checked_sub(WAIT);
            let rise = calm.map_or(0.0, |calm| {
                let doublings = calm.as_secs_f64() / RISE_DOUBLES_IN;
                (RISE.0 * 2.0_f64.powf(doublings)).min(RISE.1)
            });
            let more = room * rise * self.peak * passed.as_secs_f64();
            self.cap = Some((cap + more).max(self.least()));
        } else if now.saturating_sub(*self.free_since.get_or_insert(now)) >= UNUSED {
            // Something else holds us: a limit, a server, a disk.
            (self.cap, self.free_since) = (None, None);
        } else {
            self.cap = Some(cap.max(self.least()));
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate, and never negative"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}
