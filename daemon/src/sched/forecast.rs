//! When downloads will be done, when nothing but time passes: what the line brings, shared as the allocator shares it, within
//! limits and windows. Pure: the moment and the zone are parameters.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::calendar::{Opening, limit_at, window_at};
use crate::model::{Limit, Period, Priority};

/// What a step of the calculation may be at most: more of them tell nothing that anybody would wait for.
const STEPS: usize = 20_000;
/// What is not done by then is not foreseen.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 400);
/// As the allocator has it: each priority gets nine times the next lower one.
const PRIORITY_RATIO: f64 = 9.0;

/// What holds for all jobs.
#[derive(Debug, Clone)]
pub struct Road<'a> {
    /// Bytes per second that the line was measured to bring; `None`: it was not measured yet.
    pub goodput: Option<u64>,
    /// The global limit.
    pub limit: &'a Limit,
    /// A limit that holds in its place until a moment.
    pub until: Option<(Option<u64>, Timestamp)>,
    /// The zone whose clock counts.
    pub zone: &'a TimeZone,
    /// Jobs at a time.
    pub most_at_once: usize,
}

/// What is left of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Whose.
    pub user: u32,
    /// The user's share.
    pub weight: u32,
    /// Its place among the user's jobs.
    pub priority: Priority,
    /// Bytes that are still to come.
    pub left_bytes: u64,
    /// Its own limit in bytes per second.
    pub limit: Option<u64>,
    /// When it may run; `None`: at any time.
    pub periods: Option<Vec<Period>>,
    /// It does nothing before.
    pub not_before: Option<Timestamp>,
}

/// What is foreseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Ready then.
    Ready(Timestamp),
    /// Not within a year, as things are.
    Never,
    /// Nobody knows how fast the line is.
    Unknown,
}

impl Outlook {
    /// Ready by a moment.
    pub fn is_by(self, deadline: Timestamp) -> bool {
        matches!(self, Self::Ready(at) if at <= deadline)
    }
}

/// Whether a job may run, and until or from when.
enum Gate {
    Open(Option<Timestamp>),
    Shut(Option<Timestamp>),
}

/// The windows of some jobs: many have the same, and each is looked up again only when it opens or closes.
struct Windows<'a> {
    /// By job: which of `all`.
    of: Vec<Option<usize>>,
    all: Vec<Window<'a>>,
}

struct Window<'a> {
    periods: &'a [Period],
    known: Option<Opening>,
}

impl<'a> Windows<'a> {
    fn new(queue: &'a [Load]) -> Self {
        let mut numbers: HashMap<&[Period], usize> = HashMap::new();
        let mut all = Vec::new();
        let mut number_of = |periods: &'a [Period]| {
            *numbers.entry(periods).or_insert_with(|| {
                all.push(Window { periods, known: None });
                all.len() - 1
            })
        };
        let of = queue
            .iter()
            .map(|load| load.periods.as_deref().map(&mut number_of))
            .collect();
        Self { of, all }
    }

    /// Whether a job may run at a moment that is not before those that were asked for.
    fn gate(&mut self, number: usize, load: &Load, zone: &TimeZone, now: Timestamp) -> Gate {
        if let Some(at) = load.not_before.filter(|at| *at > now) {
            return Gate::Shut(Some(at));
        }
        let Some(window) = self.of[number].and_then(|window| self.all.get_mut(window)) else {
            return Gate::Open(None);
        };
        let holds = |opening: &Opening| match opening {
            Opening::Open(edge) | Opening::Closed(edge) => edge.is_none_or(|edge| now < edge),
        };
        let opening = match window.known.filter(holds) {
            Some(known) => known,
            None => *window.known.insert(window_at(window.periods, zone, now)),
        };
        match opening {
            Opening::Open(until) => Gate::Open(until),
            Opening::Closed(opens) => Gate::Shut(opens),
        }
    }
}

/// What may come in a second, and when that changes; `None`: without bound.
fn capacity(road: &Road<'_>, now: Timestamp) -> (Option<f64>, Option<Timestamp>) {
    let (limit, next) = match road.until {
        Some((limit, until)) if until > now => (limit, Some(until)),
        _ => {
            let in_force = limit_at(road.limit, road.zone, now);
            (in_force.bytes_per_sec, in_force.next.map(|(at, _)| at))
        }
    };
    let least = [limit, road.goodput].into_iter().flatten().min();
    (least.map(float), next)
}

#[expect(clippy::cast_precision_loss, reason = "a forecast is no account")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// Shares a rate by weights; who has a lower bound leaves the rest to the others.
fn share(rate: f64, claims: &[(f64, f64)]) -> Vec<f64> {
    let mut shares = vec![0.0; claims.len()];
    let mut open: Vec<usize> = (0..claims.len()).collect();
    let mut left = rate;
    while !open.is_empty() {
        let weights: f64 = open.iter().map(|at| claims[*at].0).sum();
        let bound = |at: &usize| claims[*at].1 < left * claims[*at].0 / weights;
        let (bounded, free): (Vec<usize>, Vec<usize>) = open.iter().partition(|at| bound(at));
        if bounded.is_empty() {
            for at in free {
                shares[at] = if left.is_infinite() {
                    claims[at].1
                } else {
                    left * claims[at].0 / weights
                };
            }
            break;
        }
        for at in bounded {
            shares[at] = claims[at].1;
            left -= claims[at].1;
        }
        open = free;
    }
    shares
}

