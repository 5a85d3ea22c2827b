//! Simulated Hub and test support.

pub mod check;
pub mod dns;
pub mod harness;
pub mod jobs;
pub mod own_network;
pub mod page_cache;
pub mod pki;
pub mod proxies;
pub mod python;
pub mod recorder;
pub mod relay;
pub mod secrets;
pub mod shares;
pub mod sim;
pub mod tree;

/// Everything in a test is over long before; what is not is a failure.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// A token to look for where no token must be.
pub const CANARY: &str = "hf_canaryCANARYcanary0123456789";
