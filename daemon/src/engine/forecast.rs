//! When jobs will be ready: asked once at the submit, and kept current for jobs that have to be ready by a time. What is
//! foreseen is `sched::forecast`'s; here is what it is told, and who hears of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Engine, limits, progress::lock, shared::Shared, timing};
use crate::{
    config::Config,
    model::{HoldReason, Job, JobId, JobState, Limit, Priority},
    sched::{
        forecast::{Load, Outlook, Road, forecast},
        rate::Goodput,
    },
    store::StoreError,
};

/// Forecasts are brought up to date so often.
const LOOK: Duration = Duration::from_secs(2);
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

/// What could be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Help {
    NoWindow,
    HighPriority,
    NoOwnLimit,
    NoGlobalLimit,
}

impl Help {
    const ALL: [Self; 4] = [
        Self::HighPriority,
        Self::NoOwnLimit,
        Self::NoWindow,
        Self::NoGlobalLimit,
    ];

    fn told(self, id: &JobId) -> String {
        match self {
            Self::NoWindow => format!("outside its window (`hfctl set {id} --window off`)"),
            Self::HighPriority => format!("before your other jobs (`hfctl set {id} --priority high`)"),
            Self::NoOwnLimit => format!("without its own limit (`hfctl set {id} --limit off`)"),
            Self::NoGlobalLimit => "without the global limit (`hfctl limit off`, for operators)".to_owned(),
        }
    }

    /// Whether there is anything to change.
    fn applies(self, load: &Load, others: usize, limited: bool) -> bool {
        match self {
            Self::NoWindow => load.periods.is_some(),
            Self::HighPriority => load.priority != Priority::High && others > 0,
            Self::NoOwnLimit => load.limit.is_some(),
            Self::NoGlobalLimit => limited,
        }
    }
}

/// All that a forecast needs at one moment.
struct Scene {
    config: Arc<Config>,
    now: Timestamp,
    limit: Limit,
    until: Option<(Option<u64>, Timestamp)>,
    goodput: Option<u64>,
    jobs: Vec<Job>,
    loads: Vec<Load>,
    /// Jobs whose size nobody knows yet.
    unknown: usize,
}

impl Scene {
    async fn now(shared: &Shared) -> Result<Self, StoreError> {
        let (config, now) = (shared.config(), shared.clock.now());
        let jobs = shared.store.open_jobs().await?;
        let loads = jobs.iter().map(|job| load(shared, &config, job)).collect();
        let unknown = jobs
            .iter()
            .filter(|job| job.commit.is_none() && job.bytes_expected == 0);
        let (limit, until) = limits::lasting(shared, &config, now);
        Ok(Self {
            now,
            limit,
            until,
            goodput: shared.forecasts.goodput(),
            unknown: unknown.count(),
            loads,
            config,
            jobs,
        })
    }

    fn outlook(&self, number: usize, help: Option<Help>) -> Outlook {
        let (zone, off) = (timing::zone(&self.config), Limit::Off);
        let lifted = help == Some(Help::NoGlobalLimit);
        let road = Road {
            goodput: self.goodput,
            limit: if lifted { &off } else { &self.limit },
            until: self.until.filter(|_| !lifted),
            zone: &zone,
            most_at_once: self.config.transfer.max_active_jobs as usize,
        };
        let mut queue = self.loads.clone();
        let load = &mut queue[number];
        match help {
            Some(Help::NoWindow) => load.periods = None,
            Some(Help::HighPriority) => load.priority = Priority::High,
            Some(Help::NoOwnLimit) => load.limit = None,
            Some(Help::NoGlobalLimit) | None => {}
        }
        // As the queue is read: higher priority first, then the older one.
        let mut order: Vec<usize> = (0..queue.len()).collect();
        order.sort_by_key(|at| (std::cmp::Reverse(queue[*at].priority), *at));
        let place = order.iter().position(|at| *at == number).unwrap_or(number);
        let queue: Vec<Load> = order.into_iter().map(|at| queue[at].clone()).collect();
        forecast(&road, &queue, place, self.now)
    }

