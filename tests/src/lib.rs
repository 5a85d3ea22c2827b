//! Simulated Hub and test support.

pub mod check;
pub mod dns;
pub mod harness;
pub mod jobs;
pub mod own_network;
pub mod pki;
pub mod proxies;
pub mod python;
pub mod relay;
pub mod sim;
pub mod tree;
