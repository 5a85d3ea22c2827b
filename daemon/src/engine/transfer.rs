//! One file: found or fetched, verified, published. Returns what became of it and changes no stored state but claims.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use tokio::{sync::Mutex as AsyncMutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    checkpoint::{self, Unclaimed},
    connection, finish,
    frontier::{self, Frontier},
    progress::{Counted, lock},
    retry::Retry,
    shared::{JobContext, blocking},
    stop::{JobStop, integrity},
};
use crate::{
    cache::{self, Staging},
    hub::Link,
    model::{ByteRange, CommitHash, Failure, FailureKind, FileRecord},
    plan::{LeaseId, RangeSet, SegmentMap},
    store::{FileDone, StoreError},
};

/// Fewer bytes than this for one more connection are not worth its round trips.
const BYTES_PER_CONNECTION: u64 = 4 << 20;
/// A file that came wrong so often is given up, unless there are more endpoints than this.
const MISMATCHES: usize = 2;
/// Files of this size reserve their space one after the other.
const RESERVED_ALONE: u64 = 16 << 20;
/// Attempts at a file in one piece: each failure costs the whole of it.
const PIECES: u32 = 5;

/// Shared by the connections of one file.
pub(super) struct FileTransfer {
    pub(super) file: FileRecord,
    pub(super) commit: CommitHash,
    pub(super) staging: Arc<Staging>,
    pub(super) retry: Arc<Retry>,
    /// The server gives no parts.
    pub(super) in_one_piece: bool,
    pub(super) unclaimed: Unclaimed,
    pub(super) counted: Counted,
    pub(super) frontier: Frontier,
    /// Held by the connection that asks where the bytes lie.
    pub(super) asking: AsyncMutex<()>,
    connections: u32,
    segments: Mutex<SegmentMap>,
    /// Where the bytes lie, and the number of the endpoint that said so.
    link: Mutex<KnownLink>,
    /// Hosts that bytes may have come from.
    sources: Mutex<BTreeSet<String>>,
}

/// Where the bytes of a file lie, and the number of the endpoint that said so.
#[derive(Default)]
struct KnownLink {
    /// Tells a new address from the one before.
    generation: u64,
    link: Option<(usize, Link)>,
}

/// Why the connections of a file ended early.
pub(super) enum TransferEnd {
    Stop(JobStop),
    /// The server gives no parts: begin again, in one piece.
    WholeFile,
}

/// A file that is in its place. Its bytes stay in the figures until the store has them.
pub(super) struct Published {
    pub(super) done: FileDone,
    #[expect(dead_code, reason = "held for its drop")]
    counted: Option<Counted>,
}

impl<E: Into<JobStop>> From<E> for TransferEnd {
    fn from(stop: E) -> Self {
        Self::Stop(stop.into())
    }
}

