//! Small files, many at a time: looked for in batches, fetched with one request each, verified in memory, published in batches.
//!
//! They have no partial files and no claims: what a kill takes of them is fetched again sooner than it would have been recorded.

mod fetch;
mod look;
mod turns;

use std::sync::Arc;

use bytes::Bytes;

pub(super) use self::{fetch::fetch, look::look, turns::wait_for_others};
use super::{
    finish,
    progress::Counted,
    shared::{JobContext, blocking_until_stopped},
    stop::JobStop,
    takeover::Seated,
    transfer::{Published, hint},
    turns::Turn,
};
use crate::{
    cache::{self, FileStamp, InMemory, Ready},
    hub::{Charge, SMALL_FILE},
    model::{CommitHash, Destination, Digest, FileRecord},
    store::{FileDone, Verified},
};

/// Files below this size are small.
pub(super) const SMALL: u64 = SMALL_FILE;

/// A file that is not there, and the right to fetch it.
pub(super) struct Wanted {
    pub(super) file: FileRecord,
    /// Let go before the turn.
    pub(super) seated: Option<Seated>,
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
    /// Their content is being brought already: by another job, by an earlier look of this one, or as one of `wanted`.
    pub(super) taken: Vec<FileRecord>,
    pub(super) failed: Vec<(FileRecord, JobStop)>,
}

/// A file that is in memory, and the others of its job that have its content.
pub(super) struct Batched {
    pub(super) fetched: Fetched,
    pub(super) twins: Vec<FileRecord>,
}

/// What became of a batch.
pub(super) struct Placed {
    /// Bytes that leave memory.
    pub(super) sizes: Vec<u64>,
    /// Each file, twins included.
    pub(super) files: Vec<(FileRecord, Result<Published, JobStop>)>,
}

fn verified(stamp: &FileStamp, digest: Digest) -> Verified {
    finish::verified(stamp, digest)
}

/// Brings fetched files to the disk and gives them their names; then their twins, whose bytes are there by then.
pub(super) async fn publish(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
    batch: Vec<Batched>,
) -> Placed {
    let local = matches!(context.spec.destination, Destination::LocalDir(_));
    let sizes: Vec<u64> = batch.iter().map(|one| one.fetched.file.size).collect();
    // In a cache equal files are one blob.
    let copies = |one: &Batched| if local { 1 + one.twins.len() as u64 } else { 1 };
    let count = batch.iter().map(copies).sum();
    let bytes = batch.iter().map(|one| one.fetched.file.size * copies(one)).sum();
    let what = batch
        .first()
        .map_or(String::new(), |first| first.fetched.file.path.to_string());
    if let Err(stop) = finish::check_room(&context, &store, &what, (count, bytes)).await {
        // The first tells the reason; it is the same for all.
        let mut stop = Some(stop);
        let files = batch
            .into_iter()
            .flat_map(|one| std::iter::once(one.fetched.file).chain(one.twins));
        let files = files
            .map(|file| (file, Err(stop.take().unwrap_or(JobStop::Cancelled))))
            .collect();
        return Placed { sizes, files };
    }
    let (mut firsts, mut contents, mut twins) = (Vec::new(), Vec::new(), Vec::new());
    for Batched { fetched, twins: equal } in batch {
        let bytes = fetched.bytes;
        twins.push((bytes.clone(), equal));
        contents.push(InMemory {
            path: fetched.file.path.clone(),
            digest: fetched.file.digest,
            bytes,
        });
        firsts.push((fetched.file, fetched.turn, fetched.counted, fetched.came));
    }
    let progress = context.clone();
    let published = blocking_until_stopped(&context, move |stopped| {
        let waiting = |wait: &cache::LockWait| progress.progress.stage(finish::lock_text(wait));
        let patience = finish::patience(&waiting, stopped);
        let published = store.publish_in_memory(&commit, contents, &patience);
        let twins = place_twins(&store, &commit, twins, &published, local, &patience);
        Ok((published, twins))
    })
    .await;
    let (published, twins) = published.unwrap_or_default();
    let (mut fresh, mut turns, mut files) = (Vec::new(), Vec::new(), Vec::new());
    let mut placed = |file: FileRecord, stamp: Result<FileStamp, JobStop>, counted: Option<Counted>| {
        let result = stamp.map(|stamp| {
            fresh.push(verified(&stamp, file.digest));
            let done = FileDone {
                id: file.id,
                reused: counted.is_none(),
            };
            Published::new(done, counted)
        });
        files.push((file, result));
    };
    let mut twins = twins.into_iter();
    for ((file, turn, counted, came), stamp) in firsts.into_iter().zip(published) {
        turns.push(turn);
        if stamp.is_ok() {
            came.kept();
        }
        let stamp = stamp.map_err(JobStop::from);
        let failure = match &stamp {
            Err(JobStop::FileFailed(failure)) => Some(failure.clone()),
            _ => None,
        };
        placed(file, stamp, Some(counted));
        for (twin, stamp) in twins.next().into_iter().flatten() {
            match (stamp, &failure) {
                (Some(stamp), _) => placed(twin, stamp.map_err(JobStop::from), None),
                (None, Some(failure)) => placed(twin, Err(JobStop::FileFailed(failure.clone())), None),
                // Whatever stopped the first has stopped the job.
                (None, None) => {}
            }
        }
    }
    hint(context.shared.store.vouch_all(fresh).await);
    drop(turns);
    Placed { sizes, files }
}

/// Equal files of one fetch: its bytes, and who else has them.
type Twins = (Vec<Bytes>, Vec<FileRecord>);

/// A twin, and what became of it; nothing when its first was not published.
type PlacedTwin = (FileRecord, Option<Result<FileStamp, cache::CacheError>>);

/// Gives the contents of files that were published just now to their twins; in their order.
fn place_twins(
    store: &cache::Store,
    commit: &CommitHash,
    twins: Vec<Twins>,
    published: &[Result<FileStamp, cache::CacheError>],
    local: bool,
    patience: &cache::Patience<'_>,
) -> Vec<Vec<PlacedTwin>> {
    let (mut copies, mut links) = (Vec::new(), Vec::new());
    for ((bytes, files), stamp) in twins.iter().zip(published) {
        let Ok(stamp) = stamp else { continue };
        for file in files {
            match local {
                true => copies.push(InMemory {
                    path: file.path.clone(),
                    digest: file.digest,
                    bytes: bytes.clone(),
                }),
                false => links.push(Ready {
                    path: file.path.clone(),
                    digest: file.digest,
                    staging: None,
                    found: Some(*stamp),
                }),
            }
        }
    }
    // One of the two is empty.
    let mut stamps = store.publish_in_memory(commit, copies, patience);
    stamps.extend(store.publish_batch(commit, links, patience));
    let mut stamps = stamps.into_iter();
    let mut placed = Vec::with_capacity(twins.len());
    for ((_, files), first) in twins.into_iter().zip(published) {
        let mut stamp = || first.is_ok().then(|| stamps.next()).flatten();
        placed.push(files.into_iter().map(|file| (file, stamp())).collect());
    }
    placed
}
