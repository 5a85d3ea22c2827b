//! The retry policy, in one place: what a failed attempt means, which endpoints may be asked now, and when again.
//!
//! There is no limit on attempts: a job gives up when it has not moved a byte for `transfer.give_up_after`, counted from its
//! first failure. A refusal that repeating cannot change ends the job at once, unless another endpoint has not been asked.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    shared::JobContext,
    stop::{JobStop, chain},
};
use crate::{
    hub::{HubError, RetryReason, Verdict, classify},
    model::{Failure, FailureKind, HoldReason, Trust},
    sched::backoff,
};

/// A run tries for at least so long before it gives up.
const LEAST_TRIED: Duration = Duration::from_secs(20);
/// A place that refuses its own fresh addresses so often, without a byte between, refuses the file.
const FRESH_LINKS: u32 = 2;
/// An attempt that brought so much was worth it: what broke it off is not waited out.
const WORTH_IT: u64 = 256 << 10;
/// How often who waits says that it waits.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// What has gone wrong so far with one thing that is wanted (a plan, or one file).
pub(super) struct Retry {
    /// By the endpoint's number in the job.
    tried: Vec<Tried>,
    /// The one that is asked alone, to find out who sends wrong bytes.
    alone: Option<usize>,
    /// The one whose bytes are fetched again from the others, to find out whether they were wrong.
    left_out: Option<usize>,
    /// When the present row of failures began.
    failing_since: Option<Instant>,
}

/// What one endpoint has shown of itself.
#[derive(Debug, Clone, Default)]
struct Tried {
    /// It said no for good, in these words.
    refusal: Option<Failure>,
    /// It was not asked: the words are ours.
    unasked: bool,
    /// It sent wrong bytes of this very file.
    lied: bool,
    /// It answers ranges with whole files.
    no_ranges: bool,
    /// Failures in a row without a byte between.
    attempts_made: u32,
    fresh_links: u32,
    /// Not to be asked before.
    closed: Option<Closed>,
}

/// Why an endpoint is not asked now, and until when.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) until: Instant,
    pub(super) reason: HoldReason,
    /// For people.
    pub(super) detail: String,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again, at an endpoint that is open.
    Again,
    /// No endpoint serves parts: fetch the file in one piece.
    WholeFile,
}

/// Which endpoints are left.
pub(super) enum Left {
    Some,
    /// Only such as give no parts.
    WholeFiles,
    /// All have refused, the preferred one in these words.
    None(JobStop),
}

impl Retry {
    pub(super) fn new(context: &JobContext) -> Self {
        Self {
            tried: vec![Tried::default(); context.endpoints.len()],
            alone: None,
            left_out: None,
            failing_since: None,
        }
    }

    /// Bytes came from an endpoint: its count begins anew.
    pub(super) fn progressed(&mut self, index: usize) {
        let tried = &mut self.tried[index];
        tried.attempts_made = 0;
        tried.fresh_links = 0;
        self.failing_since = None;
    }

