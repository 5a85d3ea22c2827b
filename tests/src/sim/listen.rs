//! Sockets that take connections, and the tasks that serve them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::BytesMut;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::conn::Connection;
use super::http2;
use super::journal::Host;
use super::pace::Meter;
use super::tls::Stream;
use super::world::World;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Bytes that a connection may hold which the other side's system has not taken; twice that, as the kernel counts.
const SEND_BUFFER: u32 = 128 << 10;
/// A process out of file descriptors must not spin.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Binds an address; a stopped Hub's port can be taken again at once.
pub(crate) fn listen(runtime: &Runtime, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let _context = runtime.enter();
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Taken over by the connections: what the journal says was sent has left but for so much.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Accepts until told to stop, then ends its connections and waits for them.
pub(crate) async fn accept(
    world: Arc<World>,
    host: Host,
    listener: TcpListener,
    connections: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => {
                let (stream, peer) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        world.journal.violation(format!("cannot accept: {error}"));
                        tokio::time::sleep(AFTER_FAILURE).await;
                        continue;
                    }
                };
                stream.set_nodelay(true).ok();
                if let Some(bytes) = world.switches().send_buffer
                    && let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(&stream, bytes)
                {
                    world.journal.violation(format!("no send buffer of {bytes} bytes: {error}"));
                }
                let (world, stop) = (Arc::clone(&world), stop.clone());
                let number = connections.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(async move {
                    let Some(stream) = encrypted(&world, host, stream, &stop).await else { return };
                    let connection = Connection {
                        world,
                        host,
                        stream,
                        peer,
                        number,
                        stop,
                        meter: Meter::default(),
                        buffer: BytesMut::new(),
                    };
                    if connection.stream.is_http2() {
                        http2::run(connection).await;
                    } else {
                        connection.run().await;
                    }
                });
            }
            Some(ended) = tasks.join_next() => note_panic(&world, ended),
        }
    }
    drop(listener);
    while let Some(ended) = tasks.join_next().await {
        note_panic(&world, ended);
    }
}

/// Shakes hands where TLS is spoken; `None` when the peer does not like our certificate, or goes.
async fn encrypted(world: &World, host: Host, stream: TcpStream, stop: &CancellationToken) -> Option<Stream> {
    let Some(config) = world.tls(host) else {
        return Some(Stream::Plain(stream));
    };
    let shaken = tokio::select! {
        () = stop.cancelled() => return None,
        shaken = TlsAcceptor::from(config).accept(stream) => shaken,
    };
    match shaken {
        Ok(stream) => Some(Stream::Tls(Box::new(stream))),
        Err(_) => {
            world.journal.failed_handshake();
            None
        }
    }
}

fn note_panic(world: &World, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        world
            .journal
            .violation(format!("a connection's task panicked: {error}"));
    }
}
