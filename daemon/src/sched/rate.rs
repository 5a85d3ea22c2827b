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

/// Seconds until the rest is there at this speed; `None` when nothing moves.
pub fn eta_sec(bytes_left: u64, bytes_per_sec: u64) -> Option<u64> {
    (bytes_per_sec > 0).then(|| bytes_left.div_ceil(bytes_per_sec))
}

#[cfg(test)]
mod tests {
    use super::*;

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
