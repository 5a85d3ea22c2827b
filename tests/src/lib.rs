//! Simulated Hub and test support.
