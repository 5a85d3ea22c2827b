//! Takes revisions out of a cache, and the blobs that nobody needs afterwards.
//!
//! The order is what a reader at any moment can live with: first the names that lead to a revision, then in one rename the
//! revision itself, and at last, each under the lock that Python clients take, the blobs that no snapshot leads to any more.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use rustix::fs::RenameFlags;

use super::needed::Needed;
use super::open_files::OpenFiles;
use super::survey::{CachedRevision, DEEPEST, LONGEST_REF, Survey};
use crate::cache::error::CacheError;
use crate::cache::layout::Layout;
use crate::cache::lock::{self, AfterLimit, Patience};
use crate::cache::store::Store;
use crate::cache::touched::{Touched, parent_of};
use crate::model::CommitHash;

/// Locks that are held together.
const BATCH: usize = 64;
/// A temporary file of a Python client that is younger may be in use, whatever we can see.
const UNFINISHED: Duration = Duration::from_secs(86_400);

/// What went, or would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A revision, with its refs.
    Revision(CommitHash),
    /// So many blobs.
    Blobs(u64),
}

/// What stays although it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// A commit or the name of a blob.
    pub what: String,
    /// For people.
    pub why: String,
}

/// What a sweep did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// What went.
    pub removed: Vec<Removed>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// Bytes that are free now; a content that has another name frees none.
    pub bytes: u64,
}

impl Store {
    /// Removes revisions and every blob that none needs afterwards. With `dry_run` only tells. Pinned revisions and those
    /// with an open file stay. Safe to repeat after a crash. The survey must be one of this moment.
    ///
    /// # Errors
    /// What the system says; what went before is gone.
    pub fn sweep(
        &self,
        survey: &Survey,
        victims: &BTreeSet<CommitHash>,
        open: &OpenFiles,
        dry_run: bool,
    ) -> Result<Swept, CacheError> {
        let Layout::Cache { folder } = self.layout() else {
            return Ok(Swept::default());
        };
        if !dry_run {
            // What lies aside is in the way of the next revision of that name.
            self.tidy(folder)?;
        }
        let mut swept = Swept::default();
        let mut going: BTreeSet<&CommitHash> = BTreeSet::new();
        for revision in survey
            .revisions
            .iter()
            .filter(|revision| victims.contains(&revision.commit))
        {
            match why_not(revision, folder, open) {
                Some(why) => swept.kept.push(Kept {
                    what: revision.commit.to_string(),
                    why,
                }),
                None => {
                    going.insert(&revision.commit);
                }
            }
        }
        let staying = survey
            .revisions
            .iter()
            .filter(|revision| !going.contains(&revision.commit));
        let needed: BTreeSet<&String> = staying
            .flat_map(|revision| revision.entries.iter().filter_map(|entry| entry.blob.as_ref()))
            .collect();
        let mut blobs = Vec::new();
        for (name, blob) in survey.blobs.iter().filter(|(name, _)| !needed.contains(name)) {
            let why = if open.has(blob.inode, folder) {
                "a process has it open"
            } else if name.contains(".incomplete") && is_young(blob.modified) {
                "it may be on its way: it changed within a day"
            } else {
                blobs.push(name.as_str());
                continue;
            };
            swept.kept.push(Kept {
                what: name.clone(),
                why: why.to_owned(),
            });
        }
        if !dry_run {
            for revision in survey
                .revisions
                .iter()
                .filter(|revision| going.contains(&revision.commit))
            {
                self.take_revision(folder, revision)?;
            }
            self.tidy(folder)?;
            blobs = self.take_blobs(folder, &blobs, &mut swept.kept)?;
        }
        let own_files = survey
            .revisions
            .iter()
            .filter(|revision| going.contains(&revision.commit));
        let own_files = own_files
            .flat_map(|revision| &revision.entries)
            .filter(|entry| entry.blob.is_none());
        let freed = blobs
            .iter()
            .filter_map(|name| survey.blobs.get(*name))
            .filter(|blob| blob.alone);
        swept.bytes = freed.map(|blob| blob.bytes).sum::<u64>() + own_files.map(|entry| entry.bytes).sum::<u64>();
        swept.removed.extend(going.into_iter().cloned().map(Removed::Revision));
        if !blobs.is_empty() {
            swept.removed.push(Removed::Blobs(blobs.len() as u64));
        }
        if !dry_run {
            self.forget_if_empty(folder)?;
        }
        Ok(swept)
    }

