//! Small files, many at a time: looked for in batches, fetched with one request each, verified in memory, published in batches.
//!
//! They have no partial files and no claims: what a kill takes of them is fetched again sooner than it would have been recorded.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    connection::{Flow, SegmentEnd, arrived},
    crew, finish,
    progress::Counted,
    retry::{Retry, say},
    shared::{JobContext, Turn, blocking, blocking_until_stopped},
    sources::{Slot, Wish},
    stop::{JobStop, integrity},
    transfer::{MISMATCHES, Published, hint},
};
use crate::{
    cache::{self, Check, FileStamp, Found, Hasher, InMemory, Ready},
    hub::HubError,
    model::{ByteRange, CommitHash, Digest, FileRecord},
    store::{FileDone, Verified},
};

/// Files below this size are small.
pub(super) const SMALL: u64 = 1 << 20;
/// So many bytes are hashed where they are; more of them on a thread of their own.
const HASHED_AT_ONCE: u64 = 128 << 10;
/// How often a connection is looked at that may stand still.
const LOOK: Duration = Duration::from_millis(250);
/// How often who waits for a connection says why.
const SAY: Duration = Duration::from_secs(1);

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

/// Fetches one file into memory, as often as the retry policy likes, and verifies it.
pub(super) async fn fetch(
    context: Arc<JobContext>,
    commit: CommitHash,
    wanted: Wanted,
) -> (FileRecord, Result<Fetched, JobStop>) {
    let Wanted { file, turn } = wanted;
    let _in_hand = context.progress.file_in_hand(&file);
    context.progress.file_stage(&file, "downloading");
    let fetched = right_bytes(&context, &commit, &file).await.map(|bytes| Fetched {
        file: file.clone(),
        turn,
        bytes,
        counted: Counted::new(context.progress.clone(), file.size),
    });
    (file, fetched)
}

async fn right_bytes(context: &Arc<JobContext>, commit: &CommitHash, file: &FileRecord) -> Result<Vec<Bytes>, JobStop> {
    let mut retry = Retry::new(context);
    let mut in_vain = vec![0; context.endpoints.len()];
    let mut wrong = 0;
    loop {
        // What has no bytes needs no request; wrong are then the words of the listing.
        let (index, bytes, host) = if file.size == 0 {
            wrong = MISMATCHES * context.endpoints.len();
            (None, Vec::new(), "the listing".to_owned())
        } else {
            let (index, slot) = slot(context, &retry, file).await?;
            let flow = Flow::new(ByteRange::new(0, file.size));
            let outcome = once(context, commit, file, (index, &slot), &flow, in_vain[index]).await;
            let reading = flow.read();
            if let Some(first_byte) = reading.first_byte {
                let took = reading.age.saturating_sub(first_byte);
                let sources = &context.shared.sources;
                sources.observed(slot.source, reading.received, took, first_byte);
                retry.progressed(index);
                in_vain[index] = 0;
            }
            let error = match outcome {
                Ok((bytes, host)) => {
                    drop(slot);
                    if let Some(bytes) =
                        judged(context, file, bytes, Some(index), &host, &mut retry, &mut wrong).await?
                    {
                        return Ok(bytes);
                    }
                    continue;
                }
                Err(SegmentEnd::Stop(stop)) => return Err(stop),
                Err(SegmentEnd::Hub(_, error)) => error,
                Err(SegmentEnd::Cut) => {
                    in_vain[index] += 1;
                    HubError::Stalled {
                        host: context.endpoints[index].endpoint.host(),
                        got: reading.received,
                        after: reading.idle,
                    }
                }
            };
            // While the slot is held: the refused connection counts.
            if !crew::blame(context, index, &error, reading.received) {
                retry.failed(context, index, &error, reading.received)?;
            }
            continue;
        };
        if let Some(bytes) = judged(context, file, bytes, index, &host, &mut retry, &mut wrong).await? {
            return Ok(bytes);
        }
    }
}

