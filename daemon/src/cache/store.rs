//! One destination: a repository folder of a cache, or a local directory. Opening it, and making it ready for a job.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{OFlags, RenameFlags};

use super::error::CacheError;
use super::layout::{CACHEDIR_TAG, CacheNames, LOCAL_BOOKS, Layout};
use super::root::{Fill, Root};
use super::touched::{Touched, parent_of};
use super::tree;
use crate::model::{CommitHash, Destination, Digest, Manifest, RepoId, RepoKind, RepoPath};

/// How a store behaves; the rest is layout and not for choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Make all missing folders above the root: for default caches and folders that a user typed. Otherwise only the
    /// root itself is made, so that the place of an unmounted disk stays empty.
    pub create_parents: bool,
    /// Mode of published files; `None` is 0666 less the process's umask, as for any file.
    pub mode: Option<u32>,
    /// What is read and written does not stay in the page cache.
    pub passing: bool,
}

/// A destination that files are staged for and published in. Cheap to clone; all of it may be used by many threads.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Root>,
    layout: Layout,
    options: Options,
}

/// What is free on the file system of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that we may still use.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files that may still be made; `None` where the file system does not count them.
    pub free_inodes: Option<u64>,
}

/// What is free where a cache is or will be; makes nothing. Blocks.
///
/// # Errors
/// What the system says.
pub fn space_at(cache: &Path) -> Result<Space, CacheError> {
    let there = cache.ancestors().find(|path| path.is_dir()).unwrap_or(cache);
    space(&Root::open(there, false)?)
}

fn space(root: &Root) -> Result<Space, CacheError> {
    let disk = root.statvfs()?;
    Ok(Space {
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_inodes: (disk.f_files > 0).then_some(disk.f_favail),
    })
}

impl Store {
    /// Opens a destination and makes its root if needed. Nothing is made for the repository before [`Store::prepare`].
    ///
    /// # Errors
    /// `RootMissing` when the folder above the root is not there; `CrossDevice` when parts of a repository folder lie
    /// on different file systems; `UnsafePath` when one of them is a link; what the system says.
    pub fn open(
        destination: &Destination,
        kind: RepoKind,
        repo: &RepoId,
        options: Options,
    ) -> Result<Self, CacheError> {
        let root = Root::open(destination.path(), options.create_parents)?;
        Self::on(root, destination, kind, repo, options)
    }

    /// Opens a destination that must lie below `base`, without following any link below it: for folders that users of a
    /// shared daemon name.
    ///
    /// # Errors
    /// As [`Store::open`]; `UnsafePath` when a link is on the way.
    pub fn open_below(
        base: &Path,
        destination: &Destination,
        kind: RepoKind,
        repo: &RepoId,
        options: Options,
    ) -> Result<Self, CacheError> {
        let root = Root::open_below(base, destination.path())?;
        Self::on(root, destination, kind, repo, options)
    }

    fn on(
        root: Root,
        destination: &Destination,
        kind: RepoKind,
        repo: &RepoId,
        options: Options,
    ) -> Result<Self, CacheError> {
        let layout = match destination {
            Destination::Cache(_) => Layout::cache(kind, repo),
            Destination::LocalDir(_) => Layout::LocalDir,
        };
        let store = Self {
            root: Arc::new(root),
            layout,
            options,
        };
        store.check_one_disk()?;
        Ok(store)
    }

    /// The folder to tell the user: the snapshot in a cache, the directory itself otherwise.
    pub fn snapshot_path(&self, commit: &CommitHash) -> PathBuf {
        self.root.path(&self.layout.snapshot(commit))
    }

    /// Where a file of a commit is found when it is published.
    pub fn final_path(&self, commit: &CommitHash, path: &RepoPath) -> PathBuf {
        self.root.path(&self.layout.entry(commit, path))
    }

