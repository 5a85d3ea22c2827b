//! Refs: which commit a branch or tag means. The last thing that a job writes, for it makes the snapshot findable.

use std::path::PathBuf;
use std::time::SystemTime;

use super::error::CacheError;
use super::layout::{CacheNames, Layout};
use super::store::Store;
use super::touched::Touched;
use crate::model::{CommitHash, Revision};

/// A ref as it stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefOnDisk {
    /// What it says, usually a commit.
    pub commit: String,
    /// When it was written.
    pub written_at: SystemTime,
}

/// No ref is longer.
const MAX_BYTES: u64 = 256;

impl Store {
    /// Where the ref of a revision lies; `None` when there is none: in a local directory, and for a commit by its number.
    pub fn ref_path(&self, revision: &Revision) -> Option<PathBuf> {
        match self.layout() {
            Layout::Cache { folder } if revision.as_commit().is_none() => {
                Some(self.root().path(&CacheNames(folder).reference(revision)))
            }
            Layout::Cache { .. } | Layout::LocalDir => None,
        }
    }

    /// Reads the ref of a revision; `None` when there is none, or nothing that could be one.
    ///
    /// # Errors
    /// `UnsafePath` when a link is in the way; what the system says.
    pub fn read_ref(&self, revision: &Revision) -> Result<Option<RefOnDisk>, CacheError> {
        let Layout::Cache { folder } = self.layout() else {
            return Ok(None);
        };
        let relative = CacheNames(folder).reference(revision);
        let Some(meta) = self.root().look(&relative)?.filter(std::fs::Metadata::is_file) else {
            return Ok(None);
        };
        let bytes = self.root().read_small(&relative, MAX_BYTES)?;
        let commit = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(commit.zip(meta.modified().ok()).map(|(commit, written_at)| RefOnDisk {
            commit: commit.trim().to_owned(),
            written_at,
        }))
    }

    /// Lets a revision mean a commit: 40 bytes without a newline, durable. Does nothing when it says so already, when
    /// the revision is the commit itself, or in a local directory. Safe to repeat.
    ///
    /// # Errors
    /// `UnsafePath` when a link, or a ref named like a folder of this one, is in the way; as for any write.
    pub fn write_ref(&self, revision: &Revision, commit: &CommitHash) -> Result<(), CacheError> {
        let Layout::Cache { folder } = self.layout() else {
            return Ok(());
        };
        if revision.as_commit().is_some_and(|itself| itself == *commit) {
            return Ok(());
        }
        let mut touched = Touched::new();
        let relative = CacheNames(folder).reference(revision);
        self.replace_small(&relative, commit.as_str().as_bytes(), &mut touched)?;
        self.root().sync_touched(&mut touched)
    }
}
