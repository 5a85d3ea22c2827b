//! What can go wrong with a disk, named by situation.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::model::Digest;

/// A step on disk failed. Every text names the path; the operating system's words are the source.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No space left, or no inode.
    #[error("the disk of {} has no free {} left", path.display(), if *inodes { "inodes" } else { "space" })]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// Bytes are free, file entries are not.
        inodes: bool,
    },
    /// The user's or project's quota is used up.
    #[error("the disk quota for {} is used up", path.display())]
    Quota {
        /// What was being written.
        path: PathBuf,
    },
    /// A sync failed: what was written since the last good one must be taken for lost, even if a later sync succeeds.
    #[error("cannot make {} durable", path.display())]
    SyncFailed {
        /// File or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("cannot {act} {}: the file system is read-only", path.display())]
    ReadOnly {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// The daemon's user may not do this.
    #[error("cannot {act} {}: permission denied", path.display())]
    Permission {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
    },
    /// Two folders that must share a file system do not; nothing is ever copied silently instead.
    #[error("{} and {} are on different file systems, so a finished file cannot be renamed into place", from.display(), to.display())]
    CrossDevice {
        /// Where the partial file is.
        from: PathBuf,
        /// Where it should go.
        to: PathBuf,
    },
    /// A link, a folder or a name in the way; writing there could leave the root or destroy something.
    #[error("refusing to use {}: {why}", path.display())]
    UnsafePath {
        /// The path.
        path: PathBuf,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The partial file, or a folder on the way, was removed or replaced while we worked on it.
    #[error("{} was removed or replaced by someone else", path.display())]
    Vanished {
        /// The path that it had.
        path: PathBuf,
    },
    /// Another process held the lock file for the whole patience of the caller.
    #[error("another program has held {} for too long", path.display())]
    LockTimeout {
        /// The lock file.
        path: PathBuf,
    },
    /// The bytes are not those of the digest.
    #[error("{} hashes to {actual}, not to {expected}", path.display())]
    DigestMismatch {
        /// The file.
        path: PathBuf,
        /// What it must hash to.
        expected: Digest,
        /// What it hashes to.
        actual: Digest,
    },
    /// The caller's cancel flag was set.
    #[error("cancelled while working on {}", path.display())]
    Cancelled {
        /// What was being worked on.
        path: PathBuf,
    },
    /// The root or the folder above it does not exist: perhaps not mounted.
    #[error("{} does not exist; is its disk mounted?", path.display())]
    RootMissing {
        /// The missing folder.
        path: PathBuf,
    },
    /// The file system refuses symbolic links, without which a cache of this layout cannot be written.
    #[error("the file system of {} does not allow symbolic links; use a local directory there instead", path.display())]
    NoSymlinks {
        /// The link that could not be made.
        path: PathBuf,
    },
    /// All partial files that this job may use are open in other transfers.
    #[error("the partial file {} is in use by another transfer", path.display())]
    Busy {
        /// The last one tried.
        path: PathBuf,
    },
    /// Anything else that the system said.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// The situations among which a caller must tell: what to hold for, what to fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Hold until space (or inodes) are free.
    DiskFull,
    /// Hold until the quota allows.
    Quota,
    /// The disk failed: hold, forget claims since the last good sync, probe.
    DiskError,
    /// Hold until it can be written again.
    ReadOnly,
    /// A person must change modes or owners.
    Permission,
    /// A person must change the layout of mounts.
    CrossDevice,
    /// Refuse the file.
    UnsafePath,
    /// Start the file again.
    Vanished,
    /// Try again later.
    LockTimeout,
    /// Find out which bytes are wrong; fetch again.
    DigestMismatch,
    /// The caller asked for it.
    Cancelled,
    /// Hold until the storage is mounted.
    RootMissing,
    /// Refuse this root.
    NoSymlinks,
    /// Try again later.
    Busy,
}

impl CacheError {
    /// The situation, for decisions.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DiskFull { .. } => ErrorKind::DiskFull,
            Self::Quota { .. } => ErrorKind::Quota,
            Self::SyncFailed { .. } | Self::Io { .. } => ErrorKind::DiskError,
            Self::ReadOnly { .. } => ErrorKind::ReadOnly,
            Self::Permission { .. } => ErrorKind::Permission,
            Self::CrossDevice { .. } => ErrorKind::CrossDevice,
            Self::UnsafePath { .. } => ErrorKind::UnsafePath,
            Self::Vanished { .. } => ErrorKind::Vanished,
            Self::LockTimeout { .. } => ErrorKind::LockTimeout,
            Self::DigestMismatch { .. } => ErrorKind::DigestMismatch,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::RootMissing { .. } => ErrorKind::RootMissing,
            Self::NoSymlinks { .. } => ErrorKind::NoSymlinks,
            Self::Busy { .. } => ErrorKind::Busy,
        }
    }

    /// Sorts a system error. `inodes` is asked only when the disk is full.
    pub(super) fn sort(errno: Errno, act: &'static str, path: &Path, inodes: impl FnOnce() -> bool) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOSPC => Self::DiskFull { path, inodes: inodes() },
            Errno::DQUOT => Self::Quota { path },
            Errno::NOENT => Self::Vanished { path },
            Errno::ROFS => Self::ReadOnly { act, path },
            Errno::ACCESS | Errno::PERM => Self::Permission { act, path },
            Errno::LOOP => Self::UnsafePath {
                path,
                why: "a symbolic link is in the way",
            },
            Errno::NOTDIR => Self::UnsafePath {
                path,
                why: "a file is where a folder should be",
            },
            Errno::ISDIR => Self::UnsafePath {
                path,
                why: "a folder is where a file should be",
            },
            Errno::NOTEMPTY | Errno::EXIST => Self::UnsafePath {
                path,
                why: "a file is where a folder should be, or a folder where a file should be",
            },
            Errno::NAMETOOLONG => Self::UnsafePath {
                path,
                why: "the name is too long for this file system",
            },
            other => Self::Io {
                act,
                path,
                source: other.into(),
            },
        }
    }
}
