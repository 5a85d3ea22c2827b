//! Hashing while the download runs: follows the bytes that are written without a gap from 0 on, reading them back from the
//! page cache, so that what is hashed is what the file holds. A file is verified within moments of its last byte.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{
    progress::lock,
    shared::{JobContext, blocking_until_stopped},
    stop::JobStop,
    transfer::FileTransfer,
};
use crate::{
    cache::{Hasher, verify},
    model::Digest,
    store::Claim,
};

/// A turn on the blocking pool is worth this many bytes.
const LEAST: u64 = 8 << 20;
/// Then another file may have its turn.
const MOST: u64 = 64 << 20;

/// The half-done hash of one file.
pub(super) struct Frontier {
    /// Held while hashing.
    hasher: AsyncMutex<Hasher>,
    /// The state after the last turn, for the next claim.
    saved: Mutex<Vec<u8>>,
    /// Where the hasher stands.
    position: AtomicU64,
    grew: Notify,
}

impl Frontier {
    /// Goes on from a claim of this boot, else begins at 0.
    pub(super) fn new(digest: &Digest, size: u64, claim: Option<&Claim>, boot: &str, front: u64) -> Self {
        let resumed = claim
            .filter(|claim| !boot.is_empty() && claim.boot == boot)
            .and_then(|claim| Hasher::restore(&claim.hash))
            .filter(|hasher| hasher.position() <= front);
        let hasher = resumed.unwrap_or_else(|| Hasher::new(digest, size));
        Self {
            position: AtomicU64::new(hasher.position()),
            saved: Mutex::new(hasher.save().unwrap_or_default()),
            hasher: AsyncMutex::new(hasher),
            grew: Notify::new(),
        }
    }

    /// The file is written up to here without a gap.
    pub(super) fn reached(&self, front: u64) {
        if front >= self.position.load(Relaxed) + LEAST {
            self.grew.notify_one();
        }
    }

    /// State of a hash over bytes that were written before this call.
    pub(super) fn saved(&self) -> Vec<u8> {
        lock(&self.saved).clone()
    }
}

/// Hashes as the file grows, until `finished`. Must not be dropped in the middle: the pool would go on reading the file.
pub(super) async fn run(
    context: &JobContext,
    transfer: &FileTransfer,
    finished: &CancellationToken,
) -> Result<(), JobStop> {
    let frontier = &transfer.frontier;
    loop {
        let front = transfer.front();
        if front >= frontier.position.load(Relaxed) + LEAST {
            advance(context, transfer, front).await?;
            if finished.is_cancelled() {
                return Ok(());
            }
            continue;
        }
        tokio::select! {
            () = frontier.grew.notified() => {}
            () = finished.cancelled() => return Ok(()),
        }
    }
}

/// One turn: at most [`MOST`] bytes towards `front`.
async fn advance(context: &JobContext, transfer: &FileTransfer, front: u64) -> Result<(), JobStop> {
    let frontier = &transfer.frontier;
    let _turn = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let mut hasher = frontier.hasher.lock().await;
    let end = front.min(hasher.position() + MOST);
    let (staging, mut moving) = (transfer.staging.clone(), hasher.clone());
    let progress = context.progress.clone();
    let (moved, outcome) = blocking_until_stopped(context, move |stopped| {
        let outcome = verify::advance(&mut moving, staging.content(), end, stopped, &|_| progress.moved());
        Ok((moving, outcome))
    })
    .await?;
    *hasher = moved;
    frontier.position.store(hasher.position(), Relaxed);
    *lock(&frontier.saved) = hasher.save().unwrap_or_default();
    Ok(outcome?)
}

/// The digest of the whole file, which is complete.
pub(super) async fn finish(context: &JobContext, transfer: &Arc<FileTransfer>) -> Result<Digest, JobStop> {
    while transfer.frontier.position.load(Relaxed) < transfer.file.size {
        advance(context, transfer, transfer.file.size).await?;
    }
    Ok(transfer.frontier.hasher.lock().await.clone().finish())
}
