//! Simulated Hub and test support.

pub mod sim;
