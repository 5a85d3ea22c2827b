//! Housekeeping of the staging folder: what lies there, and what may go.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::error::CacheError;
use super::root::Root;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::parent_of;
use crate::model::Digest;

/// Quarantined files and temporaries of a killed process stay this long.
const KEEP: Duration = Duration::from_secs(3600);

/// A partial file at rest or in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// Its name in the staging folder.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it is to become.
    pub digest: Digest,
    /// The tag in its name: who made it while another held the plain name.
    pub tag: Option<String>,
    /// Identity, final size, times.
    pub stamp: FileStamp,
    /// Bytes that it occupies on disk.
    pub allocated_bytes: u64,
}

/// A partial file that nobody has open, and that no transfer opens until this is dropped.
#[derive(Debug)]
pub struct IdlePartial {
    root: Arc<Root>,
    relative: String,
    _lock: File,
}

impl IdlePartial {
    /// Removes it; `false` when somebody else has done that.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(self) -> Result<bool, CacheError> {
        self.root.remove(&self.relative)
    }
}

impl Store {
    /// All partial files, by name.
    ///
    /// # Errors
    /// What the system says.
    pub fn list_partials(&self) -> Result<Vec<Partial>, CacheError> {
        let folder = self.layout().staging();
        let mut partials = Vec::new();
        for name in self.root().names(&folder)? {
            let Some((digest, tag)) = parse(&name) else { continue };
            let relative = format!("{folder}/{name}");
            if let Some(meta) = self.root().look(&relative)?.filter(std::fs::Metadata::is_file) {
                partials.push(Partial {
                    name,
                    path: self.root().path(&relative),
                    digest,
                    tag,
                    stamp: FileStamp::of(&meta),
                    allocated_bytes: meta.blocks() * 512,
                });
            }
        }
        Ok(partials)
    }

    /// Holds a partial file that lies there unused, just as it was listed; `None` when a transfer has it open, or when it is
    /// gone, was written to since, or is another one now: a fresh file may have the name, and even the inode, of an old one.
    ///
    /// # Errors
    /// What the system says.
    pub fn hold_partial(&self, partial: &Partial) -> Result<Option<IdlePartial>, CacheError> {
        let root = self.root();
        let relative = format!("{}/{}", self.layout().staging(), partial.name);
        let Some(file) = root.open_file(&relative, OFlags::RDONLY | OFlags::NONBLOCK, 0)? else {
            return Ok(None);
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(None);
        }
        // By its name, once it is locked: who had it open until then may have renamed it, and begun another.
        let there = root.look(&relative)?.map(|meta| FileStamp::of(&meta));
        let is_same =
            there == Some(partial.stamp) && file.metadata().is_ok_and(|meta| FileStamp::of(&meta) == partial.stamp);
        Ok(is_same.then(|| IdlePartial {
            root: Arc::clone(root),
            relative,
            _lock: file,
        }))
    }

    /// After a job: removes what is stale in the staging folder (quarantined files and temporaries older than an
    /// hour), and the folder itself when that leaves it empty. Says whether it removed it. Partial files stay, and so
    /// does the folder while another job is about to make one.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_empty_staging(&self) -> Result<bool, CacheError> {
        let folder = self.layout().staging();
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        let Some(_alone) = self.root().lock_dir(parent_of(&folder), exclusive)? else {
            return Ok(false);
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        for name in self.root().names(&folder)? {
            let relative = format!("{folder}/{name}");
            let since = if name.ends_with(".tmp") {
                let meta = self.root().look(&relative)?;
                meta.and_then(|meta| u64::try_from(meta.mtime()).ok())
            } else {
                name.rsplit_once(".bad-").and_then(|(_, when)| when.parse().ok())
            };
            if since.is_some_and(|since| now.saturating_sub(Duration::from_secs(since)) > KEEP) {
                // What cannot be removed, such as a folder, stays.
                drop(self.root().remove(&relative));
            }
        }
        self.root().remove_empty(&folder)
    }
}

/// The digest and the tag in the name of a partial file.
fn parse(name: &str) -> Option<(Digest, Option<String>)> {
    let stem = name.strip_suffix(".part")?;
    let (digest, tag) = match stem.split_once('.') {
        Some((digest, tag)) => (digest, Some(tag.to_owned())),
        None => (stem, None),
    };
    Some((Digest::parse(digest)?, tag))
}
