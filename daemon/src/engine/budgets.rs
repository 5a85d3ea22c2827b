//! Budgets of users and endpoints: at the line jobs are held until the budget begins anew. What is counted is looked at ten
//! times a second, so a budget is overdrawn by no more than came in that time.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};

use super::{
    dispatcher::{Dispatcher, Ending},
    error::CallError,
    ledger,
    shared::{EndpointAccess, Shared},
    timing,
};
use crate::{
    config::Config,
    hub::Endpoint,
    model::{Booking, Budget, HoldReason, Job, JobId, JobMove, Owner, Spent as Came, units::show_bytes},
    sched::budget::{Standing, standing, term},
    store::{MoveNote, StoreError},
};

/// Whose bytes a budget bounds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    User(u32),
    /// By its base address.
    Endpoint(String),
}

/// What the accounts add up to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Bytes by local day, as far back as a budget can look.
    by_day: BTreeMap<(Whose, Date), u64>,
    /// What came since the start, by the base address of the endpoint.
    since_start: BTreeMap<String, Came>,
}

impl Totals {
    /// Adds what was counted before the start; once for each of those that it counts for.
    pub(super) fn add_earlier(&mut self, rows: &[Booking]) {
        for (key, bytes) in rows.iter().flat_map(both) {
            let sum = self.by_day.entry(key).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }

    /// The same of what was counted just now.
    pub(super) fn add(&mut self, rows: &[Booking]) {
        self.add_earlier(rows);
        for row in rows {
            *self.since_start.entry(row.route.endpoint.clone()).or_default() += row.spent;
        }
    }

    /// Takes off what counts elsewhere again.
    pub(super) fn take_off(&mut self, rows: &[Booking]) {
        for (key, bytes) in rows.iter().flat_map(both) {
            let sum = self.by_day.entry(key).or_default();
            *sum = sum.saturating_sub(bytes);
        }
        for row in rows {
            *self.since_start.entry(row.route.endpoint.clone()).or_default() -= row.spent;
        }
    }

    /// What came since the start, with what is not taken yet, by the base address of the endpoint.
    pub(super) fn since_start(&self, untaken: &[Booking]) -> BTreeMap<String, Came> {
        let mut all = self.since_start.clone();
        for row in untaken {
            *all.entry(row.route.endpoint.clone()).or_default() += row.spent;
        }
        all
    }

    /// Bytes from a day on.
    fn since(&self, whose: &Whose, day: Date) -> u64 {
        let (first, last) = ((whose.clone(), day), (whose.clone(), Date::MAX));
        self.by_day.range(first..=last).map(|(_, bytes)| bytes).sum()
    }
}

fn both(row: &Booking) -> [((Whose, Date), u64); 2] {
    let endpoint = Whose::Endpoint(row.route.endpoint.clone());
    [
        ((Whose::User(row.uid), row.day), row.spent.bytes),
        ((endpoint, row.day), row.spent.bytes),
    ]
}

/// A budget that is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spent {
    pub(super) until: Timestamp,
    /// For people.
    pub(super) detail: String,
}

/// How a budget stands, for who asks.
#[derive(Debug, Clone)]
pub struct BudgetView {
    /// The user, or the endpoint's base address.
    pub name: String,
    /// It is an endpoint's.
    pub of_endpoint: bool,
    /// The budget.
    pub budget: Budget,
    /// Bytes that came in its term.
    pub used_bytes: u64,
    /// When it begins anew.
    pub resets_at: Timestamp,
}

fn view(shared: &Shared, config: &Config, whose: &Whose, name: String, budget: Budget) -> BudgetView {
    let term = term(budget.period, &timing::zone(config), shared.clock.now());
    let used_bytes = shared.ledgers.with_totals(ledger::today(shared), |totals, unbooked| {
        let live = unbooked.iter().filter(|row| row.day >= term.first_day).flat_map(both);
        let live: u64 = live.filter(|((who, _), _)| who == whose).map(|(_, bytes)| bytes).sum();
        totals.since(whose, term.first_day) + live
    });
    BudgetView {
        name,
        of_endpoint: matches!(whose, Whose::Endpoint(_)),
        budget,
        used_bytes,
        resets_at: term.resets_at,
    }
}

