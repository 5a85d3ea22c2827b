//! Staging: the partial file of one blob, filled at offsets by several threads at once.
//!
//! It lies beside its final place, on the same file system, under a name that no Python client looks at or cleans up.
//! It is locked while open, so that two daemons never write one partial file. It has its final length from the start:
//! how much of it is real only the caller's claims say, and a claim names the inode.

mod temporary;

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, ftruncate};
use rustix::io::Errno;

use super::error::CacheError;
use super::neighbour;
use super::root::Root;
use super::staging_dir::tag_name;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::Touched;
use super::verify::Content;
use crate::model::{Digest, RepoPath};

/// Most buffers that one system call takes.
const MAX_SLICES: usize = 1024;
/// From this size on the name of a partial file is made durable before its bytes: a smaller one that a power cut takes
/// is fetched again sooner than its folder would have been synced for all its kind.
const KEEP_BYTES: u64 = 8 << 20;
/// How often the folder or the file may vanish between two of our steps before we give up.
const TRIES: u32 = 100;

/// An open partial file. Dropping it keeps the file and frees it for others.
#[derive(Debug)]
pub struct Staging {
    root: Arc<Root>,
    file: File,
    relative: String,
    path: PathBuf,
    size: u64,
    existed: bool,
    /// As it was when it was opened.
    found: FileStamp,
    broken: AtomicBool,
    /// Something was written since the last sync began.
    dirty: AtomicBool,
    /// What is hashed and synced leaves memory.
    passing: bool,
    /// Below this it has left.
    let_go: AtomicU64,
}

impl Store {
    /// Opens the partial file of a blob, or makes it with all its space reserved. `tag` tells our own transfers of the
    /// same content apart: it is used when another transfer or daemon holds the plain name.
    ///
    /// Safe to repeat: the same call finds the same file again.
    ///
    /// # Errors
    /// `DiskFull` or `Quota` before one byte is fetched; `CrossDevice` when a finished file could not be renamed into
    /// place; `Busy` when both names are held; `UnsafePath` when a link is in the way.
    pub fn stage(&self, digest: &Digest, path: &RepoPath, size: u64, tag: &str) -> Result<Staging, CacheError> {
        let folder = self.layout().staging();
        let [plain, tagged] = self.partial_names(digest, tag);
        for _ in 0..TRIES {
            let mut touched = Touched::new();
            let _kept = self.keep_staging(&mut touched)?;
            self.check_same_device(path)?;
            // What is there is continued before anything is begun.
            for (name, create) in [(&plain, false), (&tagged, false), (&plain, true), (&tagged, true)] {
                if let Some(staging) = self.open_partial(name, create, size)? {
                    if !staging.existed && size >= KEEP_BYTES {
                        touched.insert(folder.as_str());
                    }
                    self.root().sync_touched(&mut touched)?;
                    return Ok(staging);
                }
            }
            // Either both are held, or the folder was removed as empty by a job that ended just now.
            if self.root().look(&folder)?.is_some() && self.root().look(&tagged)?.is_some() {
                break;
            }
        }
        Err(CacheError::Busy {
            path: self.root().path(&tagged),
        })
    }

    /// Where [`Store::stage`] opens or makes the partial file: the path without the tag, and that with it.
    pub fn partial_paths(&self, digest: &Digest, tag: &str) -> [PathBuf; 2] {
        self.partial_names(digest, tag).map(|name| self.root().path(&name))
    }

    fn partial_names(&self, digest: &Digest, tag: &str) -> [String; 2] {
        let folder = self.layout().staging();
        let tagged = format!("{folder}/{digest}.{}.part", tag_name(tag));
        [format!("{folder}/{digest}.part"), tagged]
    }

