//! The receive buffer of a connection: how much may be under way to us, and what lies in it unread. Under a limit it must be
//! small, or the system takes in megabytes at the speed of the line after we have stopped reading.
//!
//! The HTTP library keeps its sockets to itself, so the socket is looked for among our own descriptors by its local address, and
//! changed through a second descriptor. Where the system forbids that, the window stays as it is: a limit holds over time all
//! the same, only its first second is less even.

use std::{
    net::SocketAddr,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    io::ioctl_fionread,
    net::{getsockname, sockopt::set_socket_recv_buffer_size},
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// The receive buffer of the connection that a body comes by.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveBuffer(SocketAddr);

impl ReceiveBuffer {
    pub(super) fn of(local: SocketAddr) -> Self {
        Self(local)
    }

    /// Lets no more than so many bytes be under way from now on, once what was allowed before has come.
    pub fn narrow(&self, bytes: usize) {
        set(self.0, bytes);
    }

    /// Bytes that have come and that we have not read; 0 when the system does not tell. Blocks for a moment on the process's
    /// list of descriptors.
    pub fn unread(&self) -> u64 {
        find(self.0).and_then(|socket| ioctl_fionread(socket).ok()).unwrap_or(0)
    }
}

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

fn find(local: SocketAddr) -> Option<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // Sockets alone: a second descriptor of a database file would, when it is closed, drop the locks that SQLite has on
            // it, for those belong to the process and the file.
            let target = std::fs::read_link(entry.path()).ok()?;
            let is_socket = target.as_os_str().as_bytes().starts_with(b"socket:");
            is_socket.then(|| entry.file_name().to_str()?.parse().ok())?
        })
        .filter_map(|number| pidfd_getfd(this.as_fd(), number, PidfdGetfdFlags::empty()).ok())
        .find(|socket| {
            let name = getsockname(socket).ok();
            name.and_then(|name| SocketAddr::try_from(name).ok()) == Some(local)
        })
}
