//! Who gets the next bytes when there are not enough for all: one limit for everything, users by weight, a user's jobs by
//! priority, a job's connections in turn, and across them limits of endpoints and windows.
//!
//! A connection takes what came and pays for it afterwards; until the payment is granted it takes no more. So nobody holds a
//! right to bytes that it cannot use, and what one leaves goes to whoever is there. Pure: time is a parameter, and the same
//! calls at the same times give the same answers.

mod bucket;
mod line;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use self::{
    bucket::{Bucket, burst},
    line::Line,
};
use crate::model::Priority;

/// What a class of jobs gets of its user's share, as a multiple of the next lower class: high before normal before low, and
/// nobody starves.
const CLASS: u32 = 9;
/// A child that comes back within about a tenth of a second has not lost its place; so many bytes at least.
const LEAST_GRACE: u64 = 64 << 10;

/// A user, by its id.
pub type UserKey = u32;
/// A job, by its row.
pub type JobKey = i64;
/// A limit across users and jobs: of an endpoint, or of a window.
pub type CapKey = u32;
/// A payment that waits.
pub type Ticket = u64;

/// Who pays: a connection of a job, and the limits that count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payer {
    /// Whose job.
    pub user: UserKey,
    /// The job.
    pub job: JobKey,
    /// Limits across, such as the endpoint's.
    pub caps: [Option<CapKey>; 2],
}

/// What is known of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobTerms {
    /// Its class among the jobs of its user.
    pub priority: Priority,
    /// Its own limit in bytes per second.
    pub limit: Option<u64>,
}

/// The weight of a class of jobs.
fn class_weight(priority: Priority) -> u32 {
    match priority {
        Priority::Low => 1,
        Priority::Normal => CLASS,
        Priority::High => CLASS * CLASS,
    }
}

/// The allocator.
#[derive(Debug, Default)]
pub struct Allocator {
    all: Bucket,
    caps: BTreeMap<CapKey, Bucket>,
    users: BTreeMap<UserKey, User>,
    line: Line<UserKey>,
    asks: BTreeMap<Ticket, Ask>,
    next_ticket: Ticket,
}

#[derive(Debug, Default)]
struct User {
    weight: Option<u32>,
    jobs: BTreeMap<JobKey, Job>,
    line: Line<JobKey>,
}

#[derive(Debug, Default)]
struct Job {
    priority: Priority,
    limit: Bucket,
    queue: VecDeque<Ticket>,
}

#[derive(Debug, Clone, Copy)]
struct Ask {
    payer: Payer,
    bytes: u64,
}

impl Allocator {
    /// Whether there is any limit at all. If not, nobody need ask.
    pub fn is_limited(&self) -> bool {
        let jobs = || self.users.values().flat_map(|user| user.jobs.values());
        self.all.rate().is_some()
            || self.caps.values().any(|cap| cap.rate().is_some())
            || jobs().any(|job| job.limit.rate().is_some())
    }

    /// The limit of everything.
    pub fn set_all(&mut self, now: Duration, bytes_per_sec: Option<u64>) {
        self.all.set_rate(now, bytes_per_sec);
    }

    /// The limit of an endpoint or a window.
    pub fn set_cap(&mut self, now: Duration, cap: CapKey, bytes_per_sec: Option<u64>) {
        let known = self.caps.entry(cap).or_insert_with(|| Bucket::new(now, bytes_per_sec));
        known.set_rate(now, bytes_per_sec);
    }

    /// A user's share among those who want bytes.
    pub fn set_weight(&mut self, user: UserKey, weight: u32) {
        self.users.entry(user).or_default().weight = Some(weight.max(1));
    }

    /// A job's class and limit.
    pub fn set_job(&mut self, now: Duration, user: UserKey, job: JobKey, terms: JobTerms) {
        let jobs = &mut self.users.entry(user).or_default().jobs;
        let known = jobs.entry(job).or_insert_with(|| Job {
            limit: Bucket::new(now, terms.limit),
            ..Job::default()
        });
        known.priority = terms.priority;
        known.limit.set_rate(now, terms.limit);
    }

    /// Forgets a job that is not worked on any more; what waits for it is dropped.
    pub fn remove_job(&mut self, user: UserKey, job: JobKey) {
        let Some(owner) = self.users.get_mut(&user) else { return };
        owner.line.forget(job);
        for ticket in owner.jobs.remove(&job).map(|job| job.queue).unwrap_or_default() {
            self.asks.remove(&ticket);
        }
        if owner.jobs.is_empty() {
            self.users.remove(&user);
            self.line.forget(user);
        }
    }

