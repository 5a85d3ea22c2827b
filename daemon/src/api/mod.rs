//! Floor 4: gRPC. The only module that names tonic. No rules and no SQL: a handler reads a message, asks the engine,
//! writes a message.

mod admin;
mod authority;
mod bandwidth;
mod convert;
mod doctor;
mod endpoint;
mod gate;
mod identity;
mod job;
mod name;
mod rights;
mod route;
mod server;
mod status;
mod token;
mod usage;
mod watch;

pub use admin::{Reload, Reloaded, ServerFacts};
pub use server::{Listener, ServerError, ServerOptions, serve};
