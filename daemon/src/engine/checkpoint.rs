//! Claims: bytes of a partial file are synced, then recorded, while the download goes on. A crash costs at most what was
//! not claimed yet, which this file bounds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::{
    sync::Notify,
    time::{Duration, MissedTickBehavior, interval},
};

use tokio_util::sync::CancellationToken;

use super::{
    shared::{JobContext, blocking},
    stop::JobStop,
    transfer::{FileTransfer, hint},
};
use crate::store::Claim;

/// A file is claimed at the latest when it has so many unclaimed bytes.
const CLAIM_BYTES: u64 = 24 << 20;
/// Writers of a file wait when it has so many: with what is in their hands this stays below 64 MiB per file.
const STOP_BYTES: u64 = 40 << 20;
/// And when so much time went by.
const CLAIM_TIME: Duration = Duration::from_secs(2);

/// Written but unclaimed bytes of one file.
#[derive(Default)]
pub(super) struct Unclaimed {
    bytes: AtomicU64,
    /// Many were written.
    much: Notify,
    /// Some were claimed.
    less: Notify,
}

impl Unclaimed {
    pub(super) fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        if before < CLAIM_BYTES && before + bytes >= CLAIM_BYTES {
            self.much.notify_one();
        }
    }

    /// The disk is behind.
    pub(super) fn is_much(&self) -> bool {
        self.bytes.load(Relaxed) >= STOP_BYTES
    }

    /// Waits while the disk is behind: the network is read no further.
    pub(super) async fn below_limit(&self) {
        loop {
            let less = self.less.notified();
            tokio::pin!(less);
            // Registered before the look, so that a claim in between is not missed.
            less.as_mut().enable();
            if self.bytes.load(Relaxed) < STOP_BYTES {
                return;
            }
            less.await;
        }
    }
}

/// Claims as bytes come, until `finished`. Ends by itself only when the disk refuses. Must not be dropped in the middle: the
/// sync on the blocking pool would go on holding the partial file.
pub(super) async fn run(
    context: &JobContext,
    transfer: &FileTransfer,
    finished: &CancellationToken,
) -> Result<(), JobStop> {
    let mut tick = interval(CLAIM_TIME);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tokio::select! {
            () = transfer.unclaimed.much.notified() => {}
            _ = tick.tick() => {}
            () = finished.cancelled() => return Ok(()),
        }
        claim(context, transfer).await?;
    }
}

/// Syncs the partial file, then records what was written before the sync. Nothing to do costs nothing.
pub(super) async fn claim(context: &JobContext, transfer: &FileTransfer) -> Result<(), JobStop> {
    let claimed = transfer.unclaimed.bytes.load(Relaxed);
    if claimed == 0 {
        return Ok(());
    }
    // Taken before the sync: what is written meanwhile belongs to the next claim. The hash first: it covers less.
    let hash = transfer.frontier.saved();
    let ranges = transfer.written_ranges();
    let staging = transfer.staging.clone();
    let stamp = blocking(move || {
        staging.sync()?;
        staging.stamp()
    })
    .await?;
    let claim = Claim {
        digest: transfer.file.digest,
        size: transfer.file.size,
        dev: stamp.dev,
        ino: stamp.ino,
        ranges,
        hash,
        boot: context.shared.boot.clone(),
        job: context.id.to_string(),
    };
    let recorded = context
        .shared
        .store
        .record_claim(transfer.staging.path().to_owned(), claim)
        .await;
    if hint(recorded).is_none() && claimed < STOP_BYTES {
        // The next claim includes it. Writers are not held up by a hint that cannot be kept.
        return Ok(());
    }
    transfer.unclaimed.bytes.fetch_sub(claimed, Relaxed);
    transfer.unclaimed.less.notify_waiters();
    Ok(())
}
