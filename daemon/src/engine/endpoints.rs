//! What is known of the Hub and its mirrors, and finding out anew.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::{
    access::{self, TokenRule},
    budgets,
    error::CallError,
    judge::{self, Asked, PlanInfo},
    login, planner,
    questions::{self, Unanswered},
    routes::millis,
    shared::{EndpointAccess, Shared},
    wanted,
};
use crate::{
    config::{Mode, TokenPolicy},
    hub::{Endpoint, Listing, Tried},
    model::{FailureKind, JudgedRepo, Judgement, Owner, RepoId, RepoKind, Revision, Token, Trust},
    plan::PlannedFile,
    store::{EndpointStats, Filter, Scope},
};

/// What a probe asks for when nobody says.
const WELL_KNOWN: &str = "openai-community/gpt2";
/// Bytes that a probe takes from each endpoint: enough to tell a fast one from a slow one.
const PROBE_BYTES: u64 = 4 << 20;

/// A call that asks endpoints.
#[derive(Debug, Clone)]
pub struct ProbeCall {
    /// Who asks, and pays.
    pub owner: Owner,
    /// Names or addresses; empty: the caller's own HF_ENDPOINT and the configured ones.
    pub endpoints: Vec<String>,
    /// What to ask for; `None`: the repository of the caller's newest job.
    pub repo: Option<(RepoKind, RepoId)>,
    /// At which revision.
    pub revision: Revision,
    /// The caller's own HF_ENDPOINT.
    pub preferred_endpoint: String,
    /// The caller's token.
    pub token: Option<Token>,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
}

/// An endpoint and what is known of it.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// It.
    pub endpoint: Endpoint,
    /// Whether tokens may go there.
    pub token: TokenPolicy,
    /// Whose word its hashes are.
    pub trust: Trust,
    /// What was found; `None`: nothing is known.
    pub judgement: Option<Judgement>,
    /// With what; `None` when the caller may not know.
    pub about: Option<JudgedRepo>,
    /// How fast it was.
    pub stats: Option<EndpointStats>,
}

/// What a probe found.
#[derive(Debug, Clone)]
pub struct Probed {
    /// In the order asked.
    pub endpoints: Vec<EndpointView>,
    /// What was asked for.
    pub repo: (RepoKind, RepoId),
    /// The commit that all were held against, and the name of the endpoint that told it.
    pub reference: Option<(String, String)>,
    /// For people.
    pub notes: Vec<String>,
}

/// All endpoints of the configuration, then others that were judged.
pub(super) async fn list(shared: &Shared, mode: Mode, scope: Scope, uid: u32) -> Result<Vec<EndpointView>, CallError> {
    let config = shared.config();
    let mut judged: HashMap<String, _> = HashMap::new();
    let mut order = Vec::new();
    for stored in shared.store.judgements(Timestamp::now()).await? {
        order.push(stored.about.endpoint.clone());
        judged.insert(stored.about.endpoint.clone(), stored);
    }
    let mut stats: HashMap<String, _> = HashMap::new();
    for one in shared.store.endpoint_stats().await? {
        stats.insert(one.endpoint.clone(), one);
    }
    let rule = TokenRule::new(mode, "");
    let mut views = Vec::new();
    let configured = wanted::endpoints(&config, mode, &[], "", &mut Vec::new())?;
    let configured_keys: Vec<String> = configured.iter().map(judge::key).collect();
    // Addresses that users named are shown to who may see their jobs.
    let named = order.into_iter().filter(|key| {
        let visible = scope == Scope::All || judged.get(key).is_some_and(|stored| stored.uid == uid);
        visible && !configured_keys.contains(key)
    });
    let named = named
        .filter_map(|key| Endpoint::parse("", &key).ok())
        .collect::<Vec<_>>();
    for endpoint in configured.into_iter().chain(named) {
        let key = judge::key(&endpoint);
        let stored = judged.remove(&key);
        let visible = stored
            .as_ref()
            .is_some_and(|stored| scope == Scope::All || stored.uid == uid);
        let policy = access::policy(&config, &rule, &endpoint);
        views.push(EndpointView {
            token: policy,
            trust: access::trust(policy),
            about: stored.as_ref().filter(|_| visible).map(|stored| stored.about.clone()),
            judgement: stored.map(|stored| match visible {
                true => stored.judgement,
                false => without_names(stored.judgement),
            }),
            stats: stats.remove(&key),
            endpoint,
        });
    }
    Ok(views)
}

/// The sentences of a finding may name another user's repository.
fn without_names(mut judgement: Judgement) -> Judgement {
    let finding = &mut judgement.finding;
    finding.detail = finding.fault.map_or("", |fault| fault.sentence()).to_owned();
    judgement
}

