//! Whether what is there is what it is called: every file of a revision against the hash that its blob's name is, or that the
//! listing of its commit says.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;

use super::survey::CachedRevision;
use crate::cache::error::CacheError;
use crate::cache::find::{Check, Judged};
use crate::cache::layout::Layout;
use crate::cache::store::Store;
use crate::model::{CommitHash, Digest};

/// The largest listing that is read: a million files.
const LARGEST_TREE: u64 = 512 << 20;

/// What came out for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are those of its hash.
    Sound,
    /// They are not.
    Wrong,
    /// It leads nowhere.
    Broken,
    /// Nothing says what its hash should be.
    Unknown,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Within the revision.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// What came out.
    pub verdict: Verdict,
}

#[derive(Deserialize)]
struct Tree {
    format_version: u32,
    files: HashMap<String, TreeFile>,
}

#[derive(Deserialize)]
struct TreeFile {
    size: u64,
    blob_id: String,
    lfs_sha256: Option<String>,
}

/// What was learnt from the files that were looked at before.
#[derive(Default)]
pub struct Learnt {
    /// The revision whose listing this is.
    of: Option<CommitHash>,
    /// Sizes and hashes by path.
    listed: HashMap<String, (u64, Digest)>,
    /// By inode, for each content has many names.
    verdicts: HashMap<(u64, Digest), Verdict>,
}

impl Store {
    /// Hashes one file of a revision, by its number below `files`; a content that was hashed before is not hashed again.
    /// `None`: there is no such number.
    ///
    /// # Errors
    /// `Cancelled`; what the system says.
    pub fn inspect(
        &self,
        revision: &CachedRevision,
        number: usize,
        learnt: &mut Learnt,
        cancel: &AtomicBool,
    ) -> Result<Option<Inspected>, CacheError> {
        let (Layout::Cache { folder }, Some(entry)) = (self.layout(), revision.entries.get(number)) else {
            return Ok(None);
        };
        if learnt.of.as_ref() != Some(&revision.commit) {
            learnt.listed = self.tree(&revision.commit)?;
            learnt.of = Some(revision.commit.clone());
        }
        let prefix = format!("{folder}/snapshots/{}/", revision.commit);
        let path = entry.relative.strip_prefix(&prefix).unwrap_or(&entry.relative);
        let listed = learnt.listed.get(path).copied();
        let expected = listed
            .map(|(_, digest)| digest)
            .or_else(|| Digest::parse(entry.blob.as_ref()?));
        let verdict = match expected {
            _ if entry.broken => Verdict::Broken,
            None => Verdict::Unknown,
            Some(digest) => match learnt.verdicts.get(&(entry.inode, digest)) {
                Some(verdict) => *verdict,
                None => {
                    let verdict = self.verdict(&entry.relative, listed.map(|(size, _)| size), &digest, cancel)?;
                    learnt.verdicts.insert((entry.inode, digest), verdict);
                    verdict
                }
            },
        };
        Ok(Some(Inspected {
            path: path.to_owned(),
            bytes: entry.bytes,
            verdict,
        }))
    }

    fn verdict(
        &self,
        relative: &str,
        size: Option<u64>,
        digest: &Digest,
        cancel: &AtomicBool,
    ) -> Result<Verdict, CacheError> {
        let Some((file, _)) = self.open_content(relative)? else {
            return Ok(Verdict::Broken);
        };
        let there = file.metadata().map(|meta| meta.len()).unwrap_or_default();
        drop(file);
        let check = Check {
            vouched: &|_| false,
            cancel,
            progress: &|_| {},
        };
        Ok(match self.judge(relative, size.unwrap_or(there), digest, &check)? {
            Judged::Sound { .. } => Verdict::Sound,
            Judged::Wrong => Verdict::Wrong,
            Judged::Nothing => Verdict::Broken,
        })
    }

    /// Sizes and hashes as the listing of a commit says, by path; nothing without a listing that can be read.
    fn tree(&self, commit: &CommitHash) -> Result<HashMap<String, (u64, Digest)>, CacheError> {
        let bytes = self.root().read_small(&self.layout().tree(commit), LARGEST_TREE)?;
        let tree: Option<Tree> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let files = tree.filter(|tree| tree.format_version == 1).map(|tree| tree.files);
        let known = files.unwrap_or_default().into_iter().filter_map(|(path, file)| {
            let digest = Digest::parse(file.lfs_sha256.as_deref().unwrap_or(&file.blob_id))?;
            Some((path, (file.size, digest)))
        });
        Ok(known.collect())
    }
}
