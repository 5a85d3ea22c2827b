//! The retry policy, in one place: what a failed attempt means, which endpoint comes next, how long to wait.
//!
//! There is no limit on attempts: a job gives up when it has not moved a byte for `transfer.give_up_after`. A refusal
//! that repeating cannot change ends the job at once, unless another endpoint has not been asked yet.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use tokio::time::{Instant, sleep_until};

use super::{
    progress::lock,
    shared::{EndpointAccess, JobContext},
    stop::{JobStop, chain},
};
use crate::{
    hub::{HubError, RetryReason, Verdict, classify},
    model::{Failure, FailureKind, HoldReason},
    sched::backoff,
};

/// A place that refuses its own fresh addresses so often, without a byte between, refuses the file.
const FRESH_LINKS: u32 = 2;

/// What has gone wrong so far with one thing that is wanted (a plan, or one file). Shared by its connections.
pub(super) struct Retry {
    /// Failures in a row without a byte between.
    attempts_made: AtomicU32,
    fresh_links: AtomicU32,
    endpoint: AtomicUsize,
    /// For each endpoint that said no for good: its words.
    refusals: Mutex<Vec<Option<Failure>>>,
}

/// What to do after a failed attempt, once its wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again.
    Again,
    /// Try again with a fresh address of the bytes.
    FreshLink,
    /// The endpoint cannot serve parts: fetch the file in one piece.
    WholeFile,
}

impl Retry {
    pub(super) fn new(context: &JobContext) -> Self {
        Self {
            attempts_made: AtomicU32::new(0),
            fresh_links: AtomicU32::new(0),
            endpoint: AtomicUsize::new(0),
            refusals: Mutex::new(vec![None; context.endpoints.len()]),
        }
    }

    /// The endpoint to use now, and its number.
    pub(super) fn endpoint<'a>(&self, context: &'a JobContext) -> (usize, &'a EndpointAccess) {
        let index = self.endpoint.load(Relaxed) % context.endpoints.len();
        (index, &context.endpoints[index])
    }

    /// Bytes came: the count begins anew.
    pub(super) fn progressed(&self) {
        self.attempts_made.store(0, Relaxed);
        self.fresh_links.store(0, Relaxed);
    }

    /// Decides on a failure of endpoint `index` and waits as long as it takes. `whole_file_helps`: the thing wanted is a
    /// part of a file.
    ///
    /// # Errors
    /// When trying again is of no use, or the job was stopped.
    pub(super) async fn failed(
        &self,
        context: &JobContext,
        index: usize,
        error: &HubError,
        whole_file_helps: bool,
    ) -> Result<Next, JobStop> {
        let text = chain(error);
        let alone = context.endpoints.len() == 1;
        let (server_wish, reason) = match classify(error) {
            Verdict::Permanent(failure) => return self.refused(index, failure).map(|()| Next::Again),
            Verdict::FreshLink => {
                if self.fresh_links.fetch_add(1, Relaxed) < FRESH_LINKS {
                    return Ok(Next::FreshLink);
                }
                let failure = Failure::new(
                    FailureKind::BadEndpoint,
                    format!("{text}; fresh addresses were refused as well"),
                    "try another endpoint, or `hfctl retry` later",
                );
                return self.refused(index, failure).map(|()| Next::FreshLink);
            }
            Verdict::EndpointAtFault(_) => {
                if alone && whole_file_helps && matches!(error, HubError::RangeIgnored { .. }) {
                    return Ok(Next::WholeFile);
                }
                (None, HoldReason::Endpoint)
            }
            Verdict::Retry {
                wait,
                reason: RetryReason::RateLimited,
            } => (wait, HoldReason::RateLimited),
            Verdict::Retry { wait, .. } => (wait, HoldReason::Endpoint),
        };
        let attempts_made = self.attempts_made.fetch_add(1, Relaxed) + 1;
        tracing::debug!(job = %context.id, endpoint = %context.endpoints[index].endpoint.base(), attempts_made, error = text, "an attempt failed");
        if context.progress.idle() > context.shared.config().transfer.give_up_after {
            return Err(JobStop::JobFailed(Failure::new(
                FailureKind::EndpointUnreachable,
                text,
                "nothing came for too long; look at the network or choose another endpoint, then `hfctl retry`",
            )));
        }
        if !alone {
            self.move_on(index);
        }
        let origin = context.endpoints[index].endpoint.origin().ascii_serialization();
        let wait = backoff::wait(attempts_made, server_wish, &mut fastrand::Rng::new());
        let until = Instant::now() + wait;
        if reason == HoldReason::RateLimited {
            context.shared.gates.close(&origin, until);
        }
        // Another endpoint may answer at once: wait only when all had their turn.
        let endpoints = u32::try_from(context.endpoints.len()).unwrap_or(u32::MAX);
        if attempts_made.is_multiple_of(endpoints) {
            let seconds = wait.as_secs_f32();
            context
                .progress
                .waits(reason, format!("{text}; next attempt in {seconds:.0} s"), until);
            context.unless_stopped(sleep_until(until)).await?;
        }
        Ok(Next::Again)
    }

    /// Waits while the origin of the current endpoint asked everybody to stay away; another endpoint goes first.
    pub(super) async fn pass_gate(&self, context: &JobContext) -> Result<(usize, EndpointAccess), JobStop> {
        for _ in 0..context.endpoints.len() {
            let (index, access) = self.endpoint(context);
            if context
                .shared
                .gates
                .closed_until(&access.endpoint.origin().ascii_serialization())
                .is_none()
            {
                return Ok((index, access.clone()));
            }
            if context.endpoints.len() > 1 {
                self.move_on(index);
            }
        }
        let (index, access) = self.endpoint(context);
        let origin = access.endpoint.origin().ascii_serialization();
        if let Some(until) = context.shared.gates.closed_until(&origin) {
            let detail = format!("{origin} asked us to wait");
            context.progress.waits(HoldReason::RateLimited, detail, until);
            context.unless_stopped(sleep_until(until)).await?;
        }
        Ok((index, access.clone()))
    }

    fn move_on(&self, index: usize) {
        // Only the first of several connections that failed together moves on.
        let next = index + 1;
        let _other_was_first = self.endpoint.compare_exchange(index, next, Relaxed, Relaxed);
    }

    /// An endpoint said no for good. While another has not, it is asked instead.
    fn refused(&self, index: usize, failure: Failure) -> Result<(), JobStop> {
        let mut refusals = lock(&self.refusals);
        refusals[index] = Some(failure);
        match refusals.iter().position(Option::is_none) {
            Some(next) => {
                self.endpoint.store(next, Relaxed);
                Ok(())
            }
            None => {
                // The first endpoint is the preferred one: its words are shown.
                let failure = refusals.iter().flatten().next().cloned();
                Err(stop_for(failure.unwrap_or_else(|| {
                    Failure::new(FailureKind::Internal, "an endpoint refused without a reason", "")
                })))
            }
        }
    }
}

/// A missing file leaves the others alone; everything else concerns the whole repository.
fn stop_for(failure: Failure) -> JobStop {
    match failure.kind {
        FailureKind::EntryNotFound => JobStop::FileFailed(failure),
        _ => JobStop::JobFailed(failure),
    }
}