fn spent(config: &Config, view: &BudgetView) -> Option<Spent> {
    let zone = timing::zone(config);
    let term = crate::sched::budget::Term {
        first_day: Date::ZERO,
        resets_at: view.resets_at,
    };
    match standing(view.budget, view.used_bytes, term) {
        Standing::Left(_) => None,
        Standing::SpentUntil(until) => Some(Spent {
            until,
            detail: format!(
                "the budget of {} is spent: {} of {} came this {}; it begins anew {}",
                view.name,
                show_bytes(view.used_bytes),
                show_bytes(view.budget.bytes),
                view.budget.period.as_str(),
                timing::told(until, &zone)
            ),
        }),
    }
}

/// A user's budget.
pub(super) fn of_user(shared: &Shared, owner: &Owner) -> Option<BudgetView> {
    let config = shared.config();
    let budget = config.users.of(&owner.user).budget?;
    Some(view(
        shared,
        &config,
        &Whose::User(owner.uid),
        owner.user.clone(),
        budget,
    ))
}

/// The budgets of endpoints.
pub(super) fn of_endpoints(shared: &Shared) -> Vec<BudgetView> {
    let config = shared.config();
    let bounded = config.endpoints.iter().filter_map(|known| Some((known, known.budget?)));
    bounded
        .map(|(known, budget)| {
            let base = known.url.as_str().trim_end_matches('/').to_owned();
            view(shared, &config, &Whose::Endpoint(base.clone()), base, budget)
        })
        .collect()
}

/// Whether a user may have nothing more for now.
pub(super) fn user_is_spent(shared: &Shared, owner: &Owner) -> Option<Spent> {
    of_user(shared, owner).and_then(|view| spent(&shared.config(), &view))
}

/// Base addresses of endpoints that nothing may come from for now.
fn spent_endpoints(shared: &Shared) -> Vec<(String, Spent)> {
    let config = shared.config();
    let views = of_endpoints(shared).into_iter();
    views
        .filter_map(|view| Some((view.name.clone(), spent(&config, &view)?)))
        .collect()
}

/// What stands in a job's way: its user's budget, or those of all its endpoints.
pub(super) fn in_the_way(shared: &Shared, job: &Job) -> Option<Spent> {
    if let Some(spent) = user_is_spent(shared, &job.owner) {
        return Some(spent);
    }
    let gone = spent_endpoints(shared);
    let of = |base: &String| gone.iter().find(|(name, _)| name == base).map(|(_, spent)| spent);
    let mut all = job.spec.endpoints.iter().map(of).collect::<Option<Vec<_>>>()?;
    // It goes on with the first that may be asked again.
    all.sort_by_key(|spent| spent.until);
    all.first().map(|spent| (*spent).clone())
}

/// Leaves out the endpoints that nothing may come from for now.
pub(super) fn keep_affordable(shared: &Shared, endpoints: &mut Vec<EndpointAccess>) {
    let gone = spent_endpoints(shared);
    if !gone.is_empty() {
        endpoints.retain(|access| gone.iter().all(|(base, _)| *base != base_of(&access.endpoint)));
    }
}

/// Refuses a call that would bring bytes to no file, when its user's budget is spent.
pub(super) fn must_have_some(shared: &Shared, owner: &Owner) -> Result<(), CallError> {
    match user_is_spent(shared, owner) {
        Some(spent) => Err(CallError::NotAllowed(spent.detail)),
        None => Ok(()),
    }
}

/// Leaves out the endpoints that nothing may come from for now; refuses the call when none is left.
pub(super) fn only_affordable(shared: &Shared, endpoints: &mut Vec<Endpoint>) -> Result<(), CallError> {
    let gone = spent_endpoints(shared);
    let of = |endpoint: &Endpoint| gone.iter().find(|(base, _)| *base == base_of(endpoint));
    if let Some((_, spent)) = endpoints.iter().find_map(&of)
        && endpoints.iter().all(|endpoint| of(endpoint).is_some())
    {
        return Err(CallError::NotAllowed(spent.detail.clone()));
    }
    endpoints.retain(|endpoint| of(endpoint).is_none());
    Ok(())
}

