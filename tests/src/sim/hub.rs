//! Starting, steering and stopping a simulated Hub.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Token;
use super::fault::{Fault, FaultPlan, Matcher, Rule};
use super::gate::Gate;
use super::journal::{Host, Journal, lock};
use super::listen::{accept, listen};
use super::pace::Pace;
use super::quota::Bucket;
use super::repo::{Kind, Repo};
use super::switches::Switches;
use super::tls::Identity;
use super::world::World;

/// How long stopping may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What a [`SimHub`] begins with.
#[derive(Debug)]
#[must_use]
pub struct SimHubBuilder {
    repos: Vec<Repo>,
    tokens: Vec<(String, Token)>,
    hub: SocketAddr,
    cdn: SocketAddr,
    base_path: String,
    switches: Switches,
    quotas: Vec<(Bucket, u64)>,
    quota_window: Option<Duration>,
    identities: Option<[Identity; 2]>,
    names: [Option<String>; 2],
}

impl SimHubBuilder {
    /// A repository; takes a [`super::RepoBuilder`] too.
    pub fn repo(mut self, repo: impl Into<Repo>) -> Self {
        self.repos.push(repo.into());
        self
    }

    /// A valid token of a user.
    pub fn token(self, secret: &str, user: &str) -> Self {
        self.token_as(secret, Token::read(user))
    }

    /// A token of any kind.
    pub fn token_as(mut self, secret: &str, token: Token) -> Self {
        self.tokens.push((secret.to_owned(), token));
        self
    }

    /// Address of the Hub; default 127.0.0.1, any port. A fixed port lets a second Hub follow a stopped one.
    pub fn hub_address(mut self, address: SocketAddr) -> Self {
        self.hub = address;
        self
    }

    /// Address of the CDN; default 127.0.0.2, any port.
    pub fn cdn_address(mut self, address: SocketAddr) -> Self {
        self.cdn = address;
        self
    }

    /// A path in front of every route, such as `/hf`.
    pub fn base_path(mut self, path: &str) -> Self {
        path.trim_end_matches('/').clone_into(&mut self.base_path);
        self
    }

    /// Behaviour to begin with.
    pub fn switches(mut self, switches: Switches) -> Self {
        self.switches = switches;
        self
    }

    /// Requests that a caller may make in one window.
    pub fn quota(mut self, bucket: Bucket, requests: u64) -> Self {
        self.quotas.push((bucket, requests));
        self
    }

    /// Length of the window; default 300 s.
    pub fn quota_window(mut self, window: Duration) -> Self {
        self.quota_window = Some(window);
        self
    }

    /// Both speak TLS, with these certificates.
    pub fn tls(mut self, hub: &Identity, cdn: &Identity) -> Self {
        self.identities = Some([hub.clone(), cdn.clone()]);
        self
    }

    /// Names in place of the addresses in all URLs. Who asks must find the addresses by them.
    pub fn names(mut self, hub: &str, cdn: &str) -> Self {
        self.names = [hub, cdn].map(|name| Some(name.to_owned()));
        self
    }

    /// Starts it on threads of its own, so that a test which blocks, or pauses its clock, does not stop it.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn start(self) -> anyhow::Result<SimHub> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("sim-hub")
            .enable_all()
            .build()?;
        let hub = listen(&runtime, self.hub)?;
        let cdn = listen(&runtime, self.cdn)?;
        let (hub_address, cdn_address) = (hub.local_addr()?, cdn.local_addr()?);
        let scheme = if self.identities.is_some() { "https" } else { "http" };
        let [hub_host, cdn_host] =
            [(&self.names[0], hub_address), (&self.names[1], cdn_address)].map(|(name, address)| {
                name.as_ref()
                    .map_or_else(|| address.to_string(), |name| format!("{name}:{}", address.port()))
            });
        let endpoint = format!("{scheme}://{hub_host}{}", self.base_path);
        let world = World::new(
            endpoint,
            format!("{scheme}://{cdn_host}"),
            self.base_path,
            self.switches,
        );
        for (host, identity) in [Host::Hub, Host::Cdn].into_iter().zip(self.identities.iter().flatten()) {
            world.set_tls(host, identity);
        }
        for repo in self.repos {
            world.put_repo(repo);
        }
        for (secret, token) in self.tokens {
            world.put_token(&secret, token);
        }
        for (bucket, quota) in self.quotas {
            lock(&world.quotas).set(bucket, quota);
        }
        if let Some(window) = self.quota_window {
            lock(&world.quotas).set_window(window);
        }
        let sim = SimHub {
            world: Arc::new(world),
            runtime: Some(runtime),
            connections: Arc::default(),
            addresses: [hub_address, cdn_address],
            listeners: Mutex::default(),
        };
        sim.listen_on(Host::Hub, hub);
        sim.listen_on(Host::Cdn, cdn);
        Ok(sim)
    }
}

/// A running simulated Hub with its CDN. Dropping it ends everything it started.
#[derive(Debug)]
pub struct SimHub {
    world: Arc<World>,
    runtime: Option<Runtime>,
    connections: Arc<AtomicU64>,
    addresses: [SocketAddr; 2],
    listeners: Mutex<Vec<(Host, CancellationToken, TaskTracker)>>,
}

