//! The retry policy, in one place: what a failed attempt means, which endpoint comes next, how long to wait.
//!
//! There is no limit on attempts: a job gives up when it has not moved a byte for `transfer.give_up_after`, counted from its
//! first failure. A refusal that repeating cannot change ends the job at once, unless another endpoint has not been asked.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
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

/// A run tries for at least so long before it gives up.
const LEAST_TRIED: Duration = Duration::from_secs(20);
/// A place that refuses its own fresh addresses so often, without a byte between, refuses the file.
const FRESH_LINKS: u32 = 2;

/// How often who waits says that it waits.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// What has gone wrong so far with one thing that is wanted (a plan, or one file). Shared by its connections.
pub(super) struct Retry {
    /// Failures in a row without a byte between.
    attempts_made: AtomicU32,
    fresh_links: AtomicU32,
    /// Number of the endpoint to use; always below the number of endpoints.
    endpoint: AtomicUsize,
    /// What each endpoint has shown of itself.
    seen: Mutex<Vec<Seen>>,
    /// When the present row of failures began.
    failing_since: Mutex<Option<Instant>>,
    /// Until when the connections that failed last wait.
    pause: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// It said no for good, in these words.
    refusal: Option<Failure>,
    /// It answers ranges with whole files.
    no_ranges: bool,
}

/// What to do after a failed attempt, once its wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again.
    Again,
    /// No endpoint serves parts: fetch the file in one piece.
    WholeFile,
}

impl Retry {
    pub(super) fn new(context: &JobContext) -> Self {
        Self {
            attempts_made: AtomicU32::new(0),
            fresh_links: AtomicU32::new(0),
            endpoint: AtomicUsize::new(0),
            seen: Mutex::new(vec![Seen::default(); context.endpoints.len()]),
            failing_since: Mutex::new(None),
            pause: Mutex::new(None),
        }
    }

    /// Bytes came: the count begins anew.
    pub(super) fn progressed(&self) {
        // Nearly always there is nothing to reset, and chunks come by the ten thousand a second.
        if self.attempts_made.load(Relaxed) > 0 || self.fresh_links.load(Relaxed) > 0 {
            self.attempts_made.store(0, Relaxed);
            self.fresh_links.store(0, Relaxed);
            *lock(&self.failing_since) = None;
        }
    }

    /// Decides on a failure of endpoint `index` and waits as long as it takes.
    ///
    /// # Errors
    /// When trying again is of no use, or the job was stopped.
    pub(super) async fn failed(&self, context: &JobContext, index: usize, error: &HubError) -> Result<Next, JobStop> {
        let text = chain(error);
        // Connections that fail together have failed once: they wait together.
        let together = lock(&self.pause).filter(|until| *until > Instant::now());
        let attempts_made = match together {
            Some(_) => self.attempts_made.load(Relaxed).max(1),
            None => self.attempts_made.fetch_add(1, Relaxed) + 1,
        };
        let failing_since = *lock(&self.failing_since).get_or_insert_with(Instant::now);
        tracing::debug!(job = %context.id, endpoint = %context.endpoints[index].endpoint.base(), attempts_made, error = text, "an attempt failed");
        let (server_wish, reason) = match classify(error) {
            Verdict::Permanent(failure) => return self.refused(index, failure),
            Verdict::FreshLink => {
                if self.fresh_links.fetch_add(1, Relaxed) >= FRESH_LINKS {
                    let failure = Failure::new(
                        FailureKind::BadEndpoint,
                        format!("{text}; fresh addresses were refused as well"),
                        "try another endpoint, or `hfctl retry` later",
                    );
                    return self.refused(index, failure);
                }
                (None, HoldReason::Endpoint)
            }
            Verdict::EndpointAtFault(_) => {
                if matches!(error, HubError::RangeIgnored { .. }) && self.has_no_ranges(index) {
                    return Ok(Next::WholeFile);
                }
                self.move_on(index);
                (None, HoldReason::Endpoint)
            }
            Verdict::Retry { wait, reason } => {
                self.move_on(index);
                let limited = matches!(reason, RetryReason::RateLimited);
                (
                    wait,
                    if limited {
                        HoldReason::RateLimited
                    } else {
                        HoldReason::Endpoint
                    },
                )
            }
        };
        self.give_up(context, failing_since, &text)?;
        let wait = match (together, server_wish) {
            (Some(until), None) => until.saturating_duration_since(Instant::now()),
            _ => backoff::wait(attempts_made, server_wish, &mut fastrand::Rng::new()),
        };
        let until = Instant::now() + wait;
        if reason == HoldReason::RateLimited {
            context.shared.gates.close(&context.endpoints[index].gate(), until);
        }
        // Another endpoint may answer at once: wait only when all had their turn.
        let left = lock(&self.seen).iter().filter(|seen| seen.refusal.is_none()).count();
        let endpoints = u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        if attempts_made.is_multiple_of(endpoints) {
            *lock(&self.pause) = Some(until);
            let seconds = wait.as_secs_f32();
            let detail = format!("{text}; next attempt in {seconds:.0} s");
            wait_aloud(context, reason, &detail, until).await?;
        }
        Ok(Next::Again)
    }

