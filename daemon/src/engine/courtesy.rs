//! Gives way to others on the line (`bandwidth.yield`): while bytes come, a canary measures round trips to where they come from,
//! `sched::ledbat` says what is left for us, and the gate holds everybody to it. Costs nothing while it is switched off.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{progress::lock, shared::Shared};
use crate::{
    hub::{ActivePeers, round_trip},
    sched::ledbat::{Controller, RoundTrips, Seen},
};

/// A canary flies so often, and sooner when the last one was late.
const FLIES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(100));
/// To so many addresses at a time, those with the most connections first.
const ADDRESSES: usize = 3;
/// Without news for so long nothing is known of the line. Between two requests of one connection nothing is open.
const NEWS: Duration = Duration::from_secs(5);
/// What came in about this time is our rate.
const RATE: Duration = Duration::from_secs(1);
/// Addresses that are not used any more are forgotten after this.
const FORGET: Duration = Duration::from_secs(30 * 60);

/// How we give way at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Courtesy {
    /// The most that all jobs together take, in bytes per second; `None`: there is nobody to give way to.
    pub bytes_per_sec: Option<u64>,
    /// What the line is seen to do; `None`: nothing comes, or nothing can be seen.
    pub seen: Option<Seen>,
    /// Bytes come through a proxy on this machine, behind which nothing is seen.
    pub hidden: bool,
}

/// What the task tells: `None` while it is switched off.
pub(super) type Told = Mutex<Option<Courtesy>>;

/// Watches the line whenever the configuration wants it, until the token is cancelled.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut config = shared.config.clone();
    while !stop.is_cancelled() {
        let wanted = config.borrow_and_update().bandwidth.yields;
        tokio::select! {
            () = stop.cancelled() => {}
            Ok(_) = config.wait_for(|config| config.bandwidth.yields != wanted) => {}
            () = watch(&shared), if wanted => {}
        }
        shared.gate.give_way(None);
        *lock(&shared.courtesy) = None;
    }
}

/// Watches the line for ever.
async fn watch(shared: &Shared) {
    let mut line = Line::new();
    loop {
        let told = line.look(shared).await;
        if told.bytes_per_sec.is_some() != line.told.bytes_per_sec.is_some() {
            let (waits_ms, bytes_per_sec) = (told.seen.map(|seen| seen.queueing.as_millis()), told.bytes_per_sec);
            tracing::debug!(
                ?waits_ms,
                ?bytes_per_sec,
                "gives way to others on the line, or does so no more"
            );
        }
        line.told = told;
        shared.gate.give_way(told.bytes_per_sec);
        *lock(&shared.courtesy) = Some(told);
        if told == Courtesy::default() && shared.hub.active_peers() == ActivePeers::default() {
            shared.hub.begins_to_read().await;
        } else if line.trips.values().any(|(trips, _)| trips.is_in_doubt()) {
            sleep(FLIES.1).await;
        } else {
            sleep(FLIES.0).await;
        }
    }
}

/// What is known of the line.
struct Line {
    started: Instant,
    /// By address, and when it was heard of last.
    trips: HashMap<SocketAddr, (RoundTrips, Duration)>,
    controller: Controller,
    /// Bytes that had come at some moments of the last second.
    came: VecDeque<(Duration, u64)>,
    news_at: Duration,
    told: Courtesy,
}