    /// One name; `None` when it is missing (and not to be made), held, or went away meanwhile.
    fn open_partial(&self, relative: &str, create: bool, size: u64) -> Result<Option<Staging>, CacheError> {
        let root = self.root();
        let mut flags = OFlags::RDWR | OFlags::NONBLOCK;
        if create {
            flags |= OFlags::CREATE;
        }
        let mode = self.options().mode.unwrap_or(0o666) | 0o600;
        let file = match root.open_file(relative, flags, mode) {
            // Sealed as read-only by a process that died before the rename.
            Err(CacheError::Permission { .. }) if self.unseal(relative, mode)? => {
                root.open_file(relative, flags, mode)?
            }
            other => other?,
        };
        let Some(file) = file else {
            return Ok(None);
        };
        let path = root.path(relative);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Without flock the names must do: one daemon per state directory, one tag per job.
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(root.fail(errno, "lock", relative)),
        }
        let meta = file.metadata().map_err(|source| CacheError::Io {
            act: "look at",
            path: path.clone(),
            source,
        })?;
        // Between open and lock its last owner may have published it: then it is a blob, and must never be written.
        let there = root.look(relative)?.map(|meta| FileStamp::of(&meta));
        if !there.is_some_and(|there| there.same_file(&FileStamp::of(&meta))) {
            return Ok(None);
        }
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(CacheError::UnsafePath {
                path,
                why: "a partial file must be a plain file with one name",
            });
        }
        // A partial file of another length was cut or is of another origin: nothing in it can be believed.
        let existed = meta.len() == size && size > 0;
        let staging = Staging {
            root: Arc::clone(root),
            file,
            relative: relative.to_owned(),
            path,
            size,
            existed,
            found: FileStamp::of(&meta),
            broken: AtomicBool::new(false),
            // Of what an earlier process wrote nobody knows.
            dirty: AtomicBool::new(true),
            passing: self.options().passing,
            let_go: AtomicU64::new(0),
        };
        if let Err(error) = staging.reserve(meta.len()) {
            if !existed {
                staging.discard()?;
            }
            return Err(error);
        }
        Ok(Some(staging))
    }
}

impl Staging {
    /// Which file it is. The times change with every write; device, inode and size do not.
    ///
    /// # Errors
    /// What the system says.
    pub fn stamp(&self) -> Result<FileStamp, CacheError> {
        let meta = self.file.metadata().map_err(|source| self.io("look at", source))?;
        Ok(FileStamp::of(&meta))
    }

    /// It was there before, with the right length: claims about its inode may hold.
    pub fn existed(&self) -> bool {
        self.existed
    }

    /// The file as it was before this handle changed anything: it shows whether somebody wrote after the last claim.
    pub fn found(&self) -> FileStamp {
        self.found
    }

