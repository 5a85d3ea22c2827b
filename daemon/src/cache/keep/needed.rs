//! The blobs that snapshots lead to, asked again and again while blobs are removed: only folders that changed since are read
//! again.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use super::survey::DEEPEST;
use crate::cache::error::CacheError;
use crate::cache::layout;
use crate::cache::root::Root;

/// A folder that changed so shortly before it was read may change again within the grain of its time stamp.
const SETTLED: Duration = Duration::from_secs(3);

/// A folder as it was read.
struct Folder {
    /// Its inode and its time of change; `None`: it has to be read again in any case.
    stamp: Option<(u64, i64, i64)>,
    folders: Vec<String>,
    blobs: Vec<String>,
}

/// What the snapshots of a repository need.
pub(super) struct Needed<'r> {
    root: &'r Root,
    snapshots: String,
    blobs: String,
    folders: BTreeMap<String, Folder>,
    names: HashSet<String>,
}

impl<'r> Needed<'r> {
    /// Knows nothing before the first refresh.
    pub(super) fn new(root: &'r Root, folder: &str) -> Self {
        Self {
            root,
            snapshots: format!("{folder}/snapshots"),
            blobs: format!("{folder}/blobs/"),
            folders: BTreeMap::new(),
            names: HashSet::new(),
        }
    }

    /// Whether a snapshot led to a blob at the last refresh.
    pub(super) fn has(&self, blob: &str) -> bool {
        self.names.contains(blob)
    }

    /// Looks at every folder, and reads those that changed.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn refresh(&mut self) -> Result<(), CacheError> {
        let mut known = std::mem::take(&mut self.folders);
        let mut changed = false;
        let mut waiting = vec![(self.snapshots.clone(), DEEPEST)];
        while let Some((path, depth)) = waiting.pop() {
            let Some(meta) = self.root.look(&path)?.filter(std::fs::Metadata::is_dir) else {
                continue;
            };
            let stamp = (meta.ino(), meta.ctime(), meta.ctime_nsec());
            let folder = match known.remove(&path) {
                Some(folder) if folder.stamp == Some(stamp) => folder,
                before => {
                    let folder = self.read(&path, stamp)?;
                    changed |= before.is_none_or(|before| before.blobs != folder.blobs);
                    folder
                }
            };
            if depth > 0 {
                waiting.extend(folder.folders.iter().map(|name| (format!("{path}/{name}"), depth - 1)));
            }
            self.folders.insert(path, folder);
        }
        if changed || !known.is_empty() {
            let blobs = self.folders.values().flat_map(|folder| &folder.blobs);
            self.names = blobs.cloned().collect();
        }
        Ok(())
    }

    fn read(&self, path: &str, stamp: (u64, i64, i64)) -> Result<Folder, CacheError> {
        let changed = Duration::from_secs(u64::try_from(stamp.1).unwrap_or(0));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let settled = now.unwrap_or_default().saturating_sub(changed) > SETTLED;
        let mut folder = Folder {
            stamp: settled.then_some(stamp),
            folders: Vec::new(),
            blobs: Vec::new(),
        };
        for name in self.root.names(path)? {
            let relative = format!("{path}/{name}");
            match self.root.look(&relative)? {
                Some(meta) if meta.is_dir() => folder.folders.push(name),
                Some(meta) if meta.is_symlink() => {
                    let target = self.root.read_link(&relative)?;
                    let target = target.and_then(|target| layout::follow(&relative, &target));
                    folder
                        .blobs
                        .extend(target.and_then(|target| target.strip_prefix(&self.blobs).map(str::to_owned)));
                }
                _ => {}
            }
        }
        Ok(folder)
    }
}
