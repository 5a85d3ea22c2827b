//! Which of several ways to a host: what was measured decides, and is remembered per host. Time comes in as a parameter.
//!
//! Each way is tried once; then the faster one is taken. One that fails is left alone for a while, longer each time, and a
//! measurement that is old is made again, so that a way that was bad in the morning has a chance in the evening.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// A failed way is left alone for so long, twice as long after each further failure, up to the second.
const COOL_DOWN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));
/// A measurement is believed for so long.
const BELIEVED: Duration = Duration::from_secs(900);
/// Fewer bytes tell nothing about speed.
const ENOUGH: u64 = 256 << 10;
/// Unmeasured ways are tried so often: a host of small files is never measured.
const TRIALS: u32 = 4;
/// Hosts that are remembered; signed hosts come and go.
const HOSTS: usize = 256;

/// What is known of every host and way.
#[derive(Debug, Default)]
pub(super) struct Choices {
    hosts: HashMap<String, HashMap<String, Known>>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    /// Bytes per second of one connection.
    speed: Option<(u64, Instant)>,
    failures: u32,
    not_before: Option<Instant>,
    /// Requests given this way since its last measurement.
    trials: u32,
}

impl Choices {
    /// The number of the way to take among `ways`, of which there is at least one.
    pub(super) fn choose(&mut self, host: &str, ways: &[&str], now: Instant) -> usize {
        if self.hosts.len() >= HOSTS && !self.hosts.contains_key(host) {
            self.hosts.clear();
        }
        let known = self.hosts.entry(host.to_owned()).or_default();
        let of = |way: &str| known.get(way).cloned().unwrap_or_default();
        let cooling = |way: &str| of(way).not_before.filter(|until| *until > now);
        let fresh = |way: &str| of(way).speed.filter(|(_, at)| now.duration_since(*at) < BELIEVED);
        let ready: Vec<usize> = (0..ways.len()).filter(|at| cooling(ways[*at]).is_none()).collect();
        let unmeasured = ready
            .iter()
            .filter(|at| fresh(ways[**at]).is_none() && of(ways[**at]).trials < TRIALS);
        let best = match unmeasured.min_by_key(|at| (of(ways[**at]).trials, **at)) {
            Some(at) => *at,
            None => {
                let fastest = ready.iter().max_by_key(|at| {
                    let speed = fresh(ways[**at]).map_or(0, |(speed, _)| speed);
                    // Of equals the first.
                    (speed, std::cmp::Reverse(**at))
                });
                let soonest = || (0..ways.len()).min_by_key(|at| cooling(ways[*at])).unwrap_or_default();
                fastest.copied().unwrap_or_else(soonest)
            }
        };
        if let Some(way) = ways.get(best) {
            let entry = known.entry((*way).to_owned()).or_default();
            entry.trials = entry.trials.saturating_add(1);
        }
        best
    }

    /// Bytes came.
    pub(super) fn delivered(&mut self, host: &str, way: &str, bytes: u64, took: Duration, now: Instant) {
        if bytes < ENOUGH {
            return;
        }
        let millis = took.as_millis().max(1);
        let speed = u64::try_from(u128::from(bytes) * 1000 / millis).unwrap_or(u64::MAX);
        if let Some(known) = self.hosts.get_mut(host) {
            let known = known.entry(way.to_owned()).or_default();
            let before = known.speed.filter(|(_, at)| now.duration_since(*at) < BELIEVED);
            let speed = before.map_or(speed, |(before, _)| before / 4 * 3 + speed / 4);
            *known = Known {
                speed: Some((speed, now)),
                ..Known::default()
            };
        }
    }

    /// The connection could not be made, or broke.
    pub(super) fn failed(&mut self, host: &str, way: &str, now: Instant) {
        if let Some(known) = self.hosts.get_mut(host) {
            let known = known.entry(way.to_owned()).or_default();
            // Connections that fail together have failed once.
            if known.not_before.is_some_and(|until| until > now) {
                return;
            }
            let (least, most) = COOL_DOWN;
            known.not_before = Some(now + (least * 2_u32.saturating_pow(known.failures)).min(most));
            known.failures = (known.failures + 1).min(16);
            known.speed = None;
            known.trials = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAYS: [&str; 2] = ["DIRECT", "clash"];

    #[tokio::test(start_paused = true)]
    async fn each_is_tried_then_the_faster_is_taken() {
        let mut choices = Choices::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(choices.choose("h", &WAYS, now), 0);
        // A second connection, while the first is still being measured, tries the other way.
        assert_eq!(choices.choose("h", &WAYS, now), 1);
        choices.delivered("h", "DIRECT", 1 << 20, second, now);
        choices.delivered("h", "clash", 8 << 20, second, now);
        for _ in 0..5 {
            assert_eq!(choices.choose("h", &WAYS, now), 1);
        }
        // Another host is another matter, and a few bytes say nothing.
        assert_eq!(choices.choose("i", &WAYS, now), 0);
        choices.delivered("i", "DIRECT", 100, second, now);
        assert_eq!(choices.choose("i", &WAYS, now), 1);
        // Old measurements are made again.
        let later = now + BELIEVED;
        assert_eq!(choices.choose("h", &WAYS, later), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_way_is_left_alone_for_longer_and_longer() {
        let mut choices = Choices::default();
        let now = Instant::now();
        assert_eq!(choices.choose("h", &WAYS, now), 0);
        choices.failed("h", "DIRECT", now);
        choices.failed("h", "DIRECT", now);
        assert_eq!(choices.choose("h", &WAYS, now), 1);
        assert_eq!(
            choices.choose("h", &WAYS, now + COOL_DOWN.0 - Duration::from_millis(1)),
            1
        );
        let again = now + COOL_DOWN.0;
        choices.delivered("h", "clash", 1 << 20, Duration::from_secs(1), again);
        assert_eq!(choices.choose("h", &WAYS, again), 0, "it gets another chance");
        choices.failed("h", "DIRECT", again);
        assert_eq!(choices.choose("h", &WAYS, again + COOL_DOWN.0), 1, "twice as long");
        // When all have failed, the one that may be tried first.
        choices.failed("h", "clash", again);
        assert_eq!(choices.choose("h", &WAYS, again), 1);
    }
}
