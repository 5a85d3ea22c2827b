//! What a Hub had sent at each moment, from its first byte on.

use hfetch_tests::sim::{Host, SimHub};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

/// It is looked at so often.
const LOOK: Duration = Duration::from_millis(10);

pub(super) struct Course(Vec<(Duration, u64)>);

impl Course {
    /// Of so long, from now on, or from the first byte on if none was sent before.
    pub(super) async fn of(hub: &SimHub, time: Duration) -> Self {
        let sent = || hub.journal().body_bytes(Host::Cdn);
        hub.journal().wait_for("the first bytes", |_| sent() > 0).await;
        let begun = Instant::now();
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut seen = Vec::new();
        while begun.elapsed() < time {
            tick.tick().await;
            seen.push((begun.elapsed(), sent()));
        }
        Self(seen)
    }

    /// Bytes per second from one moment to another.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn rate(&self, from: Duration, to: Duration) -> f64 {
        let at = |time: Duration| self.0.iter().find(|(seen, _)| *seen >= time).or(self.0.last());
        match (at(from), at(to)) {
            (Some((begin, before)), Some((end, after))) if end > begin => {
                (after - before) as f64 / (*end - *begin).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// The lowest and the highest rate over a time of this length, the first second left out.
    pub(super) fn windows(&self, length: Duration) -> (f64, f64) {
        let end = self.0.last().map_or(Duration::ZERO, |(seen, _)| *seen);
        let begins = self.0.iter().map(|(seen, _)| *seen);
        begins
            .filter(|begin| *begin >= Duration::from_secs(1) && *begin + length <= end)
            .map(|begin| self.rate(begin, begin + length))
            .fold((f64::MAX, 0.0), |(low, high), rate| (low.min(rate), high.max(rate)))
    }

    /// From when on the rate over this time is within a quarter of a limit.
    pub(super) fn settles(&self, limit: f64, over: Duration) -> Option<Duration> {
        let begins = self.0.iter().map(|(seen, _)| *seen);
        begins
            .into_iter()
            .find(|begin| (self.rate(*begin, *begin + over) / limit - 1.0).abs() < 0.25)
    }
}
