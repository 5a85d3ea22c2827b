//! Small files, many at a time: looked for in batches, fetched with one request each, verified in memory, published in batches.
//!
//! They have no partial files and no claims: what a kill takes of them is fetched again sooner than it would have been recorded.

mod fetch;
mod turns;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;

pub(super) use self::{fetch::fetch, turns::wait_for_others};
use super::{
    finish,
    progress::Counted,
    shared::{JobContext, blocking, blocking_until_stopped},
    stop::JobStop,
    transfer::{Published, hint},
    turns::Turn,
};
use crate::{
    cache::{self, Check, FileStamp, Found, InMemory, Ready},
    hub::{Charge, SMALL_FILE},
    model::{CommitHash, Destination, Digest, FileRecord},
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

/// Looks for files that are there already, and completes those whose names alone are missing. What is found is verified. Of
/// those that are not there one of each content is to be fetched.
pub(super) async fn look(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
    files: Vec<FileRecord>,
) -> Result<Looked, JobStop> {
    let mut looked = Looked::default();
    let mut turns: HashMap<Digest, Turn> = HashMap::new();
    let mut mine = Vec::new();
    for file in files {
        if let Entry::Vacant(free) = turns.entry(file.digest) {
            let Some(turn) = context.shared.turns.try_take(store.staging_key(&file.digest)) else {
                looked.taken.push(file);
                continue;
            };
            free.insert(turn);
        }
        mine.push(file);
    }
    let absent = match context.spec.force_download {
        true => mine,
        false => absent(&context, &store, &commit, mine, &mut looked).await?,
    };
    for file in absent {
        match turns.remove(&file.digest) {
            Some(turn) => looked.wanted.push(Wanted { file, turn }),
            None => looked.taken.push(file),
        }
    }
    // Before they are fetched: what has no place would be fetched again and again.
    if let Some(first) = looked.wanted.first() {
        let bytes = looked.wanted.iter().map(|wanted| wanted.file.size).sum();
        let count = looked.wanted.len() as u64;
        finish::check_room(&context, &store, first.file.path.as_str(), (count, bytes)).await?;
    }
    Ok(looked)
}

/// Those that are not there.
async fn absent(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    files: Vec<FileRecord>,
    looked: &mut Looked,
) -> Result<Vec<FileRecord>, JobStop> {
    let (places, at) = (store.clone(), commit.clone());
    let glanced = blocking(move || {
        let glance = |file: FileRecord| {
            let stamp = places.glance(&at, &file.path, &file.digest);
            (file, stamp)
        };
        files.into_iter().map(glance).collect::<Vec<_>>()
    })
    .await;
    let (mut absent, mut there) = (Vec::new(), Vec::new());
    for (file, stamp) in glanced {
        match stamp {
            Ok(None) => absent.push(file),
            Ok(Some(stamp)) => there.push((file, stamp)),
            Err(error) => looked.failed.push((file, error.into())),
        }
    }
    if !there.is_empty() {
        absent.extend(verify_found(context, store, commit, there, looked).await?);
    }
    Ok(absent)
}

/// Verifies what stands in the places of some files, and gives blobs that are right their names. Gives those that are wrong.
async fn verify_found(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    there: Vec<(FileRecord, FileStamp)>,
    looked: &mut Looked,
) -> Result<Vec<FileRecord>, JobStop> {
    let asked = there.iter().map(|(file, stamp)| verified(stamp, file.digest));
    let known = context.shared.store.vouched(asked.collect()).await;
    let known: HashSet<Verified> = known.into_iter().collect();
    let hashing = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let (places, at, progress) = (store.clone(), commit.clone(), context.progress.clone());
    let remembered = known.clone();
    let found = blocking_until_stopped(context, move |stopped| {
        let mut found = Vec::with_capacity(there.len());
        // Equal files have one blob, which is hashed once.
        let mut sound = HashSet::new();
        for (file, _) in there {
            let check = Check {
                vouched: &|stamp| {
                    let stamp = verified(stamp, file.digest);
                    remembered.contains(&stamp) || sound.contains(&stamp)
                },
                cancel: stopped,
                progress: &|_| progress.moved(),
            };
            let what = places.find(&at, &file.path, file.size, &file.digest, &check);
            if let Ok(Found::Published(stamp) | Found::BlobPresent(stamp)) = &what {
                sound.insert(verified(stamp, file.digest));
            }
            found.push((file, what));
        }
        link_all(&places, &at, &mut found, stopped);
        Ok(found)
    })
    .await?;
    drop(hashing);
    let (mut fresh, mut wrong) = (Vec::new(), Vec::new());
    for (file, what) in found {
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
                wrong.push(file);
            }
            Ok(Found::Absent) => wrong.push(file),
            Err(error) => looked.failed.push((file, error.into())),
        }
    }
    hint(context.shared.store.vouch_all(fresh).await);
    Ok(wrong)
}

type FoundFile = (FileRecord, Result<Found, cache::CacheError>);

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
    let batch = nameless.iter().map(|(file, what)| Ready {
        path: file.path.clone(),
        digest: file.digest,
        staging: None,
        found: match what {
            Ok(Found::BlobPresent(stamp)) => Some(*stamp),
            _ => None,
        },
    });
    let linked = store.publish_batch(commit, batch.collect(), &finish::patience(&|_| (), stopped));
    for (file, stamp) in nameless.iter_mut().zip(linked) {
        file.1 = stamp.map(Found::Published);
    }
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
