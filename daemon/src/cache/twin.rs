//! Filling a partial file from a file of the same content that is in its place. A copy of its own, or a clone of its blocks:
//! never a second name, for whoever edits one file of a local directory does not mean the other. (`elsewhere.rs` gives blobs one.)

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rustix::fs::OFlags;

use super::error::CacheError;
use super::find::{Check, Judged};
use super::hasher::Hasher;
use super::layout::Layout;
use super::staging::Staging;
use super::store::Store;
use super::verify::{self, Content};
use crate::model::{ByteRange, Digest, RepoPath};

/// Bytes between two syncs of a copy.
const SYNCED_EVERY: u64 = 64 << 20;

/// An open file that is to be copied.
#[derive(Debug)]
pub struct Twin {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Opens the file at another path of a local directory, if its bytes are right; `None` in a cache.
    ///
    /// # Errors
    /// As [`Store::find`], except that what is in the way of that path is no error here.
    pub fn open_twin(
        &self,
        path: &RepoPath,
        size: u64,
        digest: &Digest,
        check: &Check<'_>,
    ) -> Result<Option<Twin>, CacheError> {
        if !matches!(self.layout(), Layout::LocalDir) {
            return Ok(None);
        }
        match self.root().look(path.as_str()) {
            Ok(Some(meta)) if meta.is_file() && meta.len() == size => {}
            _ => return Ok(None),
        }
        if !matches!(self.judge(path.as_str(), size, digest, check)?, Judged::Sound { .. }) {
            return Ok(None);
        }
        let file = self
            .root()
            .open_file(path.as_str(), OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
        Ok(file.map(|file| Twin::new(file, self.root().path(path.as_str()))))
    }
}

impl Twin {
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Staging {
    /// Takes over the bytes of a twin; `false` when they are not (or no longer) those of the digest, or cannot be read: discard it
    /// then.
    ///
    /// # Errors
    /// `Cancelled`, `DiskFull`, `Quota`, `Io`.
    pub fn fill_from(
        &self,
        twin: &Twin,
        digest: &Digest,
        cancel: &AtomicBool,
        progress: &dyn Fn(u64),
    ) -> Result<bool, CacheError> {
        // Most file systems cannot; then they are copied.
        if rustix::fs::ioctl_ficlone(self.content().file, &twin.file).is_err() {
            return self.copy_from(twin, digest, cancel, progress);
        }
        if self.stamp()?.size != self.size() {
            return Ok(false);
        }
        match verify::hash(self.content(), digest, self.size(), cancel, progress) {
            // Cut meanwhile, or the disk has lost its blocks.
            Err(CacheError::Io { .. }) => Ok(false),
            other => Ok(other? == *digest),
        }
    }

    /// Copies and hashes in one pass, synced again and again: what waits for the disk stays little, and leaves memory.
    fn copy_from(
        &self,
        twin: &Twin,
        digest: &Digest,
        cancel: &AtomicBool,
        progress: &dyn Fn(u64),
    ) -> Result<bool, CacheError> {
        let from = Content {
            file: &twin.file,
            path: &twin.path,
            passing: self.content().passing,
        };
        let mut hasher = Hasher::new(digest, self.size());
        let (mut synced, mut not_written) = (0, None);
        let read = from.read(ByteRange::new(0, self.size()), cancel, |bytes| {
            let written = self.write_at(hasher.position(), &[bytes]).and_then(|()| {
                hasher.update(bytes);
                if hasher.position() - synced < SYNCED_EVERY {
                    return Ok(());
                }
                synced = hasher.position();
                self.sync().map(|()| self.let_go(synced))
            });
            progress(hasher.position());
            not_written = written.err();
            match not_written {
                None => ControlFlow::Continue(()),
                Some(_) => ControlFlow::Break(()),
            }
        });
        match (not_written, read) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(hasher.finish() == *digest),
            (None, Err(error @ CacheError::Io { .. })) => {
                tracing::warn!(%error, "it is fetched instead of copied");
                Ok(false)
            }
            (None, Err(error)) => Err(error),
        }
    }
}
