//! Publish: verified bytes get their name. The order is all that this file is about.
//!
//! 1. *seal*: mode, `fsync` of the partial file, still the only file at its path;
//! 2. *place*: one rename, under the lock file (`place.rs`; `local_dir.rs`);
//! 3. `fsync` of every folder in which a name appeared, each once;
//! 4. *announce*: the snapshot link (`link.rs`), or the metadata of a local directory;
//! 5. `fsync` of every folder touched by that, each once.
//!
//! A batch does each step for all its files before the next one begins. So whatever a power cut keeps of a step, all
//! earlier steps are whole on disk: there is no name without its bytes, no link without its name, no metadata that
//! speaks of a file not yet replaced. The caller hears success after step 5, and only then may write that down. Nothing
//! is undone after a cut: `find` sees how far each file came and the rest is done again.

use std::sync::Mutex;

use rustix::io::Errno;

use super::error::CacheError;
use super::layout::Layout;
use super::lock::{Held, Patience};
use super::staging::Staging;
use super::stamp::FileStamp;
use super::store::Store;
use super::touched::Touched;
use super::{link, local_dir, place};
use crate::model::{CommitHash, Digest, RepoPath};

/// Files are synced by this many threads: the journals of ext4 and xfs make one write of many waiting syncs.
const SYNC_THREADS: usize = 8;

