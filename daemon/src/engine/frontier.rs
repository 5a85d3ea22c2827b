//! Hashing while the download runs: follows the bytes that are written without a gap from 0 on, reading them back from the
//! page cache, so that what is hashed is what the file holds. A file is verified within moments of its last byte.
//!
//! What an earlier process hashed is believed in this boot of the machine, for then its bytes were in the same page cache. If
//! the file was changed since its last claim, they are compared with their block checks beside the download; after another
//! boot they are hashed again. A block that is not what it was is fetched again, alone.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures_util::TryFutureExt as _;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{
    doubts,
    progress::lock,
    repair,
    shared::{JobContext, blocking_until_stopped},
    stop::JobStop,
    transfer::FileTransfer,
};
use crate::{
    cache::{FileStamp, Followed, Follower},
    model::Digest,
    plan::{
        RangeSet,
        blocks::{self, BlockCheck},
    },
    store::{Claim, NewChecks},
};

/// A turn on the disk's threads is worth this many bytes.
const LEAST: u64 = 8 << 20;
/// Then another file may have its turn.
const MOST: u64 = 64 << 20;
/// What was hashed since the last claim is worth one of its own: a hash that follows the network slowly goes on when no bytes
/// come any more, and a crash would cost all of it.
const CLAIMED_ALONE: u64 = 32 << 20;

/// In a claim: no file was ever changed at this time.
const NEVER: i64 = i64::MIN;

/// The half-done hash of one file.
pub(super) struct Frontier {
    digest: Digest,
    size: u64,
    /// Held while hashing.
    follower: AsyncMutex<Follower>,
    known: Mutex<Known>,
    /// Where the follower stands.
    position: AtomicU64,
    /// Where it stood at the last claim.
    saved: AtomicU64,
    /// Below this the file is synced without a gap.
    synced: AtomicU64,
    /// Blocks that an earlier process hashed and that may have changed since, and how often each came again.
    pub(super) doubtful: Mutex<BTreeMap<u64, u32>>,
    grew: Notify,
    /// The same, for who looks at doubtful blocks.
    grew_also: Notify,
}

/// What the follower knows, for the next claim.
struct Known {
    state: Vec<u8>,
    checks: Vec<BlockCheck>,
    /// The checks before this one are in the store.
    stored: usize,
}

/// What a claim says of the hash.
pub(super) struct Saved {
    pub(super) state: Vec<u8>,
    pub(super) checks: NewChecks,
    /// Some of its blocks may have changed since.
    doubted: bool,
}

impl Saved {
    /// The time of its last change, to be claimed: none that ever comes, while there are blocks to be looked at.
    pub(super) fn stands_since(&self, ctime_ns: i64) -> i64 {
        if self.doubted { NEVER } else { ctime_ns }
    }
}

impl Frontier {
    /// Goes on from a claim, as far as it can be believed of a file that was `found` so, and is written to `written`.
    pub(super) fn new(
        (digest, size): (&Digest, u64),
        claim: Option<&Claim>,
        found: &FileStamp,
        boot: &str,
        written: &RangeSet,
    ) -> Self {
        let checks = claim.map_or(&[][..], |claim| &claim.checks.checks);
        let same_boot = claim.filter(|claim| !boot.is_empty() && claim.boot == boot);
        let resumed = same_boot
            .and_then(|claim| Follower::resume(digest, size, &claim.hash, checks.to_vec()))
            .filter(|follower| follower.position() <= written.front());
        let untouched = claim.is_some_and(|claim| claim.ctime_ns == found.ctime_ns && claim.ctime_ns != NEVER);
        let doubtful = match (&resumed, untouched) {
            (Some(follower), false) => (0..).zip(follower.checks()).map(|(block, _)| (block, 0)).collect(),
            _ => BTreeMap::new(),
        };
        // Of a block that is to come anew nothing is expected.
        let expected = (0..).zip(checks.iter().copied());
        let expected = expected.filter(|(block, _)| written.covers(blocks::range(*block, size)));
        let follower = resumed
            .unwrap_or_else(|| Follower::new(digest, size))
            .expecting(expected.collect());
        Self {
            digest: *digest,
            size,
            position: AtomicU64::new(follower.position()),
            saved: AtomicU64::new(follower.position()),
            known: Mutex::new(Known {
                state: follower.saved(),
                checks: follower.known_checks(),
                stored: checks.len(),
            }),
            follower: AsyncMutex::new(follower),
            synced: AtomicU64::new(0),
            doubtful: Mutex::new(doubtful),
            grew: Notify::new(),
            grew_also: Notify::new(),
        }
    }

    /// The file is written up to here without a gap.
    pub(super) fn reached(&self, front: u64) {
        if front >= self.position.load(Relaxed) + LEAST {
            self.grew.notify_one();
            self.grew_also.notify_one();
        }
    }