fn base_of(endpoint: &Endpoint) -> String {
    endpoint.base().as_str().trim_end_matches('/').to_owned()
}

/// Whether any budget is set.
pub(super) fn are_set(config: &Config) -> bool {
    config.users.have_budgets() || config.endpoints.iter().any(|endpoint| endpoint.budget.is_some())
}

fn note(spent: Spent) -> MoveNote {
    MoveNote {
        detail: spent.detail,
        next_attempt_at: Some(spent.until),
        ..MoveNote::default()
    }
}

impl Dispatcher {
    /// Holds a queued job whose budget is spent, and with it all queued ones of a user who has none left. `None`: it may go on.
    ///
    /// # Errors
    /// When the store refuses; the queue is looked at again later.
    pub(super) async fn hold_unaffordable(&mut self, job: &Job) -> Option<Result<(), StoreError>> {
        let spent = in_the_way(&self.shared, job)?;
        let until = spent.until;
        let by_user = user_is_spent(&self.shared, &job.owner).is_some();
        let (row, uid) = (job.row, by_user.then_some(job.owner.uid));
        // One that is still ending is looked at once it has ended.
        let except = self.jobs.values().map(|active| active.context.row).collect();
        let store = self.shared.store.clone();
        let held = store
            .hold_queued(row, uid, HoldReason::Budget, note(spent), except)
            .await;
        if held.is_ok() {
            self.look_at(until);
        }
        Some(held)
    }

    /// Stops what may have nothing more; jobs that have other endpoints go on with those.
    pub(super) async fn mind_budgets(&mut self) {
        let gone: Vec<String> = spent_endpoints(&self.shared)
            .into_iter()
            .map(|(base, _)| base)
            .collect();
        let mut stopped: Vec<(JobId, Ending)> = Vec::new();
        for (id, active) in self.jobs.iter().filter(|(_, active)| active.ending.is_none()) {
            let context = &active.context;
            let user = user_is_spent(&self.shared, &context.owner);
            let touched = |access: &EndpointAccess| gone.contains(&base_of(&access.endpoint));
            if let Some(spent) = user {
                stopped.push((id.clone(), Ending::Move(JobMove::Hold(HoldReason::Budget), note(spent))));
            } else if context.endpoints.iter().any(touched) {
                // Looked at anew: it is held, or goes on without these endpoints.
                stopped.push((id.clone(), Ending::Move(JobMove::Requeue, MoveNote::default())));
            }
        }
        for (id, ending) in stopped {
            tracing::info!(job = %id, "stopped: a budget is spent");
            self.stop_with(&id, ending).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TrafficRoute;

    #[test]
    fn bytes_count_for_their_user_and_their_endpoint_from_a_day_on() {
        let row = |day, uid, endpoint: &str, bytes| Booking {
            day: Date::constant(2026, 3, day),
            uid,
            user: String::new(),
            job: String::new(),
            route: TrafficRoute {
                endpoint: endpoint.to_owned(),
                host: "cdn".to_owned(),
                way: "DIRECT".to_owned(),
                rule: String::new(),
            },
            spent: crate::model::Spent {
                bytes,
                ..crate::model::Spent::default()
            },
        };
        let mut totals = Totals::default();
        totals.add(&[
            row(1, 7, "a", 1),
            row(2, 7, "b", 10),
            row(2, 8, "a", 100),
            row(3, 7, "a", 1000),
        ]);
        let since = |totals: &Totals, whose: Whose, day| totals.since(&whose, Date::constant(2026, 3, day));
        assert_eq!(since(&totals, Whose::User(7), 1), 1011);
        assert_eq!(since(&totals, Whose::User(7), 2), 1010);
        assert_eq!(since(&totals, Whose::User(9), 1), 0);
        assert_eq!(since(&totals, Whose::Endpoint("a".to_owned()), 2), 1100);
        totals.take_off(&[row(3, 7, "a", 1000)]);
        assert_eq!(since(&totals, Whose::User(7), 2), 10);
    }
}
