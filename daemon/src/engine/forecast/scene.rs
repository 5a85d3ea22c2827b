//! What a forecast is made of at one moment, what it says of each job, and what would help those that are late.

use std::{collections::HashMap, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};

use super::Forecast;
use crate::{
    config::Config,
    engine::{
        budgets::{self, BudgetView},
        limits,
        shared::Shared,
        timing,
    },
    model::{HoldReason, Job, JobId, JobState, Limit, Priority},
    sched::forecast::{Load, Outlook, Purse, Road, Spends, forecast, forecast_all},
};

/// For so many jobs that are late it is worked out what would help; each is a forecast or four of its own.
const MOST_HELPED: usize = 20;

/// Until somebody says yes: nobody knows when, and it is no reason for others to wait.
const ASKED: Timestamp = Timestamp::MAX;

/// What could be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Help {
    NoWindow,
    HighPriority,
    NoOwnLimit,
    NoGlobalLimit,
    NoBudget,
}

impl Help {
    const ALL: [Self; 5] = [
        Self::HighPriority,
        Self::NoOwnLimit,
        Self::NoWindow,
        Self::NoGlobalLimit,
        Self::NoBudget,
    ];

    fn told(self, id: &JobId) -> String {
        match self {
            Self::NoWindow => format!("outside its window (`hfctl set {id} --window off`)"),
            Self::HighPriority => format!("before your other jobs (`hfctl set {id} --priority high`)"),
            Self::NoOwnLimit => format!("without its own limit (`hfctl set {id} --limit off`)"),
            Self::NoGlobalLimit => "without the global limit (`hfctl limit off`, for operators)".to_owned(),
            Self::NoBudget => "without a budget (`users.NAME.budget`, `endpoints.budget`, for operators)".to_owned(),
        }
    }

    /// Whether there is anything to change.
    fn applies(self, load: &Load, others: usize, limited: bool) -> bool {
        match self {
            Self::NoWindow => load.periods.is_some(),
            Self::HighPriority => load.priority != Priority::High && others > 0,
            Self::NoOwnLimit => load.limit.is_some(),
            Self::NoGlobalLimit => limited,
            Self::NoBudget => load.spends.is_bounded(),
        }
    }
}

/// All that a forecast needs at one moment.
pub(super) struct Scene {
    config: Arc<Config>,
    pub(super) now: Timestamp,
    limit: Limit,
    until: Option<(Option<u64>, Timestamp)>,
    goodput: Option<u64>,
    jobs: Vec<Job>,
    loads: Vec<Load>,
    purses: Vec<Purse>,
    /// Jobs whose size nobody knows yet.
    unknown: usize,
    /// Jobs that wait for a yes.
    asking: usize,
}

impl Scene {
    /// What is so now, for jobs in the order in which they are begun. Takes its time.
    pub(super) fn now(shared: &Shared, jobs: Vec<Job>) -> Self {
        let (config, now) = (shared.config(), shared.clock.now());
        let mut wallets = Wallets::now(shared, &config);
        let loads = jobs.iter().map(|job| Load {
            spends: wallets.of(shared, job),
            ..load(shared, &config, job)
        });
        let loads = loads.collect();
        let unknown = jobs
            .iter()
            .filter(|job| job.commit.is_none() && job.bytes_expected == 0);
        let asking = jobs.iter().filter(|job| asks(job)).count();
        let (limit, until) = limits::lasting(shared, &config, now);
        Self {
            now,
            limit,
            until,
            goodput: shared.forecasts.goodput(),
            unknown: unknown.count(),
            asking,
            loads,
            purses: wallets.purses,
            config,
            jobs,
        }
    }

