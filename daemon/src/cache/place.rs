//! A blob gets its name: one rename that replaces nothing, or, when a wrong file has the name, one that swaps them.

use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::error::CacheError;
use super::find::{Check, Judged};
use super::layout::{CacheNames, Layout};
use super::lock::{self, Held, Patience};
use super::publish::Ready;
use super::root::Root;
use super::staging::Staging;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::{Touched, parent_of};
use super::verify;
use crate::model::Digest;

/// How often the name may change hands between two of our steps.
const TRIES: u32 = 16;

/// Renames a sealed partial file to its blob name, under the lock. When an equal blob appeared meanwhile, that one is
/// used and ours is dropped; a wrong one is swapped out and kept for an hour.
pub(super) fn place_blob<'a>(
    store: &'a Store,
    folder: &str,
    staging: &Staging,
    digest: &Digest,
    patience: &Patience<'_>,
    touched: &mut Touched,
) -> Result<(FileStamp, Held<'a>), CacheError> {
    let root = store.root();
    let names = CacheNames(folder);
    let blob = names.blob(digest);
    let held = lock::acquire(root, &names.lock(digest), patience)?;
    root.make_dirs(&names.blobs(), touched)?;
    touched.insert(names.blobs());
    for _ in 0..TRIES {
        if rename_new(root, staging.relative(), &blob)? {
            return Ok((placed(store, staging, &blob, digest)?, held));
        }
        let check = Check {
            vouched: &|_| false,
            cancel: patience.cancel,
            progress: &|_| (),
        };
        match store.judge(&blob, staging.size(), digest, &check)? {
            Judged::Sound { stamp, .. } => {
                root.remove(staging.relative())?;
                return Ok((stamp, held));
            }
            Judged::Wrong | Judged::Nothing => {
                if swap_in(store, staging.relative(), &blob, digest)? {
                    return Ok((placed(store, staging, &blob, digest)?, held));
                }
            }
        }
    }
    Err(CacheError::Busy { path: root.path(&blob) })
}

/// The stamp of content that is in its place already; notes its folder, whose sync may never have happened.
pub(super) fn present(store: &Store, ready: &Ready, touched: &mut Touched) -> Result<FileStamp, CacheError> {
    let relative = match store.layout() {
        Layout::Cache { folder } => CacheNames(folder).blob(&ready.digest),
        Layout::LocalDir => ready.path.to_string(),
    };
    let path = store.root().path(&relative);
    let Some((file, _)) = store.open_content(&relative)? else {
        return Err(CacheError::Vanished { path });
    };
    touched.insert(parent_of(&relative));
    match file.metadata() {
        Ok(meta) => match FileStamp::of(&meta) {
            stamp if ready.found.is_none_or(|found| found.same_content(&stamp)) => Ok(stamp),
            _ => Err(CacheError::Vanished { path }),
        },
        Err(source) => Err(CacheError::Io {
            act: "look at",
            path,
            source,
        }),
    }
}

/// After the rename: the name must have our inode. Someone who may write in our folder could have swapped the partial
/// file in the moment before, and then unverified bytes have the name.
pub(super) fn placed(
    store: &Store,
    staging: &Staging,
    relative: &str,
    digest: &Digest,
) -> Result<FileStamp, CacheError> {
    let ours = staging.stamp()?;
    let there = store.root().look(relative)?.map(|meta| FileStamp::of(&meta));
    if there.is_some_and(|there| there.same_file(&ours)) {
        return Ok(ours);
    }
    if there.is_some() {
        let bad = quarantine_name(store, digest);
        match store.root().rename(relative, &bad, RenameFlags::empty())? {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(store.root().fail_rename(errno, relative, &bad)),
        }
    }
    Err(CacheError::Vanished {
        path: staging.path().to_owned(),
    })
}

/// Renames to a name that must be free; `false` when it is not.
fn rename_new(root: &Root, from: &str, to: &str) -> Result<bool, CacheError> {
    match root.rename(from, to, RenameFlags::NOREPLACE)? {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::NOENT) => Err(CacheError::Vanished { path: root.path(from) }),
        // The file system cannot promise it; the lock has to do.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if root.look(to)?.is_some() {
                return Ok(false);
            }
            match root.rename(from, to, RenameFlags::empty())? {
                Ok(()) => Ok(true),
                Err(Errno::NOENT) => Err(CacheError::Vanished { path: root.path(from) }),
                Err(errno) => Err(root.fail_rename(errno, from, to)),
            }
        }
        Err(errno) => Err(root.fail_rename(errno, from, to)),
    }
}

/// Puts `from` where `to` is and keeps the old one in quarantine; `false` when the name has become free and the caller
/// must look again. Links to the name never dangle, except on file systems that cannot swap.
pub(super) fn swap_in(store: &Store, from: &str, to: &str, digest: &Digest) -> Result<bool, CacheError> {
    let root = store.root();
    let bad = quarantine_name(store, digest);
    match root.rename(from, to, RenameFlags::EXCHANGE)? {
        Ok(()) => match root.rename(from, &bad, RenameFlags::empty())? {
            Ok(()) => Ok(true),
            Err(errno) => Err(root.fail_rename(errno, from, &bad)),
        },
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => match root.rename(to, &bad, RenameFlags::empty())? {
            Ok(()) | Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(root.fail_rename(errno, to, &bad)),
        },
        Err(errno) => Err(root.fail_rename(errno, from, to)),
    }
}

fn quarantine_name(store: &Store, digest: &Digest) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}/{digest}.bad-{}", store.layout().staging(), now.as_secs())
}

/// A caller that publishes what it has not verified is a bug of ours; debug builds find it while files are small.
pub(super) fn expect_verified(staging: &Staging, digest: &Digest) -> Result<(), CacheError> {
    if staging.size() > 64 << 20 {
        return Ok(());
    }
    let never = AtomicBool::new(false);
    let actual = verify::hash(staging.content(), digest, staging.size(), &never, &|_| ())?;
    if actual == *digest {
        return Ok(());
    }
    Err(CacheError::DigestMismatch {
        path: staging.path().to_owned(),
        expected: *digest,
        actual,
    })
}
