//! Which files the processes of this machine have open or mapped, as far as the system lets us see.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Inode numbers of open and mapped files. Not with their devices: a mapping names another one than `stat` on some file
/// systems, and one file too many that stays is no harm.
#[derive(Debug, Default)]
pub struct OpenFiles(HashSet<u64>);

impl OpenFiles {
    /// Looks at every process that we may look at. What another user's process has open, an unprivileged daemon cannot see;
    /// such a process keeps what it has, since a removed file lives until it is closed.
    pub fn look() -> Self {
        let mut inodes = HashSet::new();
        for process in entries(Path::new("/proc")) {
            let numeric = process.file_name().and_then(|name| name.to_str());
            if !numeric.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
                continue;
            }
            let fds = entries(&process.join("fd"));
            inodes.extend(fds.filter_map(|fd| fs::metadata(fd).ok()).map(|meta| meta.ino()));
            let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
            inodes.extend(maps.lines().filter_map(mapped));
        }
        inodes.remove(&0);
        Self(inodes)
    }

    /// Whether somebody has it open.
    pub(super) fn has(&self, inode: u64) -> bool {
        self.0.contains(&inode)
    }
}

/// The inode of `7f00-7f01 r--s 00000000 08:01 1234  /path`.
fn mapped(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(4)?.parse().ok()
}

fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_have_open_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inode = file.as_file().metadata().unwrap().ino();
        assert!(OpenFiles::look().has(inode));
        let (handle, path) = file.into_parts();
        drop(handle);
        assert!(!OpenFiles::look().has(inode));
        drop(path);
        assert_eq!(mapped("7f0-7f1 r--s 00000000 08:01 1234   /a b"), Some(1234));
        assert_eq!(mapped("7f0-7f1 rw-p 00000000 00:00 0"), Some(0));
    }
}