    /// Refs, then the snapshot in one step, then what was told of it.
    fn take_revision(&self, folder: &str, revision: &CachedRevision) -> Result<(), CacheError> {
        let mut touched = Touched::new();
        let commit = &revision.commit;
        for name in &revision.refs {
            let relative = format!("{folder}/refs/{name}");
            // Another program may have moved it to another commit since the survey.
            let says = self.root().read_small(&relative, LONGEST_REF)?.unwrap_or_default();
            if String::from_utf8_lossy(&says).trim() == commit.as_str() {
                self.root().remove(&relative)?;
                touched.insert(parent_of(&relative));
            }
        }
        // No ref may come back after a power cut and lead to nothing.
        self.root().sync_touched(&mut touched)?;
        let staging = self.layout().staging();
        let snapshot = format!("{folder}/snapshots/{commit}");
        let aside = format!("{staging}/{commit}.removed");
        let kept = self.keep_staging(&mut touched)?;
        let renamed = self.root().rename(&snapshot, &aside, RenameFlags::NOREPLACE)?;
        drop(kept);
        renamed.map_err(|errno| self.root().fail_rename(errno, &snapshot, &aside))?;
        touched.insert(format!("{folder}/snapshots"));
        self.root().remove(&format!("{folder}/trees/{commit}.json"))?;
        self.remove_tree(&format!("{folder}/.no_exist/{commit}"), DEEPEST)?;
        self.root().sync_touched(&mut touched)
    }

    /// Removes what was put aside, also by a run that was killed.
    fn tidy(&self, folder: &str) -> Result<(), CacheError> {
        let staging = format!("{folder}/.hfetch");
        for name in self.root().names(&staging)? {
            if name
                .strip_suffix(".removed")
                .is_some_and(|commit| CommitHash::parse(commit).is_some())
            {
                self.remove_tree(&format!("{staging}/{name}"), DEEPEST)?;
            }
        }
        Ok(())
    }

    /// Removes blobs, each under its lock, and only if still no snapshot leads to it. Gives those that went.
    fn take_blobs<'n>(
        &self,
        folder: &str,
        names: &[&'n str],
        kept: &mut Vec<Kept>,
    ) -> Result<Vec<&'n str>, CacheError> {
        let cancel = AtomicBool::new(false);
        let patience = Patience {
            limit: Duration::ZERO,
            then: AfterLimit::Fail,
            cancel: &cancel,
            waiting: &|_| {},
        };
        let mut gone = Vec::new();
        let mut needed = Needed::new(self.root(), folder);
        for batch in names.chunks(BATCH) {
            let (mut held, mut free) = (Vec::new(), Vec::new());
            for name in batch {
                // A temporary file is written under the lock of what it is to become.
                let content = name.split('.').next().unwrap_or(name);
                match lock::acquire(self.root(), &format!(".locks/{folder}/{content}.lock"), &patience) {
                    Ok(lock) => {
                        held.push(lock);
                        free.push(*name);
                    }
                    Err(CacheError::LockTimeout { .. }) => kept.push(Kept {
                        what: (*name).to_owned(),
                        why: "another program holds its lock".to_owned(),
                    }),
                    Err(error) => return Err(error),
                }
            }
            needed.refresh()?;
            for name in free.into_iter().filter(|name| !needed.has(name)) {
                if self.root().remove(&format!("{folder}/blobs/{name}"))? {
                    gone.push(name);
                }
            }
            drop(held);
        }
        if !gone.is_empty() {
            self.root().sync_dir(&format!("{folder}/blobs"))?;
        }
        Ok(gone)
    }

    /// Removes the folder of a repository that has nothing left: a Python client calls an empty one damaged. Lock files stay.
    fn forget_if_empty(&self, folder: &str) -> Result<(), CacheError> {
        self.remove_empty_staging()?;
        let nothing = |part: &str| Ok::<_, CacheError>(self.root().names(&format!("{folder}/{part}"))?.is_empty());
        if !(nothing("snapshots")? && nothing("blobs")? && nothing(".hfetch")?) {
            return Ok(());
        }
        for part in ["refs", "trees", ".no_exist"] {
            self.remove_tree(&format!("{folder}/{part}"), DEEPEST)?;
        }
        for part in ["snapshots", "blobs", ".hfetch"] {
            self.root().remove_empty(&format!("{folder}/{part}"))?;
        }
        self.root().remove_empty(folder)?;
        self.root().sync_dir("")
    }

    /// Removes a folder with everything in it, following no link.
    fn remove_tree(&self, relative: &str, depth: usize) -> Result<(), CacheError> {
        for name in self.root().names(relative)? {
            let inner = format!("{relative}/{name}");
            match self.root().look(&inner)? {
                Some(meta) if meta.is_dir() && depth > 0 => self.remove_tree(&inner, depth - 1)?,
                Some(meta) if meta.is_dir() => {}
                Some(_) => {
                    self.root().remove(&inner)?;
                }
                None => {}
            }
        }
        self.root().remove_empty(relative).map(drop)
    }
}

/// Why a revision must stay.
fn why_not(revision: &CachedRevision, folder: &str, open: &OpenFiles) -> Option<String> {
    if revision.pinned {
        return Some("it is pinned".to_owned());
    }
    let entry = revision.entries.iter().find(|entry| open.has(entry.inode, folder))?;
    let name = entry.relative.rsplit('/').next().unwrap_or(&entry.relative);
    Some(format!("a process has {name} open"))
}

fn is_young(modified: i64) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let modified = Duration::from_secs(u64::try_from(modified).unwrap_or(0));
    now.saturating_sub(modified) < UNFINISHED
}
