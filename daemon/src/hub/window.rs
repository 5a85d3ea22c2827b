//! How much a connection may have under way to us: its receive buffer. Under a limit it must be small, or the system takes in
//! megabytes at the speed of the line after we have stopped reading.
//!
//! The HTTP library keeps its sockets to itself, so the socket is looked for among our own descriptors by its local address, and
//! changed through a second descriptor. Where the system forbids that, the window stays as it is: a limit holds over time all
//! the same, only its first second is less even.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    io::ioctl_fionread,
    net::{getsockname, sockopt::set_socket_recv_buffer_size},
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// Sets the receive buffer of our connection that has this local address.
pub(super) fn set(local: SocketAddr, bytes: usize) {
    match find(local) {
        Some(socket) => {
            if let Err(error) = set_socket_recv_buffer_size(&socket, bytes) {
                tracing::debug!(%error, "a receive buffer stays as it is");
            }
        }
        None => tracing::debug!("a connection is not among our descriptors; its receive buffer stays as it is"),
    }
}

/// Bytes that have come to our connection with this local address and that nobody has read yet; `None` when it is not found.
pub fn unread_bytes(local: SocketAddr) -> Option<u64> {
    ioctl_fionread(&find(local)?).ok()
}

fn find(local: SocketAddr) -> Option<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|number| pidfd_getfd(this.as_fd(), number, PidfdGetfdFlags::empty()).ok())
        .find(|socket| {
            let name = getsockname(socket).ok();
            name.and_then(|name| SocketAddr::try_from(name).ok()) == Some(local)
        })
}