/// Bytes per second of some running jobs: users by weight, of a user's jobs by priority, of equals the same.
fn rates(running: &[&Load], capacity: Option<f64>) -> Vec<f64> {
    let all = capacity.unwrap_or(f64::INFINITY);
    let bound = |load: &Load| load.limit.map_or(f64::INFINITY, float).min(all);
    let mut users: Vec<u32> = running.iter().map(|load| load.user).collect();
    users.sort_unstable();
    users.dedup();
    let of = |user: u32| running.iter().enumerate().filter(move |(_, load)| load.user == user);
    let claims: Vec<(f64, f64)> = users
        .iter()
        .map(|user| {
            let weight = of(*user)
                .map(|(_, load)| f64::from(load.weight.max(1)))
                .fold(1.0, f64::max);
            (weight, of(*user).map(|(_, load)| bound(load)).sum())
        })
        .collect();
    let mut rates = vec![0.0; running.len()];
    for (user, rate) in users.iter().zip(share(all, &claims)) {
        let jobs: Vec<(usize, &&Load)> = of(*user).collect();
        let count = |priority| jobs.iter().filter(|(_, load)| load.priority == priority).count();
        let claims: Vec<(f64, f64)> = jobs
            .iter()
            .map(|(_, load)| {
                let class = PRIORITY_RATIO.powi(load.priority as i32);
                let equals = u32::try_from(count(load.priority)).unwrap_or(u32::MAX);
                (class / f64::from(equals.max(1)), bound(load))
            })
            .collect();
        for ((at, _), rate) in jobs.iter().zip(share(rate, &claims)) {
            rates[*at] = rate;
        }
    }
    rates
}

/// When the job with this number in the queue will be done. The queue is in the order in which jobs are begun.
pub fn forecast(road: &Road<'_>, queue: &[Load], wanted: usize, now: Timestamp) -> Outlook {
    let outlooks = run(road, queue, Some(wanted), now);
    outlooks.get(wanted).copied().unwrap_or(Outlook::Never)
}

/// When each job of the queue will be done: as much work as for the last one alone.
pub fn forecast_all(road: &Road<'_>, queue: &[Load], now: Timestamp) -> Vec<Outlook> {
    run(road, queue, None, now)
}

/// Until one job is done, or all are.
fn run(road: &Road<'_>, queue: &[Load], wanted: Option<usize>, now: Timestamp) -> Vec<Outlook> {
    let mut outlooks = vec![Outlook::Never; queue.len()];
    let mut windows = Windows::new(queue);
    let mut left: Vec<f64> = queue.iter().map(|load| float(load.left_bytes)).collect();
    let mut open: Vec<usize> = (0..queue.len()).collect();
    let mut at = now;
    let end = now.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
    let (mut most, mut changes) = capacity(road, at);
    for _ in 0..STEPS {
        let mut next: Option<Timestamp> = None;
        let mut sooner = |candidate: Option<Timestamp>| next = [next, candidate].into_iter().flatten().min();
        let mut running = Vec::new();
        for number in &open {
            // Who comes after those waits for one of them, whatever its window says.
            if running.len() >= road.most_at_once.max(1) {
                break;
            }
            match windows.gate(*number, &queue[*number], road.zone, at) {
                Gate::Shut(opens) => sooner(opens),
                Gate::Open(until) => {
                    sooner(until);
                    running.push(*number);
                }
            }
        }
        // Nothing is left of some: they are done once they may run, for what is there already has to be looked at.
        if !running.iter().any(|number| left[*number] <= 0.0) {
            if changes.is_some_and(|changes| changes <= at) {
                (most, changes) = capacity(road, at);
            }
            sooner(changes);
            let loads: Vec<&Load> = running.iter().map(|number| &queue[*number]).collect();
            let rates = rates(&loads, most);
            if rates.iter().any(|rate| rate.is_infinite()) {
                open.iter().for_each(|number| outlooks[*number] = Outlook::Unknown);
                return outlooks;
            }
            // Until the first is done or something else changes.
            let lasts = running.iter().zip(&rates).map(|(number, rate)| left[*number] / rate);
            let soonest = lasts
                .filter(|seconds| seconds.is_finite())
                .fold(f64::INFINITY, f64::min);
            let until_next = next.map_or(f64::INFINITY, |next| next.duration_since(at).as_secs_f64());
            let seconds = soonest.min(until_next);
            if seconds.is_infinite() {
                return outlooks;
            }
            for (number, rate) in running.iter().zip(&rates) {
                left[*number] -= rate * seconds;
                // What is less than a byte is a matter of rounding.
                if left[*number] < 1.0 {
                    left[*number] = 0.0;
                }
            }
            at = match next {
                Some(next) if until_next <= soonest => next,
                _ => SignedDuration::try_from_secs_f64(seconds)
                    .ok()
                    .and_then(|seconds| at.checked_add(seconds).ok())
                    .unwrap_or(Timestamp::MAX),
            };
            if at > end {
                return outlooks;
            }
        }
        let done: Vec<usize> = running.into_iter().filter(|number| left[*number] <= 0.0).collect();
        done.iter().for_each(|number| outlooks[*number] = Outlook::Ready(at));
        if !done.is_empty() {
            open.retain(|number| !done.contains(number));
        }
        if open.is_empty() || wanted.is_some_and(|wanted| done.contains(&wanted)) {
            return outlooks;
        }
    }
    outlooks
}

#[cfg(test)]
mod tests;
