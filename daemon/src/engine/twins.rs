//! A file whose content is on the disk already. What the same job has under another path is copied in a local directory. (In a
//! cache both paths are links to one blob.) What other repositories have: `elsewhere.rs`.

mod elsewhere;

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    finish::{self, is_vouched, lock_note, patience, verified},
    shared::{JobContext, blocking_until_stopped},
    stop::JobStop,
    transfer::hint,
};
use crate::{
    cache::{self, Check, LockWait, Twin},
    model::{CommitHash, Destination, FileRecord},
    store::FileDone,
};

pub(super) use self::elsewhere::{Others, bring};

/// Twins that are looked at: a job may have thousands, and the first that is in its place will do.
const LOOKED_AT: u32 = 8;

/// Makes the file from a twin; `None` when there is none in its place, and the bytes must be fetched.
pub(super) async fn copy(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    file: &FileRecord,
) -> Result<Option<FileDone>, JobStop> {
    let local = matches!(context.spec.destination, Destination::LocalDir(_));
    if !local || file.size == 0 || context.spec.force_download {
        return Ok(None);
    }
    let jobs = context.shared.store.clone();
    let twins = jobs.twins(context.row, file.clone(), LOOKED_AT).await?;
    if twins.is_empty() {
        return Ok(None);
    }
    let _hashing = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let (files, wanted, progress) = (store.clone(), file.clone(), context.clone());
    let (handle, hints) = (Handle::current(), jobs.clone());
    let twin = blocking_until_stopped(context, move |stopped| {
        let check = Check {
            vouched: &|stamp| is_vouched(&handle, &hints, stamp, wanted.digest),
            cancel: stopped,
            progress: &|_| progress.progress.moved(),
        };
        let mut paths = twins.into_iter().map(|twin| twin.path);
        paths.try_fold(None, |found, path| match found {
            None => files.open_twin(&path, wanted.size, &wanted.digest, &check),
            found => Ok(found),
        })
    })
    .await?;
    let Some(twin) = twin else { return Ok(None) };
    fill(context, store, commit, file, twin).await
}

/// Copies a twin to where the file belongs; `None` when its bytes are not those of the digest.
pub(super) async fn fill(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    file: &FileRecord,
    twin: Twin,
) -> Result<Option<FileDone>, JobStop> {
    finish::check_space(context, store, file).await?;
    context.progress.file_stage(file, "copying");
    // A claim speaks of bytes that were fetched; from the first write on these are others.
    let jobs = &context.shared.store;
    let partials = store.partial_paths(&file.digest, context.id.as_str());
    hint(jobs.drop_claims(partials.into()).await);
    let (files, commit, wanted, progress) = (store.clone(), commit.clone(), file.clone(), context.clone());
    let copied = blocking_until_stopped(context, move |stopped| {
        let tag = progress.id.to_string();
        let staging = files.stage(&wanted.digest, &wanted.path, wanted.size, &tag)?;
        let moved = |_| progress.progress.moved();
        if !staging.fill_from(&twin, &wanted.digest, stopped, &moved)? {
            // It changed under our hands. What stands in the partial file now is nobody's.
            staging.discard()?;
            return Ok(None);
        }
        let waiting = |wait: &LockWait| lock_note(&progress, &wanted, wait);
        let stamp = files.publish(
            staging,
            &commit,
            &wanted.path,
            &wanted.digest,
            &patience(&waiting, stopped),
        )?;
        Ok(Some(stamp))
    })
    .await;
    let Some(stamp) = copied? else { return Ok(None) };
    hint(jobs.vouch(verified(&stamp, file.digest)).await);
    Ok(Some(FileDone {
        id: file.id,
        reused: true,
    }))
}