    /// How far the file is hashed.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Relaxed)
    }

    /// The file is synced up to here without a gap.
    pub(super) fn synced(&self, front: u64) {
        self.synced.store(front, Relaxed);
    }

    /// Bytes from here on come again.
    pub(super) fn comes_again(&self, start: u64) {
        self.synced.fetch_min(start, Relaxed);
    }

    /// For a claim: what is known of bytes that were written before this call.
    pub(super) fn saved(&self) -> Saved {
        let mut known = lock(&self.known);
        let checks = NewChecks::after(known.stored, &known.checks);
        known.stored = known.checks.len();
        self.saved.store(self.position(), Relaxed);
        Saved {
            state: known.state.clone(),
            checks,
            doubted: !lock(&self.doubtful).is_empty(),
        }
    }

    /// Much was hashed since the last claim.
    pub(super) fn is_worth_a_claim(&self) -> bool {
        self.position() >= self.saved.load(Relaxed).saturating_add(CLAIMED_ALONE)
    }

    /// The claim that was to store this was not.
    pub(super) fn not_stored(&self, first: usize) {
        let mut known = lock(&self.known);
        known.stored = known.stored.min(first);
    }

    /// The check of a block that was passed.
    pub(super) fn check(&self, block: u64) -> Option<BlockCheck> {
        lock(&self.known).checks.get(usize::try_from(block).ok()?).copied()
    }

    /// Hashes again from block `first` on, or from an earlier one.
    pub(super) async fn rewind(&self, first: u64) {
        let mut follower = self.follower.lock().await;
        follower.rewind(first);
        self.note(&follower, first);
        self.grew.notify_one();
    }

    /// Hashes all of it again, from the disk alone; what its blocks were is compared on the way.
    pub(super) async fn restart(&self) {
        let mut follower = self.follower.lock().await;
        let checks = (0..).zip(follower.known_checks()).collect();
        *follower = Follower::new(&self.digest, self.size).expecting(checks);
        lock(&self.doubtful).clear();
        self.note(&follower, u64::MAX);
    }

    /// Takes over where the follower stands; the checks of blocks from `changed` on may be others than before.
    fn note(&self, follower: &Follower, changed: u64) {
        let mut known = lock(&self.known);
        known.state = follower.saved();
        known.checks = follower.known_checks();
        known.stored = known.stored.min(usize::try_from(changed).unwrap_or(usize::MAX));
        self.position.store(follower.position(), Relaxed);
    }
}

/// Hashes as the file grows, and looks at doubtful blocks beside that, until `finished`. Must not be dropped in the middle:
/// the disk's threads would go on reading the file.
pub(super) async fn run(
    context: &JobContext,
    transfer: &FileTransfer,
    finished: &CancellationToken,
) -> Result<(), JobStop> {
    let frontier = &transfer.frontier;
    let follows = async {
        while !finished.is_cancelled() {
            let front = transfer.front();
            if front >= frontier.position() + LEAST {
                advance(context, transfer, front).await?;
                continue;
            }
            tokio::select! {
                () = frontier.grew.notified() => {}
                () = finished.cancelled() => {}
            }
        }
        Ok(())
    };
    let doubts = async {
        while !finished.is_cancelled() && !lock(&frontier.doubtful).is_empty() {
            if doubts::look_again(context, transfer).await? {
                continue;
            }
            tokio::select! {
                () = frontier.grew_also.notified() => {}
                () = finished.cancelled() => {}
            }
        }
        Ok(())
    };
    side_by_side(finished, follows, doubts).await
}

/// Runs both to their end. The first that fails ends the other, so that the user need not wait for it.
async fn side_by_side(
    ended: &CancellationToken,
    one: impl Future<Output = Result<(), JobStop>>,
    other: impl Future<Output = Result<(), JobStop>>,
) -> Result<(), JobStop> {
    let (one, other) = tokio::join!(
        one.inspect_err(|_| ended.cancel()),
        other.inspect_err(|_| ended.cancel())
    );
    one.and(other)
}

/// One turn: at most [`MOST`] bytes towards `front`.
async fn advance(context: &JobContext, transfer: &FileTransfer, front: u64) -> Result<(), JobStop> {
    let frontier = &transfer.frontier;
    let _turn = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let mut follower = frontier.follower.lock().await;
    let end = front.min(follower.position() + MOST);
    // Should the turn be lost, hashing begins again.
    let beginning = Follower::new(&frontier.digest, frontier.size);
    let mut moving = std::mem::replace(&mut *follower, beginning);
    let (staging, synced) = (transfer.staging.clone(), frontier.synced.load(Relaxed));
    let progress = context.progress.clone();
    // What earlier turns left in memory goes beside this one: it takes as long as a tenth of the hashing.
    let (behind, passed) = (staging.clone(), moving.position().min(synced));
    let (moved, ()) = tokio::join!(
        blocking_until_stopped(context, move |stopped| {
            let outcome = moving.advance(staging.content(), end, stopped, &|_| progress.moved());
            Ok((moving, outcome))
        }),
        context.shared.disk.run(move || behind.let_go(passed)),
    );
    let (moved, outcome) = moved?;
    *follower = moved;
    let changed = match outcome {
        Ok(Followed::Changed(block)) => Some(block),
        Ok(Followed::Reached) | Err(_) => None,
    };
    frontier.note(&follower, changed.unwrap_or(u64::MAX));
    drop(follower);
    outcome?;
    match changed {
        Some(block) => repair::changed_on_disk(context, transfer, block).await,
        None => Ok(()),
    }
}

/// The digest of the whole file; `None` when some of it is to be fetched first.
pub(super) async fn finish(context: &JobContext, transfer: &FileTransfer) -> Result<Option<Digest>, JobStop> {
    let (frontier, size) = (&transfer.frontier, transfer.file.size);
    let ended = CancellationToken::new();
    loop {
        let follows = async {
            while transfer.is_complete() && frontier.position() < size && !ended.is_cancelled() {
                advance(context, transfer, size).await?;
            }
            Ok(())
        };
        let doubts = async {
            while !ended.is_cancelled() && doubts::look_again(context, transfer).await? {}
            Ok(())
        };
        side_by_side(&ended, follows, doubts).await?;
        if !transfer.is_complete() {
            return Ok(None);
        }
        // A doubtful block may have come twice in two versions; then hashing begins there once more.
        if frontier.position() == size {
            return Ok(Some(frontier.follower.lock().await.digest()));
        }
    }
}

#[cfg(test)]
mod tests;
