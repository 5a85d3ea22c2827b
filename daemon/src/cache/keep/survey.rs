//! What is there: the revisions of a repository, the blobs behind their files, and the blobs behind none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use crate::cache::error::CacheError;
use crate::cache::layout::{self, Layout};
use crate::cache::root::Root;
use crate::cache::store::Store;
use crate::model::{CommitHash, RepoId, RepoKind};

/// Folders within folders that are followed.
pub(super) const DEEPEST: usize = 64;
/// Of a ref.
pub(super) const LONGEST_REF: u64 = 256;

/// A blob of a repository's own folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blob {
    pub(super) bytes: u64,
    pub(super) inode: u64,
    /// It has no other name: who removes it frees its bytes.
    pub(super) alone: bool,
    /// Changed last, in seconds since 1970.
    pub(super) modified: i64,
}

/// A file of a revision.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Below the root of the cache.
    pub(super) relative: String,
    /// The blob that it leads to; `None` for a file of its own.
    pub(super) blob: Option<String>,
    pub(super) bytes: u64,
    pub(super) inode: u64,
    /// It leads nowhere.
    pub(super) broken: bool,
}

/// A revision in the cache.
#[derive(Debug, Clone)]
pub struct CachedRevision {
    /// The commit.
    pub commit: CommitHash,
    /// Branches and tags that mean it.
    pub refs: Vec<String>,
    /// No prune takes it.
    pub pinned: bool,
    /// Files in it.
    pub files: u64,
    /// Their bytes, each content once, also those that other revisions have.
    pub bytes: u64,
    /// Files that lead nowhere.
    pub broken: u64,
    /// When its folder changed last.
    pub modified: SystemTime,
    pub(super) entries: Vec<Entry>,
}

/// A repository in the cache.
#[derive(Debug, Clone)]
pub struct Survey {
    /// By commit.
    pub revisions: Vec<CachedRevision>,
    /// All bytes under `blobs/` and in snapshots, each content once.
    pub bytes: u64,
    /// Of them, those that no revision needs.
    pub loose_bytes: u64,
    /// Bytes of unfinished downloads of ours.
    pub partial_bytes: u64,
    pub(super) blobs: BTreeMap<String, Blob>,
}

impl Survey {
    /// Blobs that have other names, perhaps in other repositories: their bytes by their numbers on the disk, each content once.
    pub fn shared(&self) -> HashMap<u64, u64> {
        let shared = self.blobs.values().filter(|blob| !blob.alone);
        shared.map(|blob| (blob.inode, blob.bytes)).collect()
    }

    /// Bytes of some revisions together, each content once.
    pub fn bytes_of(&self, commits: &HashSet<CommitHash>) -> u64 {
        let meant = self
            .revisions
            .iter()
            .filter(|revision| commits.contains(&revision.commit));
        let mut seen = HashSet::new();
        let files = meant.flat_map(|revision| &revision.entries);
        let there = files.filter(|file| !file.broken && seen.insert(file.inode));
        there.map(|file| file.bytes).sum()
    }
}

/// The repositories of a cache.
///
/// # Errors
/// What the system says.
pub fn repos(cache: &Path) -> Result<Vec<(RepoKind, RepoId)>, CacheError> {
    if !cache.is_dir() {
        return Ok(Vec::new());
    }
    let root = Root::open(cache, false)?;
    let mut found = Vec::new();
    for name in root.names("")? {
        let Some((kind, rest)) = name.split_once("--") else {
            continue;
        };
        let id = RepoId::parse(&rest.replacen("--", "/", 1));
        if let (Some(kind), Ok(id)) = (RepoKind::parse_plural(kind), id)
            && id.folder(kind) == name
            && root.look(&name)?.is_some_and(|meta| meta.is_dir())
        {
            found.push((kind, id));
        }
    }
    Ok(found)
}

