//! Small files never have a partial file: their bytes are verified in memory, and come to the disk in batches.
//!
//! A batch is written and synced under temporary names by a few threads at once; from there on it is published as any
//! other batch, in the order that `publish.rs` tells. What a cut leaves are temporary names, which go after an hour.

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::CacheError;
use super::layout::{CacheNames, Layout};
use super::lock::Patience;
use super::publish::{Ready, in_parallel};
use super::staging::Staging;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::Touched;
use crate::model::{CommitHash, Digest, RepoPath};

/// How often a temporary name may be taken, or its folder be removed by a job that ends.
const TRIES: u32 = 100;

/// One verified file whose bytes are in memory.
#[derive(Debug)]
pub struct InMemory {
    /// Its path in the repository.
    pub path: RepoPath,
    /// What its bytes were verified to hash to.
    pub digest: Digest,
    /// The bytes, in order.
    pub bytes: Vec<Bytes>,
}

impl Store {
    /// Writes several verified files of one commit and publishes them. Answers in the order of the batch.
    ///
    /// Safe to repeat after any failure or crash, as [`Store::publish_batch`] is.
    ///
    /// # Errors
    /// As [`Store::publish_batch`], and as for any write.
    pub fn publish_in_memory(
        &self,
        commit: &CommitHash,
        batch: Vec<InMemory>,
        patience: &Patience<'_>,
    ) -> Vec<Result<FileStamp, CacheError>> {
        let sealed = in_parallel(batch, |file| {
            let ready = self.write_temporary(file)?;
            match self.seal(&ready) {
                Ok(()) => Ok(ready),
                Err(error) => {
                    self.drop_temporary(&ready);
                    Err(error)
                }
            }
        });
        let temporaries: Vec<Option<String>> = sealed
            .iter()
            .map(|sealed| Some(sealed.as_ref().ok()?.staging.as_ref()?.relative().to_owned()))
            .collect();
        let published = self.publish_sealed(commit, sealed, patience);
        for (result, temporary) in published.iter().zip(temporaries) {
            if let (Err(_), Some(temporary)) = (result, temporary) {
                // What cannot be removed now goes with the other temporaries.
                drop(self.root().remove(&temporary));
            }
        }
        published
    }

    /// What stands where a file would be, by its name or as a blob: for asking whether it was verified before. Whether it is
    /// the right file only [`Store::find`] says.
    ///
    /// # Errors
    /// What the system says; `UnsafePath` when a link is in the way of the path.
    pub fn glance(
        &self,
        commit: &CommitHash,
        path: &RepoPath,
        digest: &Digest,
    ) -> Result<Option<FileStamp>, CacheError> {
        let entry = self.layout().entry(commit, path);
        let Layout::Cache { folder } = self.layout() else {
            return Ok(self.root().look(&entry)?.map(|meta| FileStamp::of(&meta)));
        };
        for name in [entry, CacheNames(folder).blob(digest)] {
            if let Some((file, place)) = self.open_content(&name)? {
                let meta = file.metadata().map_err(|source| CacheError::Io {
                    act: "look at",
                    path: self.root().path(&place),
                    source,
                })?;
                return Ok(Some(FileStamp::of(&meta)));
            }
        }
        Ok(None)
    }

    /// Whether something stands where a published file was left: in a cache of its size, in a local directory of any, for there a
    /// user may have changed it since.
    ///
    /// # Errors
    /// What the system says.
    pub fn still_there(&self, commit: &CommitHash, path: &RepoPath, size: u64) -> Result<bool, CacheError> {
        let entry = self.layout().entry(commit, path);
        let local = matches!(self.layout(), Layout::LocalDir);
        let there = match self.open_content(&entry) {
            Err(CacheError::UnsafePath { .. }) => return Ok(false),
            there => there?,
        };
        Ok(there.is_some_and(|(file, _)| local || file.metadata().is_ok_and(|meta| meta.len() == size)))
    }

    pub(super) fn write_temporary(&self, file: InMemory) -> Result<Ready, CacheError> {
        self.check_same_device(&file.path)?;
        let folder = self.layout().staging();
        let size = file.bytes.iter().map(|bytes| bytes.len() as u64).sum();
        let mode = self.options().mode.unwrap_or(0o666) | 0o600;
        for _ in 0..TRIES {
            let relative = format!("{folder}/{:016x}.tmp", fastrand::u64(..));
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            let opened = match self.root().try_open(&relative, flags, mode) {
                Err(Errno::EXIST) => continue,
                Err(Errno::NOENT) => {
                    // Removed as empty by a job of this repository that ended just now. The one that it is made anew for keeps it.
                    self.root().make_dirs(&folder, &mut Touched::new())?;
                    continue;
                }
                other => other.map_err(|errno| self.root().fail(errno, "create", &relative))?,
            };
            let staging = Staging::temporary(self.root(), opened, relative, size)?;
            let ready = Ready {
                path: file.path,
                digest: file.digest,
                staging: Some(staging),
                found: None,
            };
            return match ready.staging.as_ref().map(|staging| staging.write_at(0, &file.bytes)) {
                Some(Err(error)) => {
                    self.drop_temporary(&ready);
                    Err(error)
                }
                _ => Ok(ready),
            };
        }
        Err(CacheError::Busy {
            path: self.root().path(&folder),
        })
    }

    fn drop_temporary(&self, ready: &Ready) {
        if let Some(staging) = &ready.staging {
            drop(self.root().remove(staging.relative()));
        }
    }
}