/// The bytes, if they are right. Wrong ones are told of, and too many of them are the end of the file.
async fn judged(
    context: &Arc<JobContext>,
    file: &FileRecord,
    bytes: Vec<Bytes>,
    from: Option<usize>,
    host: &str,
    retry: &mut Retry,
    wrong: &mut usize,
) -> Result<Option<Vec<Bytes>>, JobStop> {
    let (bytes, actual) = hash(file, bytes).await;
    if actual == file.digest {
        return Ok(Some(bytes));
    }
    let path = file.path.as_str().escape_debug();
    let text = format!(
        "the bytes of {path} from {host} hash to {actual}, not to {}",
        file.digest
    );
    tracing::warn!(job = %context.id, "{text}");
    let told = format!("{text}; nothing was published");
    context
        .shared
        .store
        .warn(&context.id, file.path.to_string(), told)
        .await?;
    *wrong += 1;
    if *wrong >= MISMATCHES * context.endpoints.len() {
        return Err(JobStop::FileFailed(integrity(text)));
    }
    retry.wrong_bytes(context, from.as_slice());
    Ok(None)
}

async fn hash(file: &FileRecord, bytes: Vec<Bytes>) -> (Vec<Bytes>, Digest) {
    let (like, size) = (file.digest, file.size);
    let work = move || {
        let mut hasher = Hasher::new(&like, size);
        bytes.iter().for_each(|bytes| hasher.update(bytes));
        (bytes, hasher.finish())
    };
    match size <= HASHED_AT_ONCE {
        true => work(),
        false => blocking(work).await,
    }
}

/// A connection to an endpoint that may be asked now.
async fn slot(context: &Arc<JobContext>, retry: &Retry, file: &FileRecord) -> Result<(usize, Slot), JobStop> {
    loop {
        retry.next_open(context).await?;
        let wish = Wish {
            any_of: retry
                .open(context, false)
                .iter()
                .map(|index| context.sources[*index])
                .collect(),
            has: 0,
            bytes: file.size,
        };
        let mut request = context.shared.sources.request(wish);
        let slot = loop {
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Err(JobStop::Cancelled),
                slot = request.granted() => break slot,
                () = sleep(SAY) => if retry.open(context, false).is_empty()
                    && let Some(closed) = retry.opens(context, false)
                {
                    say(context, &closed);
                },
            }
        };
        // A gate may have closed while we waited.
        let open = retry.open(context, false);
        if let Some(index) = open.into_iter().find(|index| context.sources[*index] == slot.source) {
            return Ok((index, slot));
        }
    }
}

/// One request for the whole file. Gives the bytes and the host that they came from.
async fn once(
    context: &Arc<JobContext>,
    commit: &CommitHash,
    file: &FileRecord,
    (index, slot): (usize, &Slot),
    flow: &Flow,
    in_vain: u32,
) -> Result<(Vec<Bytes>, String), SegmentEnd> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(SegmentEnd::Stop(JobStop::Cancelled)),
        read = read(context, commit, file, (index, slot), flow) => read.map_err(|error| SegmentEnd::Hub(None, error)),
        () = stands_still(context, slot, flow, in_vain) => Err(SegmentEnd::Cut),
    }
}

async fn read(
    context: &Arc<JobContext>,
    commit: &CommitHash,
    file: &FileRecord,
    (index, slot): (usize, &Slot),
    flow: &Flow,
) -> Result<(Vec<Bytes>, String), HubError> {
    let access = &context.endpoints[index];
    let target = context.target(commit, file);
    let _counted = context.progress.connected();
    let whole = ByteRange::new(0, file.size);
    let hub = &context.shared.hub;
    let opened = hub
        .open(&access.endpoint, access.token.as_ref(), &target, whole, None)
        .await?;
    let meter = context.shared.sources.meter(slot.source);
    let (mut body, host) = (opened.body, opened.link.host);
    let mut bytes = Vec::new();
    while let Some(mut chunk) = body.chunk().await? {
        arrived(context, &meter, chunk.len() as u64);
        flow.take(&mut chunk);
        bytes.push(chunk);
    }
    Ok((bytes, host))
}

async fn stands_still(context: &JobContext, slot: &Slot, flow: &Flow, in_vain: u32) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if crew::stands_still(context, slot.source, &flow.read(), in_vain) {
            return;
        }
    }
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
        files.push((fetched.file, fetched.turn, fetched.counted));
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
    for ((file, turn, counted), stamp) in files.into_iter().zip(published) {
        turns.push(turn);
        let result = stamp.map_err(JobStop::from).map(|stamp| {
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
