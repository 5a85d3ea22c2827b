//! The module against servers that play a script.

mod errors;
mod fetching;
mod listing;
mod matrix;
mod metadata;
mod network;
mod redirects;
mod script;
mod trouble;

use crate::hub::{Endpoint, FileTarget, Hub, HubOptions};
use crate::model::{ByteRange, CommitHash, Digest, RepoId, RepoKind, RepoPath, Token};

/// SHA-256 of the planned file.
const SHA256: &str = "e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332";

fn hub() -> Hub {
    Hub::new(HubOptions::direct("hfetch/test")).unwrap()
}

fn endpoint(base: &str) -> Endpoint {
    Endpoint::parse("mirror", base).unwrap()
}

fn token() -> Token {
    Token::new("hf_topsecret").unwrap()
}

fn tiny() -> RepoId {
    RepoId::parse("org/tiny").unwrap()
}

fn commit() -> CommitHash {
    CommitHash::parse(&"1".repeat(40)).unwrap()
}

/// A planned file of `size` bytes.
fn target(size: u64) -> FileTarget {
    FileTarget {
        kind: RepoKind::Model,
        repo_id: tiny(),
        commit: commit(),
        path: RepoPath::parse("a b/model.bin").unwrap(),
        size,
        digest: Digest::parse_sha256(SHA256).unwrap(),
    }
}

/// The futures of the hub run in tasks that move between threads.
#[test]
fn futures_can_be_sent() {
    fn check<T: Send>(_: T) {}
    let (hub, endpoint, target) = (hub(), endpoint("http://h"), target(1));
    let (kind, id, commit) = (RepoKind::Model, tiny(), commit());
    check(hub.open(&endpoint, None, &target, ByteRange::new(0, 1), None));
    check(hub.manifest(&endpoint, None, kind, &id, &commit));
    check(hub.exists(&endpoint, None, kind, &id));
    check(hub.search(&endpoint, None, kind, "x", 1));
    check(hub.refs(&endpoint, None, kind, &id));
    check(hub.whoami(&endpoint, None));
}