    /// Where it lies, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that it will have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// For reading: hashing what the file holds.
    pub fn content(&self) -> Content<'_> {
        Content {
            file: &self.file,
            path: &self.path,
            passing: self.passing,
        }
    }

    /// All bytes below `end` are synced and hashed, and leave memory unless the options say otherwise. Advice, never fails.
    pub fn let_go(&self, end: u64) {
        let before = self.let_go.fetch_max(end, Ordering::Relaxed);
        if self.passing && end > before {
            neighbour::drop_cached(&self.file, self.size, before, end);
        }
    }

    /// Bytes from `start` on are written anew.
    pub fn holds_again(&self, start: u64) {
        self.let_go.fetch_min(start, Ordering::Relaxed);
    }

    /// Writes the buffers one after another from `offset` on, whole. Any number of threads may write disjoint ranges.
    ///
    /// # Errors
    /// `DiskFull`, `Quota`, `Io`; the range must then be taken for not written.
    pub fn write_at<B: AsRef<[u8]>>(&self, offset: u64, buffers: &[B]) -> Result<(), CacheError> {
        let total: u64 = buffers.iter().map(|buffer| buffer.as_ref().len() as u64).sum();
        if offset.checked_add(total).is_none_or(|end| end > self.size) {
            return Err(self.io("write past the end of", io::ErrorKind::InvalidInput.into()));
        }
        let written = self.write_all(offset, buffers);
        // After the write: a sync that it ran beside may have missed it.
        self.dirty.store(true, Ordering::Release);
        written
    }

    fn write_all<B: AsRef<[u8]>>(&self, offset: u64, buffers: &[B]) -> Result<(), CacheError> {
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer.as_ref())).collect();
        let mut slices = slices.as_mut_slice();
        let mut offset = offset;
        // Empty buffers in front would make a write of nothing look like a full disk.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let some = &slices[..slices.len().min(MAX_SLICES)];
            match rustix::io::pwritev(&self.file, some, offset) {
                Ok(0) => return Err(self.io("write", io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.root.fail(errno, "write", &self.relative)),
            }
        }
        Ok(())
    }

    /// Reads what is there; fewer bytes than asked only at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, CacheError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(got) => done += got,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.io("read", source)),
            }
        }
        Ok(done)
    }

    /// Makes everything written so far durable. Only after this may a claim say so.
    ///
    /// # Errors
    /// `SyncFailed` is final: the kernel may have dropped the dirty pages and call the next sync a success, so this
    /// handle refuses every later sync and publish. Forget all ranges since the last good sync and stage again.
    pub fn sync(&self) -> Result<(), CacheError> {
        self.sync_with(File::sync_data)
    }

    pub(super) fn sync_with(&self, how: fn(&File) -> io::Result<()>) -> Result<(), CacheError> {
        let failed = |source| CacheError::SyncFailed {
            path: self.path.clone(),
            source,
        };
        if self.broken.load(Ordering::Acquire) {
            return Err(failed(Errno::IO.into()));
        }
        // Before the sync: what is written while it runs may not be in it.
        self.dirty.store(false, Ordering::Release);
        how(&self.file).map_err(|source| {
            self.broken.store(true, Ordering::Release);
            failed(source)
        })
    }

    /// Removes the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn discard(self) -> Result<(), CacheError> {
        if self.at_its_path()? {
            self.root.remove(&self.relative)?;
        }
        Ok(())
    }

    pub(super) fn relative(&self) -> &str {
        &self.relative
    }

    /// The last steps before the name: final mode, everything synced, still the one file at its path.
    pub(super) fn seal(&self, mode: Option<u32>) -> Result<FileStamp, CacheError> {
        let look = || self.file.metadata().map_err(|source| self.io("look at", source));
        let before = look()?;
        if let Some(mode) = mode
            && before.mode() & 0o7777 != mode
        {
            self.dirty.store(true, Ordering::Release);
            rustix::fs::fchmod(&self.file, rustix::fs::Mode::from_raw_mode(mode))
                .map_err(|errno| self.root.fail(errno, "chmod", &self.relative))?;
        }
        // Synced for its last claim, it needs no second sync: its length and its bytes are what must survive.
        if self.dirty.load(Ordering::Acquire) || self.broken.load(Ordering::Acquire) {
            self.sync_with(File::sync_all)?;
        }
        let meta = look()?;
        if meta.nlink() == 0 || !self.at_its_path()? {
            return Err(CacheError::Vanished {
                path: self.path.clone(),
            });
        }
        if meta.nlink() != 1 || meta.len() != self.size {
            return Err(CacheError::UnsafePath {
                path: self.path.clone(),
                why: "the partial file was linked or cut by someone else",
            });
        }
        self.let_go.store(0, Ordering::Relaxed);
        self.let_go(self.size);
        Ok(FileStamp::of(&meta))
    }

    pub(super) fn at_its_path(&self) -> Result<bool, CacheError> {
        let ours = self.stamp()?;
        let there = self.root.look(&self.relative)?;
        Ok(there.is_some_and(|there| FileStamp::of(&there).same_file(&ours)))
    }

    /// Gives the file its length and asks for its space. A raw `fallocate`: the C library would write zeros instead.
    fn reserve(&self, length_now: u64) -> Result<(), CacheError> {
        let failed = |errno, act| self.root.fail(errno, act, &self.relative);
        if length_now != self.size && length_now > 0 {
            ftruncate(&self.file, 0).map_err(|errno| failed(errno, "truncate"))?;
        }
        let mut wanted = self.size > 0;
        while wanted {
            match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, self.size) {
                Err(Errno::INTR) => {}
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => wanted = false,
                Err(errno) => return Err(failed(errno, "reserve space for")),
            }
        }
        if length_now != self.size {
            ftruncate(&self.file, self.size).map_err(|errno| failed(errno, "set the length of"))?;
        }
        Ok(())
    }

    fn io(&self, act: &'static str, source: io::Error) -> CacheError {
        match source.raw_os_error() {
            Some(raw) => self.root.fail(Errno::from_raw_os_error(raw), act, &self.relative),
            None => CacheError::Io {
                act,
                path: self.path.clone(),
                source,
            },
        }
    }
}
