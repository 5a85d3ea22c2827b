//! The entry of a snapshot: a relative link to the blob.

use rustix::fs::RenameFlags;

use super::error::CacheError;
use super::layout::{self, CacheNames};
use super::place;
use super::store::Store;
use super::touched::{Touched, parent_of};
use crate::model::{CommitHash, Digest, RepoPath};

/// How often the name may change hands between two of our steps.
const TRIES: u32 = 16;

/// Makes the link, or replaces what stands in its place by a rename, and removes the mark that hides it from Python.
pub(super) fn make(
    store: &Store,
    folder: &str,
    commit: &CommitHash,
    path: &RepoPath,
    digest: &Digest,
    touched: &mut Touched,
) -> Result<(), CacheError> {
    let root = store.root();
    let entry = store.layout().entry(commit, path);
    let target = layout::link_target(path, digest);
    root.make_dirs(parent_of(&entry), touched)?;
    let mut tries = 0;
    while !root.symlink(&target, &entry)? {
        let done = match root.look(&entry)? {
            Some(meta) if meta.is_symlink() => {
                root.read_link(&entry)?.as_deref() == Some(target.as_str())
                    || replace(store, &entry, &target, digest, false, touched)?
            }
            // A cache without links: a file whose bytes are not ours, else it would count as published.
            Some(meta) if meta.is_file() => replace(store, &entry, &target, digest, true, touched)?,
            Some(_) => {
                return Err(CacheError::UnsafePath {
                    path: root.path(&entry),
                    why: "a folder is where a file should be",
                });
            }
            None => false,
        };
        if done {
            break;
        }
        tries += 1;
        if tries == TRIES {
            return Err(CacheError::Busy {
                path: root.path(&entry),
            });
        }
    }
    touched.insert(parent_of(&entry));
    let hides = CacheNames(folder).no_exist(commit, path);
    match root.remove(&hides) {
        Ok(true) => {
            touched.insert(parent_of(&hides));
            Ok(())
        }
        // A mark for `a` says nothing about `a/b`.
        Ok(false) | Err(CacheError::UnsafePath { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Renames a new link over the entry; `false` when the entry went away and the caller must look again.
fn replace(
    store: &Store,
    entry: &str,
    target: &str,
    digest: &Digest,
    keep_old: bool,
    touched: &mut Touched,
) -> Result<bool, CacheError> {
    let root = store.root();
    let temporary = store.with_temporary(touched, |temporary| root.symlink(target, temporary))?;
    let done = if keep_old {
        place::swap_in(store, &temporary, entry, digest)
    } else {
        match root.rename(&temporary, entry, RenameFlags::empty())? {
            Ok(()) => Ok(true),
            Err(errno) => Err(root.fail_rename(errno, &temporary, entry)),
        }
    };
    if !matches!(done, Ok(true)) {
        root.remove(&temporary)?;
    }
    done
}
