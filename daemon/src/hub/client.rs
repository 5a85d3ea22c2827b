//! The one client of everything: its options, the rules in force, and which way the next request takes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;
use url::Url;

use super::address::Home;
use super::canary::Peers;
use super::choice::Choices;
use super::clients::{Clients, Traffic, Wanted};
use super::endpoint::{Endpoint, host_of};
use super::error::HubError;
use super::ledger::Charge;
use super::listed::Listed;
use super::proxy::ProxyRules;
use super::routes::{RouteTable, Way};
use super::transport;

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
    /// A connection takes no new request when it is older, so that a certificate is looked at again.
    pub pool_lifetime: Duration,
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
            pool_lifetime: Duration::from_secs(10 * 60),
            routes: RouteTable::direct(),
        }
    }
}

/// The one HTTP client. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    options: HubOptions,
    routes: RwLock<Arc<RouteTable>>,
    clients: Clients,
    choices: Mutex<Choices>,
    listed: Listed,
    peers: Peers,
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
                clients: Clients::new(&options),
                options,
                choices: Mutex::default(),
                listed: Listed::default(),
                peers: Peers::default(),
            }),
        };
        // A mistake in the options is told now, and not by every request.
        let tried = hub.inner.clients.try_build(hub.routes().allowed());
        tried.map_err(|source| HubError::Client {
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

    pub(super) fn peers(&self) -> &Peers {
        &self.inner.peers
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
        self.inner.clients.clear();
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

    /// Remembers which address of a name an answer came from.
    pub(super) fn answered(&self, url: &Url, from: Option<SocketAddr>, taken: &Taken) {
        if let (Way::Direct, Some(name), Some(from)) = (&taken.way, url.domain(), from) {
            self.inner.clients.addresses.answered(name, from.ip());
        }
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
        let wanted = Wanted {
            traffic,
            tls: url.scheme() != "http" || proxied_by_tls,
            way: way.clone(),
            home: Home::of(endpoint),
        };
        let client = self.inner.clients.get(wanted, || self.routes().allowed().clone());
        client.map_err(|source| {
            let source = Box::new(source);
            if transport::lacks_roots(&source) {
                HubError::NoTrustAnchors {
                    host: host_of(url),
                    source,
                }
            } else {
                HubError::Client { source }
            }
        })
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
