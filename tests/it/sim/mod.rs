//! The simulated Hub is itself tested, for every other test trusts it.

mod access;
mod api;
mod client;
mod faults;
mod files;
mod model;
mod pace;
mod program;
mod python_client;