    /// What is foreseen for the jobs that have to be ready by a time; `only` for one of them.
    pub(super) fn foresee(&self, only: Option<&JobId>) -> Vec<(JobId, Forecast)> {
        let outlooks = self.outlooks();
        let mut helped = 0;
        let asked = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| only.is_none_or(|id| *id == job.id));
        let foreseen = asked.filter_map(|(number, job)| {
            let deadline = job.spec.pacing.ready_by?;
            let forecast = self.told(number, deadline, outlooks[number], helped < MOST_HELPED);
            helped += usize::from(forecast.late);
            Some((job.id.clone(), forecast))
        });
        foreseen.collect()
    }

    /// Of all jobs, as things are.
    fn outlooks(&self) -> Vec<Outlook> {
        let zone = timing::zone(&self.config);
        forecast_all(&self.road(&zone, false), &self.loads, self.now)
    }

    fn road<'a>(&'a self, zone: &'a TimeZone, lifted: bool) -> Road<'a> {
        Road {
            goodput: self.goodput,
            limit: if lifted { &Limit::Off } else { &self.limit },
            until: self.until.filter(|_| !lifted),
            zone,
            most_at_once: self.config.transfer.max_active_jobs as usize,
            purses: &self.purses,
        }
    }

    /// Of one job, if that were changed.
    fn with(&self, number: usize, help: Help) -> Outlook {
        self.if_it_were(number, help == Help::NoGlobalLimit, |load| match help {
            Help::NoWindow => load.periods = None,
            Help::HighPriority => load.priority = Priority::High,
            Help::NoOwnLimit => load.limit = None,
            Help::NoBudget => load.spends = Spends::default(),
            Help::NoGlobalLimit => {}
        })
    }

    /// Of one job that waits for a yes, if somebody said it now.
    fn with_a_yes(&self, number: usize) -> Outlook {
        let not_before = self.jobs[number].spec.pacing.start_at;
        self.if_it_were(number, false, |load| load.not_before = not_before)
    }

    /// Of one job, if it were otherwise.
    fn if_it_were(&self, number: usize, lifted: bool, change: impl FnOnce(&mut Load)) -> Outlook {
        let zone = timing::zone(&self.config);
        let mut queue = self.loads.clone();
        change(&mut queue[number]);
        // As the queue is read: higher priority first, then the older one.
        let mut order: Vec<usize> = (0..queue.len()).collect();
        order.sort_by_key(|at| (std::cmp::Reverse(queue[*at].priority), *at));
        let place = order.iter().position(|at| *at == number).unwrap_or(number);
        let queue: Vec<Load> = order.into_iter().map(|at| queue[at].clone()).collect();
        forecast(&self.road(&zone, lifted), &queue, place, self.now)
    }

    fn told(&self, number: usize, deadline: Timestamp, outlook: Outlook, with_help: bool) -> Forecast {
        let (job, zone) = (&self.jobs[number], timing::zone(&self.config));
        let by = timing::told(deadline, &zone);
        if job.commit.is_none() && job.bytes_expected == 0 {
            return Forecast {
                ready_at: None,
                late: false,
                text: format!("whether it will be ready by {by} is told once its files are listed"),
            };
        }
        let told = |outlook: Outlook| match outlook {
            Outlook::Ready(at) if at > deadline => format!("not ready by {by}, but {}", timing::told(at, &zone)),
            Outlook::Ready(at) => format!("ready {}, in time for {by}", timing::told(at, &zone)),
            Outlook::Never => format!("not ready by {by}, nor within a year"),
            Outlook::Unknown => format!("whether it will be ready by {by} is not known: nothing was measured yet"),
        };
        let late = !outlook.is_by(deadline) && outlook != Outlook::Unknown;
        if asks(job) {
            let yes = format!("not before somebody says yes (`hfctl resume {}`)", job.id);
            let text = match with_help {
                true => format!("{yes}; said now: {}", told(self.with_a_yes(number))),
                false => yes,
            };
            return Forecast {
                ready_at: None,
                late: true,
                text,
            };
        }
        let mut text = told(outlook);
        if late && with_help {
            let limited = self.limit != Limit::Off || self.until.is_some();
            let helps = Help::ALL.into_iter().filter(|help| {
                help.applies(&self.loads[number], self.jobs.len() - 1, limited)
                    && self.with(number, *help).is_by(deadline)
            });
            let helps: Vec<String> = helps.map(|help| help.told(&job.id)).collect();
            text.push_str(&match helps.as_slice() {
                [] => "; no single change of priority, limit or window makes it ready in time".to_owned(),
                helps => format!("; in time {}", helps.join(", or ")),
            });
        }
        if late && !with_help {
            text.push_str("; so many jobs are late that only of the first it is told what would help");
        }
        if self.unknown > 0 {
            text.push_str(&match self.unknown {
                1 => "; one job is not listed yet and not counted".to_owned(),
                unknown => format!("; {unknown} jobs are not listed yet and not counted"),
            });
        }
        if self.asking > 0 {
            text.push_str(&format!(
                "; jobs that wait for a yes are not counted ({} of them)",
                self.asking
            ));
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

/// Whether a job waits for somebody to say yes.
fn asks(job: &Job) -> bool {
    job.state == JobState::Held && job.hold_reason == Some(HoldReason::Approval)
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
    // A hold for another reason than its window or a budget ends when it is tried again.
    let foreseen = matches!(job.hold_reason, Some(HoldReason::Window | HoldReason::Budget));
    let held = job.state == JobState::Held && !foreseen;
    let retried_at = job.next_attempt_at.filter(|_| held);
    let window_limit = window.and_then(|name| config.windows.get(name)?.limit);
    Load {
        user: job.owner.uid,
        weight: config.users.of(&job.owner.user).weight,
        priority: job.spec.priority,
        left_bytes,
        limit: [pacing.limit, window_limit].into_iter().flatten().min(),
        periods: window.and_then(|name| timing::periods(config, name).ok()),
        not_before: if asks(job) {
            Some(ASKED)
        } else {
            pacing.start_at.max(retried_at)
        },
        spends: Spends::default(),
    }
}

/// The budgets, and whose they are.
struct Wallets {
    purses: Vec<Purse>,
    users: HashMap<u32, Option<usize>>,
    /// By base address.
    endpoints: HashMap<String, usize>,
}

impl Wallets {
    fn now(shared: &Shared, config: &Config) -> Self {
        let mut wallets = Self {
            purses: Vec::new(),
            users: HashMap::new(),
            endpoints: HashMap::new(),
        };
        if budgets::are_set(config) {
            for view in budgets::of_endpoints(shared) {
                let number = wallets.add(&view);
                wallets.endpoints.insert(view.name, number);
            }
        }
        wallets
    }

    fn add(&mut self, view: &BudgetView) -> usize {
        self.purses.push(Purse {
            budget: view.budget,
            left_bytes: view.budget.bytes.saturating_sub(view.used_bytes),
        });
        self.purses.len() - 1
    }

    fn of(&mut self, shared: &Shared, job: &Job) -> Spends {
        let known = self.users.get(&job.owner.uid).copied();
        let user = known.unwrap_or_else(|| {
            let number = budgets::of_user(shared, &job.owner).map(|view| self.add(&view));
            self.users.insert(job.owner.uid, number);
            number
        });
        let purse_of = |base: &String| self.endpoints.get(base).copied();
        Spends {
            user,
            endpoints: job.spec.endpoints.iter().map(purse_of).collect(),
        }
    }
}
