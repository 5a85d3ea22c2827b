//! By which way each host of a repository is reached: told by asking, as a download would.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use url::Url;

use super::{
    Engine,
    access::{self, TokenRule},
    budgets,
    error::CallError,
    ledger, login, questions,
    shared::{EndpointAccess, Shared},
    wanted,
};
use crate::{
    config::Mode,
    hub::{Endpoint, FileTarget, Hop, Reading, RouteUse, Way},
    model::{Booking, CommitHash, Digest, Job, Manifest, Owner, RepoId, RepoKind, RepoPath, Revision, Spent, Token},
};

/// Files of each kind of storage that are asked for: one repository's files may lie at several hosts.
const SAMPLES: usize = 6;

/// What to explain.
#[derive(Debug, Clone)]
pub struct RouteCall {
    /// Who asks, and pays.
    pub owner: Owner,
    /// The repository or address.
    pub subject: RouteSubject,
    /// Names or addresses of endpoints; empty: the configured ones.
    pub endpoints: Vec<String>,
    /// The caller's own HF_ENDPOINT.
    pub preferred_endpoint: String,
    /// The caller's token.
    pub token: Option<Token>,
    /// A token that the user has left with the daemon is not used.
    pub no_login: bool,
    /// Also how fast, by every way.
    pub measure: bool,
}

/// Of what.
#[derive(Debug, Clone)]
pub enum RouteSubject {
    /// A repository at a revision.
    Repo(RepoKind, RepoId, Revision),
    /// One address.
    Address(Url),
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Explanation {
    /// Hosts in the order in which they are reached.
    pub hosts: Vec<HostRoute>,
    /// For people.
    pub notes: Vec<String>,
}

/// One host.
#[derive(Debug)]
pub struct HostRoute {
    /// What it is asked for: `api`, `resolve`, `bytes`, `address`.
    pub roles: Vec<&'static str>,
    /// The hop that tells of it: the first that failed, else the first.
    pub hop: Hop,
    /// By every way there is, and whether the rules choose it.
    pub readings: Vec<(Way, bool, Reading)>,
}

/// Explains.
pub(super) async fn explain(shared: &Arc<Shared>, mode: Mode, call: RouteCall) -> Result<Explanation, CallError> {
    // It costs as much as a dry run, and more.
    let _turn = shared.previews.acquire().await.map_err(|_| CallError::Stopping)?;
    if call.measure {
        budgets::must_have_some(shared, &call.owner)?;
    }
    let mut found = Explanation::default();
    match &call.subject {
        RouteSubject::Address(url) => address(shared, mode, &call, url, &mut found).await?,
        RouteSubject::Repo(kind, repo_id, revision) => {
            let config = shared.config();
            let mut endpoints = wanted::endpoints(
                &config,
                mode,
                &call.endpoints,
                &call.preferred_endpoint,
                &mut found.notes,
            )?;
            if call.measure {
                budgets::only_affordable(shared, &mut endpoints)?;
            }
            let rule = TokenRule::new(mode, &call.preferred_endpoint);
            let own = call.token.clone();
            let token = login::token_of(shared, &config, &rule, call.owner.uid, &endpoints, own, call.no_login).await;
            for access in access::for_caller(shared, &rule, endpoints, call.owner.uid, token) {
                repository(shared, &access, (*kind, repo_id, revision), call.measure, &mut found).await;
            }
        }
    }
    Ok(found)
}

async fn address(
    shared: &Shared,
    mode: Mode,
    call: &RouteCall,
    url: &Url,
    found: &mut Explanation,
) -> Result<(), CallError> {
    let endpoint = Endpoint::parse("", bare(url).as_str())
        .map_err(|error| CallError::invalid("url", error))?
        .counted(shared.ledgers.of_user(call.owner.uid));
    let configured = wanted::is_configured(&shared.config(), &endpoint);
    if mode == Mode::System && !configured {
        found.notes.push(format!(
            "{} is no endpoint of this daemon's configuration: only what the rules say is told, nobody was asked",
            endpoint.host()
        ));
        let hop = Hop::unasked(url, shared.hub.routes().decide(url));
        found.hosts.push(HostRoute {
            roles: vec!["address"],
            hop,
            readings: Vec::new(),
        });
        return Ok(());
    }
    let rule = TokenRule::new(mode, &call.preferred_endpoint);
    for access in access::for_caller(shared, &rule, vec![endpoint.clone()], call.owner.uid, None) {
        if is_pausing(shared, &access, "address", found) {
            return Ok(());
        }
    }
    let hops = shared.hub.trace_base(&endpoint).await;
    let mut hosts = Hosts::default();
    hosts.add("address", "address", hops);
    for host in hosts.finish() {
        found
            .hosts
            .push(measured(shared, &endpoint, None, host, call.measure).await);
    }
    Ok(())
}

/// Without query, fragment and user: they are no part of a route, and may be secrets.
fn bare(url: &Url) -> Url {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    bare
}

async fn repository(
    shared: &Shared,
    access: &EndpointAccess,
    (kind, repo_id, revision): (RepoKind, &RepoId, &Revision),
    measure: bool,
    found: &mut Explanation,
) {
    let (hub, endpoint, token) = (&shared.hub, &access.endpoint, access.token.as_ref());
    if is_pausing(shared, access, "api", found) {
        return;
    }
    let mut hosts = Hosts::default();
    hosts.add(
        "api",
        "api",
        hub.trace_info(endpoint, token, kind, repo_id, revision).await,
    );
    let listed = async {
        let commit = match revision.as_commit() {
            Some(commit) => commit,
            None => hub.info(endpoint, token, kind, repo_id, revision).await?.commit,
        };
        hub.manifest(endpoint, token, kind, repo_id, &commit).await
    };
    match questions::ask(shared, access, listed).await {
        Ok(listing) => {
            let manifest = listing.manifest;
            let targets = samples(kind, repo_id, &manifest);
            let all = manifest.entries.len();
            if targets.len() < all {
                found.notes.push(format!(
                    "{}: {} of {all} files were asked for, of each kind of storage some",
                    endpoint.host(),
                    targets.len()
                ));
            }
            let traces = targets.iter().map(|target| hub.trace_file(endpoint, token, target));
            for hops in join_all(traces).await {
                hosts.add("resolve", "bytes", hops);
            }
        }
        Err(why) => found
            .notes
            .push(format!("{} does not list the files: {why}", endpoint.host())),
    }
    for host in hosts.finish() {
        let host = measured(shared, endpoint, token, host, measure).await;
        found.hosts.push(host);
    }
}

/// Whether an endpoint is not to be asked now; then only what the rules say is told.
fn is_pausing(shared: &Shared, access: &EndpointAccess, role: &'static str, found: &mut Explanation) -> bool {
    let Some(why) = questions::pause(shared, access) else {
        return false;
    };
    found.notes.push(format!("{why}: only what the rules say is told"));
    let base = access.endpoint.base();
    found.hosts.push(HostRoute {
        roles: vec![role],
        hop: Hop::unasked(base, shared.hub.routes().decide(base)),
        readings: Vec::new(),
    });
    true
}

/// Some files of each kind of storage, the largest and the smallest among them.
fn samples(kind: RepoKind, repo_id: &RepoId, manifest: &Manifest) -> Vec<FileTarget> {
    let commit: &CommitHash = &manifest.commit;
    let mut by_storage: BTreeMap<bool, Vec<FileTarget>> = BTreeMap::new();
    for entry in &manifest.entries {
        let (Ok(path), Some(digest)) = (RepoPath::parse(&entry.path), entry.digest) else {
            continue;
        };
        // Nothing is asked for an empty file.
        if entry.size == 0 {
            continue;
        }
        let linked = matches!(digest, Digest::Sha256(_));
        by_storage.entry(linked).or_default().push(FileTarget {
            kind,
            repo_id: repo_id.clone(),
            commit: commit.clone(),
            path,
            size: entry.size,
            digest,
        });
    }
    let mut chosen = Vec::new();
    for mut files in by_storage.into_values() {
        files.sort_by_key(|file| std::cmp::Reverse(file.size));
        let step = files.len().div_ceil(SAMPLES).max(1);
        let last = files.len() - 1;
        let spread = files.into_iter().enumerate();
        chosen.extend(
            spread
                .filter(|(at, _)| at % step == 0 || *at == last)
                .map(|(_, file)| file),
        );
    }
    chosen
}

/// Hosts as they are met.
#[derive(Default)]
struct Hosts(Vec<HostRoute>);

impl Hosts {
    /// The first hop has one role, the place where the way ends another; between them it is the first one's.
    fn add(&mut self, first: &'static str, last: &'static str, hops: Vec<Hop>) {
        for (number, hop) in hops.into_iter().enumerate() {
            let role = if hop.is_last && (number > 0 || hop.error.is_none()) {
                last
            } else {
                first
            };
            match self.0.iter_mut().find(|known| known.hop.host == hop.host) {
                Some(known) => {
                    if !known.roles.contains(&role) {
                        known.roles.push(role);
                    }
                    // What fails, and what carries bytes, tells most.
                    let tells_more = known.hop.error.is_none() && (hop.error.is_some() || role == "bytes");
                    if tells_more {
                        known.hop = Hop {
                            saw_token: hop.saw_token || known.hop.saw_token,
                            ..hop
                        };
                    }
                }
                None => self.0.push(HostRoute {
                    roles: vec![role],
                    hop,
                    readings: Vec::new(),
                }),
            }
        }
    }

