//! What of a plan is still to be fetched, told before anything is spent; and the yes that a job may need for that.

mod left;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    shared::{JobContext, blocking},
    stop::JobStop,
    twins::Others,
};
use crate::{
    cache::{self, Check, Found},
    model::{CommitHash, Difference, FileId, FileRecord, HoldReason, Job, Trust, units::show_bytes},
};

pub(super) use self::left::{Left, may_go_on};

/// Files that are looked for together.
const PAGE: u32 = 2000;

/// Whether a file lies in its place, or only lacks its name there. By name and size: what reads a hundred gigabytes to tell what
/// will be done would be no such thing.
pub(super) fn is_there(store: &cache::Store, commit: &CommitHash, file: &FileRecord) -> bool {
    let never = AtomicBool::new(false);
    let check = Check {
        vouched: &|_| true,
        cancel: &never,
        progress: &|_| {},
    };
    let found = store.find(commit, &file.path, file.size, &file.digest, &check);
    matches!(found, Ok(Found::Published(_) | Found::BlobPresent(_)))
}

/// What is missing of the files that were stored for a plan; looked for only where somebody wants to know.
pub(super) async fn of_plan(
    context: &JobContext,
    commit: &CommitHash,
    trust: Trust,
) -> Result<Option<Difference>, JobStop> {
    let spec = &context.spec;
    if spec.hold_above.is_none() && spec.schedule.is_none() {
        return Ok(None);
    }
    let (shared, to_open) = (context.shared.clone(), spec.clone());
    let store = blocking(move || shared.open_destination(&to_open)).await?;
    let store = Arc::new(store);
    let mut difference = Difference::default();
    let mut left = Left::new(context, &store).await;
    let others = Arc::new(Others::of(context, Some(trust), &left));
    let mut last = FileId(0);
    loop {
        if context.cancel.is_cancelled() {
            return Err(JobStop::Cancelled);
        }
        let page = context.shared.store.pending_files(context.row, last, PAGE).await?;
        let Some(end) = page.last() else {
            return Ok(Some(difference));
        };
        last = end.id;
        let (places, commit, force) = (store.clone(), commit.clone(), spec.force_download);
        let others = others.clone();
        let missing: Vec<FileRecord> = blocking(move || {
            let is_missing =
                |file: &FileRecord| force || !(is_there(&places, &commit, file) || others.have(&places, file));
            page.into_iter().filter(is_missing).collect()
        })
        .await;
        difference.files += missing.len() as u64;
        difference.bytes += missing.iter().map(|file| left.of(file)).sum::<u64>();
    }
}

/// Why so many bytes are not fetched unasked.
pub(super) fn too_much(bytes: u64, line: u64) -> Option<String> {
    (bytes > line).then(|| {
        format!(
            "{} are to be fetched, more than {} (--hold-above)",
            show_bytes(bytes),
            show_bytes(line)
        )
    })
}

/// Whether a planned job may fetch what it lacks.
pub(super) fn approved(job: &Job) -> Result<(), JobStop> {
    let (Some(line), Some(difference)) = (job.spec.hold_above, job.difference) else {
        return Ok(());
    };
    match too_much(difference.bytes, line) {
        None => Ok(()),
        Some(text) => Err(JobStop::Hold {
            reason: HoldReason::Approval,
            detail: format!("{text}; `hfctl resume {}` says yes", job.id),
            retry_after: Duration::MAX,
        }),
    }
}
