//! The beginning of a transfer: opens the partial file and believes of an earlier run what can be believed.

use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};

use super::{
    checkpoint,
    difference::may_go_on,
    finish,
    frontier::Frontier,
    known_link::KnownLink,
    leftovers,
    progress::Counted,
    shared::{JobContext, blocking},
    stop::JobStop,
    transfer::{FileTransfer, hint},
    unclaimed::Unclaimed,
};
use crate::{
    cache::{self, CacheError, ErrorKind, Staging},
    model::{CommitHash, FileRecord},
    plan::{RangeSet, SegmentMap},
};

/// Fewer bytes than this for one more connection are not worth its round trips.
const BYTES_PER_CONNECTION: u64 = 1 << 20;
/// Files of this size reserve their space one after the other.
const RESERVED_ALONE: u64 = 16 << 20;

async fn open_partial(
    context: &JobContext,
    store: &Arc<cache::Store>,
    file: &FileRecord,
) -> Result<Staging, CacheError> {
    let (store, file, tag) = (store.clone(), file.clone(), context.id.to_string());
    blocking(move || store.stage(&file.digest, &file.path, file.size, &tag)).await
}

/// Opens the partial file and takes over what an earlier run claimed.
pub(super) async fn stage(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    file: &FileRecord,
    whole: bool,
) -> Result<Arc<FileTransfer>, JobStop> {
    let staging = {
        // One large file after the other: two that look at the free space at once would both take it.
        let _reserving = match file.size >= RESERVED_ALONE {
            true => Some(context.unless_stopped(context.shared.reserving.lock()).await?),
            false => None,
        };
        finish::check_space(context, store, file).await?;
        match open_partial(context, store, file).await {
            // There may be a quota that the free space does not show.
            Err(error)
                if matches!(error.kind(), ErrorKind::DiskFull | ErrorKind::Quota)
                    && leftovers::make_room(context, store).await =>
            {
                open_partial(context, store, file).await?
            }
            opened => opened?,
        }
    };
    let found = staging.found();
    let claim = hint(context.shared.store.claim(staging.path().to_owned()).await).flatten();
    if claim.is_some() && !staging.existed() {
        // Of a file that is gone, or was cut. This one may have the same inode, and after a crash it would be believed of it.
        hint(context.shared.store.drop_claim(staging.path().to_owned()).await);
    }
    let content = (&file.digest, file.size);
    let claim = claim
        .filter(|_| staging.existed() && !whole)
        .filter(|claim| may_go_on(context, claim, content, &found));
    let is_anothers = claim.as_ref().is_some_and(|claim| claim.job != context.id.as_str());
    let written: RangeSet = claim.iter().flat_map(|claim| claim.ranges.iter().copied()).collect();
    let config = context.shared.config();
    let wanted = context.spec.connections.unwrap_or(config.transfer.connections).max(1);
    let missing = file.size - written.len();
    context.progress.taken_up();
    let worthwhile = u32::try_from(missing.div_ceil(BYTES_PER_CONNECTION)).unwrap_or(u32::MAX);
    let transfer = Arc::new(FileTransfer {
        file: file.clone(),
        commit: commit.clone(),
        staging: Arc::new(staging),
        in_one_piece: whole,
        counted: Counted::new(
            context.progress.clone(),
            (file.id, file.size),
            context.shared.partials.of(store.staging_key(&file.digest)),
            written.len(),
        ),
        frontier: Frontier::new(
            (&file.digest, file.size),
            claim.as_ref(),
            &found,
            &context.shared.boot,
            &written,
        ),
        unclaimed: Unclaimed::new(context.shared.unclaimed.clone()),
        claiming: AsyncMutex::new(()),
        writing: Arc::new(Semaphore::new(1)),
        linked: Notify::new(),
        most_connections: if whole { 1 } else { wanted.min(worthwhile) },
        segments: Mutex::new(if whole {
            SegmentMap::in_one_piece(file.size)
        } else {
            SegmentMap::new(file.size, written)
        }),
        links: Mutex::new(vec![KnownLink::default(); context.endpoints.len()]),
        sources: Mutex::default(),
        charges: Mutex::default(),
    });
    if is_anothers {
        // From now on it is this job that would lose what is there.
        checkpoint::claim_anew(context, &transfer).await?;
    }
    Ok(transfer)
}
