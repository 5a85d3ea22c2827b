//! One file: found or fetched, verified, published. Returns what became of it and changes no stored state but claims.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    checkpoint, crew, finish,
    frontier::{self, Frontier},
    known_link::KnownLink,
    progress::{Counted, lock},
    repair::{Repair, Verdict},
    retry::Retry,
    shared::JobContext,
    sources::Usual,
    stage::stage,
    stop::{JobStop, integrity},
    takeover::Seated,
    turns::Turn,
    twins,
    unclaimed::Unclaimed,
};
use crate::{
    cache::{self, Staging},
    hub::Charge,
    model::{ByteRange, CommitHash, Failure, FailureKind, FileRecord},
    plan::{LeaseId, SegmentMap, segment_bytes},
    store::{FileDone, StoreError},
};

/// A file that came wrong so often for each endpoint is given up.
pub(super) const MISMATCHES: usize = 2;
/// Attempts at a file in one piece: each failure costs the whole of it.
const PIECES: u32 = 5;

/// Shared by the connections of one file.
pub(super) struct FileTransfer {
    pub(super) file: FileRecord,
    pub(super) commit: CommitHash,
    pub(super) staging: Arc<Staging>,
    /// The server gives no parts.
    pub(super) in_one_piece: bool,
    pub(super) unclaimed: Unclaimed,
    /// Held while a claim is made.
    pub(super) claiming: AsyncMutex<()>,
    pub(super) counted: Counted,
    pub(super) frontier: Frontier,
    /// One write at a time: the kernel lets no two into a file either, and lets those that wait spin.
    pub(super) writing: Arc<Semaphore>,
    /// An endpoint said where the bytes lie.
    pub(super) linked: Notify,
    pub(super) most_connections: u32,
    pub(super) segments: Mutex<SegmentMap>,
    /// Where the bytes lie, by the number of the endpoint that said so.
    pub(super) links: Mutex<Vec<KnownLink>>,
    /// Hosts that bytes may have come from, with the number of the endpoint that led there.
    pub(super) sources: Mutex<BTreeSet<(usize, String)>>,
    /// Where the last bytes of each endpoint were counted.
    pub(super) charges: Mutex<BTreeMap<usize, Charge>>,
}

/// What became of a file.
pub(super) enum Carried {
    Published(Published),
    /// Another job goes on with it.
    Left,
}

/// Why the connections of a file ended early.
pub(super) enum TransferEnd {
    Stop(JobStop),
    /// Another job takes the file over.
    Left,
    /// The server gives no parts: begin again, in one piece.
    WholeFile,
}

/// A file that is in its place. Its bytes stay in the figures until the store has them.
pub(super) struct Published {
    pub(super) done: FileDone,
    #[expect(dead_code, reason = "held for its drop")]
    counted: Option<Counted>,
}

impl Published {
    pub(super) fn new(done: FileDone, counted: Option<Counted>) -> Self {
        Self { done, counted }
    }
}

impl<E: Into<JobStop>> From<E> for TransferEnd {
    fn from(stop: E) -> Self {
        Self::Stop(stop.into())
    }
}

impl FileTransfer {
    /// Takes the next missing segment for an endpoint.
    pub(super) fn lease(&self, index: usize, wanted: u64) -> Option<(LeaseId, ByteRange)> {
        lock(&self.segments).lease(index, wanted)
    }

    /// Gives what a lease has from byte `at` on to another endpoint.
    pub(super) fn split(&self, lease: LeaseId, at: u64, index: usize) -> Option<(LeaseId, ByteRange)> {
        lock(&self.segments).split(lease, at, index)
    }

    pub(super) fn release(&self, lease: LeaseId) {
        lock(&self.segments).release(lease);
    }

    pub(super) fn wrote(&self, lease: LeaseId, bytes: u64) -> bool {
        let (current, front) = {
            let mut segments = lock(&self.segments);
            (segments.wrote(lease, bytes), segments.written().front())
        };
        self.frontier.reached(front);
        current
    }

    /// Bytes for the next request to a source that does as usual.
    pub(super) fn segment_bytes(&self, usual: Usual) -> u64 {
        let missing = lock(&self.segments).missing();
        segment_bytes(missing, self.most_connections, usual.bytes_per_sec, usual.first_byte)
    }

