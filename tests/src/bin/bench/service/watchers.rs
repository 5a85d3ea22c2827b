//! Ten thousand watchers: what they cost the daemon, and when the last of them has heard of an event.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use hfetch_proto::v1::{
    WatchRequest, event_service_client::EventServiceClient, job_service_client::JobServiceClient, watch_response::Body,
};
use hfetch_tests::harness::channel_to;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};
use tonic::transport::Channel;

use super::{NO_HUB, Times, mib, ms, pause, submit};
use crate::{daemon::socket, place::Place, report::Figure};

/// Connections, watchers on each, and events that are told to all of them.
const ALL: (usize, usize, usize) = (100, 100, 50);
const QUICK: (usize, usize, usize) = (4, 25, 3);
/// Between two events.
const PAUSE: Duration = Duration::from_millis(200);
/// Nobody waits longer for an event, or for the watchers to be there.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn measure(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (connections, each, events) = if quick { QUICK } else { ALL };
    let all = connections * each;
    let place = Place::new(programs, folder, NO_HUB)?;
    let daemon = place.daemon().await?;
    let socket = socket(place.folder.path());
    let mut jobs = JobServiceClient::new(channel_to(socket.clone()).await?);
    let mut ids = Vec::new();
    for number in 0..events {
        ids.push(submit(&mut jobs, number).await?);
    }
    let before = daemon.memory_bytes();
    let heard = Arc::new(Heard::default());
    let mut watching = JoinSet::new();
    let begun = Instant::now();
    heard.expect("", all);
    for _ in 0..connections {
        let events = EventServiceClient::new(channel_to(socket.clone()).await?);
        for _ in 0..each {
            watching.spawn(watch(events.clone(), heard.clone()));
        }
    }
    heard.by_all(&mut watching).await?;
    let joined = begun.elapsed();
    let with = daemon.memory_bytes();
    let quiet = Duration::from_secs(if quick { 1 } else { 20 });
    let cpu = daemon.cpu_seconds()?;
    sleep(quiet).await;
    let idle = (daemon.cpu_seconds()? - cpu) / quiet.as_secs_f64();
    let cpu = daemon.cpu_seconds()?;
    let mut times = Vec::new();
    for id in ids {
        heard.expect(&id, all);
        pause(&mut jobs, id).await?;
        times.push(heard.by_all(&mut watching).await?);
        sleep(PAUSE).await;
    }
    let times = Times::new(times);
    // Without what they cost at rest.
    #[expect(clippy::cast_precision_loss, reason = "a few events")]
    let events_cpu = (daemon.cpu_seconds()? - cpu) / events as f64;
    let most = daemon.peak_bytes();
    watching.shutdown().await;
    daemon.stop().await?;
    Ok(vec![
        Figure {
            what: format!("memory of hfetchd: without watchers, with {all} on {connections} connections, at most"),
            found: format!("{}, {}, {}", mib(before), mib(with), mib(most)),
            goal: "256 MiB",
        },
        Figure {
            what: format!("from an event's commit until all {all} have it: p50, longest of {events}"),
            found: format!("{}, {}", ms(times.part(50)), ms(times.longest())),
            goal: "500 ms",
        },
        Figure {
            what: "CPU time of hfetchd for one event to all; its share of a processor while nothing happens".to_owned(),
            found: format!("{events_cpu:.3} s, {:.1} %", idle * 100.0),
            goal: "",
        },
        Figure {
            what: format!("until all {all} had joined"),
            found: ms(joined),
            goal: "",
        },
    ])
}

/// One watcher, as long as it hears.
async fn watch(mut events: EventServiceClient<Channel>, heard: Arc<Heard>) -> anyhow::Result<()> {
    let mut stream = events.watch(WatchRequest::default()).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.body {
            Some(Body::Ready(_)) => heard.hear("", SystemTime::now()),
            Some(Body::Event(event)) => {
                let time = event.time.context("an event without a time")?;
                heard.hear(&event.job_id, SystemTime::try_from(time)?);
            }
            _ => {}
        }
    }
    bail!("a watch ended")
}

/// Who has heard of what all wait for.
#[derive(Default)]
struct Heard {
    state: Mutex<State>,
    all: Notify,
}

#[derive(Default)]
struct State {
    /// A job; empty: that the watch has begun.
    of: String,
    left: usize,
    took: Duration,
}

impl Heard {
    /// So many watchers are to hear of this.
    fn expect(&self, of: &str, all: usize) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State {
            of: of.to_owned(),
            left: all,
            took: Duration::ZERO,
        };
    }

    /// One of them has heard of something that was written at this time, before its commit.
    fn hear(&self, of: &str, at: SystemTime) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.of != of || state.left == 0 {
            return;
        }
        state.left -= 1;
        if state.left == 0 {
            state.took = at.elapsed().unwrap_or_default();
            self.all.notify_one();
        }
    }

    /// When the last one had heard it.
    async fn by_all(&self, watching: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<Duration> {
        tokio::select! {
            told = timeout(LIMIT, self.all.notified()) => {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if told.is_err() {
                    bail!("{} watchers have not heard of {:?}", state.left, state.of);
                }
                Ok(state.took)
            }
            Some(ended) = watching.join_next() => {
                ended??;
                bail!("a watcher left")
            }
        }
    }
}
