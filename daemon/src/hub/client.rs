//! The clients: one for each way, kind of traffic and place of an endpoint, built when first needed.
//!
//! Bytes go over HTTP/1.1 only: each range has its own TCP window, not reading throttles just that range, and one reset kills
//! one range. JSON may use HTTP/2. Clients that speak no TLS ask the system for no CA certificates: on a machine without
//! them, that must be the trouble of https endpoints alone.
//!
//! A client belongs to one way and to one place where endpoints stand, so a connection that was allowed to one of them is
//! never used by another.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Proxy, redirect};
use tokio::time::Instant;
use url::Url;

use super::address::Home;
use super::choice::Choices;
use super::endpoint::{Endpoint, host_of};
use super::error::HubError;
use super::ledger::Charge;
use super::listed::Listed;
use super::proxy::ProxyRules;
use super::resolver::Resolver;
use super::routes::{RouteTable, Way};
use super::transport;

/// Clients that are kept. More are wanted only where users name many endpoints of their own.
const MOST_CLIENTS: usize = 64;
/// What decided for a way that no rule chose.
const MEASURED: &str = "measured";

/// How the Hub client behaves.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Names us to servers.
    pub user_agent: String,
    /// Limit for name, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// Limit for a whole JSON request, its body included.
    pub metadata_timeout: Duration,
    /// Longest time without a byte of a file, counted from the sending of the request.
    pub stall_timeout: Duration,
    /// Which address is reached by which way, until [`Hub::set_routes`] says otherwise.
    pub routes: RouteTable,
}

impl HubOptions {
    /// The defaults, with the proxies of the environment.
    ///
    /// # Errors
    /// When a variable of the environment names something that is no proxy.
    pub fn new(user_agent: impl Into<String>) -> Result<Self, HubError> {
        Ok(Self {
            routes: RouteTable::environment(ProxyRules::from_environment()?),
            ..Self::direct(user_agent)
        })
    }

    /// The defaults without any proxy.
    pub fn direct(user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            connect_timeout: Duration::from_secs(10),
            metadata_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            routes: RouteTable::direct(),
        }
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Traffic {
    /// JSON.
    Metadata,
    /// Bytes of files.
    Bulk,
}

/// The one HTTP client. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    options: HubOptions,
    routes: RwLock<Arc<RouteTable>>,
    clients: Mutex<HashMap<Key, Client>>,
    choices: Mutex<Choices>,
    listed: Listed,
}

/// What a client is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    traffic: Traffic,
    tls: bool,
    way: Way,
    home: Home,
}

/// The way of one request, once it is chosen.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) client: Client,
    pub(super) way: Way,
    /// Whether there was a choice; then what becomes of it is remembered.
    chosen: bool,
    pub(super) charge: Charge,
    pub(super) listed: Listed,
    host: String,
}

impl Taken {
    /// The proxy on the way.
    pub(super) fn via(&self) -> Option<&Url> {
        self.way.proxy().map(|point| point.url())
    }
}

impl Hub {
    /// Sets the client up. Opens no connection and needs no CA certificates.
    ///
    /// # Errors
    /// When the options hold something that cannot be used, such as a line break in the user agent.
    pub fn new(options: HubOptions) -> Result<Self, HubError> {
        let hub = Self {
            inner: Arc::new(Inner {
                routes: RwLock::new(Arc::new(options.routes.clone())),
                options,
                clients: Mutex::default(),
                choices: Mutex::default(),
                listed: Listed::default(),
            }),
        };
        // A mistake in the options is told now, and not by every request.
        let sample = Key {
            traffic: Traffic::Metadata,
            tls: false,
            way: Way::Direct,
            home: Home::Named(String::new()),
        };
        hub.build(&sample).map_err(|source| HubError::Client {
            source: Box::new(source),
        })?;
        Ok(hub)
    }

    /// How it was set up.
    pub fn options(&self) -> &HubOptions {
        &self.inner.options
    }

    pub(super) fn listed(&self) -> &Listed {
        &self.inner.listed
    }

    /// The rules in force.
    pub fn routes(&self) -> Arc<RouteTable> {
        let routes = self.inner.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.clone()
    }

    /// Puts other rules in force: for every request from now on, and for every further hop of those on their way. Answers
    /// that are being read are read to their end.
    pub fn set_routes(&self, table: RouteTable) {
        let mut routes = self.inner.routes.write().unwrap_or_else(PoisonError::into_inner);
        if **routes == table {
            return;
        }
        *routes = Arc::new(table);
        // Idle connections of the old ways close with their clients.
        self.clients().clear();
        *self.choices() = Choices::default();
    }

    /// Chooses the way of the next request.
    pub(super) fn take(&self, endpoint: &Endpoint, traffic: Traffic, url: &Url) -> Result<Taken, HubError> {
        let routes = self.routes();
        let decision = routes.decide(url);
        let host = host_of(url);
        let way = match decision.ways.as_slice() {
            [] => {
                return Err(HubError::Rejected { host, by: decision.by });
            }
            [way] => way,
            ways => {
                let names: Vec<&str> = ways.iter().map(Way::name).collect();
                &ways[self.choices().choose(&host, &names, Instant::now())]
            }
        };
        Ok(Taken {
            client: self.client(endpoint, traffic, url, way)?,
            way: way.clone(),
            chosen: decision.ways.len() > 1,
            charge: endpoint.note(&host, way.name(), &decision.by),
            listed: self.inner.listed.clone(),
            host,
        })
    }