    /// Pays for bytes that came: granted at once (`None`), or later by [`Self::serve`] under this ticket.
    pub fn pay(&mut self, now: Duration, payer: Payer, bytes: u64) -> Option<Ticket> {
        self.refill(now);
        let nobody_waits = self.asks.is_empty();
        let ask = Ask { payer, bytes };
        if nobody_waits && self.is_open(&payer) {
            self.charge(&ask);
            self.note_served(&ask);
            return None;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let grace = self.grace();
        let user = self.users.entry(payer.user).or_default();
        user.jobs.entry(payer.job).or_default().queue.push_back(ticket);
        user.line.join(payer.job, grace);
        self.line.join(payer.user, grace);
        self.asks.insert(ticket, ask);
        Some(ticket)
    }

    /// Counts bytes for which nobody waits, such as listings.
    pub fn charge_all(&mut self, now: Duration, bytes: u64) {
        self.refill(now);
        self.all.charge(bytes);
    }

    /// A payer goes away before its grant. What came has come: it is counted all the same.
    pub fn withdraw(&mut self, now: Duration, ticket: Ticket) {
        self.refill(now);
        if let Some(ask) = self.take(ticket) {
            self.charge(&ask);
            self.note_served(&ask);
        }
    }

    /// Grants what may be granted now, in order.
    pub fn serve(&mut self, now: Duration) -> Vec<Ticket> {
        self.refill(now);
        let mut granted = Vec::new();
        while self.all.is_open() {
            let Some(ticket) = self.first_open() else { break };
            if let Some(ask) = self.take(ticket) {
                self.charge(&ask);
                self.note_served(&ask);
            }
            granted.push(ticket);
        }
        granted
    }

    /// When [`Self::serve`] may have something to grant; `None` while nobody waits.
    pub fn next(&self) -> Option<Duration> {
        self.asks.values().map(|ask| self.opens_at(&ask.payer)).min()
    }

    /// The lowest of the limits that a payer is under.
    pub fn tightest(&self, payer: &Payer) -> Option<u64> {
        self.buckets(payer).filter_map(Bucket::rate).min()
    }

    /// When every limit of a payer is open, if nobody else is charged until then.
    pub fn opens_at(&self, payer: &Payer) -> Duration {
        self.buckets(payer).map(Bucket::opens_at).max().unwrap_or_default()
    }

    /// The first waiting payment in line whose every limit is open.
    fn first_open(&self) -> Option<Ticket> {
        self.line.waiting().find_map(|user| {
            let user = self.users.get(&user)?;
            user.line.waiting().find_map(|job| {
                let job = user.jobs.get(&job)?;
                let open = |ticket: &&Ticket| self.asks.get(ticket).is_some_and(|ask| self.is_open(&ask.payer));
                job.queue.iter().find(open).copied()
            })
        })
    }

    /// Takes a payment out of the line.
    fn take(&mut self, ticket: Ticket) -> Option<Ask> {
        let ask = self.asks.remove(&ticket)?;
        let user = self.users.get_mut(&ask.payer.user)?;
        let job = user.jobs.get_mut(&ask.payer.job)?;
        job.queue.retain(|waiting| *waiting != ticket);
        if job.queue.is_empty() {
            user.line.leave(ask.payer.job);
        }
        if user.jobs.values().all(|job| job.queue.is_empty()) {
            self.line.leave(ask.payer.user);
        }
        Some(ask)
    }

    fn note_served(&mut self, ask: &Ask) {
        let grace = self.grace();
        let user = self.users.entry(ask.payer.user).or_default();
        let job = user.jobs.entry(ask.payer.job).or_default();
        user.line
            .served(ask.payer.job, ask.bytes, class_weight(job.priority), grace);
        let weight = user.weight.unwrap_or(1);
        self.line.served(ask.payer.user, ask.bytes, weight, grace);
    }

    /// What somebody who was away for a tenth of a second is made up for, in bytes.
    fn grace(&self) -> u64 {
        self.all
            .rate()
            .map_or(LEAST_GRACE, |rate| (burst(rate) * 2).max(LEAST_GRACE))
    }

    fn is_open(&self, payer: &Payer) -> bool {
        self.buckets(payer).all(Bucket::is_open)
    }

    fn buckets(&self, payer: &Payer) -> impl Iterator<Item = &Bucket> {
        let caps = payer.caps.into_iter().flatten().filter_map(|cap| self.caps.get(&cap));
        let job = self.users.get(&payer.user).and_then(|user| user.jobs.get(&payer.job));
        std::iter::once(&self.all).chain(caps).chain(job.map(|job| &job.limit))
    }

    fn charge(&mut self, ask: &Ask) {
        self.all.charge(ask.bytes);
        for cap in ask.payer.caps.into_iter().flatten() {
            if let Some(cap) = self.caps.get_mut(&cap) {
                cap.charge(ask.bytes);
            }
        }
        let user = self.users.get_mut(&ask.payer.user);
        if let Some(job) = user.and_then(|user| user.jobs.get_mut(&ask.payer.job)) {
            job.limit.charge(ask.bytes);
        }
    }

    fn refill(&mut self, now: Duration) {
        self.all.refill(now);
        self.caps.values_mut().for_each(|cap| cap.refill(now));
        for job in self.users.values_mut().flat_map(|user| user.jobs.values_mut()) {
            job.limit.refill(now);
        }
    }
}