    /// Something is missing that nobody fetches.
    pub(super) fn has_missing(&self) -> bool {
        lock(&self.segments).missing() > 0
    }

    /// Every byte is in the file.
    pub(super) fn is_complete(&self) -> bool {
        lock(&self.segments).is_complete()
    }

    pub(super) fn most_connections(&self) -> usize {
        self.most_connections as usize
    }

    /// How far the file is written without a gap, from 0 on.
    pub(super) fn front(&self) -> u64 {
        lock(&self.segments).written().front()
    }

    /// All bytes of a range are in the file.
    pub(super) fn is_written(&self, range: ByteRange) -> bool {
        lock(&self.segments).written().covers(range)
    }

    pub(super) fn written_ranges(&self) -> Vec<ByteRange> {
        lock(&self.segments).written().ranges().to_vec()
    }

    /// Hosts that bytes may have come from in this run.
    pub(super) fn sources(&self) -> Vec<String> {
        let hosts: BTreeSet<String> = lock(&self.sources).iter().map(|(_, host)| host.clone()).collect();
        hosts.into_iter().collect()
    }

    /// An endpoint and the hosts that it led to, for people.
    pub(super) fn source_name(&self, context: &JobContext, index: usize) -> String {
        let endpoint = &context.endpoints[index].endpoint;
        let sources = lock(&self.sources);
        let others = sources
            .iter()
            .filter(|(from, _)| *from == index)
            .map(|(_, host)| host.as_str());
        let others: Vec<&str> = others.filter(|host| *host != endpoint.host()).collect();
        match others.is_empty() {
            true => endpoint.base().to_string(),
            false => format!("{} ({})", endpoint.base(), others.join(", ")),
        }
    }

    /// The endpoints that brought bytes in this run, by their numbers, and which bytes.
    pub(super) fn came_from(&self) -> Vec<(usize, Vec<ByteRange>)> {
        let segments = lock(&self.segments);
        let count = lock(&self.links).len();
        let came = (0..count).map(|index| (index, segments.came_from(index).to_vec()));
        came.filter(|(_, ranges)| !ranges.is_empty()).collect()
    }

    /// Takes a transfer apart whose connections are gone.
    pub(super) fn into_parts(transfer: Arc<Self>) -> Result<(FileRecord, Staging, Counted), JobStop> {
        let shared = || {
            JobStop::JobFailed(Failure::new(
                FailureKind::Internal,
                "a connection outlived its file",
                "this is a bug; `hfctl retry` tries again",
            ))
        };
        let transfer = Arc::into_inner(transfer).ok_or_else(shared)?;
        let staging = Arc::into_inner(transfer.staging).ok_or_else(shared)?;
        Ok((transfer.file, staging, transfer.counted))
    }
}

/// Takes one file all the way.
pub(super) async fn run(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
    file: FileRecord,
    _turn: Turn,
) -> Result<Carried, JobStop> {
    let seated = Seated::new(&context, &store, &file);
    let _in_hand = context.progress.file_in_hand(&file);
    context.progress.file_stage(&file, "looking for");
    let mut retry = Retry::new(&context);
    let mut mismatches = 0;
    let mut pieces = 0;
    loop {
        if let Some(done) = finish::find(&context, &store, &commit, &file).await? {
            context.progress.is_there(file.id);
            return Ok(Carried::Published(Published::new(done, None)));
        }
        let mut twin = twins::copy(&context, &store, &commit, &file).await?;
        if twin.is_none() && pieces == 0 && mismatches == 0 {
            twin = twins::bring(&context, &store, &commit, &file).await?;
        }
        if let Some(done) = twin {
            context.progress.is_there(file.id);
            return Ok(Carried::Published(Published::new(done, None)));
        }
        let transfer = stage(&context, &store, &commit, &file, pieces > 0).await?;
        let mut repair = Repair::default();
        let kept = match fetch(&context, &transfer, (&mut retry, &mut repair), &seated).await {
            Ok(verdict) => Ok(verdict),
            Err(TransferEnd::WholeFile) => {
                pieces += 1;
                transfer.thrown_away(false);
                if pieces > PIECES {
                    return Err(JobStop::FileFailed(Failure::new(
                        FailureKind::BadEndpoint,
                        format!(
                            "no endpoint serves parts of {}, and the whole broke off {PIECES} times",
                            file.path.as_str().escape_debug()
                        ),
                        "use another endpoint",
                    )));
                }
                continue;
            }
            Err(TransferEnd::Left) => {
                context.progress.put_by(&transfer.counted);
                checkpoint::claim_last(&context, &transfer).await;
                return Ok(Carried::Left);
            }
            Err(TransferEnd::Stop(stop)) => Err(stop),
        };
        match kept {
            Ok(None) => {
                // Before the last steps: stopped in them, the bytes are not fetched again.
                checkpoint::claim_whole(&context, &transfer).await?;
                let counted = finish::publish(&context, &store, &commit, transfer).await?;
                let done = FileDone {
                    id: file.id,
                    reused: false,
                };
                return Ok(Carried::Published(Published::new(done, Some(counted))));
            }
            Ok(Some(wrong)) => {
                mismatches += 1;
                let from: Vec<usize> = transfer.came_from().iter().map(|(index, _)| *index).collect();
                transfer.thrown_away(true);
                finish::reject(&context, transfer, &wrong).await?;
                if repair.is_exhausted() || mismatches >= MISMATCHES * context.endpoints.len() {
                    return Err(JobStop::FileFailed(integrity(wrong)));
                }
                retry.wrong_bytes(&context, &from);
            }
            Err(stop) => {
                checkpoint::keep_or_clear(&context, transfer, &stop).await;
                return Err(stop);
            }
        }
    }
}