    /// Decides on a failure of endpoint `index` after it had brought `brought` bytes.
    ///
    /// # Errors
    /// When trying again is of no use.
    pub(super) fn failed(
        &mut self,
        context: &JobContext,
        index: usize,
        error: &HubError,
        brought: u64,
    ) -> Result<Next, JobStop> {
        let text = chain(error);
        let several = self.tried.len() > 1;
        let tried = &mut self.tried[index];
        // What was under way when others failed: one outage is not as many as there were connections.
        let is_same = tried
            .closed
            .as_ref()
            .is_some_and(|closed| closed.until > Instant::now());
        tried.attempts_made = match is_same {
            _ if brought >= WORTH_IT => 0,
            true => tried.attempts_made.max(1),
            false => tried.attempts_made + 1,
        };
        let attempts_made = tried.attempts_made;
        let failing_since = *self.failing_since.get_or_insert_with(Instant::now);
        tracing::debug!(job = %context.id, endpoint = %context.endpoints[index].endpoint.base(), attempts_made, error = text, "an attempt failed");
        let (server_wish, reason) = match classify(error) {
            Verdict::Permanent(failure) => return self.refused(index, failure),
            Verdict::FreshLink => {
                tried.fresh_links += 1;
                if tried.fresh_links > FRESH_LINKS {
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
                if matches!(error, HubError::RangeIgnored { .. }) {
                    tried.no_ranges = true;
                    if self.none_has_ranges() {
                        return Ok(Next::WholeFile);
                    }
                }
                (None, HoldReason::Endpoint)
            }
            Verdict::Retry { wait, reason } => match reason {
                RetryReason::RateLimited => (wait, HoldReason::RateLimited),
                RetryReason::Server | RetryReason::Network(_) | RetryReason::Stalled | RetryReason::Truncated => {
                    (wait, HoldReason::Endpoint)
                }
            },
        };
        self.give_up(context, failing_since, &text)?;
        let wait = match (attempts_made, server_wish) {
            // It served us well until then.
            (0, None) => return Ok(Next::Again),
            (attempts, wish) if several => backoff::rest(attempts.max(1), wish, &mut fastrand::Rng::new()),
            (attempts, wish) => backoff::wait(attempts.max(1), wish, &mut fastrand::Rng::new()),
        };
        // Not beyond the moment at which the job is given up.
        let wait = wait.min(self.patience_left(context, failing_since));
        let until = Instant::now() + wait;
        if reason == HoldReason::RateLimited {
            context.shared.gates.close(&context.endpoints[index].gate(), until);
        }
        let seconds = wait.as_secs_f32();
        self.tried[index].closed = Some(Closed {
            until,
            reason,
            detail: format!("{text}; next attempt in {seconds:.0} s"),
        });
        Ok(Next::Again)
    }

    /// Lets an endpoint be for a moment, without any fault of its; why, for people.
    pub(super) fn shortly(&mut self, index: usize, wait: Duration, why: &str) {
        self.tried[index].closed = Some(Closed {
            until: Instant::now() + wait,
            reason: HoldReason::Endpoint,
            detail: why.to_owned(),
        });
    }

    /// How long a job may go on without a byte from now on.
    fn patience_left(&self, context: &JobContext, failing_since: Instant) -> Duration {
        let limit = context.shared.config().transfer.give_up_after;
        let (idle, before) = idle(context, failing_since);
        let least = LEAST_TRIED.min(limit).saturating_sub(idle);
        let left = limit.saturating_sub(idle.saturating_add(before)).max(least);
        // A moment more, so that the next failure finds the time over.
        left + Duration::from_millis(50)
    }

    /// A job that nothing has reached for long enough is given up: in this run, or over the holds before it.
    fn give_up(&self, context: &JobContext, failing_since: Instant, text: &str) -> Result<(), JobStop> {
        let limit = context.shared.config().transfer.give_up_after;
        let (idle, before) = idle(context, failing_since);
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

    /// The endpoints that may be asked now, in the job's order; `in_parts`: those that serve parts of files.
    pub(super) fn open(&self, context: &JobContext, in_parts: bool) -> Vec<usize> {
        let now = Instant::now();
        (0..self.tried.len())
            .filter(|index| self.is_usable(context, *index, in_parts) && self.closed(context, *index, now).is_none())
            .collect()
    }

    /// When the first of the closed endpoints opens again, and why it is closed.
    pub(super) fn opens(&self, context: &JobContext, in_parts: bool) -> Option<Closed> {
        let now = Instant::now();
        let closed = (0..self.tried.len()).filter(|index| self.is_usable(context, *index, in_parts));
        closed
            .filter_map(|index| self.closed(context, index, now))
            .min_by_key(|closed| closed.until)
    }

    /// Whether an endpoint is left that serves what is wanted, now or later.
    pub(super) fn left(&self, in_parts: bool) -> Left {
        let any = |in_parts| (0..self.tried.len()).any(|index| self.serves(index, in_parts));
        match (any(in_parts), any(false)) {
            (true, _) => Left::Some,
            (false, true) => Left::WholeFiles,
            (false, false) => Left::None(self.refusal()),
        }
    }

    /// It serves, and it may: one that failed, or that wants a pause, leaves the way to those that were not judged yet.
    fn is_usable(&self, context: &JobContext, index: usize, in_parts: bool) -> bool {
        let pauses = |other: usize| {
            context
                .shared
                .gates
                .closed_until(&context.endpoints[other].gate())
                .is_some()
        };
        let out = |other: usize| !self.serves(other, in_parts) || self.tried[other].attempts_made > 0 || pauses(other);
        self.serves(index, in_parts) && context.admission.admits(index, in_parts, out)
    }

    fn serves(&self, index: usize, in_parts: bool) -> bool {
        let tried = &self.tried[index];
        tried.refusal.is_none()
            && !(in_parts && tried.no_ranges)
            && !((tried.lied || self.left_out == Some(index)) && self.another_is_honest(index))
            && self
                .alone
                .is_none_or(|alone| alone == index || self.tried[alone].refusal.is_some())
    }

    fn another_is_honest(&self, index: usize) -> bool {
        let mut others = self.tried.iter().enumerate().filter(|(other, _)| *other != index);
        others.any(|(_, tried)| !tried.lied && tried.refusal.is_none())
    }

    fn closed(&self, context: &JobContext, index: usize, now: Instant) -> Option<Closed> {
        let own = self.tried[index].closed.clone().filter(|closed| closed.until > now);
        let gate = context.shared.gates.closed_until(&context.endpoints[index].gate());
        let gate = gate.map(|until| Closed {
            until,
            reason: HoldReason::RateLimited,
            detail: "the endpoint asked us to wait".to_owned(),
        });
        let source = context.shared.sources.closed_until(context.sources[index]);
        let source = source.map(|until| Closed {
            until,
            reason: HoldReason::Endpoint,
            detail: format!("{} does not answer", context.endpoints[index].endpoint.host()),
        });
        // Its own words tell more than the others'.
        [source, gate, own]
            .into_iter()
            .flatten()
            .max_by_key(|closed| closed.until)
    }

    /// Waits for an endpoint that may be asked, and gives its number.
    ///
    /// # Errors
    /// When the job was stopped.
    pub(super) async fn next_open(&self, context: &JobContext) -> Result<usize, JobStop> {
        loop {
            if let Some(index) = self.open(context, false).first() {
                return Ok(*index);
            }
            let Some(closed) = self.opens(context, false) else {
                // All have refused: the last failure said so.
                return Err(self.refusal());
            };
            say(context, &closed);
            let until = closed.until.min(Instant::now() + SAY_AGAIN);
            context.unless_stopped(sleep_until(until)).await?;
        }
    }

    /// The bytes of these endpoints were wrong together. A single one is asked no more for this file while another may be; of
    /// several, the most trusted one is asked alone to find out which it was.
    pub(super) fn wrong_bytes(&mut self, context: &JobContext, from: &[usize]) {
        self.alone = None;
        match from {
            [] => {}
            [liar] => self.tried[*liar].lied = true,
            several => {
                self.alone = several
                    .iter()
                    .copied()
                    .min_by_key(|index| (context.endpoints[*index].trust != Trust::Origin, *index));
            }
        }
    }

    /// An endpoint sent wrong bytes of this file: it is asked for it no more while another may be.
    pub(super) fn lied(&mut self, index: usize) {
        self.tried[index].lied = true;
    }

    /// Asks this endpoint for nothing, until another word, while another may be asked.
    pub(super) fn leave_out(&mut self, index: Option<usize>) {
        self.left_out = index;
    }

    /// All that are left ignore ranges.
    fn none_has_ranges(&self) -> bool {
        self.tried
            .iter()
            .all(|tried| tried.no_ranges || tried.refusal.is_some())
    }

    /// An endpoint said no for good. While another has not, it is asked instead.
    fn refused(&mut self, index: usize, failure: Failure) -> Result<Next, JobStop> {
        self.tried[index].refusal = Some(failure);
        match self.tried.iter().any(|tried| tried.refusal.is_none()) {
            true => Ok(Next::Again),
            false => Err(self.refusal()),
        }
    }

    /// Leaves an endpoint out for a reason of ours.
    ///
    /// # Errors
    /// When none is left.
    pub(super) fn refuse(&mut self, index: usize, failure: Failure) -> Result<(), JobStop> {
        self.tried[index].unasked = true;
        self.refused(index, failure).map(drop)
    }

    /// The first endpoint is the preferred one: its words are shown, if it was asked.
    fn refusal(&self) -> JobStop {
        let said = |tried: &&Tried| tried.refusal.is_some() && !tried.unasked;
        let asked = self.tried.iter().find(said);
        let failure = asked.and_then(|tried| tried.refusal.clone());
        let failure = failure.or_else(|| self.tried.iter().find_map(|tried| tried.refusal.clone()));
        stop_for(
            failure.unwrap_or_else(|| Failure::new(FailureKind::Internal, "an endpoint refused without a reason", "")),
        )
    }
}

/// How long nothing has come: in this row of failures, and before this run.
fn idle(context: &JobContext, failing_since: Instant) -> (Duration, Duration) {
    let before = match context.progress.has_received() {
        true => Duration::ZERO,
        false => context.stuck_for,
    };
    (failing_since.elapsed().min(context.progress.idle()), before)
}

/// Lets watchers see why nothing happens. To be said again and again: a byte of another file takes the word back.
pub(super) fn say(context: &JobContext, closed: &Closed) {
    context
        .progress
        .waits(closed.reason, closed.detail.clone(), closed.until);
}

/// A missing file leaves the others alone; everything else concerns the whole repository.
fn stop_for(failure: Failure) -> JobStop {
    match failure.kind {
        FailureKind::EntryNotFound => JobStop::FileFailed(failure),
        _ => JobStop::JobFailed(failure),
    }
}
