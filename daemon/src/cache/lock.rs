//! The lock files that Python clients and we share. A courtesy: nothing is wrong without it, because
//! partial names are unique, content is verified and names appear by one rename. So it is held for moments, and where
//! it cannot be had at all we go on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock};
use rustix::io::Errno;

use super::error::CacheError;
use super::root::Root;
use super::touched::{Touched, parent_of};

/// How often a held lock is tried again: what the Python client does, too.
const POLL: Duration = Duration::from_millis(50);
/// How often the caller hears that we still wait.
const REMIND: Duration = Duration::from_secs(10);
/// How often in a row a lock file may be removed under us before that counts as held.
const REMOVED_TRIES: u32 = 100;

/// How long a caller waits for a lock file that another program holds, and what it does meanwhile and after.
pub struct Patience<'a> {
    /// Longest wait for one lock.
    pub limit: Duration,
    /// What happens then.
    pub then: AfterLimit,
    /// Set it to end the wait.
    pub cancel: &'a AtomicBool,
    /// Called when a wait begins and every ten seconds of it.
    pub waiting: &'a dyn Fn(&LockWait),
}

/// What to do when the patience is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLimit {
    /// Go on without the lock: a dead NFS client may hold it for ever, and correctness does not need it.
    GoOn,
    /// Give up with `LockTimeout`, for example to try again later.
    Fail,
}

/// A wait that a watcher may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWait {
    /// The lock file.
    pub path: PathBuf,
    /// How long already.
    pub waited: Duration,
    /// Who holds it, as far as can be known.
    pub holder: String,
}

/// A lock held, or the knowledge that there is none to be had. Released when dropped; the file stays for ever.
#[derive(Debug)]
pub(super) enum Held<'a> {
    /// `flock` on this open file, released when the file is closed.
    Flock { _file: File },
    /// The file system has no `flock`: the file's existence is the lock.
    Marker { root: &'a Root, relative: String },
    /// Nobody excludes us, and we exclude nobody.
    Nothing,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Self::Marker { root, relative } = self {
            // Nobody can be told here; a marker that stays names our pid, and whoever meets it can see that we are gone.
            drop(root.remove(relative));
        }
    }
}

enum Try<'a> {
    Got(Held<'a>),
    HeldBy(String),
    Removed,
}

/// The system call, replaceable by tests that stand for file systems without it.
type Flock = fn(&File) -> Result<(), Errno>;

fn real_flock(file: &File) -> Result<(), Errno> {
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Takes the lock, or learns that it is not to be had.
///
/// # Errors
/// `LockTimeout` or `Cancelled` as the caller's patience says; `UnsafePath` when a link is in the way; what the disk
/// says otherwise.
pub(super) fn acquire<'a>(root: &'a Root, relative: &str, patience: &Patience<'_>) -> Result<Held<'a>, CacheError> {
    acquire_with(root, relative, patience, real_flock)
}

fn acquire_with<'a>(
    root: &'a Root,
    relative: &str,
    patience: &Patience<'_>,
    flock: Flock,
) -> Result<Held<'a>, CacheError> {
    // Lock files may be lost in a power cut: their folders are not worth a sync.
    match root.make_dirs(parent_of(relative), &mut Touched::new()) {
        Err(CacheError::Permission { .. }) => return Ok(Held::Nothing),
        other => other?,
    }
    let mut waited = Duration::ZERO;
    let mut removed = 0;
    loop {
        let holder = match try_once(root, relative, flock)? {
            Try::Got(held) => return Ok(held),
            Try::Removed if removed < REMOVED_TRIES => {
                removed += 1;
                continue;
            }
            Try::Removed => "a program that removes it all the time".to_owned(),
            Try::HeldBy(holder) => holder,
        };
        let path = root.path(relative);
        if patience.cancel.load(Ordering::Relaxed) {
            return Err(CacheError::Cancelled { path });
        }
        if waited >= patience.limit {
            return match patience.then {
                AfterLimit::GoOn => Ok(Held::Nothing),
                AfterLimit::Fail => Err(CacheError::LockTimeout { path }),
            };
        }
        if waited.as_millis().is_multiple_of(REMIND.as_millis()) {
            (patience.waiting)(&LockWait { path, waited, holder });
        }
        pause();
        waited += POLL;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "flock cannot wait with a limit; polling is what the Python library does"
)]
fn pause() {
    std::thread::sleep(POLL);
}