    /// A way that somebody else chose, for one request.
    pub(super) fn take_way(
        &self,
        endpoint: &Endpoint,
        traffic: Traffic,
        url: &Url,
        way: &Way,
    ) -> Result<Taken, HubError> {
        let host = host_of(url);
        Ok(Taken {
            client: self.client(endpoint, traffic, url, way)?,
            way: way.clone(),
            chosen: false,
            charge: endpoint.note(&host, way.name(), MEASURED),
            listed: self.inner.listed.clone(),
            host,
        })
    }

    /// Remembers that a way did not work, if there was a choice.
    pub(super) fn way_failed(&self, taken: &Taken) {
        if taken.chosen {
            self.choices().failed(&taken.host, taken.way.name(), Instant::now());
        }
    }

    /// Remembers what a way delivered, if there was a choice.
    pub(super) fn way_delivered(&self, taken: &Taken, bytes: u64, took: Duration) {
        if taken.chosen {
            let now = Instant::now();
            self.choices()
                .delivered(&taken.host, taken.way.name(), bytes, took, now);
        }
    }

    fn client(&self, endpoint: &Endpoint, traffic: Traffic, url: &Url, way: &Way) -> Result<Client, HubError> {
        let proxied_by_tls = way.proxy().is_some_and(|proxy| proxy.url().scheme() == "https");
        let key = Key {
            traffic,
            tls: url.scheme() != "http" || proxied_by_tls,
            way: way.clone(),
            home: Home::of(endpoint),
        };
        let known = self.clients().get(&key).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        // Reading the certificates takes a while: others need not wait for it.
        let built = self.build(&key).map_err(|source| {
            let source = Box::new(source);
            if transport::lacks_roots(&source) {
                HubError::NoTrustAnchors {
                    host: host_of(url),
                    source,
                }
            } else {
                HubError::Client { source }
            }
        })?;
        let mut clients = self.clients();
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        Ok(clients.entry(key).or_insert(built).clone())
    }

    fn build(&self, key: &Key) -> reqwest::Result<Client> {
        let routes = self.routes();
        let mut builder = builder(&self.inner.options, key.traffic).dns_resolver(Arc::new(Resolver {
            home: key.home.clone(),
            proxy: key
                .way
                .proxy()
                .and_then(|proxy| proxy.url().host_str().map(str::to_owned)),
            allowed: routes.allowed().clone(),
        }));
        if let Some(proxy) = key.way.proxy() {
            let url = proxy.url_with_login();
            builder = builder.proxy(Proxy::custom(move |_| Some(url.clone())));
        }
        if !key.tls {
            // No roots at all: this client never sees an https address, and asks the system for nothing.
            builder = builder.tls_certs_only([]);
        }
        builder.build()
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Client>> {
        self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choices(&self) -> std::sync::MutexGuard<'_, Choices> {
        self.inner.choices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("options", &self.inner.options)
            .field("routes", &self.routes())
            .finish_non_exhaustive()
    }
}

fn builder(options: &HubOptions, traffic: Traffic) -> ClientBuilder {
    let common = Client::builder()
        .user_agent(options.user_agent.clone())
        .connect_timeout(options.connect_timeout)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_keepalive(Duration::from_secs(15))
        .tcp_keepalive_interval(Duration::from_secs(5))
        .tcp_keepalive_retries(3);
    match traffic {
        Traffic::Metadata => common
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(4)
            .http2_max_header_list_size(64 << 10)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10)),
        // Ranges of one file follow each other closely; what idles longer is probably cut by something on the way.
        Traffic::Bulk => common
            .http1_only()
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(32),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::hub::{Blame, Endpoint, Verdict, classify};
    use crate::model::{RepoId, RepoKind, Revision};

    #[test]
    fn shows_no_password() {
        let mut options = HubOptions::direct("hfetch/test");
        let lookup = |name: &str| (name == "https_proxy").then(|| "http://u:secret@p:1".to_owned());
        options.routes = RouteTable::environment(ProxyRules::from_lookup(lookup).unwrap());
        let shown = format!("{:?}", Hub::new(options).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_bad_user_agent_is_an_error() {
        assert!(matches!(
            Hub::new(HubOptions::direct("a\nb")),
            Err(HubError::Client { .. })
        ));
    }

    /// Set in the process that finds no certificates.
    const WITHOUT_CERTIFICATES: &str = "HFETCH_TEST_WITHOUT_CERTIFICATES";

    /// Runs itself again in a process that finds no certificates.
    #[tokio::test]
    async fn http_works_without_certificates() {
        if std::env::var_os(WITHOUT_CERTIFICATES).is_some() {
            return ask_both_schemes().await;
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hub::client::tests::http_works_without_certificates"])
            .env(WITHOUT_CERTIFICATES, "1")
            .env("SSL_CERT_FILE", "/nonexistent/ca.pem")
            .env("SSL_CERT_DIR", "/nonexistent")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    async fn ask_both_schemes() {
        let hub = Hub::new(HubOptions::direct("hfetch/test")).unwrap();
        let (id, main) = (RepoId::parse("org/tiny").unwrap(), Revision::main());
        let ask = async |base: &str| {
            let endpoint = Endpoint::parse("e", base).unwrap();
            let asked = hub.info(&endpoint, None, RepoKind::Model, &id, &main);
            asked.await.unwrap_err()
        };
        // Nobody listens on port 1: the plain client gets as far as the connection.
        let error = ask("http://127.0.0.1:1").await;
        assert!(matches!(error, HubError::Transport { .. }), "{error:?}");
        let error = ask("https://127.0.0.1:1").await;
        assert!(matches!(error, HubError::NoTrustAnchors { .. }), "{error:?}");
        assert!(matches!(
            classify(&error),
            Verdict::EndpointAtFault(Blame::NoTrustAnchors)
        ));
    }
}
