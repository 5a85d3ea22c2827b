//! The limits in force: the configuration's, or what a user set in its place; by the time of the week. Keeps the gate told.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    courtesy::Courtesy,
    error::CallError,
    gate::{Rates, endpoint_cap, window_cap},
    progress::lock,
    shared::Shared,
    timing,
};
use crate::{
    config::{Config, parse_limit},
    model::{Job, JobChange, JobId, Limit, Pacing, Priority, SetLimit, SetLimits},
    sched::calendar::{InForce, Opening, limit_at, window_at},
    store::{Scope, StoreError},
};

/// After a failure of the store it is tried again.
const STORE_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// What was set in place of the configured limit.
#[derive(Default)]
pub(super) struct Limits {
    set: Mutex<SetLimits>,
    changed: Notify,
    /// Held by who sets them.
    setting: AsyncMutex<()>,
}

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// The configuration.
    Config,
    /// Somebody set it.
    Set,
}

/// The global limit and why it is so.
#[derive(Debug, Clone)]
pub struct GlobalLimit {
    /// What holds now, and the next change by the timetable.
    pub in_force: InForce,
    /// As it was written; empty for the configuration's.
    pub text: String,
    /// Where it comes from.
    pub source: LimitSource,
    /// When what was set ends, and what was before holds again.
    pub until: Option<Timestamp>,
    /// Bytes per second of all jobs over the last seconds.
    pub bytes_per_sec: u64,
    /// How we give way to others on the line; `None`: we do not.
    pub courtesy: Option<Courtesy>,
}

/// A configured window, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowView {
    /// Its name.
    pub name: String,
    /// Whether it is open, and until when it stays so.
    pub opening: Opening,
    /// Bytes per second of all its jobs together; `None`: no limit.
    pub bytes_per_sec: Option<u64>,
}

/// What to do with the global limit.
#[derive(Debug, Clone)]
pub enum LimitWish {
    /// Back to the configuration.
    Reset,
    /// A rate, a timetable or `off`; with a duration in seconds, what holds now holds again afterwards.
    Set(String, Option<u64>),
}

impl Limits {
    pub(super) fn new(set: SetLimits) -> Self {
        Self {
            set: Mutex::new(set),
            changed: Notify::new(),
            setting: AsyncMutex::new(()),
        }
    }

    /// What was set and has not ended.
    fn current(&self, now: Timestamp) -> Option<SetLimit> {
        let set = lock(&self.set);
        let temporary = set
            .temporary
            .as_ref()
            .filter(|set| set.until.is_some_and(|until| until > now));
        temporary.or(set.lasting.as_ref()).cloned()
    }
}

/// The global limit for good, and what holds in its place until a moment.
pub(super) fn lasting(shared: &Shared, config: &Config, now: Timestamp) -> (Limit, Option<(Option<u64>, Timestamp)>) {
    let set = lock(&shared.limits.set);
    let read = |set: &Option<SetLimit>| {
        set.as_ref()
            .and_then(|set| Some((parse_limit(&set.text).ok()?, set.until)))
    };
    let lasting = read(&set.lasting).map_or_else(|| config.bandwidth.limit.clone(), |(limit, _)| limit);
    let temporary = read(&set.temporary).and_then(|(limit, until)| {
        let in_force = limit_at(&limit, &timing::zone(config), now);
        Some((in_force.bytes_per_sec, until.filter(|until| *until > now)?))
    });
    (lasting, temporary)
}

/// The global limit at a moment.
fn global(limits: &Limits, config: &Config, now: Timestamp) -> GlobalLimit {
    let zone = timing::zone(config);
    let set = limits.current(now);
    // It was read when it was set; a later version may read it otherwise.
    let parsed = set.as_ref().and_then(|set| match parse_limit(&set.text) {
        Ok(limit) => Some(limit),
        Err(bad) => {
            tracing::error!(text = set.text, %bad, "a limit that was set cannot be read; the configured one holds");
            None
        }
    });
    let (limit, source, set) = match parsed {
        Some(limit) => (limit, LimitSource::Set, set),
        None => (config.bandwidth.limit.clone(), LimitSource::Config, None),
    };
    GlobalLimit {
        in_force: limit_at(&limit, &zone, now),
        source,
        until: set.as_ref().and_then(|set| set.until),
        text: set.map(|set| set.text).unwrap_or_default(),
        bytes_per_sec: 0,
        courtesy: None,
    }
}

