//! The two ends of a file on disk - found there, or verified and published - and the end of a job.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    dispatcher::OpenedPlan,
    progress::Counted,
    refs,
    shared::{JobContext, blocking, blocking_until_stopped},
    stop::JobStop,
    transfer::{FileTransfer, hint},
};
use crate::{
    cache::{self, AfterLimit, Check, FileStamp, Found, Patience},
    model::{CommitHash, Digest, Failure, FailureKind, FileRecord, HoldReason, units::show_bytes},
    store::{FileDone, Store, Verified},
};

/// Another program may hold a lock of ours for hours while it downloads. Nothing is wrong without the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// A full disk is looked at again after this.
const SPACE_RETRY: Duration = Duration::from_secs(30);

/// Opens the destination of a planned job.
pub(super) async fn open(context: &JobContext, commit: Option<CommitHash>) -> Result<OpenedPlan, JobStop> {
    let Some(commit) = commit else {
        let failure = Failure::new(
            FailureKind::Internal,
            "a planned job has no commit",
            "`hfctl retry` plans it anew",
        );
        return Err(JobStop::JobFailed(failure));
    };
    let (shared, spec) = (context.shared.clone(), context.spec.clone());
    let store = blocking(move || shared.open_destination(&spec)).await?;
    Ok(OpenedPlan {
        store: Arc::new(store),
        commit,
    })
}

pub(super) fn verified(stamp: &FileStamp, digest: Digest) -> Verified {
    Verified {
        dev: stamp.dev,
        ino: stamp.ino,
        size: stamp.size,
        mtime_ns: stamp.mtime_ns,
        ctime_ns: stamp.ctime_ns,
        digest,
    }
}

/// Asks the store from a blocking thread.
pub(super) fn is_vouched(handle: &Handle, store: &Store, stamp: &FileStamp, digest: Digest) -> bool {
    handle.block_on(store.is_vouched(verified(stamp, digest)))
}

/// Looks for a file that is there already, and completes it when only its name is missing. What is found is verified.
pub(super) async fn find(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    file: &FileRecord,
) -> Result<Option<FileDone>, JobStop> {
    if context.spec.force_download {
        return Ok(None);
    }
    let hashing = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let (files, commit, wanted) = (store.clone(), commit.clone(), file.clone());
    let (handle, jobs) = (Handle::current(), context.shared.store.clone());
    let progress = context.clone();
    let found = blocking_until_stopped(context, move |stopped| {
        let check = Check {
            vouched: &|stamp| is_vouched(&handle, &jobs, stamp, wanted.digest),
            cancel: stopped,
            progress: &|_| progress.progress.moved(),
        };
        let found = files.find(&commit, &wanted.path, wanted.size, &wanted.digest, &check)?;
        if matches!(found, Found::BlobPresent(_)) {
            let waiting = |wait: &cache::LockWait| lock_note(&progress, &wanted, wait);
            let stamp = files.link(&commit, &wanted.path, &wanted.digest, &patience(&waiting, stopped))?;
            return Ok(Found::Published(stamp));
        }
        Ok(found)
    })
    .await?;
    drop(hashing);
    match found {
        Found::Published(stamp) | Found::BlobPresent(stamp) => {
            hint(context.shared.store.vouch(verified(&stamp, file.digest)).await);
            Ok(Some(FileDone {
                id: file.id,
                reused: true,
            }))
        }
        Found::Corrupt { path } => {
            warn_corrupt(context, file, &path).await?;
            Ok(None)
        }
        Found::Absent => Ok(None),
    }
}

/// Tells watchers that a file stands where another should, and will be replaced.
pub(super) async fn warn_corrupt(context: &JobContext, file: &FileRecord, path: &Path) -> Result<(), JobStop> {
    let text = format!("{} has wrong content and will be replaced", path.display());
    tracing::warn!(job = %context.id, file = %file.path, "{text}");
    let jobs = &context.shared.store;
    Ok(jobs.warn(&context.id, file.path.to_string(), text).await?)
}

/// Holds the job rather than fill the disk beyond the floor.
pub(super) async fn check_space(
    context: &JobContext,
    store: &Arc<cache::Store>,
    file: &FileRecord,
) -> Result<(), JobStop> {
    let looked_at = store.clone();
    let (digest, name) = (file.digest, file.path.clone());
    let (space, partial) = blocking(move || -> Result<_, cache::CacheError> {
        let space = looked_at.filesystem()?;
        let partials = looked_at.list_partials().unwrap_or_default();
        let partial = partials
            .iter()
            .filter(|partial| partial.digest == digest)
            .map(|partial| partial.allocated_bytes);
        Ok((space, partial.max().unwrap_or(0)))
    })
    .await?;
    room(context, name.as_str(), file.size.saturating_sub(partial), space)
        .filter(|_| file.size > 0)
        .map_or(Ok(()), Err)
}