/// Does something with each of many, by a few threads; answers in their order.
pub(super) fn in_parallel<T: Send, R: Send>(batch: Vec<T>, act: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = batch.len().min(SYNC_THREADS);
    let waiting = Mutex::new(batch.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = waiting.lock().unwrap_or_else(|poison| poison.into_inner()).next();
            let Some((at, item)) = next else { break };
            let result = act(item);
            let mut done = done.lock().unwrap_or_else(|poison| poison.into_inner());
            done.push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(|poison| poison.into_inner());
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// One file to publish.
#[derive(Debug)]
pub struct Ready {
    /// Its path in the repository.
    pub path: RepoPath,
    /// What its bytes were verified to hash to.
    pub digest: Digest,
    /// The partial file; `None` when the content is in place and only its link or metadata is missing.
    pub staging: Option<Staging>,
    /// Without a partial file: the state that was judged to be right. Another one is not taken for it.
    pub found: Option<FileStamp>,
}

impl Store {
    /// Publishes one file. See [`Store::publish_batch`].
    ///
    /// # Errors
    /// As [`Store::publish_batch`].
    pub fn publish(
        &self,
        staging: Staging,
        commit: &CommitHash,
        path: &RepoPath,
        digest: &Digest,
        patience: &Patience<'_>,
    ) -> Result<FileStamp, CacheError> {
        self.publish_one(commit, path, digest, (Some(staging), None), patience)
    }

    /// Completes a file that [`Store::find`] called `BlobPresent`, in the state that it was `found` in.
    ///
    /// # Errors
    /// As [`Store::publish_batch`]; `Vanished` when the content is gone, or another one stands there.
    pub fn link(
        &self,
        commit: &CommitHash,
        path: &RepoPath,
        digest: &Digest,
        found: FileStamp,
        patience: &Patience<'_>,
    ) -> Result<FileStamp, CacheError> {
        self.publish_one(commit, path, digest, (None, Some(found)), patience)
    }

    fn publish_one(
        &self,
        commit: &CommitHash,
        path: &RepoPath,
        digest: &Digest,
        (staging, found): (Option<Staging>, Option<FileStamp>),
        patience: &Patience<'_>,
    ) -> Result<FileStamp, CacheError> {
        let ready = Ready {
            path: path.clone(),
            digest: *digest,
            staging,
            found,
        };
        let mut results = self.publish_batch(commit, vec![ready], patience);
        results.pop().unwrap_or_else(|| {
            Err(CacheError::Vanished {
                path: self.final_path(commit, path),
            })
        })
    }

    /// Publishes several files of one commit, with one sync per folder. Answers in the order of the batch; the stamp
    /// is that of the content in its place, to be remembered as verified.
    ///
    /// The content of every partial file must have been verified by the caller: here only debug builds look at it.
    /// Safe to repeat after any failure or crash: look with [`Store::find`] and publish what is missing. After an
    /// error the partial file stays, unless another program's equal content made it superfluous.
    ///
    /// # Errors
    /// Each file has its own: `Vanished` when the partial file was removed or swapped (stage it again); `SyncFailed`;
    /// `LockTimeout` and `Cancelled` as the patience says; `UnsafePath`, `CrossDevice`, `NoSymlinks`; as for any
    /// write. A folder that cannot be synced fails all files of the batch.
    pub fn publish_batch(
        &self,
        commit: &CommitHash,
        batch: Vec<Ready>,
        patience: &Patience<'_>,
    ) -> Vec<Result<FileStamp, CacheError>> {
        let sealed = in_parallel(batch, |ready| self.seal(&ready).map(|()| ready));
        self.publish_sealed(commit, sealed, patience)
    }

    /// Steps 2 to 5 for those that were sealed.
    pub(super) fn publish_sealed(
        &self,
        commit: &CommitHash,
        batch: Vec<Result<Ready, CacheError>>,
        patience: &Patience<'_>,
    ) -> Vec<Result<FileStamp, CacheError>> {
        // One file keeps its lock until its name is durable. Many do not: they would make Python wait for each other.
        let keep_lock = batch.len() == 1;
        let mut held = Vec::new();
        let mut touched = Touched::new();
        let mut readies = Vec::with_capacity(batch.len());
        let mut placed: Vec<Result<FileStamp, CacheError>> = batch
            .into_iter()
            .map(|sealed| {
                let ready = sealed.inspect_err(|_| readies.push(None))?;
                let result = self.place(commit, &ready, patience, &mut touched);
                readies.push(Some(ready));
                let (stamp, lock) = result?;
                held.extend(keep_lock.then_some(lock));
                Ok(stamp)
            })
            .collect();
        self.sync_all(&mut touched, &mut placed);
        drop(held);
        for (stamp, ready) in placed.iter_mut().zip(&readies) {
            if let (Ok(found), Some(ready)) = (&stamp, ready)
                && let Err(error) = self.announce(commit, ready, found, patience, &mut touched)
            {
                *stamp = Err(error);
            }
        }
        self.sync_all(&mut touched, &mut placed);
        placed
    }

    pub(super) fn seal(&self, ready: &Ready) -> Result<(), CacheError> {
        let Some(staging) = &ready.staging else {
            return Ok(());
        };
        if cfg!(debug_assertions) {
            place::expect_verified(staging, &ready.digest)?;
        }
        staging.seal(self.options().mode).map(|_| ())
    }

    /// Step 2.
    pub(super) fn place(
        &self,
        commit: &CommitHash,
        ready: &Ready,
        patience: &Patience<'_>,
        touched: &mut Touched,
    ) -> Result<(FileStamp, Held<'_>), CacheError> {
        match (self.layout(), &ready.staging) {
            (Layout::Cache { folder }, Some(staging)) => {
                place::place_blob(self, folder, staging, &ready.digest, patience, touched)
            }
            (Layout::LocalDir, Some(staging)) => local_dir::place(self, staging, commit, ready, patience, touched),
            (_, None) => Ok((place::present(self, ready, touched)?, Held::Nothing)),
        }
    }

    /// Step 4.
    pub(super) fn announce(
        &self,
        commit: &CommitHash,
        ready: &Ready,
        stamp: &FileStamp,
        patience: &Patience<'_>,
        touched: &mut Touched,
    ) -> Result<(), CacheError> {
        match self.layout() {
            Layout::Cache { folder } => link::make(self, folder, commit, &ready.path, &ready.digest, touched),
            Layout::LocalDir => local_dir::describe(self, commit, ready, stamp, patience, touched),
        }
    }

    /// Steps 3 and 5. When a folder cannot be synced, no file of the batch is durable for certain.
    fn sync_all(&self, touched: &mut Touched, results: &mut [Result<FileStamp, CacheError>]) {
        let Err(error) = self.root().sync_touched(touched) else {
            return;
        };
        *touched = Touched::new();
        let folder = match &error {
            CacheError::SyncFailed { path, .. } | CacheError::UnsafePath { path, .. } => path.clone(),
            _ => self.root().path(""),
        };
        let mut first = Some(error);
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err(first.take().unwrap_or_else(|| CacheError::SyncFailed {
                path: folder.clone(),
                source: Errno::IO.into(),
            }));
        }
    }
}