/// Tells the gate what holds now; gives the next moment at which something else does.
fn apply(shared: &Shared) -> Option<Timestamp> {
    let (config, now) = (shared.config(), shared.clock.now());
    let zone = timing::zone(&config);
    let all = global(&shared.limits, &config, now);
    let mut rates = Rates {
        all: all.in_force.bytes_per_sec,
        ..Rates::default()
    };
    let mut edges: Vec<Timestamp> = all.until.into_iter().collect();
    edges.extend(all.in_force.next.map(|(at, _)| at));
    for endpoint in &config.endpoints {
        let limit = limit_at(&endpoint.limit, &zone, now);
        edges.extend(limit.next.map(|(at, _)| at));
        if let Some(rate) = limit.bytes_per_sec {
            rates
                .across
                .insert(endpoint_cap(&endpoint.url.origin().ascii_serialization()), rate);
        }
    }
    for (name, window) in &config.windows {
        if let Some(rate) = window.limit {
            rates.across.insert(window_cap(name), rate);
        }
    }
    tracing::debug!(?rates, "limits");
    shared.gate.set_rates(&rates, |user| config.users.of(user).weight);
    shared.sources.bound_all(|user| config.users.of(user).max_connections);
    edges.into_iter().min()
}

/// Keeps the gate told until the token is cancelled.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut config = shared.config.clone();
    // What was set before this task began counts from its first look.
    config.mark_unchanged();
    let mut retry: Option<Timestamp> = None;
    loop {
        let next = apply(&shared);
        let wake = [next, retry].into_iter().flatten().min();
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.limits.changed.notified() => {}
            () = shared.clock.reaches_if(wake) => {}
            Ok(()) = config.changed() => {
                shared.bells.set_all(&shared.config(), shared.clock.now());
                retry = Some(shared.clock.now());
            }
        }
        if retry.take().is_some()
            && let Err(error) = shared.store.requeue_timed().await
        {
            tracing::error!(%error, "jobs that wait for a window cannot be queued");
            retry = shared.clock.now().checked_add(STORE_RETRY).ok();
        }
    }
}

/// A rate, or `off`, as people write it.
fn parse_rate(field: &'static str, text: &str) -> Result<Option<u64>, CallError> {
    match parse_limit(text).map_err(|bad| CallError::invalid(field, bad))? {
        Limit::Off => Ok(None),
        Limit::Rate(rate) => Ok(Some(rate)),
        Limit::Timetable(_) => Err(CallError::invalid(
            field,
            "a job has one rate, such as 5MiB/s; timetables are for `hfctl limit` and windows",
        )),
    }
}

/// How fast and when; empty means not said.
pub(super) fn pacing(
    config: &Config,
    limit: &str,
    window: String,
    (start_at, ready_by): (Option<Timestamp>, Option<Timestamp>),
) -> Result<Pacing, CallError> {
    if !window.is_empty() {
        timing::periods(config, &window).map_err(|why| CallError::invalid("window", why))?;
    }
    Ok(Pacing {
        limit: if limit.is_empty() {
            None
        } else {
            parse_rate("limit", limit)?
        },
        window: (!window.is_empty()).then_some(window),
        start_at,
        ready_by,
    })
}

/// A change of jobs as it came; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct JobWish {
    /// Its place among the jobs of its user.
    pub priority: Option<Priority>,
    /// A rate, or `off`.
    pub limit: Option<String>,
    /// The name of a window, a period, or `off`.
    pub window: Option<String>,
}