/// The same for a batch of small files, the first of which is `name`.
pub(super) async fn check_room(
    context: &JobContext,
    store: &Arc<cache::Store>,
    name: &str,
    bytes: u64,
) -> Result<(), JobStop> {
    let looked_at = store.clone();
    let space = blocking(move || looked_at.filesystem()).await?;
    room(context, name, bytes, space)
        .filter(|_| bytes > 0)
        .map_or(Ok(()), Err)
}

/// Why so many bytes do not fit.
fn room(context: &JobContext, name: &str, bytes: u64, space: cache::Space) -> Option<JobStop> {
    let floor = context.shared.config().storage.min_free.bytes(space.total_bytes);
    if space.free_bytes >= bytes.saturating_add(floor) {
        return None;
    }
    Some(JobStop::Hold {
        reason: HoldReason::Disk,
        detail: format!(
            "{} needs {}, and {} must stay free (storage.min_free), but only {} are free on {}",
            name.escape_debug(),
            show_bytes(bytes),
            show_bytes(floor),
            show_bytes(space.free_bytes),
            context.spec.destination.path().display(),
        ),
        retry_after: SPACE_RETRY,
    })
}

/// Gives the verified file its name. The caller keeps the figures until the store has the file.
pub(super) async fn publish(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    transfer: Arc<FileTransfer>,
) -> Result<Counted, JobStop> {
    let (file, staging, counted) = FileTransfer::into_parts(transfer)?;
    let partial = staging.path().to_owned();
    context.progress.file_stage(&file, "publishing");
    let (files, commit, digest) = (store.clone(), commit.clone(), file.digest);
    let progress = context.clone();
    let stamp = blocking_until_stopped(context, move |stopped| {
        let waiting = |wait: &cache::LockWait| lock_note(&progress, &file, wait);
        files.publish(staging, &commit, &file.path, &digest, &patience(&waiting, stopped))
    })
    .await?;
    let jobs = &context.shared.store;
    let (vouched, dropped) = tokio::join!(jobs.vouch(verified(&stamp, digest)), jobs.drop_claim(partial));
    hint(vouched);
    hint(dropped);
    Ok(counted)
}

/// Throws away a partial file whose bytes are wrong, and tells watchers.
pub(super) async fn reject(context: &Arc<JobContext>, transfer: Arc<FileTransfer>, wrong: &str) -> Result<(), JobStop> {
    tracing::warn!(job = %context.id, "{wrong}");
    let (file, staging, _counted) = FileTransfer::into_parts(transfer)?;
    let jobs = &context.shared.store;
    // The claim first: without the file it would be ignored, but without it the file is worth nothing.
    hint(jobs.drop_claim(staging.path().to_owned()).await);
    blocking(move || staging.discard()).await?;
    jobs.warn(
        &context.id,
        file.path.to_string(),
        format!("{wrong}; nothing was published"),
    )
    .await?;
    Ok(())
}

/// The last step of a job: the ref, after everything that it promises is in place.
pub(super) async fn finish_job(
    context: &Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
) -> Result<(), JobStop> {
    context.progress.stage("finishing");
    let unfinished = context.shared.store.unfinished_files(context.row).await?;
    if unfinished > 0 {
        // The ref promises them all.
        let text = format!("{unfinished} files of the plan are not published");
        return Err(JobStop::JobFailed(Failure::new(
            FailureKind::Internal,
            text,
            "this is a bug; `hfctl retry` goes on",
        )));
    }
    refs::set(context, &store, &commit).await?;
    blocking(move || store.remove_empty_staging()).await?;
    Ok(())
}

/// What the user sees while another program holds a lock.
pub(super) fn lock_note(context: &JobContext, file: &FileRecord, wait: &cache::LockWait) {
    context.progress.file_stage(file, &lock_text(wait));
}

pub(super) fn lock_text(wait: &cache::LockWait) -> String {
    format!(
        "waiting for {}, held by {}, to publish",
        wait.path.display(),
        wait.holder
    )
}

/// How long we wait for Python's locks.
pub(super) fn patience<'a>(waiting: &'a dyn Fn(&cache::LockWait), stopped: &'a AtomicBool) -> Patience<'a> {
    Patience {
        limit: LOCK_PATIENCE,
        then: AfterLimit::GoOn,
        cancel: stopped,
        waiting,
    }
}
