//! Which proxy an address goes through, read from the environment as curl reads it.
//!
//! The library's own reading differs from curl's: it lets capitals win over small letters, and an empty variable hides the
//! other spelling. So it is switched off and the rules are these. Loopback is not exempt by itself, as in curl; `NO_PROXY`
//! says what is. Unlike curl we also read `HTTP_PROXY` in capitals, as Python's client does: it is not read where a web
//! server could have made it of a request's header (CGI), which curl fears.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::endpoint::host_of;
use super::scrub;

/// Port of a proxy that names none: curl's, not that of the scheme.
const DEFAULT_PORT: u16 = 1080;

/// A proxy setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} does not name a proxy: {why}")]
pub struct BadProxy {
    /// The variable.
    pub variable: String,
    /// What is wrong with it.
    pub why: String,
}

/// Which proxy for which address.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyRules {
    http: Option<(&'static str, Url)>,
    https: Option<(&'static str, Url)>,
    bypass: Bypass,
}

/// What the variables say of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BySetting<'r> {
    /// This variable names this proxy.
    Proxy(&'static str, &'r Url),
    /// `NO_PROXY` exempts the host from the proxy of this variable.
    Exempt(&'static str),
    /// No variable is about it.
    Unset,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Bypass {
    everything: bool,
    names: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

impl ProxyRules {
    /// No proxy for anything.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads this process's environment.
    ///
    /// # Errors
    /// When a variable names something that is no proxy.
    pub fn from_environment() -> Result<Self, BadProxy> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// What of this process's environment is no proxy, each variable once.
    pub fn mistakes_of_environment() -> Vec<BadProxy> {
        Self::mistakes(|name| std::env::var(name).ok())
    }

    /// Reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, also in capitals. Small letters win; an empty variable
    /// counts as unset.
    ///
    /// # Errors
    /// When a variable names something that is no proxy.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadProxy> {
        let bypass = first(&lookup, &["no_proxy", "NO_PROXY"]);
        Ok(Self {
            http: read(&lookup, http_variables(&lookup))?,
            https: read(&lookup, &HTTPS)?,
            bypass: bypass.map_or_else(Bypass::default, |(_, list)| Bypass::parse(&list)),
        })
    }

    fn mistakes(lookup: impl Fn(&str) -> Option<String>) -> Vec<BadProxy> {
        let read = [read(&lookup, http_variables(&lookup)), read(&lookup, &HTTPS)];
        let mut bad: Vec<BadProxy> = read.into_iter().filter_map(Result::err).collect();
        bad.dedup();
        bad
    }

    /// What they say of an address.
    pub(super) fn ask(&self, url: &Url) -> BySetting<'_> {
        let named = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        };
        match named {
            None => BySetting::Unset,
            Some((variable, _)) if self.bypass.covers(url) => BySetting::Exempt(variable),
            Some((variable, proxy)) => BySetting::Proxy(variable, proxy),
        }
    }

    /// The proxies that the variables name, each once.
    pub(super) fn proxies(&self) -> Vec<&Url> {
        let mut found: Vec<&Url> = [&self.https, &self.http]
            .into_iter()
            .flatten()
            .map(|(_, url)| url)
            .collect();
        found.dedup();
        found
    }
}

/// Shows hosts only: proxy addresses hold passwords.
impl fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, https, bypass } = self;
        f.debug_struct("ProxyRules")
            .field("http", &http.as_ref().map(|(_, url)| host_of(url)))
            .field("https", &https.as_ref().map(|(_, url)| host_of(url)))
            .field("bypass_everything", &bypass.everything)
            .field("bypass_names", &bypass.names)
            .field("bypass_networks", &bypass.networks)
            .finish()
    }
}

const HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
/// Without the one that a request can set.
const HTTP_UNDER_CGI: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];
const HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

fn http_variables(lookup: impl Fn(&str) -> Option<String>) -> &'static [&'static str] {
    match lookup("REQUEST_METHOD") {
        Some(_) => &HTTP_UNDER_CGI,
        None => &HTTP,
    }
}

/// The first of these variables that says something.
fn first(lookup: impl Fn(&str) -> Option<String>, names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| {
        let value = lookup(name).filter(|value| !value.is_empty())?;
        Some((*name, value))
    })
}

fn read(
    lookup: impl Fn(&str) -> Option<String>,
    names: &[&'static str],
) -> Result<Option<(&'static str, Url)>, BadProxy> {
    first(lookup, names)
        .map(|(name, value)| Ok((name, parse_proxy(name, value.trim())?)))
        .transpose()
}

fn parse_proxy(variable: &str, value: &str) -> Result<Url, BadProxy> {
    let bad = |why: &str| BadProxy {
        variable: variable.to_owned(),
        why: format!("{why} (`{}`)", scrub::address(value)),
    };
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let scheme = scheme.to_ascii_lowercase();
    let scheme = match scheme.as_str() {
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" => scheme.as_str(),
        "socks" => "socks4",
        _ => return Err(bad("known are http, https, socks4, socks4a, socks5, socks5h")),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let mut url = Url::parse(&format!("{scheme}://{authority}")).map_err(|_| bad("it is no address"))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let names_port = host_and_port
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if !names_port && scheme != "https" {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| bad("it takes no port"))?;
    }
    Ok(url)
}

impl Bypass {
    fn parse(list: &str) -> Self {
        let mut bypass = Self {
            everything: list.trim() == "*",
            ..Self::default()
        };
        for entry in list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            match parse_network(entry) {
                Some(network) => bypass.networks.push(network),
                None => {
                    let name = entry.trim_end_matches('.');
                    let name = name.strip_prefix('.').unwrap_or(name);
                    if !name.is_empty() {
                        bypass.names.push(name.to_ascii_lowercase());
                    }
                }
            }
        }
        bypass
    }

    fn covers(&self, url: &Url) -> bool {
        if self.everything {
            return true;
        }
        match url.host() {
            Some(Host::Ipv4(ip)) => self.covers_ip(ip.into()),
            Some(Host::Ipv6(ip)) => self.covers_ip(ip.into()),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                self.names.iter().any(|covered| {
                    name.strip_suffix(covered.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
            }
            None => false,
        }
    }

    fn covers_ip(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|(network, bits)| match (network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                u32::from(*network) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                u128::from(*network) & mask == u128::from(ip) & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        })
    }
}

/// `10.0.0.0/8`, `10.1.2.3`, `fd00::/8`, `[::1]`.
fn parse_network(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry
        .split_once('/')
        .map_or((entry, None), |(ip, bits)| (ip, Some(bits)));
    let address = address
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(address);
    let ip: IpAddr = address.parse().ok()?;
    let full = if ip.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(full), |bits| bits.parse().ok())?;
    (bits <= full).then_some((ip, bits))
}

#[cfg(test)]
mod tests;