impl Store {
    /// Looks at everything of the repository; changes nothing. Names that are not UTF-8, and revisions that are no commits,
    /// are left alone.
    ///
    /// # Errors
    /// What the system says.
    pub fn survey(&self) -> Result<Survey, CacheError> {
        let Layout::Cache { folder } = self.layout() else {
            return Ok(Survey {
                revisions: Vec::new(),
                bytes: 0,
                loose_bytes: 0,
                partial_bytes: 0,
                blobs: BTreeMap::new(),
            });
        };
        let blobs = self.blobs(folder)?;
        let refs = self.refs(folder)?;
        let pins = self.pins()?;
        let mut revisions = Vec::new();
        for name in self.root().names(&format!("{folder}/snapshots"))? {
            let Some(commit) = CommitHash::parse(&name) else {
                continue;
            };
            let relative = format!("{folder}/snapshots/{name}");
            let Some(meta) = self.root().look(&relative)?.filter(std::fs::Metadata::is_dir) else {
                continue;
            };
            let mut entries = Vec::new();
            self.entries(folder, &relative, &blobs, DEEPEST, &mut entries)?;
            let mut seen = HashSet::new();
            let own = entries.iter().filter(|entry| seen.insert(entry.inode) && !entry.broken);
            revisions.push(CachedRevision {
                refs: refs
                    .iter()
                    .filter(|(_, to)| *to == name)
                    .map(|(of, _)| of.clone())
                    .collect(),
                pinned: pins.contains(&commit),
                files: entries.len() as u64,
                bytes: own.map(|entry| entry.bytes).sum(),
                broken: entries.iter().filter(|entry| entry.broken).count() as u64,
                modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                commit,
                entries,
            });
        }
        let needed: HashSet<&String> = revisions
            .iter()
            .flat_map(|revision| revision.entries.iter().filter_map(|entry| entry.blob.as_ref()))
            .collect();
        let loose = blobs.iter().filter(|(name, _)| !needed.contains(name));
        let loose_bytes = loose.map(|(_, blob)| blob.bytes).sum();
        let mut seen = HashSet::new();
        let contents = blobs.values().map(|blob| (blob.inode, blob.bytes));
        let files = revisions.iter().flat_map(|revision| &revision.entries);
        let contents = contents.chain(files.filter(|file| !file.broken).map(|file| (file.inode, file.bytes)));
        Ok(Survey {
            bytes: contents
                .filter(|(inode, _)| seen.insert(*inode))
                .map(|(_, bytes)| bytes)
                .sum(),
            loose_bytes,
            partial_bytes: self
                .list_partials()?
                .iter()
                .map(|partial| partial.allocated_bytes)
                .sum(),
            revisions,
            blobs,
        })
    }

    /// Everything under `blobs/`, links to the shared store included: those are small.
    fn blobs(&self, folder: &str) -> Result<BTreeMap<String, Blob>, CacheError> {
        let mut blobs = BTreeMap::new();
        for name in self.root().names(&format!("{folder}/blobs"))? {
            let meta = self.root().look(&format!("{folder}/blobs/{name}"))?;
            if let Some(meta) = meta.filter(|meta| meta.is_file() || meta.is_symlink()) {
                let blob = Blob {
                    bytes: meta.len(),
                    inode: meta.ino(),
                    alone: meta.nlink() == 1,
                    modified: meta.mtime(),
                };
                blobs.insert(name, blob);
            }
        }
        Ok(blobs)
    }

    /// Refs and what they say; a ref may stand in folders.
    fn refs(&self, folder: &str) -> Result<Vec<(String, String)>, CacheError> {
        let base = format!("{folder}/refs");
        let (mut refs, mut folders) = (Vec::new(), vec![(String::new(), DEEPEST)]);
        while let Some((within, depth)) = folders.pop() {
            let joined = |name: &str| match within.as_str() {
                "" => name.to_owned(),
                within => format!("{within}/{name}"),
            };
            for name in self.root().names(base_of(&base, &within).as_str())? {
                let name = joined(&name);
                let relative = format!("{base}/{name}");
                match self.root().look(&relative)? {
                    Some(meta) if meta.is_dir() && depth > 0 => folders.push((name, depth - 1)),
                    Some(meta) if meta.is_file() => {
                        let bytes = self.root().read_small(&relative, LONGEST_REF)?.unwrap_or_default();
                        refs.push((name, String::from_utf8_lossy(&bytes).trim().to_owned()));
                    }
                    _ => {}
                }
            }
        }
        refs.sort();
        Ok(refs)
    }

    /// The files below a folder of a snapshot.
    fn entries(
        &self,
        folder: &str,
        within: &str,
        blobs: &BTreeMap<String, Blob>,
        depth: usize,
        found: &mut Vec<Entry>,
    ) -> Result<(), CacheError> {
        let blobs_folder = format!("{folder}/blobs/");
        for name in self.root().names(within)? {
            let relative = format!("{within}/{name}");
            let Some(meta) = self.root().look(&relative)? else {
                continue;
            };
            if meta.is_dir() {
                if depth > 0 {
                    self.entries(folder, &relative, blobs, depth - 1, found)?;
                }
                continue;
            }
            let mut entry = Entry {
                bytes: meta.len(),
                inode: meta.ino(),
                blob: None,
                broken: false,
                relative,
            };
            if meta.is_symlink() {
                let target = self.root().read_link(&entry.relative)?;
                let target = target.and_then(|target| layout::follow(&entry.relative, &target));
                entry.blob = target.and_then(|target| target.strip_prefix(&blobs_folder).map(str::to_owned));
                let blob = entry.blob.as_ref().and_then(|name| blobs.get(name));
                entry.broken = blob.is_none();
                if let Some(blob) = blob {
                    (entry.bytes, entry.inode) = (blob.bytes, blob.inode);
                }
            }
            found.push(entry);
        }
        Ok(())
    }
}

fn base_of(base: &str, within: &str) -> String {
    match within {
        "" => base.to_owned(),
        within => format!("{base}/{within}"),
    }
}