    fn foresee(&self, number: usize, deadline: Timestamp) -> Forecast {
        let (job, zone) = (&self.jobs[number], timing::zone(&self.config));
        let outlook = self.outlook(number, None);
        let by = timing::told(deadline, &zone);
        if job.commit.is_none() && job.bytes_expected == 0 {
            return Forecast {
                ready_at: None,
                late: false,
                text: format!("whether it will be ready by {by} is told once its files are listed"),
            };
        }
        let late = !outlook.is_by(deadline) && outlook != Outlook::Unknown;
        let mut text = match outlook {
            Outlook::Ready(at) if late => format!("not ready by {by}, but {}", timing::told(at, &zone)),
            Outlook::Ready(at) => format!("ready {}, in time for {by}", timing::told(at, &zone)),
            Outlook::Never => format!("not ready by {by}, nor within a year"),
            Outlook::Unknown => format!("whether it will be ready by {by} is not known: nothing was measured yet"),
        };
        if late {
            let limited = self.limit != Limit::Off || self.until.is_some();
            let helps = Help::ALL.into_iter().filter(|help| {
                help.applies(&self.loads[number], self.jobs.len() - 1, limited)
                    && self.outlook(number, Some(*help)).is_by(deadline)
            });
            let helps: Vec<String> = helps.map(|help| help.told(&job.id)).collect();
            text.push_str(&match helps.as_slice() {
                [] => "; no single change of priority, limit or window makes it ready in time".to_owned(),
                helps => format!("; in time {}", helps.join(", or ")),
            });
        }
        if self.unknown > 0 {
            text.push_str(&format!("; {} jobs are not listed yet and not counted", self.unknown));
        }
        Forecast {
            ready_at: match outlook {
                Outlook::Ready(at) => Some(at),
                Outlook::Never | Outlook::Unknown => None,
            },
            late,
            text,
        }
    }
}

fn load(shared: &Shared, config: &Config, job: &Job) -> Load {
    let live = shared.board.read(&job.id);
    let here = live.map_or(job.bytes_done + job.bytes_partial, |live| live.bytes_done);
    let left_bytes = match job.commit {
        Some(_) => job.bytes_total.saturating_sub(here),
        None => job.bytes_expected,
    };
    let pacing = &job.spec.pacing;
    let window = pacing.window.as_deref();
    // A hold for another reason than its window ends when it is tried again.
    let held = job.state == JobState::Held && job.hold_reason != Some(HoldReason::Window);
    let window_limit = window.and_then(|name| config.windows.get(name)?.limit);
    Load {
        user: job.owner.uid,
        weight: config.users.of(&job.owner.user).weight,
        priority: job.spec.priority,
        left_bytes,
        limit: [pacing.limit, window_limit].into_iter().flatten().min(),
        periods: window.and_then(|name| timing::periods(config, name).ok()),
        not_before: pacing.start_at.max(job.next_attempt_at.filter(|_| held)),
    }
}

/// Brings the forecasts up to date, and tells of those that slip.
async fn look(shared: &Shared) -> Result<(), StoreError> {
    let scene = Scene::now(shared).await?;
    let wanted = scene.jobs.iter().enumerate();
    let wanted: Vec<(usize, Timestamp)> = wanted
        .filter_map(|(number, job)| Some((number, job.spec.pacing.ready_by?)))
        .collect();
    let (mut fresh, mut news) = (HashMap::new(), Vec::new());
    for (number, deadline) in wanted {
        let id = scene.jobs[number].id.clone();
        let now = scene.foresee(number, deadline);
        let before = lock(&shared.forecasts.told).get(&id).cloned();
        if let Some(word) = before.as_ref().and_then(|before| slipped(before, &now, scene.now)) {
            news.push((id.clone(), format!("{word}: {}", now.text)));
        }
        // What was told stays the measure until something is told again.
        let kept = match before {
            Some(before) if before.late == now.late && slipped(&before, &now, scene.now).is_none() && before.late => {
                Forecast {
                    ready_at: before.ready_at,
                    ..now
                }
            }
            _ => now,
        };
        fresh.insert(id, kept);
    }
    *lock(&shared.forecasts.told) = fresh;
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
        let Some(deadline) = job.spec.pacing.ready_by else {
            return Ok(None);
        };
        let scene = Scene::now(&self.shared).await?;
        let number = scene.jobs.iter().position(|known| known.id == job.id);
        let forecast = number.map(|number| scene.foresee(number, deadline));
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
