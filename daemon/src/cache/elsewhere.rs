//! Content that another repository of a cache has under its own name: fine-tunes keep tokenizers and shards of their base, and a
//! folder of plain files may want what a cache has. A name proves nothing here either: the bytes are hashed.
//!
//! Inside one cache the blob gets a second name: nobody writes into a blob, each of its names is replaced or removed by itself, and
//! both repositories share its room and its pages. Where that cannot be, the bytes are cloned or copied (`twin.rs`).

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::OFlags;
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

/// A blob of another repository with the right name and size.
#[derive(Debug)]
pub struct Elsewhere {
    /// Its bytes, to be copied.
    pub twin: Twin,
    /// Its name below the root of the store that looked; `None` in another cache.
    place: Option<String>,
}

impl Store {
    /// The first blob of this name and size in another repository, of the store's own cache before the others. Nothing is read; what
    /// cannot be looked at holds nothing.
    pub fn look_elsewhere(&self, caches: &[PathBuf], size: u64, digest: &Digest) -> Option<Elsewhere> {
        if let Layout::Cache { folder } = self.layout()
            && let Some((file, place)) = blob_in(self.root(), Some(folder), size, digest)
        {
            let path = self.root().path(&place);
            return Some(Elsewhere {
                twin: Twin::new(file, path),
                place: Some(place),
            });
        }
        let others = caches.iter().filter(|cache| cache.is_dir());
        let mut others = others.filter(|cache| **cache != self.root().path(""));
        others.find_map(|cache| {
            let root = Root::open(cache, false).ok()?;
            let (file, place) = blob_in(&root, None, size, digest)?;
            let twin = Twin::new(file, cache.join(place));
            Some(Elsewhere { twin, place: None })
        })
    }

    /// Gives the blob its second name in this repository; [`Store::link`] is the next step. `None` when it is of another cache, its
    /// bytes are not those of the digest, or its owner, its mode or the file system stands against it.
    ///
    /// # Errors
    /// `Cancelled`; what the system says otherwise: then the file is to be had in another way.
    pub fn share(
        &self,
        found: &Elsewhere,
        (size, digest): (u64, &Digest),
        check: &Check<'_>,
        patience: &Patience<'_>,
    ) -> Result<Option<FileStamp>, CacheError> {
        let (Layout::Cache { folder }, Some(place)) = (self.layout(), &found.place) else {
            return Ok(None);
        };
        if !found.twin.is_ours(self.options().mode) {
            return Ok(None);
        }
        let Judged::Sound { stamp, .. } = self.judge(place, size, digest, check)? else {
            return Ok(None);
        };
        let (root, names) = (self.root(), CacheNames(folder));
        let blob = names.blob(digest);
        let _held = lock::acquire(root, &names.lock(digest), patience)?;
        let mut touched = Touched::new();
        root.make_dirs(&names.blobs(), &mut touched)?;
        touched.insert(names.blobs());
        match root.hard_link(place, &blob)? {
            Ok(()) => {}
            Err(
                Errno::EXIST
                | Errno::NOENT
                | Errno::PERM
                | Errno::ACCESS
                | Errno::XDEV
                | Errno::MLINK
                | Errno::OPNOTSUPP,
            ) => {
                return Ok(None);
            }
            Err(errno) => return Err(root.fail(errno, "link", &blob)),
        }
        // What was judged may have been replaced before it got the name.
        let there = root.look(&blob)?.map(|meta| FileStamp::of(&meta));
        let Some(there) = there.filter(|there| there.same_content(&stamp)) else {
            root.remove(&blob)?;
            return Ok(None);
        };
        root.sync_touched(&mut touched)?;
        Ok(Some(there))
    }
}

impl Twin {
    /// Whether it could as well have been made by us: then a second name changes nothing for anybody.
    fn is_ours(&self, mode: Option<u32>) -> bool {
        self.file()
            .metadata()
            .is_ok_and(|meta| meta.uid() == geteuid().as_raw() && mode.is_none_or(|mode| meta.mode() & 0o7777 == mode))
    }
}

/// Opens the blob in the first repository folder that has it, but for `own`.
fn blob_in(root: &Root, own: Option<&String>, size: u64, digest: &Digest) -> Option<(File, String)> {
    let is_repo = |name: &String| {
        let kind = name.split_once("--").map(|(kind, _)| kind);
        RepoKind::ALL.iter().any(|known| Some(known.plural()) == kind)
    };
    let names = root.names("").ok()?.into_iter().filter(is_repo);
    names.filter(|name| Some(name) != own).find_map(|name| {
        let blob = CacheNames(&name).blob(digest);
        // A link leads to a store that others share; what is odd is left alone.
        let meta = root.look(&blob).ok()??;
        if !meta.is_file() || meta.len() != size {
            return None;
        }
        let file = root.open_file(&blob, OFlags::RDONLY | OFlags::NONBLOCK, 0).ok()??;
        Some((file, blob))
    })
}
