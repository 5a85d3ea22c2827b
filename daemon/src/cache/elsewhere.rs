//! Content that another repository of a cache has under its own name: fine-tunes keep tokenizers and shards of their base, and a
//! folder of plain files may want what a cache has. A name proves nothing here either: the bytes are hashed.
//!
//! Inside one cache the blob gets a second name: nobody writes into a blob, each of its names is replaced or removed by itself, and
//! both repositories share its room and its pages. Where that cannot be, the bytes are cloned or copied (`twin.rs`).

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::CacheError;
use super::find::{Check, Judged};
use super::layout::{CacheNames, Layout};
use super::lock::{self, Patience};
use super::root::Root;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::Touched;
use super::twin::Twin;
use crate::model::{Digest, RepoKind};

/// So many files of one name are tried: each may have to be read to its end.
const LOOKED_AT: usize = 4;

/// A blob of another repository with the right name and size.
#[derive(Debug)]
pub struct Elsewhere {
    /// Its bytes, to be copied.
    pub twin: Twin,
    /// Its name below the root of the store that looked; `None` in another cache.
    place: Option<String>,
}

/// What became of a wish to share a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// It has a second name here; [`Store::link`] is the next step.
    Linked(FileStamp),
    /// Its bytes are not those of its name.
    Wrong,
    /// It is of another cache, or its owner, its mode or the file system stands against it. Its bytes may be right.
    Refused,
}

impl Store {
    /// Blobs of this name and size in other repositories, those of the store's own cache before the others; of one that has several
    /// names the first, and not many. Nothing is read; what cannot be looked at holds nothing.
    pub fn look_elsewhere(
        &self,
        caches: &[PathBuf],
        (size, digest): (u64, &Digest),
        stopped: &AtomicBool,
    ) -> Vec<Elsewhere> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        if let Layout::Cache { folder } = self.layout() {
            let own = blobs_in(self.root(), Some(folder), (size, digest), stopped, &mut seen);
            found.extend(own.into_iter().map(|(file, place)| Elsewhere {
                twin: Twin::new(file, self.root().path(&place)),
                place: Some(place),
            }));
        }
        let others = caches.iter().filter(|cache| **cache != self.root().path(""));
        for cache in others.filter(|cache| cache.is_dir()) {
            if let Ok(root) = Root::open(cache, false) {
                let blobs = blobs_in(&root, None, (size, digest), stopped, &mut seen);
                found.extend(blobs.into_iter().map(|(file, place)| Elsewhere {
                    twin: Twin::new(file, cache.join(place)),
                    place: None,
                }));
            }
        }
        found
    }

    /// Gives the blob a second name in this repository.
    ///
    /// # Errors
    /// `Cancelled`; what the system says otherwise: then the file is to be had in another way.
    pub fn share(
        &self,
        found: &Elsewhere,
        (size, digest): (u64, &Digest),
        check: &Check<'_>,
        patience: &Patience<'_>,
    ) -> Result<Shared, CacheError> {
        let (Layout::Cache { folder }, Some(place)) = (self.layout(), &found.place) else {
            return Ok(Shared::Refused);
        };
        if !found.twin.file().metadata().is_ok_and(|meta| self.could_be_ours(&meta)) {
            return Ok(Shared::Refused);
        }
        let stamp = match self.judge(place, size, digest, check)? {
            Judged::Sound { stamp, .. } => stamp,
            Judged::Wrong => return Ok(Shared::Wrong),
            Judged::Nothing => return Ok(Shared::Refused),
        };
        let (root, names) = (self.root(), CacheNames(folder));
        let blob = names.blob(digest);
        let _held = lock::acquire(root, &names.lock(digest), patience)?;
        let mut touched = Touched::new();
        root.make_dirs(&names.blobs(), &mut touched)?;
        touched.insert(names.blobs());
        // First under a name that nobody believes: what was judged may have been replaced since.
        let refused = Cell::new(false);
        let temporary = self.with_temporary(&mut touched, |temporary| match root.hard_link(place, temporary)? {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => {
                refused.set(true);
                Err(root.fail(errno, "link", temporary))
            }
        });
        let temporary = match temporary {
            Err(_) if refused.get() => return Ok(Shared::Refused),
            other => other?,
        };
        let there = root.look(&temporary)?;
        let there = there.filter(|there| FileStamp::of(there).same_content(&stamp) && self.could_be_ours(there));
        let Some(there) = there else {
            root.remove(&temporary)?;
            return Ok(Shared::Refused);
        };
        match root.rename(&temporary, &blob, RenameFlags::NOREPLACE)? {
            Ok(()) => {
                root.sync_touched(&mut touched)?;
                Ok(Shared::Linked(FileStamp::of(&there)))
            }
            // Somebody was quicker, or the file system cannot promise to replace nothing.
            Err(_) => {
                root.remove(&temporary)?;
                Ok(Shared::Refused)
            }
        }
    }

    /// Whether a file could as well have been made by us: then a second name changes nothing for anybody.
    fn could_be_ours(&self, meta: &Metadata) -> bool {
        let mode = self.options().mode;
        meta.uid() == geteuid().as_raw() && mode.is_none_or(|mode| meta.mode() & 0o7777 == mode)
    }
}

/// Opens the blob in the repository folders that have it, but for `own` and for what was seen.
fn blobs_in(
    root: &Root,
    own: Option<&String>,
    (size, digest): (u64, &Digest),
    stopped: &AtomicBool,
    seen: &mut HashSet<(u64, u64)>,
) -> Vec<(File, String)> {
    let is_repo = |name: &String| {
        let kind = name.split_once("--").map(|(kind, _)| kind);
        Some(name) != own && RepoKind::ALL.iter().any(|known| Some(known.plural()) == kind)
    };
    let mut found = Vec::new();
    for name in root.names("").unwrap_or_default().into_iter().filter(is_repo) {
        if seen.len() >= LOOKED_AT || stopped.load(Ordering::Relaxed) {
            break;
        }
        let blob = CacheNames(&name).blob(digest);
        // A link leads to a store that others share; what is odd is left alone.
        if let Ok(Some(meta)) = root.look(&blob)
            && meta.is_file()
            && meta.len() == size
            && !seen.contains(&(meta.dev(), meta.ino()))
            && let Ok(Some(file)) = root.open_file(&blob, OFlags::RDONLY | OFlags::NONBLOCK, 0)
        {
            seen.insert((meta.dev(), meta.ino()));
            found.push((file, blob));
        }
    }
    found
}