/// Asks each endpoint, all at a time.
pub(super) async fn probe(shared: &Arc<Shared>, mode: Mode, call: ProbeCall) -> Result<Probed, CallError> {
    // It costs as much as a dry run, and more.
    let _turn = shared.previews.acquire().await.map_err(|_| CallError::Stopping)?;
    budgets::must_have_some(shared, &call.owner)?;
    let config = shared.config();
    let mut notes = Vec::new();
    let rule = TokenRule::new(mode, &call.preferred_endpoint);
    let mut endpoints = wanted::endpoints(&config, mode, &call.endpoints, &call.preferred_endpoint, &mut notes)?;
    // What they are held against is the origin's word, also when only a mirror is asked about.
    let all = wanted::endpoints(&config, mode, &[], "", &mut Vec::new())?;
    let mut others: Vec<Endpoint> = all.into_iter().filter(|one| !is_among(one, &endpoints)).collect();
    if call.endpoints.is_empty() {
        endpoints.append(&mut others);
    }
    budgets::only_affordable(shared, &mut endpoints)?;
    let token_for = async |endpoints: &[Endpoint]| {
        let (own, no_login) = (call.token.clone(), call.no_login);
        login::token_of(shared, &config, &rule, call.owner.uid, endpoints, own, no_login).await
    };
    let token = token_for(&endpoints).await;
    let accesses = access::for_caller(shared, &rule, endpoints.clone(), call.owner.uid, token);
    let repo = match call.repo.clone() {
        Some(repo) => repo,
        None => usual_repo(shared, call.owner.uid).await?,
    };
    let token = token_for(&others).await;
    let others = access::for_caller(shared, &rule, others, call.owner.uid, token);
    let (first, second): (Vec<_>, Vec<_>) = accesses
        .iter()
        .chain(&others)
        .partition(|access| access.trust == Trust::Origin);
    let (mut reference, mut is_there, mut is_absent) = (None, false, false);
    for access in first.into_iter().chain(second) {
        let asked = planner::listing_of(shared, access, repo.0, &repo.1, &call.revision);
        match questions::ask(shared, access, asked).await {
            Ok(listing) => {
                reference = Some((access.endpoint.told(), listing));
                break;
            }
            Err(why) => {
                let refused = why.for_good();
                let absent = refused.as_ref().is_some_and(|failure| is_absence(failure.kind));
                is_there |= !absent;
                // The origin's word, whoever else is away.
                is_absent |= absent && access.trust == Trust::Origin;
                notes.push(match refused {
                    Some(failure) => format!("{}: {}", access.endpoint.told(), failure.message),
                    None => said(access, &why),
                });
            }
        }
    }
    let mut probed = Probed {
        endpoints: Vec::new(),
        repo: repo.clone(),
        reference: None,
        notes,
    };
    let plan = match reference {
        Some((name, listing)) => {
            probed.reference = Some((listing.manifest.commit.to_string(), name));
            plan_of(call.owner.uid, repo, listing)
        }
        None => {
            let (_, repo_id) = &probed.repo;
            let said = probed.notes.join("; ");
            let text = format!("no endpoint lists {repo_id}: {said}");
            // All have answered, or the one that knows, and none has it: the network is in order.
            return Err(match is_there && !is_absent {
                true => CallError::HubUnreachable(text),
                false => CallError::NoSuchRepo(text),
            });
        }
    };
    let mut known = accesses.clone();
    known.extend(others);
    let origins = judge::origins(&known);
    let (plan, origins) = (&plan, &origins[..]);
    let asked = accesses.iter().map(|access| async move {
        let asked = judge::ask(shared, access, plan, origins, PROBE_BYTES).await;
        (access, asked)
    });
    for (access, Asked { judgement, tried }) in join_all(asked).await {
        let stats = match tried {
            Some(tried) => Some(measured(shared, access, &tried).await?),
            None => None,
        };
        probed.endpoints.push(EndpointView {
            endpoint: access.endpoint.clone(),
            token: access::policy(&config, &rule, &access.endpoint),
            trust: access.trust,
            judgement: Some(judgement),
            about: Some(plan.about(access)),
            stats,
        });
    }
    Ok(probed)
}

/// By address: who names it by address gives it no name.
fn is_among(endpoint: &Endpoint, others: &[Endpoint]) -> bool {
    others.iter().any(|other| other.base() == endpoint.base())
}

fn is_absence(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::NotFound | FailureKind::RevisionNotFound | FailureKind::EntryNotFound
    )
}

fn said(access: &EndpointAccess, why: &Unanswered) -> String {
    format!("{} does not list the repository: {why}", access.endpoint.told())
}

async fn usual_repo(shared: &Shared, uid: u32) -> Result<(RepoKind, RepoId), CallError> {
    let newest = Filter {
        scope: Scope::Uid(uid),
        states: Vec::new(),
        held_for: Vec::new(),
        user: String::new(),
        repo: String::new(),
        before_row: None,
        limit: 1,
    };
    let (jobs, _) = shared.store.list_jobs(newest).await?;
    if let Some(job) = jobs.into_iter().next() {
        return Ok((job.spec.kind, job.spec.repo_id));
    }
    let repo_id = RepoId::parse(WELL_KNOWN).map_err(|error| CallError::Internal(error.to_string()))?;
    Ok((RepoKind::Model, repo_id))
}

fn plan_of(uid: u32, (kind, repo_id): (RepoKind, RepoId), listing: Listing) -> PlanInfo {
    let manifest = listing.manifest;
    let files = manifest.entries.into_iter().filter_map(|entry| {
        Some(PlannedFile {
            digest: entry.digest?,
            path: entry.path.into_string(),
            size: entry.size,
        })
    });
    PlanInfo {
        uid,
        kind,
        repo_id,
        commit: manifest.commit,
        files: files.collect(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate for people"
)]
async fn measured(shared: &Shared, access: &EndpointAccess, tried: &Tried) -> Result<EndpointStats, CallError> {
    // A part that came with its first byte took no time that could be told.
    let seconds = tried
        .took
        .as_secs_f64()
        .max(tried.first_byte.as_secs_f64() / 100.0)
        .max(1e-6);
    let stats = EndpointStats {
        endpoint: judge::key(&access.endpoint),
        bytes_per_sec: (tried.bytes as f64 / seconds) as u64,
        first_byte_ms: millis(tried.first_byte),
        at: Timestamp::now(),
    };
    shared.store.put_endpoint_stats(stats.clone()).await?;
    Ok(stats)
}
