//! Which addresses a redirect may lead to. A server outside must not make the daemon ask hosts that only the daemon can
//! reach.
//!
//! An address written out (an IP literal, `localhost`) is judged when the redirect is read; a name when the connection is
//! made, by what it resolves to (`resolver.rs`). Names that a proxy resolves are the proxy's to judge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::endpoint::Endpoint;
use super::resolver::permitted;
use crate::model::route::Network;

/// Where an address lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The public network, and what is no more internal than it: Clash gives names addresses of 198.18.0.0/15 of its own.
    Public,
    Loopback,
    /// 10.0.0.0/8.
    Private10,
    /// 172.16.0.0/12.
    Private172,
    /// 192.168.0.0/16.
    Private192,
    /// fc00::/7.
    UniqueLocal,
    /// Link-local, metadata services, shared carrier space, multicast, unspecified: never the target of a redirect, unless
    /// it is the endpoint itself or `routing.allow_networks` lists it.
    Forbidden,
}

/// Where an endpoint stands: what it names may stand there too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Home {
    /// Its address is written out.
    At(Place),
    /// Wherever its name leads.
    Named(String),
}

impl Home {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        match endpoint.base().host() {
            Some(Host::Domain(name)) => Self::Named(name.to_owned()),
            Some(Host::Ipv4(ip)) => Self::At(place_v4(ip)),
            Some(Host::Ipv6(ip)) => Self::At(place_v6(ip)),
            None => Self::At(Place::Forbidden),
        }
    }

    /// Whether this is the endpoint's own name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        matches!(self, Self::Named(own) if own == name)
    }
}

/// Whether a server at `endpoint` may redirect to `target`, as far as the target is written out.
pub(super) async fn allowed(endpoint: &Endpoint, target: &Url, networks: &[Network]) -> bool {
    if endpoint.owns(target) {
        return true;
    }
    let home = Home::of(endpoint);
    match target.host() {
        Some(Host::Ipv4(ip)) => permitted(&home, networks, ip.into()).await,
        Some(Host::Ipv6(ip)) => permitted(&home, networks, ip.into()).await,
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            // Not every resolver knows the names below it, so they are judged as what they mean.
            let loopback = name == "localhost" || name.ends_with(".localhost");
            !loopback || permitted(&home, networks, Ipv4Addr::LOCALHOST.into()).await
        }
        None => false,
    }
}

/// Where an address lies.
pub(super) fn place_of(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(ip) => place_v4(ip),
        IpAddr::V6(ip) => place_v6(ip),
    }
}

fn place_v4(ip: Ipv4Addr) -> Place {
    match ip.octets() {
        [127, ..] => Place::Loopback,
        [10, ..] => Place::Private10,
        [172, 16..=31, ..] => Place::Private172,
        [192, 168, ..] => Place::Private192,
        // This network, shared carrier space (a metadata service lives there), link-local, multicast and above.
        [0, ..] | [100, 64..=127, ..] | [169, 254, ..] | [224..=255, ..] => Place::Forbidden,
        _ => Place::Public,
    }
}

fn place_v6(ip: Ipv6Addr) -> Place {
    if ip.is_loopback() {
        return Place::Loopback;
    }
    if let Some(IpAddr::V4(inner)) = embedded(ip) {
        return place_v4(inner);
    }
    if ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
        return Place::Forbidden;
    }
    match ip.segments()[0] {
        0xfc00..=0xfdff => Place::UniqueLocal,
        // Link-local, old site-local, multicast.
        0xfe80..=0xffff => Place::Forbidden,
        _ if ip.is_unspecified() => Place::Forbidden,
        _ => Place::Public,
    }
}

/// The IPv4 address inside `::ffff:a.b.c.d`, `::a.b.c.d`, `64:ff9b::a.b.c.d` and `2002:aabb:ccdd::`.
fn embedded(ip: Ipv6Addr) -> Option<IpAddr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] if !(high == 0 && low == 0) => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn may(from: &str, to: &str, networks: &[Network]) -> bool {
        let endpoint = Endpoint::parse("e", from).unwrap();
        allowed(&endpoint, &Url::parse(to).unwrap(), networks).await
    }

    #[tokio::test]
    async fn listed_networks_are_allowed() {
        let ten = Network {
            address: "10.20.0.0".parse().unwrap(),
            prefix: 16,
        };
        assert!(may("https://8.8.8.8", "http://10.20.1.1/", &[ten]).await);
        assert!(!may("https://8.8.8.8", "http://10.21.1.1/", &[ten]).await);
        assert!(may("https://8.8.8.8", "http://198.18.0.7/", &[]).await);
    }

    #[tokio::test]
    async fn inside_is_reached_from_inside_only() {
        let check = async |from: &str, to: &str, expected: bool| {
            assert_eq!(may(from, to, &[]).await, expected, "{from} -> {to}");
        };
        let public = "https://a..invalid";
        check(public, "https://us.aws.cdn.hf.co/x", true).await;
        check(public, "https://8.8.8.8/x", true).await;
        check(public, "https://[2606:4700::1]/x", true).await;
        for inside in [
            "http://127.0.0.1/",
            "http://127.9.9.9/",
            "http://localhost/",
            "http://x.localhost./",
            "http://[::1]/",
            "http://10.1.2.3/",
            "http://172.16.0.1/",
            "http://172.31.255.1/",
            "http://192.168.1.1/",
            "http://[fd12::1]/",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:7f00:1::]/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://255.255.255.255/",
            "http://239.1.1.1/",
            "http://[::127.0.0.1]/",
        ] {
            check(public, inside, false).await;
            check("https://8.8.8.8", inside, false).await;
        }
        check("http://127.0.0.1:1", "http://127.0.0.2:2/", true).await;
        check("http://127.0.0.1:1", "http://localhost:2/", true).await;
        check("http://localhost:1", "http://[::1]:2/", true).await;
        check("http://127.0.0.1:1", "http://10.0.0.1/", false).await;
        check("http://10.0.0.1", "http://10.200.0.1/", true).await;
        check("http://10.0.0.1", "http://192.168.0.1/", false).await;
        check("http://172.16.0.1", "http://172.20.0.1/", true).await;
        check("http://192.168.0.1", "http://192.168.9.9/", true).await;
        check("http://192.168.0.1", "http://127.0.0.1/", false).await;
        check("http://[fd12::1]", "http://[fd99::1]/", true).await;
        check("http://10.0.0.1", "http://169.254.169.254/", false).await;
        check("http://169.254.1.1", "http://169.254.169.254/", false).await;
        check("http://169.254.1.1", "http://169.254.1.1/other", true).await;
        check("http://127.0.0.1", "https://huggingface.co/", true).await;
    }
}
