//! What an endpoint says a revision contains.

use super::{CommitHash, Digest};

/// The complete listing of one commit, as received: paths are not checked yet.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The commit listed.
    pub commit: CommitHash,
    /// Files only, in path order, no path twice.
    pub entries: Vec<ManifestEntry>,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// As the server wrote it; hostile until it is a `RepoPath`.
    pub path: String,
    /// Bytes of the content.
    pub size: u64,
    /// Git object id: of the content for plain files, of the pointer for LFS files.
    pub blob_id: String,
    /// SHA-256 of the content of an LFS file, 64 hex digits.
    pub lfs_sha256: Option<String>,
    /// Xet hash, only when it is 64 hex digits.
    pub xet_hash: Option<String>,
    /// The server sent an `xetHash` that is none (asterisks, for a reader without access).
    pub xet_hash_masked: bool,
}

impl ManifestEntry {
    /// What the content must hash to; `None` when the listing does not say.
    pub fn digest(&self) -> Option<Digest> {
        match &self.lfs_sha256 {
            Some(sha256) => Digest::parse_sha256(sha256),
            None => Digest::parse_git(&self.blob_id),
        }
    }
}
