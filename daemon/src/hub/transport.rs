//! Which part of the way broke: told from the chain of causes, since the library has one error for all.

use std::error::Error;
use std::{fmt, io, iter};

use url::Url;

use super::endpoint::host_of;
use super::error::HubError;
use super::resolver::AddressNotAllowed;
use super::scrub;

/// What broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkFault {
    /// The name was not resolved.
    Dns,
    /// Nobody listens.
    Refused,
    /// No route.
    Unreachable,
    /// No connection in time.
    Timeout,
    /// The other side closed or reset the connection.
    Reset,
    /// The TLS handshake failed for another reason than the certificate.
    Tls,
    /// The certificate is not to be trusted.
    Certificate,
    /// The certificate is not valid at this time, as far as this machine knows the time.
    CertificateTime,
    /// The proxy did not make the connection.
    Proxy,
    /// The proxy wants credentials.
    ProxyAuth,
    /// What came is not HTTP, or something else broke.
    Protocol,
}

impl NetworkFault {
    /// All faults.
    pub const ALL: [Self; 11] = [
        Self::Dns,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::Reset,
        Self::Tls,
        Self::Certificate,
        Self::CertificateTime,
        Self::Proxy,
        Self::ProxyAuth,
        Self::Protocol,
    ];

    /// One word, for logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::CertificateTime => "certificate_time",
            Self::Proxy => "proxy",
            Self::ProxyAuth => "proxy_auth",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "the name cannot be resolved (DNS)",
            Self::Refused => "the connection was refused",
            Self::Unreachable => "the network is unreachable",
            Self::Timeout => "no connection in time",
            Self::Reset => "the connection was closed by the other side",
            Self::Tls => "the TLS handshake failed",
            Self::Certificate => "the certificate is not to be trusted",
            Self::CertificateTime => "the certificate is not valid at this time; is the clock of this machine right?",
            Self::Proxy => "the proxy does not make the connection",
            Self::ProxyAuth => "the proxy wants credentials",
            Self::Protocol => "the connection broke",
        })
    }
}

/// Turns an error of the library into ours. Its address goes: it may be signed.
pub(super) fn fault(error: reqwest::Error, url: &Url, via: Option<&Url>) -> HubError {
    let error = error.without_url();
    if let Some(refused) = chain(&error).find_map(|cause| cause.downcast_ref::<AddressNotAllowed>()) {
        return HubError::AddressNotAllowed {
            host: host_of(url),
            address: refused.address,
        };
    }
    let fault = if error.is_dns() {
        NetworkFault::Dns
    } else {
        fault_of(&error)
    };
    let last = chain(&error).last().map_or_else(String::new, ToString::to_string);
    HubError::Transport {
        host: host_of(url),
        via: via.map(host_of),
        fault,
        detail: scrub::text(&last, None),
    }
}

/// Whether the body ended before its announced length.
pub(super) fn is_early_end(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        let text = cause.to_string();
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof)
            || text.contains("end of file before message length")
            || text.contains("closed before message completed")
            || text.contains("unexpected EOF")
    })
}

/// Whether building a client failed for want of CA certificates.
pub(super) fn lacks_roots(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| cause.to_string().contains("No CA certificates"))
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&cause| cause.source())
}

/// What broke, told from the whole chain of causes.
pub(super) fn fault_of(error: &(dyn Error + 'static)) -> NetworkFault {
    // Texts first: a refused certificate or tunnel is wrapped in an I/O error that says less.
    for cause in chain(error) {
        let text = cause.to_string();
        let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if holds(&["invalid peer certificate"]) && holds(&["expired", "Expired", "not valid yet", "NotValidYet"]) {
            return NetworkFault::CertificateTime;
        }
        if holds(&["invalid peer certificate"]) {
            return NetworkFault::Certificate;
        }
        if holds(&["dns error", "failed to lookup address"]) {
            return NetworkFault::Dns;
        }
        if holds(&["proxy authorization required", "407"]) {
            return NetworkFault::ProxyAuth;
        }
        if holds(&["tunnel error", "unsuccessful tunnel", "SOCKS", "socks"]) {
            return NetworkFault::Proxy;
        }
        if holds(&[
            "tls handshake",
            "fatal alert",
            "peer is incompatible",
            "corrupt message",
            "peer misbehaved",
        ]) {
            return NetworkFault::Tls;
        }
    }
    for cause in chain(error) {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && let Some(fault) = of_io(io.kind())
        {
            return fault;
        }
        let text = cause.to_string();
        if text.contains("timed out") || text.contains("deadline") {
            return NetworkFault::Timeout;
        }
        if text.contains("closed before message completed") || text.contains("end of file before message length") {
            return NetworkFault::Reset;
        }
    }
    NetworkFault::Protocol
}

fn of_io(kind: io::ErrorKind) -> Option<NetworkFault> {
    use io::ErrorKind as Kind;
    // The kinds are an open list, so here alone the rest has no names.
    match kind {
        Kind::ConnectionRefused => Some(NetworkFault::Refused),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            Some(NetworkFault::Reset)
        }
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::NotConnected => {
            Some(NetworkFault::Unreachable)
        }
        Kind::TimedOut => Some(NetworkFault::Timeout),
        _ => None,
    }
}
