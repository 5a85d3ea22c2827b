//! One small file: one request for all of it, as often as the retry policy likes, and its hash.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Fetched, InVain, Wanted};
use crate::{
    cache::Hasher,
    engine::{
        conduct::{self, OF_USE},
        connection::{Flow, SegmentEnd, arrived},
        progress::Counted,
        retry::{Retry, say},
        shared::{JobContext, blocking},
        sources::{Slot, Wish},
        stop::{JobStop, integrity},
        takeover::Seated,
        transfer::MISMATCHES,
    },
    hub::{Charge, HubError},
    model::{ByteRange, CommitHash, Digest, Failure, FailureKind, FileRecord},
    sched::stall,
};

/// So many bytes are hashed where they are; more of them on a thread of their own.
const HASHED_AT_ONCE: u64 = 128 << 10;
/// How often a connection is looked at that may stand still.
const LOOK: Duration = Duration::from_millis(250);
/// Where a file came too slowly it is not asked for again before; twice as long each time.
const AFTER_BEATEN: Duration = Duration::from_secs(5);
/// After so many times slow is better than nothing.
const MOST_BEATEN: u32 = 5;
/// A file that broke off less often is not given up.
const BREAKS: u32 = 5;
/// How often who waits for a connection says why.
const SAY: Duration = Duration::from_secs(1);

/// Why a small file did not come.
enum End {
    Stop(JobStop),
    /// Another job takes it over.
    Left,
}

impl<E: Into<JobStop>> From<E> for End {
    fn from(stop: E) -> Self {
        Self::Stop(stop.into())
    }
}

/// Fetches one file into memory, as often as the retry policy likes, and verifies it; `None`: another job took it over.
pub(in crate::engine) async fn fetch(
    context: Arc<JobContext>,
    commit: CommitHash,
    wanted: Wanted,
) -> (FileRecord, Result<Option<Fetched>, JobStop>) {
    let Wanted { file, seated, turn } = wanted;
    let _in_hand = context.progress.file_in_hand(&file);
    context.progress.file_stage(&file, "downloading");
    let fetched = match right_bytes(&context, &commit, &file, seated.as_ref()).await {
        Ok((bytes, came)) => Ok(Some(Fetched {
            file: file.clone(),
            turn,
            bytes,
            counted: Counted::new(context.progress.clone(), (file.id, 0), Arc::default(), file.size),
            came,
        })),
        Err(End::Left) => Ok(None),
        Err(End::Stop(stop)) => Err(stop),
    };
    (file, fetched)
}

