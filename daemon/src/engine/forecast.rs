//! When jobs will be ready: asked once at the submit, and kept current for jobs that have to be ready by a time. What is
//! foreseen is `sched::forecast`'s; here is what it is told, and who hears of it.

mod scene;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::scene::Scene;
use super::{
    Engine,
    progress::lock,
    shared::{Shared, blocking},
};
use crate::{
    model::{Job, JobId},
    sched::rate::Goodput,
    store::StoreError,
};

/// Forecasts are brought up to date so often.
const LOOK: Duration = Duration::from_secs(2);
/// They take no more than a tenth of a core.
const RESTS: u32 = 9;
/// What the line was measured to bring is kept so often.
const KEEP: Duration = Duration::from_secs(60);
/// A job that is late already and slips by more is told again; or by a tenth of the time that is left.
const SLIPS: SignedDuration = SignedDuration::from_mins(10);

/// What is foreseen for a job that has to be ready by a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// When it will be ready; `None`: nobody knows, or never.
    pub ready_at: Option<Timestamp>,
    /// It will not be ready in time, as far as anybody knows.
    pub late: bool,
    /// For people.
    pub text: String,
}

/// What was foreseen last, and how fast the line is.
#[derive(Debug)]
pub(super) struct Forecasts {
    told: Mutex<HashMap<JobId, Forecast>>,
    goodput: Mutex<Goodput>,
    started: Instant,
    /// Bytes of files that all jobs received.
    received: AtomicU64,
}

impl Default for Forecasts {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Forecasts {
    /// With what was measured before.
    pub(super) fn new(goodput: Option<u64>) -> Self {
        Self {
            told: Mutex::default(),
            goodput: Mutex::new(Goodput::known(goodput)),
            started: Instant::now(),
            received: AtomicU64::new(0),
        }
    }

    /// Bytes of a file came.
    pub(super) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Takes a sample, to be done now and then while a job is active; with whether something but the line may hold it.
    pub(super) fn sample(&self, held_by_us: bool) {
        let received = self.received.load(Relaxed);
        lock(&self.goodput).sample(self.started.elapsed(), received, held_by_us);
    }

    fn goodput(&self) -> Option<u64> {
        lock(&self.goodput).bytes_per_sec()
    }
}

/// What is foreseen at this moment, and which it is. It may take longer than anybody else on this thread can wait.
async fn foreseen(
    shared: &Arc<Shared>,
    only: Option<JobId>,
) -> Result<(Vec<(JobId, Forecast)>, Timestamp), StoreError> {
    let jobs = shared.store.open_jobs().await?;
    let shared = shared.clone();
    Ok(blocking(move || {
        let scene = Scene::now(&shared, jobs);
        (scene.foresee(only.as_ref()), scene.now)
    })
    .await)
}

/// Brings the forecasts up to date, and tells of those that slip.
async fn look(shared: &Arc<Shared>) -> Result<(), StoreError> {
    // What is told of jobs that come meanwhile stays.
    let known: HashSet<JobId> = lock(&shared.forecasts.told).keys().cloned().collect();
    let (foreseen, at) = foreseen(shared, None).await?;
    let mut news = Vec::new();
    {
        let mut told = lock(&shared.forecasts.told);
        let mut old: HashMap<JobId, Forecast> = told.extract_if(|id, _| known.contains(id)).collect();
        for (id, now) in foreseen {
            let before = old.remove(&id);
            if let Some(word) = before.as_ref().and_then(|before| slipped(before, &now, at)) {
                news.push((id.clone(), format!("{word}: {}", now.text)));
            }
            // What was told stays the measure until something is told again.
            let kept = match before {
                Some(before) if before.late == now.late && slipped(&before, &now, at).is_none() && before.late => {
                    Forecast {
                        ready_at: before.ready_at,
                        ..now
                    }
                }
                _ => now,
            };
            told.insert(id, kept);
        }
    }
    // Afterwards: who hears of it and looks sees the same.
    for (id, text) in news {
        shared.store.warn(&id, String::new(), text).await?;
    }
    Ok(())
}

/// What is to be told of a change, if anything.
fn slipped(before: &Forecast, now: &Forecast, at: Timestamp) -> Option<&'static str> {
    match (before.late, now.late) {
        (false, true) => Some("it slips"),
        (true, false) => Some("it is in time again"),
        (false, false) => None,
        (true, true) => {
            let (Some(then), Some(now)) = (before.ready_at, now.ready_at) else {
                return (before.ready_at.is_some() && now.ready_at.is_none()).then_some("it slips");
            };
            let tenth = now.duration_since(at) / 10;
            (now.duration_since(then) > SLIPS.max(tenth)).then_some("it slips further")
        }
    }
}

/// Keeps forecasts current until the token is cancelled.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = (Instant::now(), shared.forecasts.goodput());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let began = Instant::now();
        let looked = match shared.store.have_deadlines().await {
            Ok(true) => look(&shared).await,
            Ok(false) => {
                lock(&shared.forecasts.told).clear();
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            tracing::warn!(%error, "forecasts cannot be made");
        }
        ticks.reset_after(LOOK.max(began.elapsed() * RESTS));
        let goodput = shared.forecasts.goodput();
        if kept.1 != goodput && (kept.1.is_none() || kept.0.elapsed() > KEEP) {
            kept = (Instant::now(), goodput);
            if let Err(error) = shared.store.keep_goodput(goodput).await {
                tracing::debug!(%error, "what was measured is not kept");
            }
        }
    }
}

impl Engine {
    /// What is foreseen for a job that has to be ready by a time.
    pub fn forecast(&self, id: &JobId) -> Option<Forecast> {
        lock(&self.shared.forecasts.told).get(id).cloned()
    }

    /// The same, made at this moment.
    pub(super) async fn foresee(&self, job: &Job) -> Result<Option<Forecast>, StoreError> {
        if job.spec.pacing.ready_by.is_none() {
            return Ok(None);
        }
        let (foreseen, _) = foreseen(&self.shared, Some(job.id.clone())).await?;
        let forecast = foreseen.into_iter().next().map(|(_, forecast)| forecast);
        if let Some(forecast) = &forecast {
            lock(&self.shared.forecasts.told).insert(job.id.clone(), forecast.clone());
        }
        Ok(forecast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slips_is_told_once() {
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let forecast = |ready: Option<i64>, late| Forecast {
            ready_at: ready.map(at),
            late,
            text: String::new(),
        };
        for (before, now, told) in [
            ((Some(60), false), (Some(61), false), None),
            ((Some(60), false), (Some(90), true), Some("it slips")),
            ((Some(90), true), (Some(95), true), None),
            ((Some(90), true), (Some(101), true), Some("it slips further")),
            // Of much time, a little more is nothing.
            ((Some(900), true), (Some(950), true), None),
            ((Some(900), true), (Some(1100), true), Some("it slips further")),
            ((Some(900), true), (None, true), Some("it slips")),
            ((Some(900), true), (Some(60), false), Some("it is in time again")),
            ((None, false), (None, true), Some("it slips")),
        ] {
            let (before, now) = (forecast(before.0, before.1), forecast(now.0, now.1));
            assert_eq!(slipped(&before, &now, at(0)), told, "{before:?} {now:?}");
        }
    }
}