impl FileTransfer {
    pub(super) fn lease(&self) -> Option<(LeaseId, ByteRange)> {
        lock(&self.segments).lease(self.connections)
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

    /// How far the file is written without a gap, from 0 on.
    pub(super) fn front(&self) -> u64 {
        lock(&self.segments).written().front()
    }

    pub(super) fn written_ranges(&self) -> Vec<ByteRange> {
        lock(&self.segments).written().ranges().to_vec()
    }

    /// Where the bytes lie, if endpoint `index` said so and it holds for a while yet.
    pub(super) fn link(&self, index: usize) -> Option<(u64, Link)> {
        let known = lock(&self.link);
        let (by, link) = known.link.as_ref()?;
        (*by == index && !link.is_stale(Timestamp::now())).then(|| (known.generation, link.clone()))
    }

    /// Keeps an address and gives its generation.
    pub(super) fn set_link(&self, index: usize, link: Link) -> u64 {
        lock(&self.sources).insert(link.host.clone());
        let mut known = lock(&self.link);
        known.generation += 1;
        known.link = Some((index, link));
        known.generation
    }

    /// Drops the address of a generation; false when it was dropped or replaced before.
    pub(super) fn forget_link(&self, generation: u64) -> bool {
        let mut known = lock(&self.link);
        let current = known.generation == generation && known.link.is_some();
        if current {
            known.link = None;
        }
        current
    }

    /// Hosts that bytes may have come from in this run.
    pub(super) fn sources(&self) -> Vec<String> {
        lock(&self.sources).iter().cloned().collect()
    }

    /// The endpoint that last said where the bytes lie.
    fn served_by(&self) -> usize {
        lock(&self.link).link.as_ref().map_or(0, |(index, _)| *index)
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
) -> Result<Published, JobStop> {
    let _in_hand = context.progress.file_in_hand(&file);
    context.progress.file_stage(&file, "waiting for another transfer of");
    let turn = context.shared.turns.take(store.staging_key(&file.digest));
    let _turn = context.unless_stopped(turn).await?;
    context.progress.file_stage(&file, "looking for");
    let retry = Arc::new(Retry::new(&context));
    let mut mismatches = 0;
    let mut pieces = 0;
    loop {
        if let Some(done) = finish::find(&context, &store, &commit, &file).await? {
            return Ok(Published { done, counted: None });
        }
        let transfer = stage(&context, &store, &commit, &file, retry.clone(), pieces > 0).await?;
        let kept = match download(&context, &transfer).await {
            Ok(()) => finish::verify(&context, &transfer).await,
            Err(TransferEnd::WholeFile) => {
                pieces += 1;
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
            Err(TransferEnd::Stop(stop)) => Err(stop),
        };
        match kept {
            Ok(None) => {
                // Before the last steps: stopped in them, the bytes are not fetched again.
                checkpoint::claim(&context, &transfer).await?;
                let counted = finish::publish(&context, &store, &commit, transfer).await?;
                let done = FileDone {
                    id: file.id,
                    reused: false,
                };
                return Ok(Published {
                    done,
                    counted: Some(counted),
                });
            }
            Ok(Some(wrong)) => {
                mismatches += 1;
                let index = transfer.served_by();
                finish::reject(&context, transfer, &wrong).await?;
                if mismatches >= MISMATCHES.max(context.endpoints.len()) {
                    return Err(JobStop::FileFailed(integrity(wrong)));
                }
                retry.move_on(index);
            }
            Err(stop) => {
                keep_or_clear(&context, transfer, &stop).await;
                return Err(stop);
            }
        }
    }
}

/// What was written is claimed, so that nothing is fetched twice after a clean stop. A file that was refused before its first
/// byte leaves nothing behind. The stop's own reason is the one to tell.
async fn keep_or_clear(context: &JobContext, transfer: Arc<FileTransfer>, stop: &JobStop) {
    let refused = matches!(stop, JobStop::JobFailed(_) | JobStop::FileFailed(_));
    if refused && lock(&transfer.segments).written().is_empty() {
        if let Ok((_, staging, _)) = FileTransfer::into_parts(transfer)
            && let Err(error) = blocking(move || staging.discard()).await
        {
            tracing::debug!(job = %context.id, %error, "an empty partial file stays");
        }
        return;
    }
    context.progress.keep(&transfer.counted);
    if let Err(error) = checkpoint::claim(context, &transfer).await {
        tracing::debug!(job = %context.id, ?error, "last claim");
    }
}

/// A hint that cannot be read or kept costs bytes or time, never a job.
pub(super) fn hint<T>(outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .map_err(|error| tracing::warn!(%error, "the progress database"))
        .ok()
}

/// Opens the partial file and takes over what an earlier run claimed.
async fn stage(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    file: &FileRecord,
    retry: Arc<Retry>,
    whole: bool,
) -> Result<Arc<FileTransfer>, JobStop> {
    let staging = {
        // One large file after the other: two that look at the free space at once would both take it.
        let _reserving = match file.size >= RESERVED_ALONE {
            true => Some(context.unless_stopped(context.shared.reserving.lock()).await?),
            false => None,
        };
        finish::check_space(context, store, file).await?;
        let (store, file, tag) = (store.clone(), file.clone(), context.id.to_string());
        blocking(move || store.stage(&file.digest, &file.path, file.size, &tag)).await?
    };
    let stamp = staging.stamp()?;
    let claim = match staging.existed() && !whole {
        true => hint(context.shared.store.claim(staging.path().to_owned()).await).flatten(),
        false => None,
    };
    let claim = claim.filter(|claim| {
        let same = (claim.digest, claim.size, claim.dev, claim.ino) == (file.digest, file.size, stamp.dev, stamp.ino);
        // A forced download takes over only what it fetched itself.
        same && (!context.spec.force_download || claim.job == context.id.as_str())
    });
    let written: RangeSet = claim.iter().flat_map(|claim| claim.ranges.iter().copied()).collect();
    let config = context.shared.config();
    let wanted = context.spec.connections.unwrap_or(config.transfer.connections).max(1);
    let missing = file.size - written.len();
    let worthwhile = u32::try_from(missing.div_ceil(BYTES_PER_CONNECTION)).unwrap_or(u32::MAX);
    Ok(Arc::new(FileTransfer {
        file: file.clone(),
        commit: commit.clone(),
        staging: Arc::new(staging),
        retry,
        in_one_piece: whole,
        counted: Counted::new(context.progress.clone(), written.len()),
        frontier: Frontier::new(
            &file.digest,
            file.size,
            claim.as_ref(),
            &context.shared.boot,
            written.front(),
        ),
        unclaimed: Unclaimed::default(),
        asking: AsyncMutex::new(()),
        connections: if whole { 1 } else { wanted.min(worthwhile) },
        segments: Mutex::new(if whole {
            SegmentMap::in_one_piece(file.size)
        } else {
            SegmentMap::new(file.size, written)
        }),
        link: Mutex::default(),
        sources: Mutex::default(),
    }))
}

/// Runs the connections until the file is whole, with claims and hashing beside them.
async fn download(context: &Arc<JobContext>, transfer: &Arc<FileTransfer>) -> Result<(), TransferEnd> {
    let connections = transfer.connections;
    context.progress.file_stage(&transfer.file, "downloading");
    // Ended by their token, never aborted: a write on the blocking pool would go on holding the partial file.
    let work = context.child();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(connection::run(work.clone(), transfer.clone()));
    }
    let finished = CancellationToken::new();
    let beside = async {
        let claims = async {
            let claimed = checkpoint::run(context, transfer, &finished).await;
            finished.cancel();
            claimed
        };
        let hashing = async {
            let hashed = frontier::run(context, transfer, &finished).await;
            finished.cancel();
            hashed
        };
        let (claimed, hashed) = tokio::join!(claims, hashing);
        claimed.and(hashed)
    };
    tokio::pin!(beside);
    let mut end: Option<TransferEnd> = None;
    let mut running = true;
    loop {
        tokio::select! {
            joined = tasks.join_next() => match joined {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(early))) => {
                    // The first reason counts; the others keep what they have and follow.
                    end.get_or_insert(early);
                    work.cancel.cancel();
                }
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(Err(_)) => {
                    end.get_or_insert(JobStop::Cancelled.into());
                }
            },
            ended = &mut beside, if running => {
                running = false;
                if let Err(refused) = ended {
                    end.get_or_insert(refused.into());
                    work.cancel.cancel();
                }
            }
        }
    }
    if running {
        finished.cancel();
        // Waited for, so that nothing on the blocking pool holds the file any more.
        if let Err(refused) = beside.await {
            end.get_or_insert(refused.into());
        }
    }
    match end {
        Some(early) => Err(early),
        None if lock(&transfer.segments).is_complete() => Ok(()),
        None => Err(JobStop::Cancelled.into()),
    }
}
