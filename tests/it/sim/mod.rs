//! The simulated Hub is itself tested, for every other test trusts it.

mod client;
mod files;
mod python_client;
