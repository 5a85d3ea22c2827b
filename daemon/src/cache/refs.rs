//! Refs: which commit a branch or tag means. The last thing that a job writes, for it makes the snapshot findable.

use super::error::CacheError;
use super::layout::{CacheNames, Layout};
use super::store::Store;
use super::touched::Touched;
use crate::model::{CommitHash, Revision};

impl Store {
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
