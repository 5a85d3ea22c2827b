//! The clients: one kind for JSON, one for bytes, each with and without TLS.
//!
//! Bytes go over HTTP/1.1 only: each range has its own TCP window, not reading throttles just that range, and one reset kills
//! one range. JSON may use HTTP/2. TLS clients are built when first needed, and again when that failed: on a machine
//! without CA certificates building one is an error, which must be the trouble of https endpoints alone.

use std::fmt;
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Proxy, redirect};
use url::Url;

use super::endpoint::host_of;
use super::error::HubError;
use super::proxy::ProxyRules;
use super::transport;

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
    /// Which address goes through which proxy.
    pub proxies: ProxyRules,
}

impl HubOptions {
    /// The defaults, with the proxies of the environment.
    ///
    /// # Errors
    /// When a variable of the environment names something that is no proxy.
    pub fn new(user_agent: impl Into<String>) -> Result<Self, HubError> {
        Ok(Self {
            proxies: ProxyRules::from_environment()?,
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
            proxies: ProxyRules::none(),
        }
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    metadata: Pair,
    bulk: Pair,
    /// Bytes of answers that are no files, since somebody asked.
    listed_bytes: AtomicU64,
}

struct Pair {
    traffic: Traffic,
    plain: Client,
    tls: OnceLock<Client>,
}

impl Hub {
    /// Sets the client up. Opens no connection and needs no CA certificates.
    ///
    /// # Errors
    /// When the options hold something that cannot be used, such as a line break in the user agent.
    pub fn new(options: HubOptions) -> Result<Self, HubError> {
        let metadata = Pair::new(&options, Traffic::Metadata)?;
        let bulk = Pair::new(&options, Traffic::Bulk)?;
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                metadata,
                bulk,
                listed_bytes: AtomicU64::new(0),
            }),
        })
    }

    /// How it was set up.
    pub fn options(&self) -> &HubOptions {
        &self.inner.options
    }

    pub(super) fn listed(&self, bytes: usize) {
        self.inner.listed_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes of listings and other answers that are no files, since the last call of this.
    pub fn take_listed_bytes(&self) -> u64 {
        self.inner.listed_bytes.swap(0, Relaxed)
    }

    /// The client for one address.
    pub(super) fn client(&self, traffic: Traffic, url: &Url) -> Result<&Client, HubError> {
        let pair = match traffic {
            Traffic::Metadata => &self.inner.metadata,
            Traffic::Bulk => &self.inner.bulk,
        };
        let proxied_by_tls = self.proxy(url).is_some_and(|proxy| proxy.scheme() == "https");
        if url.scheme() == "http" && !proxied_by_tls {
            return Ok(&pair.plain);
        }
        if let Some(client) = pair.tls.get() {
            return Ok(client);
        }
        let built = builder(&self.inner.options, pair.traffic).build().map_err(|source| {
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
        Ok(pair.tls.get_or_init(|| built))
    }

    /// The proxy for one address.
    pub(super) fn proxy(&self, url: &Url) -> Option<&Url> {
        self.inner.options.proxies.proxy_for(url)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Pair {
    fn new(options: &HubOptions, traffic: Traffic) -> Result<Self, HubError> {
        // No roots at all: this client never sees an https address, and asks the system for nothing.
        let plain = builder(options, traffic)
            .tls_certs_only([])
            .build()
            .map_err(|source| HubError::Client {
                source: Box::new(source),
            })?;
        Ok(Self {
            traffic,
            plain,
            tls: OnceLock::new(),
        })
    }
}

fn builder(options: &HubOptions, traffic: Traffic) -> ClientBuilder {
    let rules = options.proxies.clone();
    let common = Client::builder()
        .user_agent(options.user_agent.clone())
        .connect_timeout(options.connect_timeout)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .proxy(Proxy::custom(move |url| rules.proxy_for(url).cloned()))
        .tcp_keepalive(Duration::from_secs(15))
        .tcp_keepalive_interval(Duration::from_secs(5))
        .tcp_keepalive_retries(3);
    // A resolver that refuses internal addresses of foreign names belongs here (`dns_resolver`), see address.rs.
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
        options.proxies = ProxyRules::from_lookup(lookup).unwrap();
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
