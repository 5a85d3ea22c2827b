//! Blocks that an earlier process hashed and that may have changed since: each is compared with its check, beside the hashing of
//! what follows. One that is not what it was is fetched again, alone.

use super::{
    progress::lock,
    repair,
    shared::{JobContext, blocking_until_stopped},
    stop::JobStop,
    transfer::FileTransfer,
};
use crate::{
    cache::verify,
    model::ByteRange,
    plan::blocks::{self, BlockCheck},
};

/// A block that is not what it was comes again so often; then what it was is what is doubted.
const COMES_AGAIN: u32 = 1;

/// Compares one doubtful block with its check; false when there is none that can be looked at.
pub(super) async fn look_again(context: &JobContext, transfer: &FileTransfer) -> Result<bool, JobStop> {
    let frontier = &transfer.frontier;
    let size = transfer.file.size;
    // One that is being fetched again is not whole yet. A terabyte has tens of thousands: they are not copied for each.
    let whole = lock(&frontier.doubtful)
        .iter()
        .map(|(block, again)| (*block, *again))
        .find(|(block, _)| transfer.is_written(blocks::range(*block, size)));
    let Some((block, came_again)) = whole else {
        return Ok(false);
    };
    let Some(was) = frontier.check(block) else {
        // Hashing begins before it once more, and reads it from the disk.
        lock(&frontier.doubtful).remove(&block);
        return Ok(true);
    };
    let now = check_now(context, transfer, blocks::range(block, size)).await?;
    if was == now {
        lock(&frontier.doubtful).remove(&block);
        return Ok(true);
    }
    if came_again < COMES_AGAIN {
        lock(&frontier.doubtful).insert(block, came_again + 1);
        repair::changed_on_disk(context, transfer, block).await?;
        return Ok(true);
    }
    // The same bytes came twice in two versions: what the digest says of them is worth more than the check.
    lock(&frontier.doubtful).remove(&block);
    frontier.rewind(block).await;
    Ok(true)
}

/// The check of some bytes as the file holds them now.
pub(super) async fn check_now(
    context: &JobContext,
    transfer: &FileTransfer,
    range: ByteRange,
) -> Result<BlockCheck, JobStop> {
    let _turn = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let staging = transfer.staging.clone();
    let progress = context.progress.clone();
    blocking_until_stopped(context, move |stopped| {
        progress.moved();
        verify::check_range(staging.content(), range, stopped)
    })
    .await
}
