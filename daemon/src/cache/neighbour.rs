//! A good neighbour: what we read and write leaves the page cache again, and the threads that do it stand back.
//!
//! Writes are ordinary ones, for a moment later they are read back to be hashed, and that must not touch the disk. Once
//! hashed and synced they are given up with `posix_fadvise`. Reads that may have to go to the disk use `RWF_DONTCACHE`
//! (Linux 6.14): what such a read brings in goes out with it, and what others brought in stays where it is. Where the
//! kernel or the file system has no such flag, the reads are marked as not to be repeated, which Linux 6.3 and later
//! respects when it chooses what to evict.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// `RWF_DONTCACHE`; the libraries have no name for it yet.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// Smaller files stay: whoever loads a model reads them next, and they push nobody out.
const LEAST_TO_DROP: u64 = 256 << 10;
/// A page of the cache may be so large, and goes only when it lies in the range as a whole.
const LARGEST_PAGE: u64 = 4 << 20;
/// Lowers the calling thread's priority for the processor to this niceness, for good. That of its reads and writes follows it,
/// as long as nobody sets another.
pub fn stand_back(niceness: i32) {
    // Started with less already, it keeps that.
    let now = rustix::process::getpriority_process(None).unwrap_or(0);
    // A container may forbid it; the work is done all the same.
    if let Err(errno) = rustix::process::setpriority_process(None, niceness.max(now)) {
        tracing::debug!(%errno, "the priority of a disk thread stays as it is");
    }
}

/// Reads a file without leaving it in memory.
pub(super) struct PassingReader<'a> {
    file: &'a File,
    /// The flag is wanted, and was not refused.
    dont_cache: bool,
}

impl<'a> PassingReader<'a> {
    /// `passing`: what the reads bring into memory leaves it again.
    pub(super) fn new(file: &'a File, passing: bool) -> Self {
        Self {
            file,
            dont_cache: passing,
        }
    }

    /// Reads some bytes at an offset; 0 only at the end of the file.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.dont_cache {
            match preadv2(self.file, &mut [IoSliceMut::new(buffer)], offset, DONTCACHE) {
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.dont_cache = false;
                    // Advice: where it is not taken, all is as without it.
                    fadvise(self.file, 0, None, Advice::NoReuse).ok();
                }
                other => return Ok(other?),
            }
        }
        self.file.read_at(buffer, offset)
    }
}

/// Gives back the memory of bytes `start..end` of a file of `size` bytes of which nothing is unsynced there. `end` at the end
/// of the file means all of it.
pub(super) fn drop_cached(file: &File, size: u64, start: u64, end: u64) {
    if size < LEAST_TO_DROP {
        return;
    }
    // The page at the border of the last call was not a whole one then.
    let (start, end) = if end >= size {
        (0, None)
    } else {
        (start.saturating_sub(LARGEST_PAGE), Some(end))
    };
    let length = end.and_then(|end| NonZeroU64::new(end.saturating_sub(start)));
    if end.is_none() || length.is_some() {
        fadvise(file, start, length, Advice::DontNeed).ok();
    }
}
