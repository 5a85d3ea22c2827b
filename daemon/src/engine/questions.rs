//! What users ask endpoints by calls of their own. Who has asked for fewer requests is not asked before the time that it named,
//! for nobody of the same account; and what one call hears of that, jobs and other calls heed too.

use std::fmt;

use tokio::time::Instant;

use super::{
    progress::wall_time,
    shared::{EndpointAccess, Shared},
    stop::chain,
    timing,
};
use crate::{
    hub::{HubError, RetryReason, Verdict, classify},
    model::Failure,
    sched::backoff,
};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It was not asked: it wants a pause. For people.
    Pausing(String),
    /// It was, and this came of it.
    Failed(HubError),
}

impl Unanswered {
    /// What it says for good, if it does.
    pub(super) fn for_good(&self) -> Option<Failure> {
        let Self::Failed(error) = self else { return None };
        match classify(error) {
            Verdict::Permanent(failure) => Some(failure),
            Verdict::Retry { .. } | Verdict::FreshLink | Verdict::EndpointAtFault(_) => None,
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pausing(why) => out.write_str(why),
            Self::Failed(error) => out.write_str(&chain(error)),
        }
    }
}

/// Asks an endpoint, unless it wants a pause.
pub(super) async fn ask<T>(
    shared: &Shared,
    access: &EndpointAccess,
    question: impl Future<Output = Result<T, HubError>>,
) -> Result<T, Unanswered> {
    if let Some(why) = pause(shared, access) {
        return Err(Unanswered::Pausing(why));
    }
    question.await.map_err(|error| {
        heed(shared, access, &error);
        Unanswered::Failed(error)
    })
}

/// Why an endpoint is not asked now, and until when; `None`: it may be.
pub(super) fn pause(shared: &Shared, access: &EndpointAccess) -> Option<String> {
    let until = shared.gates.closed_until(&access.gate())?;
    let seconds = until.saturating_duration_since(Instant::now()).as_secs() + 1;
    let zone = timing::zone(&shared.config());
    let at = wall_time(until).to_zoned(zone).strftime("%H:%M:%S %Z");
    Some(format!(
        "{} asked for fewer requests and is not asked before {at}, in {seconds} s",
        access.endpoint.host()
    ))
}

/// Keeps the pause that an answer asks for.
fn heed(shared: &Shared, access: &EndpointAccess, error: &HubError) {
    if let Verdict::Retry {
        wait,
        reason: RetryReason::RateLimited,
    } = classify(error)
    {
        let wait = backoff::wait(1, wait, &mut fastrand::Rng::new());
        shared.gates.close(&access.gate(), Instant::now() + wait);
    }
}
