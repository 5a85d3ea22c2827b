//! Speed and time left from counters read now and then.

use std::time::Duration;

/// Weight of a sample halves in about this time: quick enough to follow a change, slow enough to be read.
const HALF_LIFE: Duration = Duration::from_secs(3);

/// An exponentially weighted rate. Feed it a growing counter; the time is the caller's.
#[derive(Debug, Default)]
pub struct RateMeter {
    last: Option<(Duration, u64)>,
    bytes_per_sec: f64,
}

impl RateMeter {
    /// Takes the counter at a time (since any fixed moment) and gives bytes per second.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people; the value is clamped to be positive"
    )]
    pub fn sample(&mut self, now: Duration, counter: u64) -> u64 {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_sub(then).as_secs_f64();
            if seconds <= 0.0 {
                return self.bytes_per_sec.max(0.0) as u64;
            }
            let rate = counter.saturating_sub(before) as f64 / seconds;
            let keep = if self.bytes_per_sec == 0.0 {
                0.0
            } else {
                0.5_f64.powf(seconds / HALF_LIFE.as_secs_f64())
            };
            self.bytes_per_sec = keep * self.bytes_per_sec + (1.0 - keep) * rate;
            if self.bytes_per_sec < 1.0 {
                self.bytes_per_sec = 0.0;
            }
        }
        self.last = Some((now, counter));
        self.bytes_per_sec as u64
    }
}

/// Time in which bytes came counts half after so much more of it.
const GOODPUT_HALF_LIFE: f64 = 60.0;
/// After a gap a sample says nothing.
const GAP: Duration = Duration::from_secs(2);

/// What the line brings while it brings anything, over the last minutes of such time.
#[derive(Debug, Default)]
pub struct Goodput {
    last: Option<(Duration, u64)>,
    bytes: f64,
    seconds: f64,
}

impl Goodput {
    /// With what was measured before, which counts as one second.
    pub fn known(bytes_per_sec: Option<u64>) -> Self {
        let mut goodput = Self::default();
        if let Some(rate) = bytes_per_sec {
            goodput.lowest(rate);
        }
        goodput
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of noisy samples")]
    fn lowest(&mut self, bytes_per_sec: u64) {
        (self.bytes, self.seconds) = (bytes_per_sec as f64, 1.0);
    }

    /// Takes a growing counter at a time. What our own limits hold says only that the line brings as much at least.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mean of noisy samples; never negative"
    )]
    pub fn sample(&mut self, now: Duration, counter: u64, held_by_us: bool) {
        let Some((then, before)) = self.last.replace((now, counter)) else {
            return;
        };
        let (time, bytes) = (now.saturating_sub(then), counter.saturating_sub(before));
        if time.is_zero() || time > GAP || bytes == 0 {
            return;
        }
        let seconds = time.as_secs_f64();
        if held_by_us {
            let rate = (bytes as f64 / seconds) as u64;
            if self.bytes_per_sec().is_none_or(|known| rate > known) {
                self.lowest(rate);
            }
            return;
        }
        let keep = 0.5_f64.powf(seconds / GOODPUT_HALF_LIFE);
        self.bytes = self.bytes * keep + bytes as f64;
        self.seconds = self.seconds * keep + seconds;
    }

    /// Bytes per second; `None` before a second was seen.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "never negative")]
    pub fn bytes_per_sec(&self) -> Option<u64> {
        (self.seconds >= 1.0).then(|| (self.bytes / self.seconds) as u64)
    }
}

/// Seconds until the rest is there at this speed; `None` when nothing moves.
pub fn eta_sec(bytes_left: u64, bytes_per_sec: u64) -> Option<u64> {
    (bytes_per_sec > 0).then(|| bytes_left.div_ceil(bytes_per_sec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_is_of_the_time_in_which_bytes_came() {
        let mut goodput = Goodput::default();
        let mut now = Duration::ZERO;
        let mut counter = 0;
        let mut go = |goodput: &mut Goodput, samples: u32, bytes: u64, held| {
            for _ in 0..samples {
                now += Duration::from_millis(500);
                counter += bytes;
                goodput.sample(now, counter, held);
            }
        };
        go(&mut goodput, 2, 500, false);
        assert_eq!(goodput.bytes_per_sec(), None);
        go(&mut goodput, 20, 500, false);
        assert_eq!(goodput.bytes_per_sec(), Some(1000));
        // Silence is no slowness, and a limit of ours says nothing unless it is above what was known.
        go(&mut goodput, 100, 0, false);
        go(&mut goodput, 100, 50, true);
        assert_eq!(goodput.bytes_per_sec(), Some(1000));
        go(&mut goodput, 1, 1000, true);
        assert_eq!(goodput.bytes_per_sec(), Some(2000));
        // A slower line is noticed within minutes.
        go(&mut goodput, 600, 500, false);
        assert!(goodput.bytes_per_sec().is_some_and(|rate| (1000..1050).contains(&rate)));
        assert_eq!(Goodput::known(Some(7)).bytes_per_sec(), Some(7));
    }

    #[test]
    fn follows_a_change_within_seconds() {
        let mut meter = RateMeter::default();
        let mut counter = 0;
        let mut rate = 0;
        for step in 0..40 {
            rate = meter.sample(Duration::from_millis(500 * step), counter);
            counter += 5_000_000;
        }
        assert!((9_990_000..=10_010_000).contains(&rate), "{rate}");
        for step in 40..100 {
            rate = meter.sample(Duration::from_millis(500 * step), counter);
        }
        assert!(rate < 200_000, "{rate}");
        assert_eq!(eta_sec(100, 30), Some(4));
        assert_eq!(eta_sec(100, 0), None);
    }
}
