//! Takes connections over TCP and shakes hands with them, away from the loop that accepts: who is slow keeps nobody waiting.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{RemoteConnection, RemotePeer},
    door::RemoteDoor,
    tls,
};
use crate::api::places::{Key, Place, Places};

/// A handshake must be over after this.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections of all addresses, and of one.
const MOST: usize = 1024;
pub(super) const MOST_EACH: usize = 64;
/// After the system refused to accept (no more files, say), it is asked again.
pub(in crate::api) const BREATH: Duration = Duration::from_millis(100);

/// A bound port.
pub struct RemoteListener {
    listener: TcpListener,
    /// Where, with the port that was found for port 0.
    pub address: SocketAddr,
}

impl RemoteListener {
    /// Binds it.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

/// Connections as they come.
pub(in crate::api) struct Incoming {
    listener: TcpListener,
    door: Arc<RemoteDoor>,
    places: Places,
    handshakes: JoinSet<Option<RemoteConnection>>,
}

impl Incoming {
    pub(in crate::api) fn new(listener: RemoteListener, door: Arc<RemoteDoor>) -> Self {
        Self {
            listener: listener.listener,
            door,
            places: Places::new(MOST, MOST_EACH),
            handshakes: JoinSet::new(),
        }
    }

    /// The next one whose handshake is over.
    pub(in crate::api) async fn next(&mut self) -> RemoteConnection {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => match self.places.take(Key::of(address.ip())) {
                        Some(place) => {
                            let door = self.door.clone();
                            self.handshakes.spawn(shake_hands(stream, address, door, place));
                        }
                        None => tracing::warn!(%address, "too many connections; hung up"),
                    },
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept over TCP");
                        sleep(BREATH).await;
                    }
                },
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
            }
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    door: Arc<RemoteDoor>,
    place: Place,
) -> Option<RemoteConnection> {
    // Answers are small and awaited.
    stream.set_nodelay(true).ok()?;
    let (tls, cut) = door.handshake();
    match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let certificate = session.peer_certificates().and_then(<[_]>::first);
            let name = certificate.and_then(|certificate| tls::name_of(certificate));
            let peer = RemotePeer::new(address, name);
            Some(RemoteConnection::new(stream, peer, cut, place))
        }
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no TLS");
            None
        }
        Err(_) => {
            tracing::debug!(%address, "the handshake takes too long");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::api::remote::door::tests::{door, options};

    /// The clock of this test jumps as soon as nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_hung_up_on() {
        let listener = RemoteListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address;
        let dir = tempfile::tempdir().unwrap();
        let mut incoming = Incoming::new(listener, door(&options(), dir.path()));
        let caller = async {
            let mut silent = TcpStream::connect(address).await.unwrap();
            silent.read(&mut [0; 16]).await.unwrap_or_default()
        };
        tokio::select! {
            read = caller => assert_eq!(read, 0),
            _ = incoming.next() => panic!("a connection without a handshake"),
        }
    }

    #[tokio::test]
    async fn an_address_has_its_share_of_connections() {
        let listener = RemoteListener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address;
        let dir = tempfile::tempdir().unwrap();
        let mut incoming = Incoming::new(listener, door(&options(), dir.path()));
        let caller = async {
            let mut held = Vec::new();
            for _ in 0..MOST_EACH {
                held.push(TcpStream::connect(address).await.unwrap());
            }
            let mut one_more = TcpStream::connect(address).await.unwrap();
            let read = one_more.read(&mut [0; 16]).await.unwrap_or_default();
            (read, held)
        };
        tokio::select! {
            (read, held) = caller => assert_eq!((read, held.len()), (0, MOST_EACH)),
            _ = incoming.next() => panic!("a connection without a handshake"),
        }
    }
}
