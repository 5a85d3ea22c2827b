//! JSON of what is on disk.

use hfetch_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::time;
use crate::view::{cache, words};

/// A repository in a cache.
#[derive(Debug, Serialize)]
pub(crate) struct CachedRepoJson {
    repo_id: String,
    repo_type: &'static str,
    cache: String,
    bytes: u64,
    loose_bytes: u64,
    partial_bytes: u64,
    shared_bytes: u64,
    busy: bool,
    revisions: Vec<CachedRevisionJson>,
}

#[derive(Debug, Serialize)]
struct CachedRevisionJson {
    commit: String,
    refs: Vec<String>,
    pinned: bool,
    files_total: u64,
    files_broken: u64,
    bytes: u64,
    modified_at: Option<Timestamp>,
}

impl CachedRepoJson {
    /// One.
    pub(crate) fn new(repo: v1::CachedRepo) -> Self {
        let revisions = repo.revisions.iter().map(|revision| CachedRevisionJson {
            commit: revision.commit.clone(),
            refs: revision.refs.clone(),
            pinned: revision.pinned,
            files_total: revision.files_total,
            files_broken: revision.files_broken,
            bytes: revision.bytes,
            modified_at: time(revision.modified_at),
        });
        Self {
            revisions: revisions.collect(),
            repo_type: words::repo_type(repo.repo_type()),
            repo_id: repo.repo_id,
            cache: repo.cache,
            bytes: repo.bytes,
            loose_bytes: repo.loose_bytes,
            partial_bytes: repo.partial_bytes,
            shared_bytes: repo.shared_bytes,
            busy: repo.busy,
        }
    }
}

/// A file that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct VerifiedJson {
    repo_id: String,
    repo_type: &'static str,
    cache: String,
    commit: String,
    path: String,
    bytes: u64,
    verdict: &'static str,
}

impl VerifiedJson {
    /// One.
    pub(crate) fn new(file: v1::VerifyCacheResponse) -> Self {
        Self {
            repo_type: words::repo_type(file.repo_type()),
            verdict: cache::verdict(file.verdict()),
            repo_id: file.repo_id,
            cache: file.cache,
            commit: file.commit,
            path: file.path,
            bytes: file.bytes,
        }
    }
}

/// What `cache pin` and `cache unpin` did.
#[derive(Debug, Serialize)]
pub(crate) struct PinsJson {
    /// What the named revisions are now.
    pub(crate) pinned: bool,
    /// Revisions that were not so before.
    pub(crate) revisions_changed: u64,
}

/// What went, or would go.
#[derive(Debug, Serialize)]
pub(crate) struct SweptJson {
    repo_id: String,
    repo_type: &'static str,
    cache: String,
    revisions: Vec<String>,
    blobs_removed: u64,
    bytes_freed: u64,
    partial_bytes_freed: u64,
    kept: Vec<KeptJson>,
}

#[derive(Debug, Serialize)]
struct KeptJson {
    what: String,
    why: String,
}

impl SweptJson {
    /// One repository.
    pub(crate) fn new(repo: v1::SweptRepo) -> Self {
        let kept = repo.kept.iter().map(|kept| KeptJson {
            what: kept.what.clone(),
            why: kept.why.clone(),
        });
        Self {
            kept: kept.collect(),
            repo_type: words::repo_type(repo.repo_type()),
            repo_id: repo.repo_id,
            cache: repo.cache,
            revisions: repo.revisions,
            blobs_removed: repo.blobs_removed,
            bytes_freed: repo.bytes_freed,
            partial_bytes_freed: repo.partial_bytes_freed,
        }
    }
}
