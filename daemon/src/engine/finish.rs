//! The two ends of a file on disk - found there, or verified and published - and the end of a job.

use std::{
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    caches, difference,
    dispatcher::OpenedPlan,
    leftovers::{self, Which},
    progress::Counted,
    refs,
    shared::{JobContext, blocking, blocking_until_stopped},
    space,
    stop::JobStop,
    transfer::{FileTransfer, hint},
};
use crate::{
    cache::{self, AfterLimit, Check, FileStamp, Found, Patience},
    model::{CommitHash, Digest, Failure, FailureKind, FileId, FileRecord, HoldReason, Job},
    store::{FileDone, Store, Verified},
};

/// Another program may hold a lock of ours for hours while it downloads. Nothing is wrong without the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// Files that are looked at together at the end of a job.
const PAGE: u32 = 1000;
/// A full disk is looked at again after this.
pub(super) const SPACE_RETRY: Duration = Duration::from_secs(30);

/// A file in its place may take so many inodes: itself, a name for it, a lock.
const INODES: u64 = 3;

/// How the last step of a job ended.
pub(super) enum Finished {
    /// Everything is in its place, and the ref says so.
    Done,
    /// Files are gone that were there: they are pending again.
    NotYet,
}

/// Opens the destination of a planned job that has every yes that it needs.
pub(super) async fn open(context: &JobContext, job: &Job) -> Result<OpenedPlan, JobStop> {
    difference::approved(job)?;
    let Some(commit) = job.commit.clone() else {
        let failure = Failure::new(
            FailureKind::Internal,
            "a planned job has no commit",
            "`hfctl retry` plans it anew",
        );
        return Err(JobStop::JobFailed(failure));
    };
    let (shared, spec) = (context.shared.clone(), context.spec.clone());
    let store = Arc::new(blocking(move || shared.open_destination(&spec)).await?);
    space::promise(context, &store, &commit, job.bytes_total.saturating_sub(job.bytes_done)).await?;
    Ok(OpenedPlan { store, commit })
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
        if let Found::BlobPresent(stamp) = found {
            let waiting = |wait: &cache::LockWait| lock_note(&progress, &wanted, wait);
            let patience = patience(&waiting, stopped);
            let stamp = files.link(&commit, &wanted.path, &wanted.digest, stamp, &patience)?;
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
    let place = path.to_owned();
    let names = blocking(move || std::fs::metadata(place).map_or(1, |meta| meta.nlink())).await;
    // Of another repository, or of whoever has linked it.
    let shared = match names {
        0 | 1 => "",
        _ => "; it has other names, under which it stays wrong: `hfctl cache verify` tells of those in the cache",
    };
    let text = format!("{} has wrong content and will be replaced{shared}", path.display());
    tracing::warn!(job = %context.id, file = %file.path, "{text}");
    let jobs = &context.shared.store;
    Ok(jobs.warn(&context.id, file.path.to_string(), text).await?)
}

/// Holds the job rather than fill the disk beyond the floor. Before that, what other jobs have left has to go.
pub(super) async fn check_space(
    context: &JobContext,
    store: &Arc<cache::Store>,
    file: &FileRecord,
) -> Result<(), JobStop> {
    let digest = file.digest;
    let partial = move |files: &cache::Store| {
        let partials = files.list_partials().unwrap_or_default();
        let same = partials.iter().filter(|partial| partial.digest == digest);
        same.map(|partial| partial.allocated_bytes).max().unwrap_or(0)
    };
    fits(context, store, file.path.as_str(), (1, file.size), partial).await
}

/// The same for a batch of small files.
pub(super) async fn check_room(
    context: &JobContext,
    store: &Arc<cache::Store>,
    name: &str,
    files_and_bytes: (u64, u64),
) -> Result<(), JobStop> {
    fits(context, store, name, files_and_bytes, |_| 0).await
}

/// So many files with so many bytes, the first of which is `name`. `there` tells how many of the bytes have their place already.
async fn fits(
    context: &JobContext,
    store: &Arc<cache::Store>,
    name: &str,
    (files, bytes): (u64, u64),
    there: impl Fn(&cache::Store) -> u64 + Copy + Send + 'static,
) -> Result<(), JobStop> {
    if files == 0 {
        return Ok(());
    }
    let mut made_room = false;
    loop {
        let looked_at = store.clone();
        let (space, there) = blocking(move || looked_at.filesystem().map(|space| (space, there(&looked_at)))).await?;
        let Some(stop) = room(context, store, name, (files, bytes.saturating_sub(there)), space) else {
            return Ok(());
        };
        if made_room || !leftovers::make_room(context, store).await {
            return Err(stop);
        }
        made_room = true;
    }
}

/// Why so many bytes and files do not fit.
fn room(
    context: &JobContext,
    store: &cache::Store,
    name: &str,
    (files, bytes): (u64, u64),
    space: cache::Space,
) -> Option<JobStop> {
    let place = context.spec.destination.path().display();
    let hold = |detail| {
        Some(JobStop::Hold {
            reason: HoldReason::Disk,
            detail,
            retry_after: SPACE_RETRY,
        })
    };
    let wanted = files.saturating_mul(INODES);
    if let Some(free) = space.free_inodes.filter(|free| *free < wanted) {
        let name = name.escape_debug();
        let which = match files {
            1 => name.to_string(),
            files => format!("{name} and {} more", files - 1),
        };
        return hold(format!(
            "{which} may need {wanted} inodes, but only {free} are free on {place}"
        ));
    }
    let floor = context.shared.config().storage.min_free.bytes(space.total_bytes);
    let others = context
        .shared
        .promises
        .others(&context.id, store.device(), &leftovers::place_of(&context.spec));
    let why = space::too_little(bytes, space.free_bytes, floor, others).filter(|_| bytes > 0)?;
    hold(format!("{} {why} on {place}", name.escape_debug()))
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

/// Published files whose places are empty now: somebody removed them while the job was paused, held, or between two runs.
async fn gone(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
) -> Result<Vec<FileId>, JobStop> {
    let mut gone = Vec::new();
    let mut after = String::new();
    loop {
        let page = context.shared.store.list_files(context.row, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(gone) };
        after = last.path.to_string();
        let (places, at) = (store.clone(), commit.clone());
        let missing = blocking(move || {
            let mut missing = Vec::new();
            for file in page {
                if !places.still_there(&at, &file.path, file.size)? {
                    missing.push(file.id);
                }
            }
            Ok::<_, cache::CacheError>(missing)
        })
        .await?;
        gone.extend(missing);
    }
}

/// The last step of a job: the ref, after everything that it promises is in place.
pub(super) async fn finish_job(
    context: &Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
) -> Result<Finished, JobStop> {
    context.progress.stage("finishing");
    let place = leftovers::place_of(&context.spec);
    // Nothing is swept here between the look at the files and the ref.
    let turn = context.shared.turns.take(caches::folder_of(&place));
    let turn = context.unless_stopped(turn).await?;
    if context.may_have_lost_files() {
        let gone = gone(context, &store, &commit).await?;
        if !gone.is_empty() {
            let text = format!(
                "{} of its files are gone from their places; they are looked for again",
                gone.len()
            );
            tracing::warn!(job = %context.id, "{text}");
            context.shared.store.warn(&context.id, String::new(), text).await?;
            let job = context.shared.store.take_back(&context.id, gone).await?;
            context.progress.recorded(&job);
            return Ok(Finished::NotYet);
        }
    }
    let Some(unfinished) = context.shared.store.unfinished_files(context.row).await? else {
        // A user took it away.
        return Err(JobStop::Cancelled);
    };
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
    drop(turn);
    leftovers::sweep(&context.shared, &store, place, Which::Old).await;
    Ok(Finished::Done)
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
