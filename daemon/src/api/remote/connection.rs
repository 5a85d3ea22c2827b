//! A connection whose handshake is over. It ends when its peer has not shown who it is in time, and when what the daemon knew
//! of callers has changed.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::api::{identity::Peer, places::Place};

/// Within this time a call must have been let in.
const STRANGER: Duration = Duration::from_secs(30);

/// The other end.
#[derive(Debug)]
pub(in crate::api) struct RemotePeer {
    /// Where it is.
    pub(in crate::api) address: SocketAddr,
    /// What its certificate calls it, if it showed one of ours.
    pub(in crate::api) certificate: Option<String>,
    /// A call was let in.
    admitted: AtomicBool,
}

impl RemotePeer {
    pub(super) fn new(address: SocketAddr, certificate: Option<String>) -> Self {
        Self {
            address,
            certificate,
            admitted: AtomicBool::new(false),
        }
    }

    /// A call was let in: the connection may stay.
    pub(in crate::api) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

/// A connection over TLS.
pub(in crate::api) struct RemoteConnection {
    stream: TlsStream<TcpStream>,
    peer: Arc<RemotePeer>,
    /// Nobody was let in yet.
    stranger: Option<Pin<Box<Sleep>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl RemoteConnection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: RemotePeer,
        cut: WaitForCancellationFutureOwned,
        place: Place,
    ) -> Self {
        Self {
            stream,
            peer: Arc::new(peer),
            stranger: Some(Box::pin(sleep(STRANGER))),
            cut: Box::pin(cut),
            _place: place,
        }
    }

    /// Whether the connection is over by our word.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if self.peer.admitted.load(Ordering::Relaxed) {
            self.stranger = None;
        }
        let late = self
            .stranger
            .as_mut()
            .is_some_and(|clock| clock.as_mut().poll(context).is_ready());
        late || self.cut.as_mut().poll(context).is_ready()
    }
}

impl Connected for RemoteConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer::Remote(self.peer.clone())
    }
}

impl AsyncRead for RemoteConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for RemoteConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
