//! Simulated Hub and test support.

pub mod python;
pub mod sim;
