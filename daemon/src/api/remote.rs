//! Calls over TCP: TLS, then a token or a certificate, and never more rights than the configuration gives by name.

mod attempts;
mod connection;
mod door;
mod listener;
mod tls;

pub(super) use connection::RemotePeer;
pub use door::{DoorError, RemoteDoor};
pub use listener::RemoteListener;
pub(super) use listener::{BREATH, Incoming};
pub use tls::BadTls;