    /// A job that nothing has reached for long enough is given up: in this run, or over the holds before it.
    fn give_up(&self, context: &JobContext, failing_since: Instant, text: &str) -> Result<(), JobStop> {
        let limit = context.shared.config().transfer.give_up_after;
        let before = if context.progress.has_received() {
            Duration::ZERO
        } else {
            context.stuck_for
        };
        let idle = failing_since.elapsed().min(context.progress.idle());
        // Never at the first failure of a run: after a reboot the network may come later than we do.
        if idle.saturating_add(before) <= limit || idle < limit.min(LEAST_TRIED) {
            return Ok(());
        }
        Err(JobStop::JobFailed(Failure::new(
            FailureKind::EndpointUnreachable,
            text,
            "nothing came for too long; look at the network or choose another endpoint, then `hfctl retry`",
        )))
    }

    /// The endpoint to use now. Waits while its origin asked everybody to stay away, unless another one is open.
    ///
    /// # Errors
    /// When the job was stopped.
    pub(super) async fn pass_gate(&self, context: &JobContext) -> Result<(usize, EndpointAccess), JobStop> {
        loop {
            let mut opens: Option<Instant> = None;
            for _ in 0..context.endpoints.len() {
                let index = self.endpoint.load(Relaxed) % context.endpoints.len();
                let access = &context.endpoints[index];
                match context.shared.gates.closed_until(&access.gate()) {
                    None => return Ok((index, access.clone())),
                    Some(until) => opens = Some(opens.map_or(until, |known| known.min(until))),
                }
                self.move_on(index);
            }
            let until = opens.unwrap_or_else(Instant::now);
            wait_aloud(context, HoldReason::RateLimited, "the endpoint asked us to wait", until).await?;
        }
    }

    /// Leaves an endpoint for the next one that has not said no for good.
    pub(super) fn move_on(&self, index: usize) {
        let seen = lock(&self.seen);
        let next = (1..=seen.len())
            .map(|step| (index + step) % seen.len())
            .find(|next| seen[*next].refusal.is_none());
        if let Some(next) = next {
            // Only the first of several connections that failed together moves on.
            let _other_was_first = self.endpoint.compare_exchange(index, next, Relaxed, Relaxed);
        }
    }

    /// Notes that an endpoint ignores ranges; true when all that are left do.
    fn has_no_ranges(&self, index: usize) -> bool {
        let mut seen = lock(&self.seen);
        seen[index].no_ranges = true;
        seen.iter().all(|seen| seen.no_ranges || seen.refusal.is_some())
    }

    /// An endpoint said no for good. While another has not, it is asked instead.
    fn refused(&self, index: usize, failure: Failure) -> Result<Next, JobStop> {
        let open = {
            let mut seen = lock(&self.seen);
            seen[index].refusal = Some(failure);
            seen.iter().any(|seen| seen.refusal.is_none())
        };
        if open {
            self.move_on(index);
            return Ok(Next::Again);
        }
        // The first endpoint is the preferred one: its words are shown.
        let failure = lock(&self.seen).iter().find_map(|seen| seen.refusal.clone());
        Err(stop_for(failure.unwrap_or_else(|| {
            Failure::new(FailureKind::Internal, "an endpoint refused without a reason", "")
        })))
    }
}

/// Waits, and says so again and again: a byte of another file takes the word back, and may be the last for minutes.
async fn wait_aloud(context: &JobContext, reason: HoldReason, detail: &str, until: Instant) -> Result<(), JobStop> {
    loop {
        context.progress.waits(reason, detail.to_owned(), until);
        let next = until.min(Instant::now() + SAY_AGAIN);
        context.unless_stopped(sleep_until(next)).await?;
        if next == until {
            return Ok(());
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