    fn finish(self) -> Vec<HostRoute> {
        self.0
    }
}

async fn measured(
    shared: &Shared,
    endpoint: &Endpoint,
    token: Option<&Token>,
    mut host: HostRoute,
    measure: bool,
) -> HostRoute {
    if !measure || host.hop.decision.ways.is_empty() {
        return host;
    }
    for way in shared.hub.routes().ways() {
        let chosen = host.hop.decision.ways.contains(&way);
        let reading = shared.hub.measure(endpoint, token, &host.hop, &way).await;
        host.readings.push((way, chosen, reading));
    }
    host
}

/// What a job had from each host by each way, whichever endpoint led there.
pub(super) async fn of_job(shared: &Shared, job: &Job) -> Result<Vec<RouteUse>, CallError> {
    let mut all: BTreeMap<(String, String), RouteUse> = BTreeMap::new();
    for Booking { route, spent, .. } in ledger::of_job(shared, &job.id).await? {
        let key = (route.host.clone(), route.way.clone());
        let known = all.entry(key).or_insert_with(|| RouteUse {
            route: route.clone(),
            spent: Spent::default(),
        });
        known.spent += spent;
        known.route = route;
    }
    Ok(all.into_values().collect())
}

/// Milliseconds, for the wire.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Engine {
    /// Which way leads to each host of a repository or to an address. Asks them, changes nothing.
    ///
    /// # Errors
    /// With the field that is wrong; hosts that do not answer are in the explanation.
    pub async fn explain_route(&self, call: RouteCall) -> Result<Explanation, CallError> {
        explain(&self.shared, self.mode, call).await
    }

    /// What a job had from each host by each way.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn job_routes(&self, job: &Job) -> Result<Vec<RouteUse>, CallError> {
        of_job(&self.shared, job).await
    }
}
