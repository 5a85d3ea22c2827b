//! The folder of partial files: made when it is needed, and removed by whoever finds it empty.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, OFlags};

use super::error::CacheError;
use super::store::Store;
use super::touched::{Touched, parent_of};

/// How often another may hold the folder's lock before we go on without it.
const TRIES: u32 = 100;

impl Store {
    /// Makes the staging folder and keeps it while something is made in it: a job that ends removes it when it is
    /// empty, and holds the same lock for that. No promise, for anyone may hold such a lock: callers try again.
    pub(super) fn keep_staging(&self, touched: &mut Touched) -> Result<Option<OwnedFd>, CacheError> {
        let folder = self.layout().staging();
        self.root().make_dirs(parent_of(&folder), touched)?;
        let mut kept = None;
        // The remover has it for a few system calls.
        for _ in 0..TRIES {
            kept = self
                .root()
                .lock_dir(parent_of(&folder), FlockOperation::NonBlockingLockShared)?;
            if kept.is_some() {
                break;
            }
            std::thread::yield_now();
        }
        self.root().make_dirs(&folder, touched)?;
        Ok(kept)
    }

    /// Makes our own read-only partial file writable again; `false` when it is missing.
    pub(super) fn unseal(&self, relative: &str, mode: u32) -> Result<bool, CacheError> {
        let Some(file) = self.root().open_file(relative, OFlags::RDONLY | OFlags::NONBLOCK, 0)? else {
            return Ok(false);
        };
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))
            .map_err(|errno| self.root().fail(errno, "chmod", relative))?;
        Ok(true)
    }
}

/// A caller's tag as part of a file name.
pub(super) fn tag_name(tag: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    tag.chars().take(64).map(plain).collect()
}