async fn right_bytes(
    context: &Arc<JobContext>,
    commit: &CommitHash,
    file: &FileRecord,
    seated: Option<&Seated>,
) -> Result<(Vec<Bytes>, InVain), End> {
    let mut retry = Retry::new(context);
    let mut in_vain = vec![0; context.endpoints.len()];
    // A few times each, so that an end comes when all are slow.
    let mut beaten = vec![0; context.endpoints.len()];
    let mut wrong = 0;
    let mut breaks = Breaks::default();
    if file.size == 0 {
        // What has no bytes needs no request, and its hash no second look.
        return match hash(file, Vec::new()).await {
            (bytes, actual) if actual == file.digest => Ok((bytes, InVain::new(Charge::default()))),
            (_, actual) => Err(JobStop::FileFailed(integrity(wrong_bytes(file, "the listing", &actual))).into()),
        };
    }
    loop {
        let (index, slot) = tokio::select! {
            biased;
            () = asked(seated) => return Err(End::Left),
            slot = slot(context, &retry, file) => slot?,
        };
        let flow = Flow::new(ByteRange::new(0, file.size));
        let rivals = (beaten[index] < MOST_BEATEN).then_some(&retry);
        let outcome = tokio::select! {
            biased;
            outcome = once(context, commit, file, (index, &slot), &flow, (in_vain[index], rivals)) => outcome,
            () = asked(seated) => return Err(End::Left),
        };
        let reading = flow.read();
        if let Some(first_byte) = reading.first_byte {
            let took = reading.age.saturating_sub(first_byte);
            let sources = &context.shared.sources;
            sources.observed(slot.source, reading.received, took, first_byte);
            in_vain[index] = 0;
        }
        let error = match outcome {
            Ok((bytes, host, came)) => {
                if !reading.held_by_us {
                    context.shared.sources.brought(slot.source, file.size, reading.age);
                }
                drop(slot);
                retry.progressed(index);
                let (bytes, actual) = hash(file, bytes).await;
                if actual == file.digest {
                    return Ok((bytes, came));
                }
                came.wrong();
                wrong += 1;
                reject(context, file, wrong_bytes(file, &host, &actual), wrong).await?;
                retry.wrong_bytes(context, &[index]);
                continue;
            }
            Err(SegmentEnd::Stop(stop)) => return Err(stop.into()),
            Err(SegmentEnd::Hub(_, error)) => error,
            Err(SegmentEnd::Cut) if flow.cut.is_cancelled() => {
                // The faster one may have been busy with other files.
                retry.shortly(
                    index,
                    AFTER_BEATEN * 2_u32.pow(beaten[index]),
                    "another endpoint is much faster",
                );
                beaten[index] += 1;
                continue;
            }
            Err(SegmentEnd::Cut) => {
                in_vain[index] += 1;
                HubError::Stalled {
                    host: context.endpoints[index].endpoint.host(),
                    got: reading.received,
                    after: reading.idle,
                }
            }
        };
        let again = breaks.count(context, file, &error, reading.received)?;
        // A file that breaks off each time says nothing more of the connection.
        let brought = if again { OF_USE } else { reading.received };
        // While the slot is held: the refused connection counts.
        if !conduct::blame(context, &mut retry, index, &error, brought) {
            // Of a small file nothing is kept: what it brought is no progress.
            retry.failed(context, index, &error, 0)?;
        }
    }
}

/// Somebody who comes first asks for the file.
async fn asked(seated: Option<&Seated>) {
    match seated {
        Some(seated) => seated.asked().await,
        None => std::future::pending().await,
    }
}

/// How often the answer broke off after its first bytes, and since when. Bytes count as life of the job: this is what ends a
/// file that no server has whole.
#[derive(Default)]
struct Breaks {
    count: u32,
    since: Option<Instant>,
}

impl Breaks {
    /// Counts a failed attempt that had brought `brought` bytes; true when it is not the first such.
    fn count(
        &mut self,
        context: &JobContext,
        file: &FileRecord,
        error: &HubError,
        brought: u64,
    ) -> Result<bool, JobStop> {
        if brought == 0 {
            return Ok(false);
        }
        self.count += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.count >= BREAKS && since.elapsed() > context.shared.config().transfer.give_up_after {
            let path = file.path.as_str().escape_debug();
            return Err(JobStop::FileFailed(Failure::new(
                FailureKind::BadEndpoint,
                format!("{path} broke off {} times: {error}", self.count),
                "use another endpoint",
            )));
        }
        Ok(self.count > 1)
    }
}

fn wrong_bytes(file: &FileRecord, host: &str, actual: &Digest) -> String {
    let path = file.path.as_str().escape_debug();
    format!(
        "the bytes of {path} from {host} hash to {actual}, not to {}",
        file.digest
    )
}

