//! Filling a partial file from a file of the same content that is in its place. A copy of its own, or a clone of its blocks:
//! never a second name, for whoever edits one file of a local directory does not mean the other. (`elsewhere.rs` gives blobs one.)

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::OFlags;

use super::error::CacheError;
use super::find::{Check, Judged};
use super::layout::Layout;
use super::staging::Staging;
use super::store::Store;
use super::verify;
use crate::model::{Digest, RepoPath};

/// Bytes copied at once.
const STEP: u64 = 4 << 20;

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
    /// Takes over the bytes of a twin; `false` when they are not (or no longer) those of the digest: discard it then.
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
        if rustix::fs::ioctl_ficlone(self.content().file, &twin.file).is_err()
            && !self.copy_from(twin, cancel, progress)?
        {
            return Ok(false);
        }
        match verify::hash(self.content(), digest, self.size(), cancel, progress) {
            Err(CacheError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            other => Ok(other? == *digest),
        }
    }

    fn copy_from(&self, twin: &Twin, cancel: &AtomicBool, progress: &dyn Fn(u64)) -> Result<bool, CacheError> {
        let mut offset = 0;
        while offset < self.size() {
            if cancel.load(Ordering::Relaxed) {
                return Err(CacheError::Cancelled {
                    path: self.path().to_owned(),
                });
            }
            let length = usize::try_from(STEP.min(self.size() - offset)).unwrap_or_default();
            let mut buffer = vec![0; length];
            match twin.file.read_exact_at(&mut buffer, offset) {
                Ok(()) => {}
                Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(source) => {
                    return Err(CacheError::Io {
                        act: "read",
                        path: twin.path.clone(),
                        source,
                    });
                }
            }
            self.write_at(offset, &[Bytes::from(buffer)])?;
            offset += length as u64;
            progress(offset);
        }
        Ok(true)
    }
}
