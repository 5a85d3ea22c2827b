//! Callers of the daemon's socket, as who they are or under another uid.

use std::{io, os::unix::net::UnixStream as StdUnixStream, path::PathBuf};

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use rustix::{process::Uid, thread::set_thread_res_uid};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// A channel to a daemon's socket.
///
/// # Errors
/// When nobody answers.
pub async fn channel_to(socket: PathBuf) -> anyhow::Result<Channel> {
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Ok(Endpoint::from_static("http://localhost")
        .connect_with_connector(connect)
        .await?)
}

/// A channel whose connections are made by a user: the kernel tells the uid of the thread that connects. Needs root.
///
/// # Errors
/// When the uid cannot be taken, or nobody answers.
pub async fn channel_as(uid: u32, socket: PathBuf) -> anyhow::Result<Channel> {
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move {
            let connected = std::thread::spawn(move || -> io::Result<StdUnixStream> {
                let uid = Uid::from_raw(uid);
                // Of this thread alone, which ends here.
                set_thread_res_uid(uid, uid, uid)?;
                let stream = StdUnixStream::connect(socket)?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            });
            let stream = connected
                .join()
                .map_err(|_| io::Error::other("the thread panicked"))??;
            UnixStream::from_std(stream).map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connect)
        .await
        .with_context(|| format!("connecting as uid {uid}"))
}
