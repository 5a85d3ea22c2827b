//! The simulated Hub is itself tested, for every other test trusts it.

mod api;
mod client;
mod faults;
mod files;
mod pace;
mod python_client;
