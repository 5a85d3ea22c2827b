//! Opening below a folder without leaving it: the one way by which this module reaches anything.
//!
//! `openat2` lets the kernel refuse a symbolic link at any component, in one step that nobody can race. Kernels before
//! 5.6, and sandboxes that answer for them, do not know it: then every component is opened by itself with `O_NOFOLLOW`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// How often an interrupted look-up is repeated.
const TRIES: u32 = 1000;

/// Set once the kernel has said that it has no `openat2`.
static WALK_ONLY: AtomicBool = AtomicBool::new(false);

/// Opens `relative` below `dir`; a symbolic link anywhere on the way is `ELOOP`. With `O_PATH | O_NOFOLLOW` the last
/// component may be a link, which is then opened itself.
pub(super) fn open(dir: BorrowedFd<'_>, relative: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    if relative
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(Errno::LOOP);
    }
    if WALK_ONLY.load(Ordering::Relaxed) {
        return walk(dir, relative, flags, mode);
    }
    // The kernel takes a mode only where it may create.
    let mode_asked = if flags.contains(OFlags::CREATE) {
        mode
    } else {
        Mode::empty()
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN: something was renamed while the kernel looked. An attacker must not keep us here for ever.
    for _ in 0..TRIES {
        match fs::openat2(dir, relative, flags, mode_asked, resolve) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::XDEV) => return Err(Errno::LOOP),
            Err(Errno::NOSYS) => {
                WALK_ONLY.store(true, Ordering::Relaxed);
                return walk(dir, relative, flags, mode);
            }
            // Old container sandboxes answer EPERM to calls that they do not know.
            Err(Errno::PERM) => return walk(dir, relative, flags, mode),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The same, one component at a time.
fn walk(dir: BorrowedFd<'_>, relative: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let (folders, name) = match relative.rsplit_once('/') {
        Some((folders, name)) => (Some(folders), name),
        None => (None, relative),
    };
    let mut at: Option<OwnedFd> = None;
    for part in folders.iter().flat_map(|folders| folders.split('/')) {
        let here = at.as_ref().map_or(dir, std::os::fd::AsFd::as_fd);
        let next = step(here, part, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        at = Some(next);
    }
    let here = at.as_ref().map_or(dir, std::os::fd::AsFd::as_fd);
    step(here, name, flags, mode)
}

fn step(dir: BorrowedFd<'_>, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    loop {
        match fs::openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode) {
            Err(Errno::INTR) => {}
            // With O_DIRECTORY a link is "not a directory"; the caller wants to know that it is a link.
            Err(Errno::NOTDIR) if is_link(dir, name) => return Err(Errno::LOOP),
            other => return other,
        }
    }
}

fn is_link(dir: BorrowedFd<'_>, name: &str) -> bool {
    fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    type Open = fn(BorrowedFd<'_>, &str, OFlags, Mode) -> Result<OwnedFd>;

    /// Both ways must give the same answers.
    #[test]
    fn both_ways_refuse_links_and_take_plain_paths() {
        for way in [open as Open, walk as Open] {
            let dir = tempfile::tempdir().unwrap();
            let at = |path: &str| dir.path().join(path);
            std::fs::create_dir_all(at("root/a/b")).unwrap();
            std::fs::create_dir(at("out")).unwrap();
            std::fs::write(at("root/a/b/file"), "x").unwrap();
            std::fs::write(at("out/file"), "x").unwrap();
            std::os::unix::fs::symlink("../out", at("root/link")).unwrap();
            std::os::unix::fs::symlink("a", at("root/inner")).unwrap();
            std::os::unix::fs::symlink("b/file", at("root/a/last")).unwrap();
            let root = std::fs::File::open(at("root")).unwrap();
            let check = |path: &str, flags, expected: Result<()>| {
                let got = way(root.as_fd(), path, flags, Mode::empty()).map(|_| ());
                assert_eq!(got, expected, "{path}");
            };
            check("a/b/file", OFlags::RDONLY, Ok(()));
            check("a/b", OFlags::RDONLY | OFlags::DIRECTORY, Ok(()));
            check("a/last", OFlags::RDONLY, Err(Errno::LOOP));
            check("a/last", OFlags::PATH | OFlags::NOFOLLOW, Ok(()));
            check("link", OFlags::RDONLY | OFlags::DIRECTORY, Err(Errno::LOOP));
            check("link/file", OFlags::RDONLY, Err(Errno::LOOP));
            check("inner/b/file", OFlags::RDONLY, Err(Errno::LOOP));
            check("missing/x", OFlags::RDONLY, Err(Errno::NOENT));
            check("a/b/file/x", OFlags::RDONLY, Err(Errno::NOTDIR));
        }
        let root = std::fs::File::open("/tmp").unwrap();
        for path in ["../etc", "/etc", "a/../b", "", "./a"] {
            let got = open(root.as_fd(), path, OFlags::RDONLY, Mode::empty()).map(|_| ());
            assert_eq!(got, Err(Errno::LOOP), "{path}");
        }
    }
}