fn try_once<'a>(root: &'a Root, relative: &str, flock: Flock) -> Result<Try<'a>, CacheError> {
    let Some((mut file, created)) = open(root, relative)? else {
        return Ok(Try::Got(Held::Nothing));
    };
    match flock(&file) {
        Ok(()) => {
            // Some versions of the Python library remove the file while they hold it: ours must be the one at the path.
            let ours = file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
            let there = root.look(relative)?.map(|meta| (meta.dev(), meta.ino()));
            Ok(if there.is_some() && ours == there {
                Try::Got(Held::Flock { _file: file })
            } else {
                Try::Removed
            })
        }
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(Try::HeldBy("another program".to_owned())),
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) if created => {
            let mark = format!("{}\n{}\n", std::process::id(), host());
            if let Err(source) = file.write_all(mark.as_bytes()) {
                drop(root.remove(relative));
                return Err(CacheError::Io {
                    act: "write",
                    path: root.path(relative),
                    source,
                });
            }
            Ok(Try::Got(Held::Marker {
                root,
                relative: relative.to_owned(),
            }))
        }
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK) => {
            let mut mark = String::new();
            // An unreadable marker is a marker of someone unknown.
            let _unreadable = (&mut file).take(512).read_to_string(&mut mark).is_err();
            Ok(match living_holder(&mark) {
                Some(holder) => Try::HeldBy(holder),
                None => Try::Got(Held::Nothing),
            })
        }
        Err(errno) => Err(root.fail(errno, "lock", relative)),
    }
}

/// The lock file and whether we made it; `None` when we may not even open it, which must not stop us.
fn open(root: &Root, relative: &str) -> Result<Option<(File, bool)>, CacheError> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    loop {
        match root.try_open(relative, flags | OFlags::CREATE | OFlags::EXCL, 0o664) {
            Ok(file) => {
                // The umask must not keep other users of a shared cache out.
                fchmod(&file, Mode::from_raw_mode(0o664)).map_err(|errno| root.fail(errno, "chmod", relative))?;
                return Ok(Some((file, true)));
            }
            Err(Errno::EXIST) => {}
            Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
            Err(errno) => return Err(root.fail(errno, "create", relative)),
        }
        match root.try_open(relative, flags, 0) {
            Ok(file) => return Ok(Some((file, false))),
            // Removed between the two calls.
            Err(Errno::NOENT) => {}
            // Another user's file, not writable by a group: flock needs no write access.
            Err(Errno::ACCESS | Errno::PERM) => {
                let readable = root.try_open(relative, OFlags::RDONLY | OFlags::NONBLOCK, 0);
                return Ok(readable.ok().map(|file| (file, false)));
            }
            Err(errno) => return Err(root.fail(errno, "open", relative)),
        }
    }
}

/// Who an existence marker names; `None` when that process of this host is gone.
fn living_holder(mark: &str) -> Option<String> {
    let mut lines = mark.lines();
    let (Some(pid), Some(on)) = (lines.next(), lines.next()) else {
        return Some("a program that left no name".to_owned());
    };
    let gone = on == host()
        && pid
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(Errno::SRCH));
    (!gone).then(|| {
        let shown: String = format!("process {pid} on {on}").chars().take(200).collect();
        shown.escape_debug().to_string()
    })
}

fn host() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname"));
    name.map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system that has no `flock`.
    fn none(_: &File) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), false).unwrap();
        (dir, root)
    }

    fn acquire(root: &Root) -> Result<Held<'_>, CacheError> {
        acquire_with(root, ".locks/m/x.lock", &crate::cache::testkit::no_patience(), none)
    }

    #[test]
    fn without_flock_existence_is_the_lock() {
        let (dir, root) = root();
        let lock = dir.path().join(".locks/m/x.lock");
        let held = acquire(&root).unwrap();
        assert!(matches!(held, Held::Marker { .. }));
        assert_eq!(
            std::fs::read_to_string(&lock).unwrap(),
            format!("{}\n{}\n", std::process::id(), host())
        );
        // We live: a second one must wait.
        assert!(matches!(acquire(&root), Err(CacheError::LockTimeout { .. })));
        drop(held);
        assert!(!lock.exists());
    }

    #[test]
    fn a_marker_of_a_dead_process_does_not_count() {
        let (dir, root) = root();
        drop(acquire(&root).unwrap());
        let lock = dir.path().join(".locks/m/x.lock");
        let mut child = crate::cache::testkit::spawn(&mut std::process::Command::new("true")).unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let ignored = |mark: String| {
            std::fs::write(&lock, mark).unwrap();
            let answer = acquire(&root);
            assert!(lock.exists(), "a marker that is not ours is never removed");
            matches!(answer, Ok(Held::Nothing))
        };
        assert!(ignored(format!("{dead}\n{}\n", host())));
        assert!(ignored(format!("{dead}\n{}\ntoken\n", host())));
        assert!(!ignored(format!("{dead}\nanother.host\n")));
        assert!(!ignored(format!("{}\n{}\n", std::process::id(), host())));
        assert!(!ignored(String::new()), "markers of old versions are empty");
        assert!(!ignored(format!("x\n{}\n", host())));
    }
}
