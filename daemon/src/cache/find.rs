//! What is there already. A name proves nothing: Python clients publish without looking at the bytes, so everything is
//! verified before it is believed, unless the caller remembers having verified exactly this state of the file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use super::error::CacheError;
use super::layout::{self, CacheNames, Layout};
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::parent_of;
use super::verify::{self, Content};
use crate::model::{CommitHash, Digest, RepoPath};

/// How many links in a row are followed: snapshot to blob, blob to the shared store, and one to spare.
const MAX_LINKS: u32 = 3;

/// What changed within this time may be in memory only, and is synced before we vouch for it.
const SETTLED: Duration = Duration::from_secs(3600);

/// How to check what is found.
pub struct Check<'a> {
    /// This very state of a file was verified against this digest before: do not hash it again.
    pub vouched: &'a dyn Fn(&FileStamp) -> bool,
    /// Set it to stop hashing.
    pub cancel: &'a AtomicBool,
    /// Hears how many bytes of the file are hashed so far.
    pub progress: &'a dyn Fn(u64),
}

/// What a destination holds of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The file is in its final place, verified and durable.
    Published(FileStamp),
    /// The bytes are there and verified, but not yet under the file's name (cache: no link; local directory: no
    /// metadata that says so): [`Store::link`] completes it.
    BlobPresent(FileStamp),
    /// A file stands where this content should be, and its bytes are wrong. Publishing replaces it.
    Corrupt {
        /// The wrong file.
        path: PathBuf,
    },
    /// Nothing usable. In a local directory also: a file of another version, or the user's own.
    Absent,
}

/// A file judged by its bytes.
#[derive(Debug)]
pub(super) enum Judged {
    /// The bytes are right: the caller remembers having verified this state, or they were hashed now.
    Sound {
        /// Which state.
        stamp: FileStamp,
        /// Remembered.
        vouched: bool,
    },
    /// Something is there whose bytes are wrong.
    Wrong,
    /// Nothing there, or a link that leads nowhere we go.
    Nothing,
}

impl Store {
    /// Looks for a file and verifies it. Changes nothing, but syncs what it is about to vouch for.
    ///
    /// # Errors
    /// `Cancelled`; `Permission` when a file may not be read; `UnsafePath` when a link is in the way of the path.
    pub fn find(
        &self,
        commit: &CommitHash,
        path: &RepoPath,
        size: u64,
        digest: &Digest,
        check: &Check<'_>,
    ) -> Result<Found, CacheError> {
        let entry = self.layout().entry(commit, path);
        let Layout::Cache { folder } = self.layout() else {
            return self.find_local(commit, path, size, digest, check);
        };
        let blob = CacheNames(folder).blob(digest);
        let in_snapshot = self.judge(&entry, size, digest, check)?;
        if let Judged::Sound { stamp, vouched } = in_snapshot {
            if !vouched {
                self.root().sync_dir(parent_of(&entry))?;
                self.root().sync_dir(parent_of(&blob))?;
            }
            return Ok(Found::Published(stamp));
        }
        match self.judge(&blob, size, digest, check)? {
            Judged::Sound { stamp, .. } => Ok(Found::BlobPresent(stamp)),
            Judged::Wrong => Ok(Found::Corrupt {
                path: self.root().path(&blob),
            }),
            Judged::Nothing if matches!(in_snapshot, Judged::Wrong) => Ok(Found::Corrupt {
                path: self.root().path(&entry),
            }),
            Judged::Nothing => Ok(Found::Absent),
        }
    }

    /// Judges what a name leads to, through links that stay below the root.
    pub(super) fn judge(
        &self,
        relative: &str,
        size: u64,
        digest: &Digest,
        check: &Check<'_>,
    ) -> Result<Judged, CacheError> {
        let Some((file, place)) = self.open_content(relative)? else {
            return Ok(Judged::Nothing);
        };
        let path = self.root().path(&place);
        let look_failed = |source| CacheError::Io {
            act: "look at",
            path: path.clone(),
            source,
        };
        let meta = file.metadata().map_err(look_failed)?;
        // Taken before hashing: a change meanwhile makes the stamp stale, not the verdict wrong.
        let stamp = FileStamp::of(&meta);
        if meta.len() != size {
            return Ok(Judged::Wrong);
        }
        if (check.vouched)(&stamp) {
            return Ok(Judged::Sound { stamp, vouched: true });
        }
        let content = Content {
            file: &file,
            path: &path,
            passing: self.options().passing,
        };
        let actual = match verify::hash(content, digest, size, check.cancel, check.progress) {
            // It shrank while we read it.
            Err(CacheError::Io { source, .. }) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok(Judged::Wrong);
            }
            other => other?,
        };
        if actual != *digest {
            return Ok(Judged::Wrong);
        }
        if !settled(&stamp) {
            file.sync_all()
                .map_err(|source| CacheError::SyncFailed { path, source })?;
        }
        Ok(Judged::Sound { stamp, vouched: false })
    }

    /// Opens what a name leads to, and says where that is; `None` when it leads nowhere, out of the root, or to
    /// something that is no plain file.
    pub(super) fn open_content(&self, relative: &str) -> Result<Option<(File, String)>, CacheError> {
        let mut place = relative.to_owned();
        for hop in 0..=MAX_LINKS {
            let meta = match self.root().look(&place) {
                // Behind a link of ours or of a Python client there are no further links on the way.
                Err(CacheError::UnsafePath { .. }) if hop > 0 => return Ok(None),
                other => other?,
            };
            let Some(meta) = meta else {
                return Ok(None);
            };
            if !meta.is_symlink() {
                if !meta.is_file() {
                    return Ok(None);
                }
                let file = self.root().open_file(&place, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
                return Ok(file.map(|file| (file, place)));
            }
            let target = self.root().read_link(&place)?;
            match target.and_then(|target| layout::follow(&place, &target)) {
                Some(next) => place = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// The kernel had ample time to write it out by itself.
fn settled(stamp: &FileStamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let changed = Duration::from_nanos(u64::try_from(stamp.ctime_ns).unwrap_or(u64::MAX));
    now.is_ok_and(|now| now.saturating_sub(changed) > SETTLED)
}
