//! Claims: bytes of a partial file are synced, then recorded, while the download goes on. A crash costs at most what was
//! not claimed yet, which `unclaimed.rs` bounds.

use std::{path::PathBuf, sync::Arc};

use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    ledger,
    progress::lock,
    shared::{JobContext, blocking},
    stop::JobStop,
    transfer::{FileTransfer, hint},
};
use crate::store::Claim;

/// A claim is made at the latest when so much time went by.
const CLAIM_TIME: Duration = Duration::from_secs(2);
/// A file that is about to be published is claimed before only when it is this large: a smaller one is fetched again sooner
/// than all its kind are synced twice.
const CLAIMED_AT_THE_END: u64 = 8 << 20;

/// Claims as bytes come, until `finished`. Ends by itself only when the disk refuses. Must not be dropped in the middle: the
/// sync on the disk's threads would go on holding the partial file.
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
    match transfer.unclaimed.bytes() {
        0 if !transfer.frontier.is_worth_a_claim() => Ok(()),
        _ => claim_anew(context, transfer).await,
    }
}

/// The last claim of a whole file, so that who is stopped in the steps that follow need not fetch it again.
pub(super) async fn claim_whole(context: &JobContext, transfer: &FileTransfer) -> Result<(), JobStop> {
    match transfer.file.size < CLAIMED_AT_THE_END {
        true => Ok(()),
        false => claim(context, transfer).await,
    }
}

/// The same also when nothing new was written: what is there may have become less.
pub(super) async fn claim_anew(context: &JobContext, transfer: &FileTransfer) -> Result<(), JobStop> {
    // One at a time: a claim that was overtaken would say less, or of bytes that were given up since.
    let _turn = transfer.claiming.lock().await;
    let claimed = transfer.unclaimed.bytes();
    // Taken before the sync: what is written meanwhile belongs to the next claim. The hash first: it covers less.
    let saved = transfer.frontier.saved();
    let first_check = saved.checks.from;
    let hashed = transfer.frontier.position();
    let ranges = transfer.written_ranges();
    let front = ranges
        .first()
        .filter(|first| first.start == 0)
        .map_or(0, |first| first.end);
    let staging = transfer.staging.clone();
    let stamp = context
        .shared
        .disk
        .run(move || {
            staging.sync()?;
            staging.let_go(front.min(hashed));
            staging.stamp()
        })
        .await;
    let stamp = match stamp {
        Ok(stamp) => stamp,
        Err(error) => {
            transfer.frontier.not_stored(first_check);
            return Err(error.into());
        }
    };
    let claim = Claim {
        digest: transfer.file.digest,
        size: transfer.file.size,
        dev: stamp.dev,
        ino: stamp.ino,
        ctime_ns: saved.stands_since(stamp.ctime_ns),
        ranges,
        hash: saved.state,
        checks: saved.checks,
        boot: context.shared.boot.clone(),
        job: context.id.to_string(),
    };
    let path: PathBuf = transfer.staging.path().to_owned();
    let recorded = {
        let _moving = context.shared.ledgers.moving().await;
        // In one transaction: what is claimed never comes again, so it must not be missing in the ledger.
        let came = ledger::take_of_job(&context.shared, &context.id);
        let recorded = hint(context.shared.store.record_claim(path, claim, came.clone()).await);
        if recorded.is_none() {
            ledger::not_booked(&context.shared, &came);
        }
        recorded.is_some()
    };
    transfer.frontier.synced(front);
    if !recorded {
        transfer.frontier.not_stored(first_check);
        // The next claim includes it. Writers are not held up by a hint that cannot be kept.
        if !transfer.unclaimed.is_much() {
            return Ok(());
        }
    }
    transfer.unclaimed.claimed(claimed);
    Ok(())
}

/// What was written is claimed, so that nothing is fetched twice after a clean stop. A file that was refused before its first
/// byte leaves nothing behind, unless it was there before. The stop's own reason is the one to tell.
pub(super) async fn keep_or_clear(context: &JobContext, transfer: Arc<FileTransfer>, stop: &JobStop) {
    let refused = matches!(stop, JobStop::JobFailed(_) | JobStop::FileFailed(_));
    if refused && !transfer.staging.existed() && lock(&transfer.segments).written().is_empty() {
        if let Ok((_, staging, _)) = FileTransfer::into_parts(transfer)
            && let Err(error) = blocking(move || staging.discard()).await
        {
            tracing::debug!(job = %context.id, %error, "an empty partial file stays");
        }
        return;
    }
    context.progress.keep(&transfer.counted);
    claim_last(context, &transfer).await;
}

pub(super) async fn claim_last(context: &JobContext, transfer: &Arc<FileTransfer>) {
    if let Err(error) = claim(context, transfer).await {
        tracing::debug!(job = %context.id, ?error, "last claim");
    }
}