impl Line {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            trips: HashMap::new(),
            controller: Controller::default(),
            came: VecDeque::new(),
            news_at: Duration::ZERO,
            told: Courtesy::default(),
        }
    }

    async fn look(&mut self, shared: &Shared) -> Courtesy {
        let active = shared.hub.active_peers();
        let mut flying: JoinSet<(SocketAddr, Option<Duration>)> = JoinSet::new();
        for peer in active.peers.into_iter().take(ADDRESSES) {
            flying.spawn(async move { (peer, round_trip(peer).await) });
        }
        let mut heard = Vec::new();
        while let Some(landed) = flying.join_next().await {
            match landed {
                Ok((peer, Some(took))) => heard.push((peer, took)),
                Ok((_, None)) => {}
                Err(error) => tracing::error!(%error, "a canary ended badly"),
            }
        }
        let now = self.started.elapsed();
        let rate = self.rate(now, shared.forecasts.received_bytes());
        let seen = self.hear(now, &heard);
        let hidden = active.hidden;
        match seen {
            Some(_) => self.news_at = now,
            None if now.saturating_sub(self.news_at) < NEWS => return Courtesy { hidden, ..self.told },
            None => {}
        }
        Courtesy {
            bytes_per_sec: self.controller.update(now, seen, rate),
            seen,
            hidden,
        }
    }

    /// The worst that was heard.
    fn hear(&mut self, now: Duration, heard: &[(SocketAddr, Duration)]) -> Option<Seen> {
        for (peer, took) in heard {
            let others = self
                .trips
                .iter()
                .filter(|(other, (_, at))| *other != peer && now.saturating_sub(*at) < NEWS);
            let elsewhere = others
                .filter_map(|(_, (trips, _))| trips.queueing())
                .max()
                .unwrap_or_default();
            let (trips, at) = self.trips.entry(*peer).or_default();
            trips.add(now, *took, elsewhere);
            *at = now;
        }
        self.trips.retain(|_, (_, at)| now.saturating_sub(*at) < FORGET);
        let seen = heard.iter().filter_map(|(peer, _)| self.trips.get(peer)?.0.seen(now));
        let worst = seen.max_by(|one, other| one.load().total_cmp(&other.load()))?;
        let stale = heard.iter().any(|(peer, _)| {
            self.trips
                .get(peer)
                .and_then(|(trips, _)| trips.seen(now))
                .is_some_and(|seen| seen.stale)
        });
        Some(Seen { stale, ..worst })
    }

    /// Bytes per second over about the last second.
    fn rate(&mut self, now: Duration, received: u64) -> u64 {
        self.came.push_back((now, received));
        while self.came.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= RATE) {
            self.came.pop_front();
        }
        let Some((then, before)) = self.came.front().copied() else {
            return 0;
        };
        let millis = u64::try_from(now.saturating_sub(then).as_millis()).unwrap_or(u64::MAX);
        received.saturating_sub(before).saturating_mul(1000) / millis.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_address_counts_and_a_new_one_is_not_slow_because_the_line_is() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (near, far, new) = (at("192.0.2.1:443"), at("192.0.2.2:443"), at("192.0.2.3:443"));
        let (second, ms) = (Duration::from_secs, Duration::from_millis);
        let mut line = Line::new();
        assert_eq!(line.hear(second(0), &[]), None);
        for at in 0..3 {
            let seen = line.hear(second(at), &[(near, ms(10)), (far, ms(100))]).unwrap();
            assert_eq!((seen.queueing, seen.stale), (ms(0), at < 2));
        }
        for at in 3..6 {
            line.hear(second(at), &[(near, ms(10)), (far, ms(160))]);
        }
        let seen = line
            .hear(second(6), &[(near, ms(10)), (far, ms(160)), (new, ms(90))])
            .unwrap();
        // The new one may be slow for the same reason.
        assert_eq!((seen.queueing, seen.stale), (ms(60), true));
        assert_eq!(line.trips[&new].0.base(), Some(ms(30)));
        // Forgotten when nothing comes from there any more.
        line.hear(second(6) + FORGET, &[(near, ms(10))]);
        assert_eq!(line.trips.len(), 1);
    }

    #[test]
    fn the_rate_is_of_the_last_second() {
        let mut line = Line::new();
        let ms = Duration::from_millis;
        assert_eq!(line.rate(ms(0), 0), 0);
        assert_eq!(line.rate(ms(500), 1000), 2000);
        assert_eq!(line.rate(ms(1000), 2000), 2000);
        assert_eq!(line.rate(ms(1500), 2000), 1000);
        assert_eq!(line.rate(ms(2000), 2000), 0);
        assert_eq!(line.rate(ms(60_000), 60_000), 1000);
    }
}
