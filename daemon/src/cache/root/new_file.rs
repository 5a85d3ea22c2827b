//! New files that are written whole and synced.

use std::io::{self, BufWriter, Write};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Root;
use crate::cache::error::CacheError;

/// What writes a new file; it is called again when the name was taken.
pub(in crate::cache) type Fill<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

impl Root {
    /// Makes a new file with these bytes, synced; `false` when something has the name already. An empty file is taken for what a
    /// kill left between its making and its first byte.
    pub(in crate::cache) fn write_new(&self, relative: &str, bytes: &[u8]) -> Result<bool, CacheError> {
        if self.write_new_with(relative, &|out| out.write_all(bytes))? {
            return Ok(true);
        }
        if self.read_small(relative, 1)?.is_none_or(|found| !found.is_empty()) {
            return Ok(false);
        }
        let mut file = self
            .try_open(relative, OFlags::WRONLY, 0)
            .map_err(|errno| self.fail(errno, "open", relative))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| self.fail_io(source, "write", relative))?;
        Ok(true)
    }

    /// The same with what `fill` writes, however much that is.
    pub(in crate::cache) fn write_new_with(&self, relative: &str, fill: Fill<'_>) -> Result<bool, CacheError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = match self.try_open(relative, flags, 0o666) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Ok(false),
            Err(errno) => return Err(self.fail(errno, "create", relative)),
        };
        let mut out = BufWriter::new(&file);
        fill(&mut out)
            .and_then(|()| out.flush())
            .map_err(|source| self.fail_io(source, "write", relative))?;
        drop(out);
        file.sync_all().map_err(|source| CacheError::SyncFailed {
            path: self.path(relative),
            source,
        })?;
        Ok(true)
    }
}