    /// Where the bytes of a file lie: the blob in a cache, the file itself in a local directory.
    pub fn content_path(&self, path: &RepoPath, digest: &Digest) -> PathBuf {
        match &self.layout {
            Layout::Cache { folder } => self.root.path(&CacheNames(folder).blob(digest)),
            Layout::LocalDir => self.root.path(path.as_str()),
        }
    }

    /// One transfer at a time may fill the partial file of a content; this names it.
    pub fn staging_key(&self, digest: &Digest) -> PathBuf {
        self.root.path(&self.layout.staging()).join(digest.to_string())
    }

    /// Device number of the root: one token bucket, one free-space floor, one health per number.
    pub fn device(&self) -> u64 {
        self.root.dev()
    }

    /// What is free.
    ///
    /// # Errors
    /// What the system says.
    pub fn filesystem(&self) -> Result<Space, CacheError> {
        space(&self.root)
    }

    /// Makes the folders of a commit and writes its complete listing, all of it durable. Safe to repeat.
    ///
    /// The snapshot folder exists from here on, so that a ref written later never names a commit without one, which
    /// Python's cache scanner would report as damage.
    ///
    /// # Errors
    /// As for any write; `CrossDevice` when the folders turn out to lie on different file systems.
    pub fn prepare(&self, manifest: &Manifest) -> Result<(), CacheError> {
        let mut touched = Touched::new();
        self.make_folders(&manifest.commit, &mut touched)?;
        if tree::is_whole(manifest) {
            self.write_tree(manifest, &mut touched)?;
        }
        self.root.sync_touched(&mut touched)?;
        self.check_one_disk()
    }

    /// The same for a commit whose listing is there already.
    ///
    /// # Errors
    /// As [`Store::prepare`].
    pub fn prepare_folders(&self, commit: &CommitHash) -> Result<(), CacheError> {
        let mut touched = Touched::new();
        self.make_folders(commit, &mut touched)?;
        self.root.sync_touched(&mut touched)?;
        self.check_one_disk()
    }

    /// Whether the listing of a commit was written here.
    ///
    /// # Errors
    /// What the system says.
    pub fn has_listing(&self, commit: &CommitHash) -> Result<bool, CacheError> {
        Ok(self.root.look(&self.layout.tree(commit))?.is_some())
    }

    fn make_folders(&self, commit: &CommitHash, touched: &mut Touched) -> Result<(), CacheError> {
        match &self.layout {
            Layout::Cache { folder } => {
                // Backup programs skip a tagged folder. Without the tag nothing is wrong, and a complete cache on a
                // read-only disk must still serve.
                drop(self.root.write_new("CACHEDIR.TAG", CACHEDIR_TAG.as_bytes()));
                self.root.make_dirs(&self.layout.snapshot(commit), touched)?;
                self.root.make_dirs(&CacheNames(folder).blobs(), touched)?;
            }
            Layout::LocalDir => {
                self.root.make_dirs(LOCAL_BOOKS, touched)?;
                for (name, text) in [(".gitignore", "*"), ("CACHEDIR.TAG", CACHEDIR_TAG)] {
                    if self.root.write_new(&format!("{LOCAL_BOOKS}/{name}"), text.as_bytes())? {
                        touched.insert(LOCAL_BOOKS);
                    }
                }
            }
        }
        self.root.make_dirs(&self.layout.staging(), touched)
    }