/// Tells of wrong bytes; too many of them are the end of the file.
async fn reject(context: &JobContext, file: &FileRecord, text: String, wrong: usize) -> Result<(), JobStop> {
    tracing::warn!(job = %context.id, "{text}");
    let told = format!("{text}; nothing was published");
    context
        .shared
        .store
        .warn(&context.id, file.path.to_string(), told)
        .await?;
    match wrong >= MISMATCHES * context.endpoints.len() {
        true => Err(JobStop::FileFailed(integrity(text))),
        false => Ok(()),
    }
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
    let mut said = false;
    let mut stands_by = None;
    loop {
        retry.next_open(context).await?;
        let asked = retry.open(context, false);
        let wish = Wish {
            any_of: asked.iter().map(|index| context.sources[*index]).collect(),
            has: 0,
            user: context.owner.uid,
            bytes: file.size,
        };
        let mut request = context.shared.sources.request(wish);
        let slot = loop {
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Err(JobStop::Cancelled),
                slot = request.granted() => break Some(slot),
                () = sleep(SAY) => {}
            }
            let full = context.shared.sources.user_is_full(context.owner.uid);
            if let Some(why) = &full {
                context.progress.file_stage(file, why);
                said = true;
            }
            stands_by = full.map(|_| stands_by.take().unwrap_or_else(|| context.progress.stands_by()));
            // Sources close and open again while one waits: nothing but asking anew finds the one that opened.
            let open = retry.open(context, false);
            if open.is_empty()
                && let Some(closed) = retry.opens(context, false)
            {
                say(context, &closed);
            }
            if open != asked {
                break None;
            }
        };
        // A gate may have closed while we waited.
        let open = retry.open(context, false);
        if let Some(slot) = slot
            && let Some(index) = open.into_iter().find(|index| context.sources[*index] == slot.source)
        {
            if said {
                context.progress.file_stage(file, "downloading");
            }
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
    (in_vain, rivals): (u32, Option<&Retry>),
) -> Result<(Vec<Bytes>, String, InVain), SegmentEnd> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(SegmentEnd::Stop(JobStop::Cancelled)),
        read = read(context, commit, file, (index, slot), flow) => read.map_err(|error| SegmentEnd::Hub(None, error)),
        () = stands_still(context, slot, flow, in_vain) => Err(SegmentEnd::Cut),
        () = is_beaten(context, slot, flow, (file, rivals)) => {
            flow.cut.cancel();
            Err(SegmentEnd::Cut)
        }
    }
}

async fn read(
    context: &Arc<JobContext>,
    commit: &CommitHash,
    file: &FileRecord,
    (index, slot): (usize, &Slot),
    flow: &Flow,
) -> Result<(Vec<Bytes>, String, InVain), HubError> {
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
    let mut toll = context
        .shared
        .gate
        .toll(context.row, &access.endpoint.origin().ascii_serialization());
    let on_hold = |held| {
        flow.hold(held);
        context.shared.sources.held_by_us();
    };
    toll.new_window().into_iter().for_each(|window| body.set_window(window));
    let mut bytes = Vec::new();
    let mut in_memory = InVain::new(body.charge().clone());
    while let Some(mut chunk) = body.chunk().await? {
        let came = chunk.len() as u64;
        arrived(context, &meter, came);
        let again = context.progress.repeats(came);
        in_memory.charge.repeated(again);
        in_memory.bytes += came - again;
        flow.take(&mut chunk);
        // A copy: the chunk keeps the whole buffer in memory that it was read into.
        bytes.push(Bytes::copy_from_slice(&chunk));
        toll.pay(came, on_hold).await;
    }
    Ok((bytes, host, in_memory))
}

async fn stands_still(context: &JobContext, slot: &Slot, flow: &Flow, in_vain: u32) {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if conduct::stands_still(context, slot.source, &flow.read(), in_vain, true) {
            return;
        }
    }
}

/// Waits until another endpoint would bring the whole file long before this one brings the rest: what came is given up then. While
/// others have no room for it, a slow one is better than none.
async fn is_beaten(context: &JobContext, slot: &Slot, flow: &Flow, (file, rivals): (&FileRecord, Option<&Retry>)) {
    let Some(retry) = rivals else {
        return std::future::pending().await;
    };
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let reading = flow.read();
        if reading.held_by_us || reading.received == 0 {
            continue;
        }
        let others = retry
            .open(context, false)
            .into_iter()
            .map(|index| context.sources[index]);
        let elsewhere = others
            .filter(|source| *source != slot.source)
            .filter_map(|source| context.shared.sources.would_bring(source, file.size))
            .min();
        if elsewhere.is_some_and(|time| stall::is_beaten(reading.age, reading.left, reading.bytes_per_sec, time)) {
            return;
        }
    }
}
