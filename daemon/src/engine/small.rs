//! Small files, many at a time: looked for in batches, fetched with one request each, verified in memory, published in batches.
//!
//! They have no partial files and no claims: what a kill takes of them is fetched again sooner than it would have been recorded.

mod fetch;

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

pub(super) use self::fetch::fetch;
use super::{
    finish,
    progress::Counted,
    shared::{JobContext, Turn, blocking, blocking_until_stopped},
    stop::JobStop,
    transfer::{Published, hint},
};
use crate::{
    cache::{self, Check, FileStamp, Found, InMemory, Ready},
    hub::{Charge, SMALL_FILE},
    model::{CommitHash, Digest, FileRecord},
    store::{FileDone, Verified},
};

/// Files below this size are small.
pub(super) const SMALL: u64 = SMALL_FILE;

/// A file that is not there, and the right to fetch it.
pub(super) struct Wanted {
    pub(super) file: FileRecord,
    pub(super) turn: Turn,
}

/// Verified, and still in memory.
pub(super) struct Fetched {
    pub(super) file: FileRecord,
    turn: Turn,
    bytes: Vec<Bytes>,
    counted: Counted,
    came: InVain,
}

/// Bytes in memory, and where they were counted. Unless they are kept, they will have to come again.
#[derive(Debug)]
pub(super) struct InVain {
    charge: Charge,
    bytes: u64,
}

impl InVain {
    fn new(charge: Charge) -> Self {
        Self { charge, bytes: 0 }
    }

    /// They have served.
    fn kept(mut self) {
        self.bytes = 0;
    }

    /// They are wrong.
    fn wrong(mut self) {
        self.charge.wasted(std::mem::take(&mut self.bytes));
    }
}

impl Drop for InVain {
    fn drop(&mut self) {
        self.charge.repeated(self.bytes);
    }
}

/// What a look at some files found.
#[derive(Default)]
pub(super) struct Looked {
    /// In their places.
    pub(super) reused: Vec<(FileRecord, Published)>,
    pub(super) wanted: Vec<Wanted>,
    /// Another job works on the same content.
    pub(super) taken: Vec<FileRecord>,
    pub(super) failed: Vec<(FileRecord, JobStop)>,
}

/// What became of each file of a batch.
pub(super) type Placed = Vec<(FileRecord, Result<Published, JobStop>)>;

fn verified(stamp: &FileStamp, digest: Digest) -> Verified {
    finish::verified(stamp, digest)
}

/// Looks for files that are there already, and completes those whose names alone are missing. What is found is verified.
pub(super) async fn look(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
    files: Vec<FileRecord>,
) -> Result<Looked, JobStop> {
    let mut looked = Looked::default();
    let mut mine = Vec::new();
    for file in files {
        match context.shared.turns.try_take(store.staging_key(&file.digest)) {
            Some(turn) => mine.push(Wanted { file, turn }),
            None => looked.taken.push(file),
        }
    }
    if context.spec.force_download {
        looked.wanted = mine;
        return Ok(looked);
    }
    let (places, at) = (store.clone(), commit.clone());
    let glanced = blocking(move || {
        let glance = |wanted: Wanted| {
            let stamp = places.glance(&at, &wanted.file.path, &wanted.file.digest);
            (wanted, stamp)
        };
        mine.into_iter().map(glance).collect::<Vec<_>>()
    })
    .await;
    let mut there = Vec::new();
    for (wanted, stamp) in glanced {
        match stamp {
            Ok(None) => looked.wanted.push(wanted),
            Ok(Some(stamp)) => there.push((wanted, stamp)),
            Err(error) => looked.failed.push((wanted.file, error.into())),
        }
    }
    if !there.is_empty() {
        verify_found(&context, &store, &commit, there, &mut looked).await?;
    }
    Ok(looked)
}

