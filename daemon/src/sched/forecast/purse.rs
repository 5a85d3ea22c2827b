//! Budgets while time passes: what is left of each, who spends it, and when it is full again.

use jiff::{Timestamp, tz::TimeZone};

use super::float;
use crate::{
    model::Budget,
    sched::budget::{Term, term},
};

/// A budget, and what is left of it in its present term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// How much there is in a term.
    pub budget: Budget,
    /// How much of it is left now.
    pub left_bytes: u64,
}

/// Whose budgets a job spends; numbers of purses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spends {
    /// Its user's; `None`: without bound.
    pub user: Option<usize>,
    /// Those of its endpoints in their order; `None`: one without bound. It takes the first that is not empty.
    pub endpoints: Vec<Option<usize>>,
}

impl Spends {
    /// Whether there is a budget at all.
    pub fn is_bounded(&self) -> bool {
        self.user.is_some() || self.endpoints.iter().any(Option::is_some)
    }
}

/// All purses at one moment.
pub(super) struct Purses<'a> {
    zone: &'a TimeZone,
    all: Vec<(Budget, f64, Term)>,
}

impl<'a> Purses<'a> {
    pub(super) fn new(purses: &[Purse], zone: &'a TimeZone, now: Timestamp) -> Self {
        let all = purses.iter().map(|purse| {
            let term = term(purse.budget.period, zone, now);
            (purse.budget, float(purse.left_bytes), term)
        });
        Self {
            zone,
            all: all.collect(),
        }
    }

    /// Those whose terms are over are full again.
    pub(super) fn fill(&mut self, at: Timestamp) {
        for (budget, left, known) in &mut self.all {
            if known.resets_at <= at {
                *left = float(budget.bytes);
                *known = term(budget.period, self.zone, at);
            }
        }
    }

    fn is_empty(&self, number: usize) -> bool {
        self.all.get(number).is_some_and(|(_, left, _)| *left <= 0.0)
    }

    fn resets_at(&self, number: usize) -> Option<Timestamp> {
        self.all.get(number).map(|(_, _, term)| term.resets_at)
    }

    /// The endpoint that a job takes: the first that may be asked; and its purse, if it has one.
    fn endpoint(&self, spends: &Spends) -> Option<Option<usize>> {
        let mut affordable = spends
            .endpoints
            .iter()
            .filter(|purse| purse.is_none_or(|number| !self.is_empty(number)));
        affordable.next().copied()
    }

    /// Until when a job may have nothing; `None`: it may.
    pub(super) fn shut_until(&self, spends: &Spends) -> Option<Timestamp> {
        if let Some(user) = spends.user.filter(|user| self.is_empty(*user)) {
            return self.resets_at(user);
        }
        if spends.endpoints.is_empty() || self.endpoint(spends).is_some() {
            return None;
        }
        let numbers = spends.endpoints.iter().flatten();
        numbers.filter_map(|number| self.resets_at(*number)).min()
    }

    /// Bytes per second that leave each purse when jobs go at these rates.
    pub(super) fn spending(&self, jobs: &[(&Spends, f64)]) -> Vec<f64> {
        let mut rates = vec![0.0; self.all.len()];
        for (spends, rate) in jobs {
            let purses = [spends.user, self.endpoint(spends).flatten()];
            for number in purses.into_iter().flatten() {
                if let Some(sum) = rates.get_mut(number) {
                    *sum += rate;
                }
            }
        }
        rates
    }

    /// When the first of those that are spent from is full again.
    pub(super) fn next_filling(&self, spending: &[f64]) -> Option<Timestamp> {
        let spent = self.all.iter().zip(spending).filter(|(_, rate)| **rate > 0.0);
        spent.map(|((_, _, term), _)| term.resets_at).min()
    }

    /// Seconds until the first of them is empty.
    pub(super) fn last(&self, spending: &[f64]) -> f64 {
        let spent = self.all.iter().zip(spending).filter(|(_, rate)| **rate > 0.0);
        spent
            .map(|((_, left, _), rate)| left / rate)
            .fold(f64::INFINITY, f64::min)
    }

    pub(super) fn spend(&mut self, spending: &[f64], seconds: f64) {
        for ((_, left, _), rate) in self.all.iter_mut().zip(spending) {
            *left -= rate * seconds;
            // What is less than a byte is a matter of rounding.
            if *left < 1.0 {
                *left = 0.0;
            }
        }
    }
}
