//! The folder below which everything happens, as a descriptor. All paths here are relative, with `/` between
//! components, and are opened by `beneath.rs`; nothing below the root is ever reached by an absolute path.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::beneath;
use super::error::CacheError;
use super::touched::{Touched, parent_of};

mod new_file;

pub(super) use self::new_file::Fill;

/// An open root.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
    dev: u64,
    /// Folders whose whole chain up to the root this process has synced once. One that was there before us may have
    /// been made by a process that died before its sync.
    chained: Mutex<HashSet<String>>,
}

impl Root {
    /// Opens the folder; links in its own path are the user's business and are followed.
    pub(super) fn open(path: &Path, create_parents: bool) -> Result<Self, CacheError> {
        let io = |act, source: io::Error| match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => CacheError::RootMissing { path: path.to_owned() },
            Some(errno) => CacheError::sort(errno, act, path, || false),
            None => CacheError::Io {
                act,
                path: path.to_owned(),
                source,
            },
        };
        // Whose new entries must be synced: from the deepest folder that exists down to the root's parent.
        let mut grown: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .filter(|above| !above.as_os_str().is_empty())
            .collect();
        if path.is_dir() {
            grown.clear();
        } else if let Some(first) = grown.iter().position(|above| above.is_dir()) {
            grown.truncate(first + 1);
        }
        if create_parents {
            std::fs::create_dir_all(path).map_err(|source| io("create", source))?;
        } else if let Err(source) = std::fs::create_dir(path)
            && source.kind() != io::ErrorKind::AlreadyExists
            // A root on a read-only disk can still be read from.
            && !path.is_dir()
        {
            return Err(io("create", source));
        }
        for above in grown {
            // A folder that we may use but not list cannot be synced by us.
            if let Ok(above) = File::open(above) {
                above.sync_all().map_err(|source| io("sync", source))?;
            }
        }
        let file = File::open(path).map_err(|source| io("open", source))?;
        let meta = file.metadata().map_err(|source| io("look at", source))?;
        if !meta.is_dir() {
            return Err(io("open", Errno::NOTDIR.into()));
        }
        Ok(Self {
            fd: file.into(),
            path: path.to_owned(),
            dev: meta.dev(),
            chained: Mutex::default(),
        })
    }

    /// Opens (and makes) a folder that must lie below `base`, whatever links users have planted on the way: none is followed.
    /// The base itself is an administrator's word.
    pub(super) fn open_below(base: &Path, path: &Path) -> Result<Self, CacheError> {
        let unsafe_path = |why| CacheError::UnsafePath {
            path: path.to_owned(),
            why,
        };
        let relative = path
            .strip_prefix(base)
            .map_err(|_| unsafe_path("it is not below an allowed folder"))?;
        let relative = relative.to_str().ok_or_else(|| unsafe_path("it is no UTF-8"))?;
        let above = Self::open(base, false)?;
        if relative.is_empty() {
            return Ok(above);
        }
        let mut touched = Touched::new();
        above.make_dirs(relative, &mut touched)?;
        above.sync_touched(&mut touched)?;
        let fd = above
            .try_open(relative, OFlags::RDONLY | OFlags::DIRECTORY, 0)
            .map_err(|errno| above.fail(errno, "open", relative))?;
        let meta = fd
            .metadata()
            .map_err(|source| above.fail_io(source, "look at", relative))?;
        Ok(Self {
            dev: meta.dev(),
            fd: fd.into(),
            path: path.to_owned(),
            chained: Mutex::default(),
        })
    }

    pub(super) fn dev(&self) -> u64 {
        self.dev
    }

    /// The absolute path of a relative one, for people and for the answer to the user.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() {
            self.path.clone()
        } else {
            self.path.join(relative)
        }
    }

    pub(super) fn statvfs(&self) -> Result<fs::StatVfs, CacheError> {
        fs::fstatvfs(&self.fd).map_err(|errno| self.fail(errno, "measure", ""))
    }

    /// The error of a failed call, with the path made whole.
    pub(super) fn fail(&self, errno: Errno, act: &'static str, relative: &str) -> CacheError {
        CacheError::sort(errno, act, &self.path(relative), || {
            fs::fstatvfs(&self.fd).is_ok_and(|disk| disk.f_files > 0 && disk.f_favail == 0 && disk.f_bavail > 0)
        })
    }

    fn fail_io(&self, source: io::Error, act: &'static str, relative: &str) -> CacheError {
        match source.raw_os_error() {
            Some(raw) => self.fail(Errno::from_raw_os_error(raw), act, relative),
            None => CacheError::Io {
                act,
                path: self.path(relative),
                source,
            },
        }
    }

    /// Opens a folder; `None` when it is missing.
    fn folder(&self, relative: &str) -> Result<Option<OwnedFd>, CacheError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened = if relative.is_empty() {
            self.fd.try_clone().map_err(|source| self.fail_io(source, "open", ""))
        } else {
            match beneath::open(self.fd.as_fd(), relative, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                other => other.map_err(|errno| self.fail(errno, "open", relative)),
            }
        };
        opened.map(Some)
    }

    /// The open folder of a path, and the last component.
    fn split<'a>(&self, relative: &'a str) -> Result<(OwnedFd, &'a str), CacheError> {
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let fd = self.folder(folder)?;
        Ok((fd.ok_or_else(|| self.fail(Errno::NOENT, "open", folder))?, name))
    }

    /// What is there, a link being itself; `None` when nothing is, or a folder on the way is missing.
    pub(super) fn look(&self, relative: &str) -> Result<Option<Metadata>, CacheError> {
        match beneath::open(
            self.fd.as_fd(),
            relative,
            OFlags::PATH | OFlags::NOFOLLOW,
            Mode::empty(),
        ) {
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail(errno, "look at", relative)),
            Ok(fd) => {
                let meta = File::from(fd).metadata();
                meta.map(Some)
                    .map_err(|source| self.fail_io(source, "look at", relative))
            }
        }
    }

    /// Opens a file that is no link; `None` when it is missing.
    pub(super) fn open_file(&self, relative: &str, flags: OFlags, mode: u32) -> Result<Option<File>, CacheError> {
        let mode = Mode::from_raw_mode(mode);
        match beneath::open(self.fd.as_fd(), relative, flags, mode) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail(errno, "open", relative)),
        }
    }

    /// As `open_file`, with the bare answer of the system.
    pub(super) fn try_open(&self, relative: &str, flags: OFlags, mode: u32) -> Result<File, Errno> {
        beneath::open(self.fd.as_fd(), relative, flags, Mode::from_raw_mode(mode)).map(File::from)
    }

    /// The text of a link; `None` when it is not UTF-8.
    pub(super) fn read_link(&self, relative: &str) -> Result<Option<String>, CacheError> {
        let (folder, name) = self.split(relative)?;
        let target = fs::readlinkat(&folder, name, Vec::new()).map_err(|errno| self.fail(errno, "read", relative))?;
        Ok(target.into_string().ok())
    }

    /// A small file whole, at most `limit` bytes of it; `None` when it is missing or no plain file.
    pub(super) fn read_small(&self, relative: &str, limit: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let Some(file) = self.open_file(relative, OFlags::RDONLY | OFlags::NONBLOCK, 0)? else {
            return Ok(None);
        };
        let meta = file
            .metadata()
            .map_err(|source| self.fail_io(source, "look at", relative))?;
        if !meta.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|source| self.fail_io(source, "read", relative))?;
        Ok(Some(bytes))
    }

    /// Makes a folder and what is missing above it, top down, and notes every folder that got a new entry.
    pub(super) fn make_dirs(&self, relative: &str, touched: &mut Touched) -> Result<(), CacheError> {
        if !self.chained().contains(relative) {
            let mut above = relative;
            while !above.is_empty() {
                above = parent_of(above);
                touched.insert(above);
            }
            touched.chains.push(relative.to_owned());
        }
        if self.folder(relative)?.is_some() {
            return Ok(());
        }
        let ends = relative.match_indices('/').map(|(at, _)| at).chain([relative.len()]);
        for end in ends {
            let part = &relative[..end];
            let (parent, name) = self.split(part)?;
            match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => {
                    touched.insert(parent_of(part));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.fail(errno, "create", part)),
            }
        }
        Ok(())
    }

    /// Renames; `RenameFlags::empty()` replaces what has the new name. The inner result is the system's answer.
    pub(super) fn rename(&self, from: &str, to: &str, how: RenameFlags) -> Result<Result<(), Errno>, CacheError> {
        let (from_folder, from_name) = from.rsplit_once('/').unwrap_or(("", from));
        let (to_folder, to_name) = to.rsplit_once('/').unwrap_or(("", to));
        let (Some(from_folder), Some(to_folder)) = (self.folder(from_folder)?, self.folder(to_folder)?) else {
            return Ok(Err(Errno::NOENT));
        };
        Ok(if how.is_empty() {
            fs::renameat(&from_folder, from_name, &to_folder, to_name)
        } else {
            fs::renameat_with(&from_folder, from_name, &to_folder, to_name, how)
        })
    }

    /// The error of a failed rename.
    pub(super) fn fail_rename(&self, errno: Errno, from: &str, to: &str) -> CacheError {
        match errno {
            Errno::XDEV => CacheError::CrossDevice {
                from: self.path(from),
                to: self.path(to),
            },
            other => self.fail(other, "rename a file to", to),
        }
    }

    /// Makes a link; `false` when something has the name already.
    pub(super) fn symlink(&self, target: &str, relative: &str) -> Result<bool, CacheError> {
        let (folder, name) = self.split(relative)?;
        match fs::symlinkat(target, &folder, name) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Err(CacheError::NoSymlinks {
                path: self.path(relative),
            }),
            Err(errno) => Err(self.fail(errno, "link", relative)),
        }
    }

    /// Gives a file a second name, which must be free. The inner result is the system's answer.
    pub(super) fn hard_link(&self, from: &str, to: &str) -> Result<Result<(), Errno>, CacheError> {
        let ((from_folder, from), (to_folder, to)) = (self.split(from)?, self.split(to)?);
        Ok(fs::linkat(&from_folder, from, &to_folder, to, AtFlags::empty()))
    }

    /// Removes a name; `false` when there was none.
    pub(super) fn remove(&self, relative: &str) -> Result<bool, CacheError> {
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let Some(fd) = self.folder(folder)? else {
            return Ok(false);
        };
        match fs::unlinkat(&fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.fail(errno, "remove", relative)),
        }
    }

    /// Removes a folder if it is empty; `false` when it is missing or not empty.
    pub(super) fn remove_empty(&self, relative: &str) -> Result<bool, CacheError> {
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let Some(fd) = self.folder(folder)? else {
            return Ok(false);
        };
        match fs::unlinkat(&fd, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.fail(errno, "remove", relative)),
        }
    }

    /// Names in a folder that are UTF-8; none when it is missing.
    pub(super) fn names(&self, relative: &str) -> Result<Vec<String>, CacheError> {
        let Some(fd) = self.folder(relative)? else {
            return Ok(Vec::new());
        };
        let failed = |errno| self.fail(errno, "list", relative);
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&fd).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Tries to lock a folder for as long as the answer lives. `None` when someone else holds it, or it is missing; a
    /// folder that cannot be locked at all counts as locked.
    pub(super) fn lock_dir(&self, relative: &str, how: FlockOperation) -> Result<Option<OwnedFd>, CacheError> {
        let Some(fd) = self.folder(relative)? else {
            return Ok(None);
        };
        let taken = fs::flock(&fd, how) == Err(Errno::WOULDBLOCK);
        Ok((!taken).then_some(fd))
    }

    /// Syncs one folder, if it is still there.
    pub(super) fn sync_dir(&self, relative: &str) -> Result<(), CacheError> {
        let Some(fd) = self.folder(relative)? else {
            return Ok(());
        };
        fs::fsync(&fd).map_err(|errno| CacheError::SyncFailed {
            path: self.path(relative),
            source: errno.into(),
        })
    }

    /// Syncs every noted folder once and forgets it.
    pub(super) fn sync_touched(&self, touched: &mut Touched) -> Result<(), CacheError> {
        while let Some(folder) = touched.folders.first() {
            self.sync_dir(folder)?;
            touched.folders.pop_first();
        }
        self.chained().extend(touched.chains.drain(..));
        Ok(())
    }

    fn chained(&self) -> MutexGuard<'_, HashSet<String>> {
        self.chained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