/// Verifies what stands in the places of some files, and gives blobs that are right their names.
async fn verify_found(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    there: Vec<(Wanted, FileStamp)>,
    looked: &mut Looked,
) -> Result<(), JobStop> {
    let asked = there.iter().map(|(wanted, stamp)| verified(stamp, wanted.file.digest));
    let known = context.shared.store.vouched(asked.collect()).await;
    let known: HashSet<Verified> = known.into_iter().collect();
    let hashing = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let (places, at, progress) = (store.clone(), commit.clone(), context.progress.clone());
    let remembered = known.clone();
    let found = blocking_until_stopped(context, move |stopped| {
        let mut found = Vec::with_capacity(there.len());
        for (wanted, _) in there {
            let file = &wanted.file;
            let check = Check {
                vouched: &|stamp| remembered.contains(&verified(stamp, file.digest)),
                cancel: stopped,
                progress: &|_| progress.moved(),
            };
            let what = places.find(&at, &file.path, file.size, &file.digest, &check);
            found.push((wanted, what));
        }
        link_all(&places, &at, &mut found, stopped);
        Ok(found)
    })
    .await?;
    drop(hashing);
    let mut fresh = Vec::new();
    for (wanted, what) in found {
        let file = wanted.file;
        match what {
            Ok(Found::Published(stamp) | Found::BlobPresent(stamp)) => {
                let now = verified(&stamp, file.digest);
                fresh.extend((!known.contains(&now)).then_some(now));
                let done = FileDone {
                    id: file.id,
                    reused: true,
                };
                looked.reused.push((file, Published::new(done, None)));
            }
            Ok(Found::Corrupt { path }) => {
                finish::warn_corrupt(context, &file, &path).await?;
                looked.wanted.push(Wanted {
                    file,
                    turn: wanted.turn,
                });
            }
            Ok(Found::Absent) => looked.wanted.push(Wanted {
                file,
                turn: wanted.turn,
            }),
            Err(error) => looked.failed.push((file, error.into())),
        }
    }
    hint(context.shared.store.vouch_all(fresh).await);
    Ok(())
}

type FoundFile = (Wanted, Result<Found, cache::CacheError>);

/// Names the blobs that have none, in one batch.
fn link_all(
    store: &cache::Store,
    commit: &CommitHash,
    found: &mut [FoundFile],
    stopped: &std::sync::atomic::AtomicBool,
) {
    let mut nameless: Vec<&mut FoundFile> = found
        .iter_mut()
        .filter(|(_, what)| matches!(what, Ok(Found::BlobPresent(_))))
        .collect();
    let batch = nameless.iter().map(|(wanted, _)| Ready {
        path: wanted.file.path.clone(),
        digest: wanted.file.digest,
        staging: None,
    });
    let linked = store.publish_batch(commit, batch.collect(), &finish::patience(&|_| (), stopped));
    for (file, stamp) in nameless.iter_mut().zip(linked) {
        file.1 = stamp.map(Found::Published);
    }
}

/// Waits until the other jobs that worked on these files have ended with them. It holds nothing meanwhile, so two jobs never
/// wait for each other.
pub(super) async fn wait_for_others(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    files: Vec<FileRecord>,
) -> Result<Vec<FileRecord>, JobStop> {
    for file in &files {
        let turn = context.shared.turns.take(store.staging_key(&file.digest));
        drop(context.unless_stopped(turn).await?);
    }
    Ok(files)
}

/// Brings fetched files to the disk and gives them their names.
pub(super) async fn publish(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
    batch: Vec<Fetched>,
) -> Placed {
    let bytes = batch.iter().map(|fetched| fetched.file.size).sum();
    let what = batch.first().map_or(String::new(), |first| first.file.path.to_string());
    if let Err(stop) = finish::check_room(&context, &store, &what, bytes).await {
        // The first tells the reason; it is the same for all.
        let mut stop = Some(stop);
        let stopped = |fetched: Fetched| (fetched.file, Err(stop.take().unwrap_or(JobStop::Cancelled)));
        return batch.into_iter().map(stopped).collect();
    }
    let (mut files, mut contents) = (Vec::new(), Vec::new());
    for fetched in batch {
        contents.push(InMemory {
            path: fetched.file.path.clone(),
            digest: fetched.file.digest,
            bytes: fetched.bytes,
        });
        files.push((fetched.file, fetched.turn, fetched.counted, fetched.came));
    }
    let progress = context.clone();
    let published = blocking_until_stopped(&context, move |stopped| {
        let waiting = |wait: &cache::LockWait| progress.progress.stage(finish::lock_text(wait));
        Ok(store.publish_in_memory(&commit, contents, &finish::patience(&waiting, stopped)))
    })
    .await
    .unwrap_or_default();
    let mut fresh = Vec::new();
    let mut turns = Vec::new();
    let mut placed = Vec::new();
    for ((file, turn, counted, came), stamp) in files.into_iter().zip(published) {
        turns.push(turn);
        let result = stamp.map_err(JobStop::from).map(|stamp| {
            came.kept();
            fresh.push(verified(&stamp, file.digest));
            let done = FileDone {
                id: file.id,
                reused: false,
            };
            Published::new(done, Some(counted))
        });
        placed.push((file, result));
    }
    hint(context.shared.store.vouch_all(fresh).await);
    drop(turns);
    placed
}
