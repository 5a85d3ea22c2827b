//! The HTTP clients below: one for each way, kind of traffic and place of an endpoint, built when first needed.
//!
//! Large files go over HTTP/1.1 only: each range has its own TCP window, not reading throttles just that range, and one reset
//! kills one range. JSON and small files use HTTP/2 where the server has it: many at a time over one warm connection. Clients
//! that speak no TLS ask the system for no CA certificates: on a machine without them, that must be the trouble of https
//! endpoints alone.
//!
//! A client belongs to one way and to one place where endpoints stand, so a connection that was allowed to one of them is
//! never used by another.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Proxy, redirect};
use tokio::time::Instant;

use super::address::Home;
use super::addresses::Addresses;
use super::client::HubOptions;
use super::resolver::Resolver;
use super::routes::Way;
use crate::model::route::Network;

/// Clients that are kept. More are wanted only where users name many endpoints of their own.
const MOST_CLIENTS: usize = 64;
/// What a server may send ahead over HTTP/2: of one file, and of all on the connection.
const AHEAD: (u32, u32) = (256 << 10, 2 << 20);

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Traffic {
    /// JSON, and files so small that they come whole.
    Small,
    /// Parts of large files.
    Bulk,
}

/// What a client is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) traffic: Traffic,
    pub(super) tls: bool,
    pub(super) way: Way,
    pub(super) home: Home,
}

/// All clients.
pub(super) struct Clients {
    user_agent: String,
    connect_timeout: Duration,
    lifetime: Duration,
    /// How the addresses of names did.
    pub(super) addresses: Addresses,
    built: Mutex<HashMap<Wanted, (Client, Instant)>>,
}

impl Clients {
    pub(super) fn new(options: &HubOptions) -> Self {
        Self {
            user_agent: options.user_agent.clone(),
            connect_timeout: options.connect_timeout,
            lifetime: options.pool_lifetime,
            addresses: Addresses::default(),
            built: Mutex::default(),
        }
    }

    /// Builds one and throws it away, to find out whether the options are any good.
    pub(super) fn try_build(&self, allowed: &Arc<[Network]>) -> reqwest::Result<()> {
        let sample = Wanted {
            traffic: Traffic::Small,
            tls: false,
            way: Way::Direct,
            home: Home::Named(String::new()),
        };
        self.build(&sample, allowed.clone()).map(drop)
    }

    /// The client for a request; a new one when there is none, or when the connections of the old one may be too old. Those
    /// end with what they are doing.
    pub(super) fn get(&self, wanted: Wanted, allowed: impl FnOnce() -> Arc<[Network]>) -> reqwest::Result<Client> {
        let known = self.built().get(&wanted).cloned();
        if let Some((client, since)) = known
            && since.elapsed() < self.lifetime
        {
            return Ok(client);
        }
        // Reading the certificates takes a while: others need not wait for it.
        let client = self.build(&wanted, allowed())?;
        let mut built = self.built();
        if built.len() >= MOST_CLIENTS {
            built.clear();
        }
        let new = (client, Instant::now());
        let kept = built.entry(wanted).or_insert_with(|| new.clone());
        // Somebody else may have built one meanwhile: his is as good.
        if kept.1.elapsed() >= self.lifetime {
            *kept = new;
        }
        Ok(kept.0.clone())
    }

    /// Forgets all; their idle connections close.
    pub(super) fn clear(&self) {
        self.built().clear();
    }

    fn build(&self, wanted: &Wanted, allowed: Arc<[Network]>) -> reqwest::Result<Client> {
        let proxy = wanted.way.proxy();
        let mut builder = self.builder(wanted.traffic).dns_resolver(Arc::new(Resolver {
            home: wanted.home.clone(),
            proxy: proxy.and_then(|proxy| proxy.url().host_str().map(str::to_owned)),
            allowed,
            known: self.addresses.clone(),
        }));
        if let Some(proxy) = proxy {
            let url = proxy.url_with_login();
            builder = builder.proxy(Proxy::custom(move |_| Some(url.clone())));
        }
        if !wanted.tls {
            // No roots at all: this client never sees an https address, and asks the system for nothing.
            builder = builder.tls_certs_only([]);
        }
        builder.build()
    }

    fn builder(&self, traffic: Traffic) -> ClientBuilder {
        let common = Client::builder()
            .user_agent(self.user_agent.clone())
            .connect_timeout(self.connect_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .tcp_keepalive(Duration::from_secs(15))
            .tcp_keepalive_interval(Duration::from_secs(5))
            .tcp_keepalive_retries(3)
            .pool_max_idle_per_host(32);
        match traffic {
            Traffic::Small => common
                .pool_idle_timeout(Duration::from_secs(60))
                .http2_max_header_list_size(64 << 10)
                .http2_initial_stream_window_size(AHEAD.0)
                .http2_initial_connection_window_size(AHEAD.1)
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_timeout(Duration::from_secs(10)),
            // Ranges of one file follow each other closely; what idles longer is probably cut by something on the way.
            Traffic::Bulk => common.http1_only().pool_idle_timeout(Duration::from_secs(30)),
        }
    }

    fn built(&self) -> std::sync::MutexGuard<'_, HashMap<Wanted, (Client, Instant)>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}
