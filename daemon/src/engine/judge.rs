//! Asks an endpoint, before bytes are spent on it, whether it does its part for one commit; remembers the answer until it
//! expires. Each question is asked once at a time: who comes meanwhile waits for the same answer.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use url::Origin;

use super::{
    progress::wall_time,
    shared::{EndpointAccess, JobContext, Shared},
    stop::chain,
};
use crate::{
    hub::{Blame, Changed, Endpoint, FileTarget, HubError, RetryReason, Tried, Verdict, classify},
    model::{
        ByteRange, CommitHash, EndpointFault, FailureKind, FileRecord, Finding, Job, JudgedRepo, Judgement, RepoId,
        RepoKind, RepoPath, Revision, Serves, Trust,
    },
    plan::{self, PlannedFile, Question, Seen, SeenListing, SeenPart, Trouble},
    sched::backoff,
    store::{StoreError, StoredJudgement},
};

/// All questions to one endpoint together.
const LIMIT: Duration = Duration::from_secs(60);
/// Pages of a listing that are compared: ten requests and ten thousand files tell a mirror from something else.
const PAGES: usize = 10;
/// Planned files that are compared.
const FILES: u32 = 10_000;
/// Bytes of a file that are tried.
const PART: u64 = 64 << 10;

/// What an endpoint is held against.
#[derive(Debug, Clone)]
pub(super) struct PlanInfo {
    /// Whose job it is.
    pub(super) uid: u32,
    pub(super) kind: RepoKind,
    pub(super) repo_id: RepoId,
    pub(super) commit: CommitHash,
    /// The planned files, or the first of many.
    pub(super) files: Vec<PlannedFile>,
}

impl PlanInfo {
    /// The stored plan of a job; `None` while it has none.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn of_job(shared: &Shared, job: &Job) -> Result<Option<Self>, StoreError> {
        let Some(commit) = job.commit.clone() else {
            return Ok(None);
        };
        let files = shared.store.list_files(job.row, String::new(), FILES).await?;
        Ok(Some(Self {
            uid: job.owner.uid,
            kind: job.spec.kind,
            repo_id: job.spec.repo_id.clone(),
            commit,
            files: files.iter().map(planned).collect(),
        }))
    }

    pub(super) fn about(&self, access: &EndpointAccess) -> JudgedRepo {
        JudgedRepo {
            endpoint: key(&access.endpoint),
            account: access.account,
            kind: self.kind,
            repo_id: self.repo_id.clone(),
            commit: self.commit.clone(),
        }
    }

    /// The file to try, and which part: from the middle of the largest one, where a server that ignores ranges shows.
    fn part(&self, most: u64) -> Option<(FileTarget, ByteRange)> {
        let largest = self.files.iter().max_by_key(|file| file.size)?;
        let path = RepoPath::parse(&largest.path).ok()?;
        let start = largest.size / 2;
        let range = ByteRange::new(start, largest.size.min(start.saturating_add(most)));
        let target = FileTarget {
            kind: self.kind,
            repo_id: self.repo_id.clone(),
            commit: self.commit.clone(),
            path,
            size: largest.size,
            digest: largest.digest,
        };
        (!range.is_empty()).then_some((target, range))
    }
}

fn planned(file: &FileRecord) -> PlannedFile {
    PlannedFile {
        path: file.path.as_str().to_owned(),
        size: file.size,
        digest: file.digest,
    }
}

/// What is known of an endpoint of a job for its plan; asks when nothing is. Takes as long as that takes, a minute at most:
/// let the transfer begin elsewhere meanwhile. Safe to drop at any time.
pub(super) async fn judged(context: &JobContext, index: usize, plan: &PlanInfo) -> Judgement {
    let origins: Vec<Origin> = origins(&context.endpoints);
    judge(&context.shared, &context.endpoints[index], plan, &origins).await
}

/// What an endpoint is called in the store: its address.
pub(super) fn key(endpoint: &Endpoint) -> String {
    endpoint.base().as_str().trim_end_matches('/').to_owned()
}

/// The origins among some endpoints.
pub(super) fn origins(endpoints: &[EndpointAccess]) -> Vec<Origin> {
    let official = endpoints.iter().filter(|access| access.trust == Trust::Origin);
    official.map(|access| access.endpoint.origin()).collect()
}

