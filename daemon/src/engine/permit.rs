//! Asks the origin, before a job is queued, whether its user may read the files: what would stop the job is told at once, with
//! the page to visit. One request in short time, for users who have a token. A Hub that does not answer holds nobody up: the
//! job is queued, and asks for itself when its turn comes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use super::{
    gated::{ASK_AGAIN, detail},
    gates::Gates,
    progress::lock,
    shared::{EndpointAccess, Shared},
};
use crate::{
    hub::{HubError, RetryReason, Verdict, classify},
    model::{Failure, FailureKind, HoldReason, RepoId, RepoKind, Trust},
    sched::backoff,
    store::MoveNote,
};

/// Who submits waits for the answer no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An origin that did not answer is left alone for so long.
const SILENT: Duration = Duration::from_secs(60);
/// A yes is believed for so long: the job itself asks again in any case.
const BELIEVED: Duration = Duration::from_secs(600);
/// Questions of one account in a minute: who submits by the hundred hears of a refusal from the job.
const A_MINUTE: usize = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// What is remembered of such questions.
#[derive(Default)]
pub(super) struct Permits {
    /// Who may have what, until when that is believed.
    granted: Mutex<HashMap<Subject, Instant>>,
    /// By account: when it was asked in the last minute.
    asked: Mutex<HashMap<String, VecDeque<Instant>>>,
    /// Origins that did not answer.
    silent: Gates,
}

/// An account at an origin, the digest of the token that it has now, and a repository.
type Subject = (String, [u8; 32], RepoKind, RepoId);

/// What speaks against a job.
#[derive(Debug)]
pub(super) enum Permit {
    /// Nothing, as far as is known.
    Open,
    /// Its user has no access yet.
    Waits(Failure),
    /// Its origin says no for another reason. Another endpoint may say yes.
    Doubtful(Failure),
}

impl Permit {
    /// How a job with it begins: held, until its user has access.
    pub(super) fn hold(&self, now: Timestamp) -> Option<(HoldReason, MoveNote)> {
        let Self::Waits(failure) = self else { return None };
        let wait = SignedDuration::try_from(ASK_AGAIN.0).unwrap_or_default();
        let note = MoveNote {
            detail: detail(failure),
            next_attempt_at: now.checked_add(wait).ok(),
            ..MoveNote::default()
        };
        Some((HoldReason::Access, note))
    }

    /// What to say about a job that is queued all the same.
    pub(super) fn warning(&self) -> Option<String> {
        match self {
            Self::Doubtful(failure) => Some(detail(failure)),
            Self::Open | Self::Waits(_) => None,
        }
    }
}

impl Permits {
    /// Asks, unless it is known or there is nobody to ask.
    pub(super) async fn of(
        &self,
        shared: &Shared,
        endpoints: &[EndpointAccess],
        kind: RepoKind,
        repo_id: &RepoId,
    ) -> Permit {
        let mut origins = endpoints.iter().filter(|access| access.trust == Trust::Origin);
        let Some((access, token)) = origins.find_map(|access| Some((access, access.token.as_ref()?))) else {
            return Permit::Open;
        };
        let (account, at) = (access.gate(), access.endpoint.origin().ascii_serialization());
        let digest = Sha256::digest(token.reveal().as_bytes());
        let subject = (account.clone(), digest.into(), kind, repo_id.clone());
        let closed = self.silent.closed_until(&at).is_some() || shared.gates.closed_until(&account).is_some();
        if closed || self.is_granted(&subject) || !self.may_ask(&account, Instant::now()) {
            return Permit::Open;
        }
        let asked = shared.hub.may_read(&access.endpoint, Some(token), kind, repo_id);
        match timeout(PATIENCE, asked).await {
            Err(_) => self.silent.close(&at, Instant::now() + SILENT),
            Ok(Ok(true)) => self.grant(subject),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return self.refused(shared, &account, &at, &error),
        }
        Permit::Open
    }

    fn refused(&self, shared: &Shared, account: &str, at: &str, error: &HubError) -> Permit {
        match classify(error) {
            Verdict::Permanent(failure) => match failure.kind {
                FailureKind::Gated => return Permit::Waits(failure),
                FailureKind::NotFound | FailureKind::Unauthorized | FailureKind::Disabled => {
                    return Permit::Doubtful(failure);
                }
                _ => {}
            },
            Verdict::Retry {
                wait,
                reason: RetryReason::RateLimited,
            } => {
                let wait = backoff::wait(1, wait, &mut fastrand::Rng::new());
                shared.gates.close(account, Instant::now() + wait);
            }
            Verdict::Retry { .. } | Verdict::FreshLink | Verdict::EndpointAtFault(_) => {
                self.silent.close(at, Instant::now() + SILENT);
            }
        }
        Permit::Open
    }

    fn is_granted(&self, subject: &Subject) -> bool {
        let granted = lock(&self.granted);
        granted.get(subject).is_some_and(|until| *until > Instant::now())
    }

    fn grant(&self, subject: Subject) {
        let mut granted = lock(&self.granted);
        let now = Instant::now();
        granted.retain(|_, until| *until > now);
        granted.insert(subject, now + BELIEVED);
    }

    /// Counts a question, unless there were too many.
    fn may_ask(&self, account: &str, now: Instant) -> bool {
        let mut asked = lock(&self.asked);
        let recent = |times: &mut VecDeque<Instant>| {
            while times.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
                times.pop_front();
            }
            !times.is_empty()
        };
        asked.retain(|_, times| recent(times));
        let times = asked.entry(account.to_owned()).or_default();
        let may = times.len() < A_MINUTE;
        if may {
            times.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_submits_by_the_hundred_does_not_ask_by_the_hundred() {
        let permits = Permits::default();
        let begun = Instant::now();
        let ask = |account: &str, seconds: u64| permits.may_ask(account, begun + Duration::from_secs(seconds));
        let asked = (0..100).filter(|_| ask("one", 0)).count();
        assert_eq!(asked, A_MINUTE);
        assert!(ask("another", 0));
        assert!(!ask("one", 59) && ask("one", 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_yes_is_one_accounts_and_grows_old() {
        let permits = Permits::default();
        let repo = || RepoId::parse("org/m").unwrap();
        let subject = |account: &str| (account.to_owned(), [1; 32], RepoKind::Model, repo());
        permits.grant(subject("one"));
        assert!(permits.is_granted(&subject("one")) && !permits.is_granted(&subject("another")));
        let one = || "one".to_owned();
        assert!(!permits.is_granted(&(one(), [1; 32], RepoKind::Dataset, repo())));
        assert!(!permits.is_granted(&(one(), [2; 32], RepoKind::Model, repo())));
        tokio::time::advance(BELIEVED).await;
        assert!(!permits.is_granted(&subject("one")));
    }

    #[test]
    fn only_a_lack_of_access_holds() {
        let failure = |kind| Failure::new(kind, "model org/m is gated", "ask for access at https://hub/org/m");
        let now = Timestamp::now();
        let (reason, note) = Permit::Waits(failure(FailureKind::Gated)).hold(now).unwrap();
        assert_eq!(reason, HoldReason::Access);
        assert_eq!(note.detail, "model org/m is gated; ask for access at https://hub/org/m");
        assert!(note.next_attempt_at > Some(now));
        let doubtful = Permit::Doubtful(failure(FailureKind::NotFound));
        assert!(doubtful.hold(now).is_none() && doubtful.warning().is_some());
        assert!(Permit::Open.hold(now).is_none() && Permit::Open.warning().is_none());
    }
}
