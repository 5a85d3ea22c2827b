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

/// One file of a listing. There may be hundreds of thousands: hashes are kept as bytes, and what is no hash not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// As the server wrote it; hostile until it is a `RepoPath`.
    pub path: Box<str>,
    /// Bytes of the content.
    pub size: u64,
    /// Git object id: of the content for plain files, of the pointer for LFS files.
    pub blob_id: Option<[u8; 20]>,
    /// What the content must hash to; `None` when the listing does not say.
    pub digest: Option<Digest>,
    /// Xet hash.
    pub xet_hash: Option<[u8; 32]>,
    /// The server sent an `xetHash` that is none (asterisks, for a reader without access).
    pub xet_hash_masked: bool,
}

impl ManifestEntry {
    /// Reads the texts of a listing: the git object id, and what it says of LFS and Xet.
    pub fn new(path: String, size: u64, blob_id: &str, lfs_sha256: Option<&str>, xet_hash: Option<&str>) -> Self {
        let blob_id = match Digest::parse_git(blob_id) {
            Some(Digest::GitSha1(id)) => Some(id),
            _ => None,
        };
        let xet = match xet_hash.and_then(Digest::parse_sha256) {
            Some(Digest::Sha256(hash)) => Some(hash),
            _ => None,
        };
        Self {
            path: path.into_boxed_str(),
            size,
            blob_id,
            // The object id of an LFS file is that of its pointer, and says nothing of the content.
            digest: match lfs_sha256 {
                Some(sha256) => Digest::parse_sha256(sha256),
                None => blob_id.map(Digest::GitSha1),
            },
            xet_hash: xet,
            xet_hash_masked: xet_hash.is_some() && xet.is_none(),
        }
    }
}