/// The same for any endpoint. `origins` are those whose bytes can be had without it.
pub(super) async fn judge(shared: &Shared, access: &EndpointAccess, plan: &PlanInfo, origins: &[Origin]) -> Judgement {
    let about = plan.about(access);
    if let Some(known) = known(shared, &about).await {
        return known;
    }
    let _turn = shared.judging.take(about.clone()).await;
    // Whoever had the turn before has asked.
    if let Some(known) = known(shared, &about).await {
        return known;
    }
    ask(shared, access, plan, origins, PART).await.judgement
}

async fn known(shared: &Shared, about: &JudgedRepo) -> Option<Judgement> {
    let stored = shared.store.judgement(about).await;
    stored
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "what is known of an endpoint cannot be read");
            None
        })
        .filter(|judgement| judgement.holds(Timestamp::now()))
}

/// What asking brought.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) judgement: Judgement,
    /// How the part of a file came, when one did.
    pub(super) tried: Option<Tried>,
}

/// Asks in any case, and remembers.
pub(super) async fn ask(
    shared: &Shared,
    access: &EndpointAccess,
    plan: &PlanInfo,
    origins: &[Origin],
    most: u64,
) -> Asked {
    let at = stored_time(Timestamp::now());
    if let Some(until) = shared.gates.closed_until(&access.gate()) {
        return Asked {
            judgement: Judgement {
                finding: Finding {
                    fault: Some(EndpointFault::RateLimited),
                    detail: format!("{} asked for fewer requests a moment ago", access.endpoint.host()),
                    lists: false,
                    serves: Serves::Nothing,
                    ends_at: String::new(),
                },
                at,
                until: wall_time(until),
            },
            tried: None,
        };
    }
    let mut questions = Questions {
        shared,
        access,
        plan,
        origins,
        seen: Seen::default(),
        wish: None,
        tried: None,
    };
    if timeout(LIMIT, questions.put(most)).await.is_err() {
        questions.seen.trouble = Some(Trouble {
            asked: Question::Part,
            fault: EndpointFault::Unreachable,
            detail: format!(
                "{} did not answer three questions in {} s",
                access.endpoint.host(),
                LIMIT.as_secs()
            ),
        });
    }
    let Questions { seen, wish, tried, .. } = questions;
    let finding = plan::judge(&plan.commit, &plan.files, &seen);
    let life = wish.unwrap_or_else(|| plan::lifetime(finding.fault));
    let judgement = Judgement {
        finding,
        at,
        until: Timestamp::now().checked_add(life).map_or(at, stored_time),
    };
    remember(shared, access, plan, &judgement).await;
    Asked { judgement, tried }
}

/// As the store keeps it, in milliseconds: what is told at once and what is read later are the same.
fn stored_time(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

async fn remember(shared: &Shared, access: &EndpointAccess, plan: &PlanInfo, judgement: &Judgement) {
    let finding = &judgement.finding;
    tracing::debug!(
        endpoint = access.endpoint.name(),
        repo = %plan.repo_id,
        fault = finding.fault.map_or("none", EndpointFault::as_str),
        detail = finding.detail,
        "judged"
    );
    let stored = StoredJudgement {
        about: plan.about(access),
        uid: plan.uid,
        judgement: judgement.clone(),
    };
    if let Err(error) = shared.store.put_judgement(stored).await {
        // It is asked again next time, that is all.
        tracing::warn!(%error, "a judgement is not kept");
    }
}

/// The questions to one endpoint, and what they brought so far.
struct Questions<'a> {
    shared: &'a Shared,
    access: &'a EndpointAccess,
    plan: &'a PlanInfo,
    origins: &'a [Origin],
    seen: Seen,
    /// How long the server wants to be left alone.
    wish: Option<Duration>,
    tried: Option<Tried>,
}

