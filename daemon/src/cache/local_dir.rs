//! A local directory: plain files, and beside them metadata by which the Python client trusts them.
//!
//! The old file stays until the new one takes its name. Between the two, and after a cut at any point, metadata never
//! speaks of a file that is not there: what describes the old file goes first, what describes the new one comes last.

use std::time::SystemTime;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::error::CacheError;
use super::find::{Check, Found, Judged};
use super::layout;
use super::lock::{self, Held, Patience};
use super::metadata::{self, Metadata};
use super::place;
use super::publish::Ready;
use super::staging::Staging;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::{Touched, parent_of};
use crate::model::{CommitHash, Digest, RepoPath};

impl Store {
    /// [`Store::find`] for a local directory.
    pub(super) fn find_local(
        &self,
        commit: &CommitHash,
        path: &RepoPath,
        size: u64,
        digest: &Digest,
        check: &Check<'_>,
    ) -> Result<Found, CacheError> {
        let entry = path.as_str();
        let Some(mtime_ns) = plain_file(self, entry)?.map(|stamp| stamp.mtime_ns) else {
            return Ok(Found::Absent);
        };
        let told = read_metadata(self, path)?.filter(|told| told.is_valid_for(mtime_ns));
        let told_same = told.as_ref().is_some_and(|told| told.etag == digest.to_string());
        match self.judge(entry, size, digest, check)? {
            Judged::Sound { stamp, vouched }
                if told_same && told.is_some_and(|told| told.commit == commit.as_str()) =>
            {
                if !vouched {
                    self.root().sync_dir(parent_of(entry))?;
                    self.root().sync_dir(parent_of(&layout::local_metadata(path)))?;
                }
                Ok(Found::Published(stamp))
            }
            Judged::Sound { stamp, .. } => Ok(Found::BlobPresent(stamp)),
            Judged::Wrong if told_same => Ok(Found::Corrupt {
                path: self.root().path(entry),
            }),
            Judged::Wrong | Judged::Nothing => Ok(Found::Absent),
        }
    }
}

/// Renames a sealed partial file over the file of the path.
pub(super) fn place<'a>(
    store: &'a Store,
    staging: &Staging,
    commit: &CommitHash,
    ready: &Ready,
    patience: &Patience<'_>,
    touched: &mut Touched,
) -> Result<(FileStamp, Held<'a>), CacheError> {
    let root = store.root();
    let entry = ready.path.as_str();
    let held = lock_path(store, &ready.path, patience, touched)?;
    plain_file(store, entry)?;
    root.make_dirs(parent_of(entry), touched)?;
    let about = layout::local_metadata(&ready.path);
    let still_true = read_metadata(store, &ready.path)?
        .is_some_and(|told| told.commit == commit.as_str() && told.etag == ready.digest.to_string());
    if !still_true && root.remove(&about)? {
        root.sync_dir(parent_of(&about))?;
    }
    match root.rename(staging.relative(), entry, RenameFlags::empty())? {
        Ok(()) => {}
        Err(Errno::NOENT) => {
            return Err(CacheError::Vanished {
                path: staging.path().to_owned(),
            });
        }
        Err(errno) => return Err(root.fail_rename(errno, staging.relative(), entry)),
    }
    touched.insert(parent_of(entry));
    Ok((place::placed(store, staging, entry, &ready.digest)?, held))
}

/// Writes the metadata, unless it says so already.
pub(super) fn describe(
    store: &Store,
    commit: &CommitHash,
    ready: &Ready,
    stamp: &FileStamp,
    patience: &Patience<'_>,
    touched: &mut Touched,
) -> Result<(), CacheError> {
    let _held = lock_path(store, &ready.path, patience, touched)?;
    // The lock was free for a moment: another job may have placed another version here, and described it.
    let there = plain_file(store, ready.path.as_str())?;
    if !there.is_some_and(|there| there.same_content(stamp)) {
        return Err(CacheError::Vanished {
            path: store.root().path(ready.path.as_str()),
        });
    }
    let about = layout::local_metadata(&ready.path);
    touched.insert(parent_of(&about));
    let etag = ready.digest.to_string();
    let told = read_metadata(store, &ready.path)?;
    if told.is_some_and(|told| told.commit == commit.as_str() && told.etag == etag && told.is_valid_for(stamp.mtime_ns))
    {
        return Ok(());
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let text = Metadata {
        commit: commit.to_string(),
        etag,
        // Not before the file's own time, even when the clock was set back since.
        time_us: i64::try_from(now.as_micros())
            .unwrap_or(i64::MAX)
            .max(stamp.mtime_ns / 1000 + 1),
    }
    .render();
    store.replace_small(&about, text.as_bytes(), touched)
}

fn lock_path<'a>(
    store: &'a Store,
    path: &RepoPath,
    patience: &Patience<'_>,
    touched: &mut Touched,
) -> Result<Held<'a>, CacheError> {
    let lock = layout::local_lock(path);
    // The metadata will lie in the same folder, so its making counts.
    store.root().make_dirs(parent_of(&lock), touched)?;
    lock::acquire(store.root(), &lock, patience)
}

fn read_metadata(store: &Store, path: &RepoPath) -> Result<Option<Metadata>, CacheError> {
    let bytes = store
        .root()
        .read_small(&layout::local_metadata(path), metadata::MAX_BYTES)?;
    Ok(bytes.as_deref().and_then(Metadata::parse))
}

/// What stands at the path, which must be a plain file or nothing: a link is the user's and is not replaced.
fn plain_file(store: &Store, entry: &str) -> Result<Option<FileStamp>, CacheError> {
    let unsafe_path = |why| {
        Err(CacheError::UnsafePath {
            path: store.root().path(entry),
            why,
        })
    };
    match store.root().look(entry)? {
        None => Ok(None),
        Some(meta) if meta.is_symlink() => unsafe_path("a symbolic link is in the way; remove it first"),
        Some(meta) if !meta.is_file() => unsafe_path("something that is no plain file is in the way"),
        Some(meta) => Ok(Some(FileStamp::of(&meta))),
    }
}