/// A hint that cannot be read or kept costs bytes or time, never a job.
pub(super) fn hint<T>(outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .map_err(|error| tracing::warn!(%error, "the progress database"))
        .ok()
}

/// Fetches until the file is right: `None`. Or tells what is wrong with it.
async fn fetch(
    context: &Arc<JobContext>,
    transfer: &Arc<FileTransfer>,
    (retry, repair): (&mut Retry, &mut Repair),
    seated: &Seated,
) -> Result<Option<String>, TransferEnd> {
    loop {
        download(context, transfer, retry, seated).await?;
        // The last bytes are synced while they are hashed. Both are waited for, as they hold the partial file; but what the disk
        // refuses ends the hashing.
        let work = context.child();
        let claims = async {
            let claimed = checkpoint::claim_whole(context, transfer).await;
            claimed.inspect_err(|_| work.cancel.cancel())
        };
        let (claimed, verdict) = tokio::join!(claims, repair.look(&work, transfer, retry));
        claimed?;
        match verdict? {
            Verdict::Right => return Ok(None),
            Verdict::Wrong(text) => return Ok(Some(text)),
            Verdict::Incomplete => {}
        }
    }
}

/// Runs the connections until the file is whole, with claims and hashing beside them.
async fn download(
    context: &Arc<JobContext>,
    transfer: &Arc<FileTransfer>,
    retry: &mut Retry,
    seated: &Seated,
) -> Result<(), TransferEnd> {
    context.progress.file_stage(&transfer.file, "downloading");
    let work = context.child();
    let finished = CancellationToken::new();
    // What the disk refuses ends the connections, and their end ends what is beside them.
    let claims = async {
        let claimed = checkpoint::run(context, transfer, &finished).await;
        finished.cancel();
        work.cancel.cancel();
        claimed
    };
    let hashing = async {
        let hashed = frontier::run(context, transfer, &finished).await;
        finished.cancel();
        work.cancel.cancel();
        hashed
    };
    let connections = async {
        let fetched = crew::run(&work, transfer, retry).await;
        finished.cancel();
        fetched
    };
    let giving_way = async {
        tokio::select! {
            () = finished.cancelled() => {}
            // In one piece, the next one would begin anew.
            () = seated.asked(), if !transfer.in_one_piece => work.cancel.cancel(),
        }
    };
    // Waited for, all of them, so that nothing on the blocking pool holds the file any more.
    let (fetched, claimed, hashed, ()) = tokio::join!(connections, claims, hashing, giving_way);
    claimed?;
    hashed?;
    match fetched {
        Err(TransferEnd::Stop(JobStop::Cancelled)) if seated.is_asked() && !context.cancel.is_cancelled() => {
            Err(TransferEnd::Left)
        }
        fetched => fetched,
    }
}
