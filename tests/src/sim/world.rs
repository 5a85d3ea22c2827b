//! Everything that a request can depend on, shared by all connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio_rustls::rustls::ServerConfig;

use super::access::{Caller, Refusal, Token, Tokens};
use super::fault::FaultPlan;
use super::gate::Gates;
use super::journal::{Host, Journal};
use super::pace::Pace;
use super::quota::Quotas;
use super::repo::{Commit, Kind, Repo};
use super::route::RepoRef;
use super::switches::Switches;
use super::tls::Identity;
use super::wire::{Request, Response};

type Repos = BTreeMap<(Kind, String), Arc<Repo>>;

#[derive(Debug)]
pub(crate) struct World {
    repos: RwLock<Repos>,
    tokens: RwLock<Tokens>,
    switches: RwLock<Switches>,
    link_generation: AtomicU64,
    requests: AtomicU64,
    /// Answers under way at the Hub and at the CDN.
    pub(crate) busy: [AtomicU64; 2],
    pub(crate) quotas: Mutex<Quotas>,
    pub(crate) endpoint: String,
    pub(crate) cdn_endpoint: String,
    /// Path of the endpoint, without a slash at its end.
    pub(crate) base_path: String,
    pub(crate) journal: Journal,
    pub(crate) faults: FaultPlan,
    pub(crate) gates: Gates,
    pub(crate) pace: Pace,
    /// Of the Hub and of the CDN; `None`: they speak in the clear.
    tls: RwLock<[Option<Arc<ServerConfig>>; 2]>,
}

impl World {
    pub(crate) fn new(endpoint: String, cdn_endpoint: String, base_path: String, switches: Switches) -> Self {
        Self {
            repos: RwLock::default(),
            tokens: RwLock::default(),
            switches: RwLock::new(switches),
            link_generation: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            busy: [AtomicU64::new(0), AtomicU64::new(0)],
            quotas: Mutex::new(Quotas::new()),
            endpoint,
            cdn_endpoint,
            base_path,
            journal: Journal::new(),
            faults: FaultPlan::default(),
            gates: Gates::default(),
            pace: Pace::default(),
            tls: RwLock::default(),
        }
    }

    pub(crate) fn tls(&self, host: Host) -> Option<Arc<ServerConfig>> {
        let identities = self.tls.read().unwrap_or_else(PoisonError::into_inner);
        identities[usize::from(host == Host::Cdn)].clone()
    }

    pub(crate) fn set_tls(&self, host: Host, identity: &Identity) {
        let mut identities = self.tls.write().unwrap_or_else(PoisonError::into_inner);
        identities[usize::from(host == Host::Cdn)] = Some(identity.config());
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.switches.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn put_token(&self, secret: &str, token: Token) {
        self.tokens
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(secret.to_owned(), token);
    }

    pub(crate) fn put_repo(&self, repo: Repo) {
        let mut repos = self.repos.write().unwrap_or_else(PoisonError::into_inner);
        repos.insert((repo.kind, repo.id.clone()), Arc::new(repo));
    }

    pub(crate) fn remove_repo(&self, kind: Kind, id: &str) {
        self.repos
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(kind, id.to_owned()));
    }

    pub(crate) fn repo(&self, kind: Kind, id: &str) -> Option<Arc<Repo>> {
        self.repos
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(kind, id.to_owned()))
            .cloned()
    }

    pub(crate) fn repos(&self, wanted: impl Fn(&Repo) -> bool) -> Vec<Arc<Repo>> {
        let repos = self.repos.read().unwrap_or_else(PoisonError::into_inner);
        repos.values().filter(|repo| wanted(repo)).cloned().collect()
    }

    pub(crate) fn link_generation(&self) -> u64 {
        self.link_generation.load(Ordering::Acquire)
    }

    pub(crate) fn withdraw_links(&self) {
        self.link_generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn next_request_id(&self) -> String {
        format!("Root=1-{:08x}-simulated", self.requests.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn caller(&self, request: &Request) -> Caller {
        Caller::of(
            &request.headers,
            &self.tokens.read().unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// Counts an answer under way; gives `None` when there are too many.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a AtomicU64);

impl<'a> Busy<'a> {
    pub(crate) fn enter(world: &'a World, host: Host, limit: Option<usize>) -> Option<Self> {
        let counter = &world.busy[usize::from(host == Host::Cdn)];
        let before = counter.fetch_add(1, Ordering::AcqRel);
        let entered = Self(counter);
        limit.is_none_or(|limit| before < limit as u64).then_some(entered)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One request with all that its handler may look at.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) world: &'a World,
    pub(crate) request: &'a Request,
    pub(crate) switches: &'a Switches,
    pub(crate) caller: Caller,
    /// Unix seconds by our clock.
    pub(crate) now: i64,
}

/// How a repository was found.
pub(crate) enum Found {
    Repo(Arc<Repo>),
    /// The id is a former one, or in the wrong case: this answer sends the client to the present one.
    Moved(Response),
}

impl Context<'_> {
    /// The repository of a URL, if the caller may know of it.
    pub(crate) fn find(&self, reference: &RepoRef) -> Result<Found, Refusal> {
        if matches!(self.caller, Caller::Invalid) {
            return Err(Refusal::BadToken);
        }
        if let Some(repo) = self.world.repo(reference.kind, &reference.id) {
            if !self.caller.sees(&repo) {
                return Err(self.caller.no_repo());
            }
            if repo.disabled {
                return Err(Refusal::Disabled {
                    anonymous: matches!(self.caller, Caller::Anonymous),
                });
            }
            return Ok(Found::Repo(repo));
        }
        let moved = |repo: &Repo| {
            let former = repo.former_ids.contains(&reference.id);
            repo.kind == reference.kind && (former || repo.id.eq_ignore_ascii_case(&reference.id))
        };
        match self.world.repos(moved).first() {
            Some(repo) if self.caller.sees(repo) => {
                let query = if self.request.query.is_empty() { "" } else { "?" };
                let location = format!(
                    "{}{}{}{}{query}{}",
                    self.world.base_path, reference.before, repo.id, reference.after, self.request.query
                );
                Ok(Found::Moved(redirect(307, &location)))
            }
            _ => Err(self.caller.no_repo()),
        }
    }

    /// What a revision of a repository means.
    pub(crate) fn commit(&self, repo: &Repo, revision: &str) -> Result<Arc<Commit>, Refusal> {
        let commit = repo.commit(revision).cloned();
        commit.ok_or_else(|| Refusal::RevisionNotFound {
            revision: revision.to_owned(),
        })
    }
}

/// A redirect with a body of its own, whose length is not the file's.
pub(crate) fn redirect(status: u16, location: &str) -> Response {
    let phrase = match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        308 => "Permanent Redirect",
        _ => "Temporary Redirect",
    };
    Response::text(status, format!("{phrase}. Redirecting to {location}")).with("Location", location)
}
