//! Looks names up for one kind of connection, and refuses what an address written out would be refused for: a name that
//! somebody else chose must not lead into the network that only this machine can reach. Judged are the addresses that the
//! connection is made with, so a name cannot change its mind between.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::{fmt, io};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{self, Home};
use super::addresses::Addresses;
use crate::model::route::Network;

/// The resolver of one client.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    pub(super) home: Home,
    /// The proxy of the client: named by the configuration, so it may be anywhere.
    pub(super) proxy: Option<String>,
    pub(super) allowed: Arc<[Network]>,
    pub(super) known: Addresses,
}

/// A name that leads where its namer has no business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddressNotAllowed {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

impl fmt::Display for AddressNotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address } = self;
        write!(f, "{name} is {address}, an address of the internal network")
    }
}

impl std::error::Error for AddressNotAllowed {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.addresses(name.as_str()).await?;
            let found = this.known.in_order(name.as_str(), found);
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

impl Resolver {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = look_up(name).await?;
        let named_by_us = self.home.is_named(name) || self.proxy.as_deref() == Some(name);
        if named_by_us {
            return Ok(found);
        }
        let mut good = Vec::with_capacity(found.len());
        let mut refused = None;
        for ip in found {
            if permitted(&self.home, &self.allowed, ip).await {
                good.push(ip);
            } else {
                refused.get_or_insert(ip);
            }
        }
        match refused {
            Some(address) if good.is_empty() => Err(Box::new(AddressNotAllowed {
                name: name.to_owned(),
                address,
            })),
            // A name with both kinds is used at its public addresses.
            _ => Ok(good),
        }
    }
}

/// Whether a foreign name or redirect may lead to an address, for an endpoint that stands at `home`.
pub(super) async fn permitted(home: &Home, allowed: &[Network], ip: IpAddr) -> bool {
    let place = address::place_of(ip);
    if place == address::Place::Public || allowed.iter().any(|network| network.contains(ip)) {
        return true;
    }
    if place == address::Place::Forbidden {
        return false;
    }
    match home {
        Home::At(known) => *known == place,
        // Where the endpoint stands is what its name says at this moment.
        Home::Named(name) => look_up(name)
            .await
            .is_ok_and(|found| found.into_iter().any(|ip| address::place_of(ip) == place)),
    }
}

async fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    let found: Vec<IpAddr> = tokio::net::lookup_host((name, 0))
        .await?
        .map(|address| address.ip())
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(home: Home, allowed: &[Network]) -> Resolver {
        Resolver {
            home,
            proxy: None,
            allowed: allowed.into(),
            known: Addresses::default(),
        }
    }

    /// `localhost` is the one name that every machine resolves to an internal address.
    #[tokio::test]
    async fn foreign_names_stay_outside() {
        let loopback = [("127.0.0.0", 8), ("::1", 128)].map(|(address, prefix)| Network {
            address: address.parse().unwrap(),
            prefix,
        });
        let away = || Home::Named("hub.example".to_owned());
        let check = async |resolver: Resolver, good: bool| {
            let found = resolver.addresses("localhost").await;
            match found {
                Ok(found) => assert!(good && found.iter().all(IpAddr::is_loopback), "{resolver:?}"),
                Err(error) => {
                    let refused = error.downcast_ref::<AddressNotAllowed>();
                    assert!(
                        !good && refused.is_some_and(|refused| refused.address.is_loopback()),
                        "{error}"
                    );
                }
            }
        };
        check(resolver(away(), &[]), false).await;
        check(resolver(away(), &loopback), true).await;
        check(resolver(Home::At(address::Place::Public), &[]), false).await;
        check(resolver(Home::At(address::Place::Private10), &[]), false).await;
        check(resolver(Home::At(address::Place::Loopback), &[]), true).await;
        check(resolver(Home::Named("localhost".to_owned()), &[]), true).await;
        let by_proxy = Resolver {
            proxy: Some("localhost".to_owned()),
            ..resolver(away(), &[])
        };
        check(by_proxy, true).await;
    }

    #[tokio::test]
    async fn a_name_stands_where_it_leads() {
        let loopback: IpAddr = "127.9.9.9".parse().unwrap();
        assert!(permitted(&Home::Named("localhost".to_owned()), &[], loopback).await);
        assert!(!permitted(&Home::Named("a..invalid".to_owned()), &[], loopback).await);
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        let all = Network {
            address: "0.0.0.0".parse().unwrap(),
            prefix: 0,
        };
        assert!(!permitted(&Home::Named("localhost".to_owned()), &[], metadata).await);
        assert!(permitted(&Home::At(address::Place::Public), &[all], metadata).await);
    }
}
