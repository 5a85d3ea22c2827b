//! Floor 4: gRPC. The only module that names tonic. No rules and no SQL: a handler reads a message, asks the engine,
//! writes a message.

mod admin;
mod authority;
mod bandwidth;
mod cache;
mod convert;
mod doctor;
mod endpoint;
mod gate;
mod identity;
mod job;
mod listener;
mod name;
mod on_disk;
mod places;
mod remote;
mod rights;
mod route;
mod schedule;
mod selection;
mod server;
mod status;
mod token;
mod usage;
mod watch;

pub use admin::{Reload, Reloaded, ServerFacts};
pub use listener::Listener;
pub use on_disk::{Look, OnDisk};
pub use remote::{BadTls, DoorError, RemoteDoor, RemoteListener};
pub use server::{ServerError, ServerOptions, serve};
