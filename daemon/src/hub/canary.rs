//! The canary: how long a round trip to the servers takes that bytes come from right now. A connection is made to where the
//! bytes come from, by the system's own measure of its handshake, and dropped. Nothing is sent over it: the round trip of the
//! connections that bytes come by is known only when we send, and we seldom do.
//!
//! Through a proxy it is the way to the proxy that is measured; one on this machine tells nothing of the line.

mod diagnosis;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::client::Hub;

/// A handshake that takes longer has lost a packet, or nobody is there.
const LONGEST: Duration = Duration::from_secs(1);

/// Where bytes come from at this moment.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<BTreeMap<SocketAddr, Open>>,
    first: Notify,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    /// It is a proxy on this machine.
    hidden: bool,
}

/// A body that is being read, for as long as it is.
pub(super) struct Reading {
    peers: Peers,
    peer: SocketAddr,
}

/// Where bytes come from, for whoever watches the line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivePeers {
    /// Addresses by the number of connections to them, the most first.
    pub peers: Vec<SocketAddr>,
    /// Bytes come through a proxy on this machine, behind which nothing is seen.
    pub hidden: bool,
}

impl Peers {
    pub(super) fn reading(&self, peer: SocketAddr, by_proxy: bool) -> Reading {
        let mut open = self.open();
        let is_first = open.is_empty();
        let known = open.entry(peer).or_default();
        known.connections += 1;
        known.hidden = by_proxy && peer.ip().is_loopback();
        drop(open);
        if is_first {
            self.0.first.notify_waiters();
        }
        Reading {
            peers: self.clone(),
            peer,
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> ActivePeers {
        let open = self.open();
        let mut peers: Vec<_> = open.iter().filter(|(_, open)| !open.hidden).collect();
        peers.sort_by_key(|(_, open)| std::cmp::Reverse(open.connections));
        ActivePeers {
            peers: peers.into_iter().map(|(peer, _)| *peer).collect(),
            hidden: open.values().any(|open| open.hidden),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        if let Some(known) = open.get_mut(&self.peer) {
            known.connections -= 1;
            if known.connections == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

impl Hub {
    /// Where the bytes come from that are being read at this moment.
    pub fn active_peers(&self) -> ActivePeers {
        self.peers().read()
    }

    /// Resolves when the first body is about to be read after none was. Safe to cancel.
    pub async fn begins_to_read(&self) {
        let begins = self.peers().0.first.notified();
        if self.peers().open().is_empty() {
            begins.await;
        }
    }
}

/// What a round trip to an address takes, as far as it is heard of within a second. Sends no byte, and leaves nothing behind.
pub async fn round_trip(peer: SocketAddr) -> Option<Duration> {
    let begun = Instant::now();
    let stream = match timeout(LONGEST, TcpStream::connect(peer)).await {
        Ok(Ok(stream)) => stream,
        // Nobody is there: that is no waiting.
        Ok(Err(_)) => return None,
        Err(_) => return Some(LONGEST),
    };
    let by_our_clock = begun.elapsed();
    let by_the_system = stream
        .local_addr()
        .ok()
        .and_then(|local| diagnosis::round_trip(local, peer).ok()?);
    // Reset rather than closed: neither end keeps it for a minute.
    if let Err(error) = set_socket_linger(&stream, Some(Duration::ZERO)) {
        tracing::debug!(%error, "a canary's connection ends as others do");
    }
    Some(by_the_system.unwrap_or(by_our_clock))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_round_trip_is_measured_by_the_system() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = server.local_addr().unwrap();
        let took = round_trip(peer).await.unwrap();
        assert!(took < LONGEST, "{took:?}");
        // What the system says of a connection is of that connection.
        let stream = TcpStream::connect(peer).await.unwrap();
        let local = stream.local_addr().unwrap();
        let known = diagnosis::round_trip(local, peer).unwrap();
        assert!(known.is_some_and(|took| took < LONGEST), "{known:?}");
        drop(stream);
        let nobody = diagnosis::round_trip("127.0.0.1:1".parse().unwrap(), peer);
        assert!(nobody.is_err(), "{nobody:?}");
        drop(server);
        assert_eq!(round_trip(peer).await, None);
    }

    #[tokio::test]
    async fn addresses_are_known_while_bodies_of_theirs_are_read() {
        let peers = Peers::default();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (one, other, proxy) = (at("192.0.2.1:443"), at("192.0.2.2:443"), at("127.0.0.1:7890"));
        assert_eq!(peers.read(), ActivePeers::default());
        let first = peers.reading(one, false);
        let more = [peers.reading(other, false), peers.reading(other, true)];
        assert_eq!(peers.read().peers, [other, one]);
        drop(first);
        let proxied = peers.reading(proxy, true);
        let expected = ActivePeers {
            peers: vec![other],
            hidden: true,
        };
        assert_eq!(peers.read(), expected);
        drop((more, proxied));
        assert_eq!(peers.read(), ActivePeers::default());
        // On this machine, but no proxy: a Hub of one's own.
        let local = peers.reading(proxy, false);
        assert_eq!(peers.read().peers, [proxy]);
        drop(local);
    }
}
