//! Simulated Hub and test support.

pub mod harness;
pub mod python;
pub mod sim;
pub mod tree;