impl JobWish {
    /// The checked change, and what its event says.
    fn check(&self, config: &Config) -> Result<(JobChange, String), CallError> {
        let mut told = Vec::new();
        let limit = match &self.limit {
            None => None,
            Some(text) => Some(parse_rate("limit", text)?),
        };
        let window = match self.window.as_deref() {
            None => None,
            Some("off") => Some(None),
            Some(window) => {
                timing::periods(config, window).map_err(|why| CallError::invalid("window", why))?;
                Some(Some(window.to_owned()))
            }
        };
        told.extend(self.priority.map(|priority| format!("priority {}", priority.as_str())));
        told.extend(self.limit.as_ref().map(|limit| format!("limit {limit}")));
        told.extend(self.window.as_ref().map(|window| format!("window {window}")));
        if told.is_empty() {
            return Err(CallError::invalid("change", "says nothing to change"));
        }
        let change = JobChange {
            priority: self.priority,
            limit,
            window,
        };
        Ok((change, told.join(", ")))
    }
}

impl Engine {
    /// The global limit in force.
    pub fn limit(&self) -> GlobalLimit {
        let shared = &self.shared;
        GlobalLimit {
            bytes_per_sec: self.bytes_per_sec(),
            courtesy: *lock(&shared.courtesy),
            ..global(&shared.limits, &shared.config(), shared.clock.now())
        }
    }

    /// The windows of the configuration, by name.
    pub fn windows(&self) -> Vec<WindowView> {
        let (config, now) = (self.config(), self.shared.clock.now());
        let zone = timing::zone(&config);
        let windows = config.windows.iter().map(|(name, window)| WindowView {
            name: name.clone(),
            opening: window_at(&window.periods, &zone, now),
            bytes_per_sec: window.limit,
        });
        windows.collect()
    }

    /// Sets the global limit, in force at once and over restarts.
    ///
    /// # Errors
    /// With the place of a mistake, or when it cannot be stored.
    pub async fn set_limit(&self, wish: LimitWish) -> Result<GlobalLimit, CallError> {
        let shared = &self.shared;
        // From what is in force to what is: two that come together would leave one stored and the other in force.
        let _alone = shared.limits.setting.lock().await;
        let mut set = match wish {
            LimitWish::Reset => SetLimits::default(),
            LimitWish::Set(text, seconds) => {
                parse_limit(&text).map_err(|bad| CallError::invalid("limit", bad))?;
                let until = seconds.map(|seconds| until(shared.clock.now(), seconds)).transpose()?;
                let limit = SetLimit { text, until };
                match until {
                    Some(_) => SetLimits {
                        lasting: lock(&shared.limits.set).lasting.clone(),
                        temporary: Some(limit),
                    },
                    None => SetLimits {
                        lasting: Some(limit),
                        temporary: None,
                    },
                }
            }
        };
        shared.store.keep_limits(set.clone()).await?;
        std::mem::swap(&mut *lock(&shared.limits.set), &mut set);
        // The task that keeps the gate told would do it in a moment; the answer should mean that it is done.
        apply(shared);
        shared.limits.changed.notify_one();
        let limit = self.limit();
        tracing::info!(bytes_per_sec = ?limit.in_force.bytes_per_sec, text = limit.text, "the global limit was set");
        Ok(limit)
    }

    /// Checks a change of jobs.
    ///
    /// # Errors
    /// With the field that is wrong.
    pub fn check_job_wish(&self, wish: &JobWish) -> Result<(), CallError> {
        wish.check(&self.config()).map(|_| ())
    }

    /// Changes an open job; in force at once.
    ///
    /// # Errors
    /// When there is no such job, it has ended, or a field is wrong.
    pub async fn change_job(&self, scope: Scope, id: &JobId, wish: &JobWish) -> Result<Job, CallError> {
        let (change, told) = wish.check(&self.config())?;
        Ok(self.shared.store.change_job(scope, id, change, told).await?)
    }
}

fn until(now: Timestamp, seconds: u64) -> Result<Timestamp, CallError> {
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    seconds
        .and_then(|seconds| now.checked_add(SignedDuration::from_secs(seconds)).ok())
        .ok_or_else(|| CallError::invalid("for_sec", "must be at least one second, and within this millennium"))
}

/// What was set, as it is stored.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn stored(store: &crate::store::Store) -> Result<Limits, StoreError> {
    store.set_limits().await.map(Limits::new)
}