impl Questions<'_> {
    /// Asks until an answer settles it.
    async fn put(&mut self, most: u64) {
        let (hub, access, plan) = (&self.shared.hub, self.access, self.plan);
        let (endpoint, token) = (&access.endpoint, access.token.as_ref());
        let revision = Revision::from(&plan.commit);
        match hub.info(endpoint, token, plan.kind, &plan.repo_id, &revision).await {
            Ok(info) if info.commit != plan.commit => {
                self.seen.commit = Some(info.commit);
                return;
            }
            Ok(info) => self.seen.commit = Some(info.commit),
            Err(error) if self.failed(Question::Commit, &error) => return,
            Err(_) => {}
        }
        let pages = hub.first_pages(endpoint, token, plan.kind, &plan.repo_id, &plan.commit, PAGES);
        match pages.await {
            Ok((listing, complete)) => {
                self.seen.listing = Some(SeenListing {
                    entries: listing.manifest.entries,
                    complete,
                });
            }
            Err(error) if self.failed(Question::Listing, &error) => return,
            Err(_) => {}
        }
        let Some((target, range)) = plan.part(most) else {
            return;
        };
        match hub.try_part(endpoint, token, &target, range).await {
            Ok(tried) => {
                self.seen.part = Some(SeenPart {
                    // A range that is all of the file tells nothing.
                    whole: tried.whole && range.len() < target.size,
                    ends_at: tried.ends_at.clone(),
                    through_origin: self.through_origin(&tried),
                });
                self.tried = Some(tried);
            }
            Err(error) => {
                self.failed(Question::Part, &error);
            }
        }
    }

    /// The origin that a redirect went through, when the endpoint is none itself.
    fn through_origin(&self, tried: &Tried) -> Option<String> {
        if self.access.trust == Trust::Origin {
            return None;
        }
        let known = tried.way.iter().skip(1).find(|origin| self.origins.contains(origin));
        let known = known.map(Origin::ascii_serialization);
        known.or_else(|| tried.through_hub.clone())
    }

    /// Notes what went wrong; true when there is no point in asking on.
    fn failed(&mut self, asked: Question, error: &HubError) -> bool {
        let verdict = classify(error);
        let rate_limited = matches!(
            verdict,
            Verdict::Retry {
                reason: RetryReason::RateLimited,
                ..
            }
        );
        if let (true, Verdict::Retry { wait, .. }) = (rate_limited, &verdict) {
            let wait = backoff::wait(1, *wait, &mut fastrand::Rng::new());
            self.shared.gates.close(&self.access.gate(), Instant::now() + wait);
            self.wish = Some(wait);
        }
        let trouble = Trouble {
            asked,
            fault: fault(asked, error, verdict, &self.seen),
            detail: chain(error),
        };
        let settles = !trouble.spares_bytes();
        if settles || self.seen.trouble.is_none() {
            self.seen.trouble = Some(trouble);
        }
        settles
    }
}

/// What an error says about the endpoint.
fn fault(asked: Question, error: &HubError, verdict: Verdict, seen: &Seen) -> EndpointFault {
    match verdict {
        Verdict::Retry {
            reason: RetryReason::RateLimited,
            ..
        } => EndpointFault::RateLimited,
        Verdict::Retry {
            reason: RetryReason::Server | RetryReason::Network(_) | RetryReason::Stalled | RetryReason::Truncated,
            ..
        } => EndpointFault::Unreachable,
        Verdict::FreshLink => EndpointFault::Refused,
        Verdict::EndpointAtFault(blame) => match blame {
            Blame::RangeIgnored => EndpointFault::NoRanges,
            Blame::WrongRange => EndpointFault::WrongRange,
            Blame::Encoded | Blame::NotTheFile | Blame::Blocked => EndpointFault::NotTheFile,
            Blame::ListingLoop | Blame::ListingIncomplete => EndpointFault::NoListing,
            Blame::ChangedUnderneath => match error {
                HubError::ChangedUnderneath {
                    what: Changed::Commit, ..
                } => EndpointFault::OtherCommit,
                _ => EndpointFault::OtherContent,
            },
            Blame::Certificate | Blame::NoTrustAnchors => EndpointFault::Certificate,
            Blame::Redirect => EndpointFault::BadRedirect,
            Blame::BadAnswer | Blame::Rejected => EndpointFault::BadAnswer,
        },
        Verdict::Permanent(failure) => match failure.kind {
            // It has just said that it has the commit.
            FailureKind::NotFound if asked == Question::Listing && seen.commit.is_some() => EndpointFault::NoListing,
            FailureKind::NotFound => EndpointFault::NoRepository,
            FailureKind::RevisionNotFound => EndpointFault::OtherCommit,
            FailureKind::EntryNotFound => EndpointFault::MissingFiles,
            FailureKind::Gated | FailureKind::Unauthorized | FailureKind::Disabled => EndpointFault::Refused,
            FailureKind::EndpointUnreachable => EndpointFault::Unreachable,
            FailureKind::RateLimited
            | FailureKind::DiskFull
            | FailureKind::DiskError
            | FailureKind::Integrity
            | FailureKind::BadEndpoint
            | FailureKind::UnsafePath
            | FailureKind::InvalidArgument
            | FailureKind::Internal => EndpointFault::BadAnswer,
        },
    }
}
