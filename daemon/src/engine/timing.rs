//! When a job may run: its window, and the time it was told to begin at. What holds, and until when, is asked of
//! `sched::calendar`; here is who is asked about, and the waiting.

use std::{collections::HashMap, sync::Mutex};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::sync::Notify;

use super::{clock::Clock, progress::lock};
use crate::{
    config::{Config, parse_period},
    model::{HoldReason, JobId, Pacing, Period},
    sched::calendar::{Opening, window_at},
    store::MoveNote,
};

/// A window that is not known any more is asked for again after this.
const UNKNOWN_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Whether a job may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum May {
    /// It may, until then; `None`: for as long as it takes.
    Run(Option<Timestamp>),
    /// Not before then, for this reason.
    Wait(Timestamp, String),
}

/// The zone whose clock windows and timetables follow.
pub(super) fn zone(config: &Config) -> TimeZone {
    let named = config.bandwidth.timezone.as_deref();
    named
        .and_then(|name| TimeZone::get(name).ok())
        .unwrap_or_else(TimeZone::system)
}

/// The periods that a window's name stands for: those of the configuration, else the name is a period itself.
pub(super) fn periods(config: &Config, window: &str) -> Result<Vec<Period>, String> {
    if let Some(known) = config.windows.get(window) {
        return Ok(known.periods.clone());
    }
    parse_period(window).map(|period| vec![period]).map_err(|bad| {
        if window.contains(':') {
            return bad.to_string();
        }
        let known: Vec<&str> = config.windows.keys().map(String::as_str).collect();
        match known.as_slice() {
            [] => format!("no window `{window}` is configured; write a period such as 23:00-07:00"),
            known => format!(
                "no window `{window}` is configured (there are: {}); a period such as 23:00-07:00 works too",
                known.join(", ")
            ),
        }
    })
}

/// A moment for people, on the clock that counts.
pub(super) fn told(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// Whether a job may run at a moment.
pub(super) fn may_run(config: &Config, pacing: &Pacing, now: Timestamp) -> May {
    let zone = zone(config);
    let begins = |at| May::Wait(at, format!("it begins {}", told(at, &zone)));
    let start_at = pacing.start_at.filter(|at| *at > now);
    let Some(window) = &pacing.window else {
        return start_at.map_or(May::Run(None), begins);
    };
    if let Some(start_at) = start_at {
        // In its window, if that is closed then.
        let opening = periods(config, window).map(|periods| window_at(&periods, &zone, start_at));
        return begins(match opening {
            Ok(Opening::Closed(Some(opens))) => opens,
            _ => start_at,
        });
    }
    let later = || now.saturating_add(UNKNOWN_WINDOW).unwrap_or(Timestamp::MAX);
    match periods(config, window).map(|periods| window_at(&periods, &zone, now)) {
        Ok(Opening::Open(until)) => May::Run(until),
        Ok(Opening::Closed(Some(opens))) => {
            let detail = format!("outside its window {window}, which opens {}", told(opens, &zone));
            May::Wait(opens, detail)
        }
        Ok(Opening::Closed(None)) => May::Wait(later(), format!("its window {window} never opens")),
        Err(why) => May::Wait(later(), why),
    }
}

/// How a job begins whose time has not come.
pub(super) fn untimely(config: &Config, pacing: &Pacing, now: Timestamp) -> Option<(HoldReason, MoveNote)> {
    let May::Wait(until, detail) = may_run(config, pacing, now) else {
        return None;
    };
    let note = MoveNote {
        detail,
        next_attempt_at: Some(until),
        ..MoveNote::default()
    };
    Some((HoldReason::Window, note))
}

/// The jobs that are worked on, and when their windows close.
#[derive(Default)]
pub(super) struct Bells {
    jobs: Mutex<HashMap<JobId, Bell>>,
    changed: Notify,
}

struct Bell {
    pacing: Pacing,
    rings_at: Option<Timestamp>,
}

impl Bells {
    /// A job is worked on, or its times have changed.
    pub(super) fn enter(&self, config: &Config, id: &JobId, pacing: &Pacing, now: Timestamp) {
        let rings_at = rings_at(config, pacing, now);
        let bell = Bell {
            pacing: pacing.clone(),
            rings_at,
        };
        lock(&self.jobs).insert(id.clone(), bell);
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, id: &JobId) {
        lock(&self.jobs).remove(id);
    }

    /// The configuration changed.
    pub(super) fn set_all(&self, config: &Config, now: Timestamp) {
        for bell in lock(&self.jobs).values_mut() {
            bell.rings_at = rings_at(config, &bell.pacing, now);
        }
        self.changed.notify_one();
    }

    /// Resolves with the jobs whose windows have closed; each is told once. Safe to cancel.
    pub(super) async fn rung(&self, clock: &Clock) -> Vec<JobId> {
        loop {
            let now = clock.now();
            let next = {
                let mut jobs = lock(&self.jobs);
                let due = |bell: &Bell| bell.rings_at.is_some_and(|at| at <= now);
                let rung: Vec<JobId> = jobs.extract_if(|_, bell| due(bell)).map(|(id, _)| id).collect();
                if !rung.is_empty() {
                    return rung;
                }
                jobs.values().filter_map(|bell| bell.rings_at).min()
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = clock.reaches_if(next) => {}
            }
        }
    }
}

/// When the window of a running job closes; a closed one has closed now.
fn rings_at(config: &Config, pacing: &Pacing, now: Timestamp) -> Option<Timestamp> {
    match may_run(config, pacing, now) {
        May::Run(until) => until,
        May::Wait(..) => Some(now),
    }
}
