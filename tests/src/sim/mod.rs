//! The simulated Hub: a server that answers as the Hugging Face Hub does, and that fails as told.
//!
//! [`SimHub`] listens at two origins, the Hub (API and resolve) and the CDN (signed URLs), over HTTP/1.1, in the
//! clear or with certificates of an [`Authority`], and over HTTP/2 where an [`Identity`] offers it. What it
//! serves comes from [`RepoBuilder`]; what goes wrong from [`FaultPlan`]; how fast from [`Pace`]; what differs between
//! real servers from [`Switches`]. The [`Journal`] keeps every request and counts every byte. A [`Gate`] stops a
//! transfer at a known byte.
//!
//! ```
//! use hfetch_tests::sim::{Fault, Host, Matcher, RepoBuilder, Rule, SimHub};
//!
//! # fn main() -> anyhow::Result<()> {
//! let repo = RepoBuilder::model("org/m").file("config.json", "{}").seeded("model.safetensors", 50_000_000, 1);
//! let hub = SimHub::builder().repo(repo).token("hf_alice", "alice").start()?;
//! hub.pace().set_total(Some(20_000_000));
//! hub.faults().add(Rule::new(Matcher::any().host(Host::Cdn).file("*.safetensors"), Fault::ResetAfter(1_000_000)).once());
//! let gate = hub.hold_bodies("model.safetensors", 4_000_000);
//! // Point a client at hub.endpoint(); await gate.reached(), kill it, drop(gate), start it again; then:
//! assert_eq!(hub.journal().duplicate_bytes("model.safetensors"), 0);
//! hub.assert_clean();
//! # drop(gate);
//! # Ok(())
//! # }
//! ```
//!
//! It runs on threads of its own and never looks at the clock of the test. It knows nothing of the daemon.

mod access;
mod answer;
mod api;
mod build;
mod clock;
mod conn;
mod content;
mod course;
mod digest;
mod fault;
mod gate;
mod glob;
mod gzip;
mod http2;
mod hub;
mod journal;
mod listen;
mod pace;
mod quota;
mod range;
mod record;
mod repo;
mod resolve;
mod route;
mod search;
mod sign;
mod switches;
mod tiny_model;
mod tls;
mod tree;
mod wire;
mod world;

pub use access::Token;
pub use build::RepoBuilder;
pub use clock::http_date;
pub use content::{Content, SEED_BLOCK};
pub use digest::{fake_xet_hash, git_blob_hex, hex, lfs_pointer, sha1_hex, sha256_hex};
pub use fault::{Fault, FaultPlan, Matcher, Rule};
pub use gate::Gate;
pub use hub::{SimHub, SimHubBuilder};
pub use journal::{Ending, Host, Journal, Record};
pub use pace::Pace;
pub use quota::Bucket;
pub use repo::{Commit, Gated, Kind, Repo, Storage, StoredFile};
pub use switches::{LinkedShape, PlainShape, Switches};
pub use tiny_model::write_tiny_model;
pub use tls::{Authority, Flaw, Identity};
pub use wire::{quote_path, quote_segment};