impl SimHub {
    /// An empty Hub on free ports.
    pub fn builder() -> SimHubBuilder {
        SimHubBuilder {
            repos: Vec::new(),
            tokens: Vec::new(),
            hub: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            cdn: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0),
            base_path: String::new(),
            switches: Switches::default(),
            quotas: Vec::new(),
            quota_window: None,
            identities: None,
            names: [None, None],
        }
    }

    /// What to put into `HF_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.world.endpoint
    }

    /// Where signed URLs point.
    pub fn cdn_endpoint(&self) -> &str {
        &self.world.cdn_endpoint
    }

    /// The bound address of one of the two.
    pub fn address(&self, host: Host) -> SocketAddr {
        self.addresses[usize::from(host == Host::Cdn)]
    }

    /// Everything asked and answered so far.
    pub fn journal(&self) -> &Journal {
        &self.world.journal
    }

    /// The rules in force.
    pub fn faults(&self) -> &FaultPlan {
        &self.world.faults
    }

    /// Short for adding a rule to [`SimHub::faults`] that strikes every match.
    pub fn fault(&self, matcher: Matcher, fault: Fault) {
        self.faults().add(Rule::new(matcher, fault));
    }

    /// Shows another certificate, on connections that begin from now on.
    pub fn set_identity(&self, host: Host, identity: &Identity) {
        self.world.set_tls(host, identity);
    }

    /// Speeds.
    pub fn pace(&self) -> &Pace {
        &self.world.pace
    }

    /// Changes behaviour, for all requests from now on.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        self.world.switch(change);
    }

    /// Holds bodies of files (by a pattern on the path in the repository) once `after_bytes` of them all together
    /// were sent. Heads still go out.
    pub fn hold_bodies(&self, file_pattern: &str, after_bytes: u64) -> Gate {
        self.world.gates.bodies(file_pattern, after_bytes)
    }

    /// Holds answers before their first byte.
    pub fn hold_answers(&self, matcher: Matcher) -> Gate {
        self.world.gates.requests(matcher)
    }

    /// Makes all signed URLs given so far expire now.
    pub fn expire_links(&self) {
        self.world.withdraw_links();
    }

    /// Begins a new window of the rate limits now.
    pub fn renew_quotas(&self) {
        lock(&self.world.quotas).renew();
    }

    /// Changes a quota.
    pub fn set_quota(&self, bucket: Bucket, requests: u64) {
        lock(&self.world.quotas).set(bucket, requests);
    }

    /// A repository as it is now.
    pub fn repo(&self, kind: Kind, id: &str) -> Option<Arc<Repo>> {
        self.world.repo(kind, id)
    }

    /// Adds a repository, or puts it in place of the one with its id.
    pub fn put_repo(&self, repo: impl Into<Repo>) {
        self.world.put_repo(repo.into());
    }

    /// Deletes a repository.
    pub fn remove_repo(&self, kind: Kind, id: &str) {
        self.world.remove_repo(kind, id);
    }

    /// Changes a repository: pushes a commit, moves a ref, gives consent.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn change_repo<T>(&self, kind: Kind, id: &str, change: impl FnOnce(&mut Repo) -> T) -> anyhow::Result<T> {
        let mut repo = (*self
            .world
            .repo(kind, id)
            .with_context(|| format!("no {} {id}", kind.word()))?)
        .clone();
        let value = change(&mut repo);
        self.world.put_repo(repo);
        Ok(value)
    }

    /// Adds or changes a token.
    pub fn put_token(&self, secret: &str, token: Token) {
        self.world.put_token(secret, token);
    }

    /// Refuses connections to one of the two origins and ends those it has. Returns when all is closed.
    pub async fn take_down(&self, host: Host) {
        let mut ended = Vec::new();
        lock(&self.listeners).retain(|(of, stop, tasks)| {
            if *of == host {
                stop.cancel();
                ended.push(tasks.clone());
            }
            *of != host
        });
        for tasks in ended {
            tasks.wait().await;
        }
    }

    /// Listens again, at the same address, after [`SimHub::take_down`].
    ///
    /// # Errors
    /// When the address was taken meanwhile.
    pub fn bring_up(&self, host: Host) -> anyhow::Result<()> {
        let runtime = self.runtime.as_ref().context("stopped")?;
        let listener = listen(runtime, self.address(host))?;
        self.listen_on(host, listener);
        Ok(())
    }

    /// Fails when something happened that must never happen.
    ///
    /// # Panics
    /// With the violations and the journal as text.
    pub fn assert_clean(&self) {
        let violations = self.journal().violations();
        assert!(
            violations.is_empty(),
            "violations: {violations:#?}\njournal:\n{}",
            self.journal().text()
        );
    }

    /// Ends everything and returns when both ports are closed.
    ///
    /// # Errors
    /// When something happened that must never happen.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.take_down(Host::Hub).await;
        self.take_down(Host::Cdn).await;
        let violations = self.journal().violations();
        ensure!(violations.is_empty(), "violations: {violations:#?}");
        Ok(())
    }

    fn listen_on(&self, host: Host, listener: TcpListener) {
        let Some(runtime) = &self.runtime else { return };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(
            Arc::clone(&self.world),
            host,
            listener,
            Arc::clone(&self.connections),
            stop.clone(),
        );
        tasks.spawn_on(accepting, runtime.handle());
        tasks.close();
        lock(&self.listeners).push((host, stop, tasks));
    }
}

impl Drop for SimHub {
    fn drop(&mut self) {
        for (_, stop, _) in lock(&self.listeners).iter() {
            stop.cancel();
        }
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be dropped inside another one's task, so a thread does it; the ports are closed after.
            let ending = std::thread::spawn(move || runtime.shutdown_timeout(STOP_LIMIT));
            ending.join().ok();
        }
    }
}