    fn write_tree(&self, manifest: &Manifest, touched: &mut Touched) -> Result<(), CacheError> {
        let relative = self.layout.tree(&manifest.commit);
        let there = self.root.open_file(&relative, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
        if there.is_some_and(|file| tree::is_written(manifest, file)) {
            return Ok(());
        }
        self.replace_with(&relative, &|out| tree::write(manifest, out), touched)
    }

    /// Gives a small file these bytes by a rename, so that a reader sees the old or the new ones; nothing if it has
    /// them already. The temporary name lies in the staging folder, where no other program takes it for an entry.
    pub(super) fn replace_small(&self, relative: &str, bytes: &[u8], touched: &mut Touched) -> Result<(), CacheError> {
        let limit = bytes.len() as u64 + 1;
        if self.root.read_small(relative, limit)?.as_deref() == Some(bytes) {
            // Whoever wrote it may have died before its folder was synced.
            touched.insert(parent_of(relative));
            return Ok(());
        }
        self.replace_with(relative, &|out| out.write_all(bytes), touched)
    }

    fn replace_with(&self, relative: &str, fill: Fill<'_>, touched: &mut Touched) -> Result<(), CacheError> {
        self.root.make_dirs(parent_of(relative), touched)?;
        let temporary = self.with_temporary(touched, |temporary| self.root.write_new_with(temporary, fill))?;
        if let Err(errno) = self.root.rename(&temporary, relative, RenameFlags::empty())? {
            drop(self.root.remove(&temporary));
            return Err(self.root.fail_rename(errno, &temporary, relative));
        }
        touched.insert(parent_of(relative));
        Ok(())
    }

    /// Makes something under a new name in the staging folder; `make` answers `false` when the name is taken.
    pub(super) fn with_temporary(
        &self,
        touched: &mut Touched,
        make: impl Fn(&str) -> Result<bool, CacheError>,
    ) -> Result<String, CacheError> {
        let folder = self.layout.staging();
        let mut tries = 0;
        loop {
            let _kept = self.keep_staging(touched)?;
            let name = format!("{folder}/{:08x}.tmp", fastrand::u32(..));
            match make(&name) {
                Ok(true) => return Ok(name),
                // Another job of this repository ended and removed the folder as empty.
                Err(_) if tries < 100 && self.root.look(&folder)?.is_none() => {}
                Ok(false) if tries < 16 => {}
                Ok(false) => {
                    return Err(CacheError::Busy {
                        path: self.root.path(&name),
                    });
                }
                Err(error) => return Err(error),
            }
            tries += 1;
        }
    }

    /// A rename must be enough to publish: the parts of a repository folder may not be mounts of their own.
    fn check_one_disk(&self) -> Result<(), CacheError> {
        let staging = self.layout.staging();
        let others = match &self.layout {
            Layout::Cache { folder } => vec![
                CacheNames(folder).blobs(),
                format!("{folder}/snapshots"),
                folder.clone(),
            ],
            Layout::LocalDir => vec![LOCAL_BOOKS.to_owned()],
        };
        // While it is not made yet it counts as lying on the disk of its parent.
        let home = match self.root.look(&staging)? {
            Some(_) => staging.as_str(),
            None => parent_of(&staging),
        };
        others.iter().try_for_each(|other| self.same_device(home, other))
    }

    fn same_device(&self, from: &str, to: &str) -> Result<(), CacheError> {
        match (self.root.look(from)?, self.root.look(to)?) {
            (Some(a), Some(b)) if a.is_symlink() || b.is_symlink() => Err(CacheError::UnsafePath {
                path: self.root.path(if a.is_symlink() { from } else { to }),
                why: "it is a symbolic link; a repository folder must lie inside its cache",
            }),
            (Some(a), Some(b)) if a.dev() != b.dev() => Err(CacheError::CrossDevice {
                from: self.root.path(from),
                to: self.root.path(to),
            }),
            _ => Ok(()),
        }
    }

    /// The same for the folder that one file will be renamed into, as far down as it exists.
    pub(super) fn check_same_device(&self, path: &RepoPath) -> Result<(), CacheError> {
        let staging = self.layout.staging();
        match &self.layout {
            Layout::Cache { folder } => self.same_device(&staging, &CacheNames(folder).blobs()),
            Layout::LocalDir => {
                let mut folder = path.as_str();
                while let Some((above, _)) = folder.rsplit_once('/') {
                    folder = above;
                    if self.root.look(folder)?.is_some() {
                        return self.same_device(&staging, folder);
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }
}
