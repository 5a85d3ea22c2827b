//! Which files the processes of this machine have open or mapped, as far as the system lets us see.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Inode numbers of open and mapped files, each with the names under which it was opened. Not with their devices: a mapping
/// names another one than `stat` on some file systems, and one file too many that stays is no harm.
#[derive(Debug, Default)]
pub struct OpenFiles(HashMap<u64, Vec<PathBuf>>);

impl OpenFiles {
    /// Looks at every process that we may look at. What another user's process has open, an unprivileged daemon cannot see;
    /// such a process keeps what it has, since a removed file lives until it is closed.
    pub fn look() -> Self {
        let mut open = Self::default();
        for process in entries(Path::new("/proc")) {
            let numeric = process.file_name().and_then(|name| name.to_str());
            if !numeric.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
                continue;
            }
            for fd in entries(&process.join("fd")) {
                if let Ok(meta) = fs::metadata(&fd)
                    && meta.is_file()
                {
                    open.add(meta.ino(), fs::read_link(&fd).unwrap_or_default());
                }
            }
            let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
            for (inode, path) in maps.lines().filter_map(mapped) {
                open.add(inode, PathBuf::from(path));
            }
        }
        open
    }

    fn add(&mut self, inode: u64, path: PathBuf) {
        let paths = self.0.entry(inode).or_default();
        if inode > 0 && !paths.contains(&path) {
            paths.push(path);
        }
    }

    /// Whether somebody has it open, other than surely under the name that another repository than this has for it: who
    /// reads it there reads on.
    pub(super) fn has(&self, inode: u64, folder: &str) -> bool {
        let paths = self.0.get(&inode).map_or(&[][..], Vec::as_slice);
        paths
            .iter()
            .any(|path| blob_of(path).is_none_or(|owner| owner == folder))
    }
}

/// The folder of the repository whose blob this is.
fn blob_of(path: &Path) -> Option<&str> {
    let blobs = path.parent().filter(|blobs| blobs.ends_with("blobs"))?;
    let folder = blobs.parent()?.file_name()?.to_str()?;
    folder.contains("--").then_some(folder)
}

/// The inode and the path of `7f00-7f01 r--s 00000000 08:01 1234  /path`.
fn mapped(line: &str) -> Option<(u64, &str)> {
    let mut rest = line;
    let mut fields = ["", "", "", "", ""];
    for field in &mut fields {
        (*field, rest) = rest.trim_start_matches(' ').split_once(' ').unwrap_or((rest, ""));
    }
    Some((fields[4].parse().ok()?, rest.trim_start_matches(' ')))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    listed.map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "models--org--ours";

    #[test]
    fn what_we_have_open_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inode = file.as_file().metadata().unwrap().ino();
        assert!(OpenFiles::look().has(inode, OURS));
        let (handle, path) = file.into_parts();
        drop(handle);
        assert!(!OpenFiles::look().has(inode, OURS));
        drop(path);
    }

    #[test]
    fn lines_of_maps() {
        for (line, expected) in [
            ("7f0-7f1 r--s 00000000 08:01 1234   /a b", Some((1234, "/a b"))),
            ("7f0-7f1 rw-p 00000000 00:00 0", Some((0, ""))),
            ("7f0-7f1 rw-p 00000000 00:00 0    [heap]", Some((0, "[heap]"))),
            ("7f0-7f1", None),
        ] {
            assert_eq!(mapped(line), expected, "{line}");
        }
    }

    #[test]
    fn a_reader_of_another_repository_needs_no_name_of_ours() {
        for (paths, needed) in [
            (&["/hub/models--org--ours/blobs/aa"][..], true),
            (&["/hub/models--org--theirs/blobs/aa"], false),
            (
                &["/hub/models--org--theirs/blobs/aa", "/hub/models--org--ours/blobs/aa"],
                true,
            ),
            // Whoever has linked it, and who calls its folder as he likes.
            (&["/home/ann/model.bin"], true),
            (&["/mnt/blobs/aa"], true),
            (&[""], true),
            (&[], false),
        ] {
            let mut open = OpenFiles::default();
            for path in paths {
                open.add(7, PathBuf::from(path));
            }
            assert_eq!(open.has(7, OURS), needed, "{paths:?}");
            assert!(!open.has(8, OURS));
        }
    }
}
