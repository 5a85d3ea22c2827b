//! Space that jobs at work still need, by file system: a job begins when all of what it lacks fits beside what the others lack.

mod allowance;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use super::{
    difference::is_there,
    finish::SPACE_RETRY,
    leftovers,
    progress::{JobProgress, lock},
    shared::{JobContext, blocking},
    stop::JobStop,
};
use crate::{
    cache,
    model::{CommitHash, Destination, Digest, FileId, HoldReason, JobId, units::show_bytes},
    store::Place,
};

/// Files that are looked for together.
const PAGE: u32 = 2000;

/// Who was promised how much.
#[derive(Default)]
pub(super) struct Promises(Mutex<HashMap<JobId, Promise>>);

struct Promise {
    /// Number of the file system.
    device: u64,
    /// Where: what jobs bring to the same place is mostly the same.
    place: Place,
    progress: Arc<JobProgress>,
    /// Never more than this, though more may not be counted as there yet.
    most: u64,
}

/// What other jobs at work still need of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Others {
    pub(super) jobs: u64,
    pub(super) bytes: u64,
}

impl Promises {
    /// Promises it, unless that is too much: then the answer is why. In one step: of two that ask at the same time one is first.
    fn promise(&self, id: &JobId, promise: Promise, free: u64, floor: u64) -> Option<String> {
        let mut promises = lock(&self.0);
        let why = too_little(
            promise.most,
            free,
            floor,
            others(&promises, id, promise.device, &promise.place),
        );
        if promise.most > 0 && why.is_some() {
            return why;
        }
        promises.insert(id.clone(), promise);
        None
    }

    /// The jobs that were promised space.
    pub(super) fn ids(&self) -> HashSet<JobId> {
        lock(&self.0).keys().cloned().collect()
    }

    /// A job is not at work any more.
    pub(super) fn leave(&self, id: &JobId) {
        lock(&self.0).remove(id);
    }

    /// What the others need that do not bring files to the same place.
    pub(super) fn others(&self, id: &JobId, device: u64, place: &Place) -> Others {
        others(&lock(&self.0), id, device, place)
    }
}

fn others(promises: &HashMap<JobId, Promise>, id: &JobId, device: u64, place: &Place) -> Others {
    let others = promises
        .iter()
        .filter(|(other, promise)| *other != id && promise.device == device && promise.place != *place);
    others.fold(Others::default(), |sum, (_, promise)| {
        let bytes = promise.progress.to_place().min(promise.most);
        Others {
            jobs: sum.jobs + u64::from(bytes > 0),
            bytes: sum.bytes.saturating_add(bytes),
        }
    })
}

/// Promises a planned job, which lacks `bytes` at most, the space for all of it.
///
/// # Errors
/// A hold with numbers, when its user may not keep so much, or when it does not fit beside what is promised to others.
pub(super) async fn promise(
    context: &JobContext,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    bytes: u64,
) -> Result<(), JobStop> {
    let _turn = allowance::enter(context, store, commit, bytes).await?;
    // Where there is plenty nobody counts files.
    if fits(context, store, bytes).await?.is_none() {
        return Ok(());
    }
    let missing = missing(context, store, commit).await?;
    let mut why = fits(context, store, missing).await?;
    if why.is_some() && leftovers::make_room(context, store).await {
        why = fits(context, store, missing).await?;
    }
    let Some(why) = why else { return Ok(()) };
    let place = context.spec.destination.path().display();
    Err(JobStop::Hold {
        reason: HoldReason::Disk,
        detail: format!("{} {why} on {place}", context.spec.repo_id),
        retry_after: SPACE_RETRY,
    })
}

/// Promises so much, or tells why not.
async fn fits(context: &JobContext, store: &Arc<cache::Store>, bytes: u64) -> Result<Option<String>, JobStop> {
    let looked_at = store.clone();
    let space = blocking(move || looked_at.filesystem()).await?;
    let floor = context.shared.config().storage.min_free.bytes(space.total_bytes);
    let promise = Promise {
        device: store.device(),
        place: leftovers::place_of(&context.spec),
        progress: context.progress.clone(),
        most: bytes,
    };
    let promises = &context.shared.promises;
    Ok(promises.promise(&context.id, promise, space.free_bytes, floor))
}

/// The numbers, and how much would be enough.
pub(super) fn too_little(bytes: u64, free: u64, floor: u64, others: Others) -> Option<String> {
    let wanted = bytes.saturating_add(floor).saturating_add(others.bytes);
    let lacks = wanted.checked_sub(free).filter(|lacks| *lacks > 0)?;
    let kept = match others.jobs {
        0 => String::new(),
        1 => format!(", {} are for another job", show_bytes(others.bytes)),
        jobs => format!(", {} are for {jobs} other jobs", show_bytes(others.bytes)),
    };
    Some(format!(
        "still needs {}; {} are free{kept}, and {} must stay free (storage.min_free): {} more have to become free",
        show_bytes(bytes),
        show_bytes(free),
        show_bytes(floor),
        show_bytes(lacks)
    ))
}

/// Bytes that have no place yet: of files that are not there, without what lies in partial files.
async fn missing(context: &JobContext, store: &Arc<cache::Store>, commit: &CommitHash) -> Result<u64, JobStop> {
    let looked_at = store.clone();
    let partials = blocking(move || {
        let partials = looked_at.list_partials().unwrap_or_default().into_iter();
        partials
            .map(|partial| (partial.digest, partial.allocated_bytes))
            .collect()
    });
    not_there(context, store, commit, partials.await).await
}

/// Bytes of files that are not there, with what lies in partial files.
async fn lacking(context: &JobContext, store: &Arc<cache::Store>, commit: &CommitHash) -> Result<u64, JobStop> {
    not_there(context, store, commit, HashMap::new()).await
}

/// Bytes of files that are not there, without some of some contents.
async fn not_there(
    context: &JobContext,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    but: HashMap<Digest, u64>,
) -> Result<u64, JobStop> {
    let partials = Arc::new(but);
    // In a cache equal files are one blob.
    let once = matches!(context.spec.destination, Destination::Cache(_));
    let (mut missing, mut last, mut seen) = (0_u64, FileId(0), HashSet::new());
    loop {
        if context.cancel.is_cancelled() {
            return Err(JobStop::Cancelled);
        }
        let mut page = context.shared.store.pending_files(context.row, last, PAGE).await?;
        let Some(end) = page.last() else { return Ok(missing) };
        last = end.id;
        page.retain(|file| !once || seen.insert(file.digest));
        let (places, commit, force) = (store.clone(), commit.clone(), context.spec.force_download);
        let partials = partials.clone();
        let bytes: u64 = blocking(move || {
            let lacking = page.iter().filter(|file| force || !is_there(&places, &commit, file));
            let bytes = lacking.map(|file| {
                let there = partials.get(&file.digest).copied().unwrap_or(0);
                file.size.saturating_sub(there)
            });
            bytes.sum()
        })
        .await;
        missing = missing.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RepoId, RepoKind};

    #[test]
    fn what_others_need_is_not_free() {
        let gib = |number: u64| number << 30;
        let others = |jobs, bytes| Others {
            jobs,
            bytes: gib(bytes),
        };
        assert_eq!(too_little(gib(5), gib(10), gib(5), others(0, 0)), None);
        assert_eq!(
            too_little(gib(5), gib(10), gib(5), others(1, 2)).unwrap(),
            "still needs 5.0 GiB; 10.0 GiB are free, 2.0 GiB are for another job, and 5.0 GiB must stay free \
             (storage.min_free): 2.0 GiB more have to become free"
        );
        let of_two = too_little(gib(5), 0, 0, others(2, 2)).unwrap();
        assert!(of_two.contains("2.0 GiB are for 2 other jobs"), "{of_two}");
        assert!(too_little(u64::MAX, gib(1), gib(1), others(1, 1)).is_some());
    }

    #[test]
    fn a_promise_is_for_one_file_system_and_shrinks_as_files_get_their_place() {
        let promises = Promises::default();
        let (one, two) = (JobId::parse("5d2k8q0x1a").unwrap(), JobId::parse("5d2k8q0x1b").unwrap());
        let progress = Arc::new(JobProgress::unstored());
        progress.selects(1000);
        let place = |path: &str| Place {
            destination: Destination::Cache(path.into()),
            kind: RepoKind::Model,
            repo_id: RepoId::parse("org/m").unwrap(),
        };
        let elsewhere = place("/b");
        let promise = |device, most| Promise {
            device,
            place: place("/a"),
            progress: progress.clone(),
            most,
        };
        assert_eq!(promises.promise(&one, promise(7, 1000), 1500, 500), None);
        let all = Others { jobs: 1, bytes: 1000 };
        assert_eq!(
            (
                promises.others(&two, 7, &elsewhere),
                promises.others(&two, 8, &elsewhere)
            ),
            (all, Others::default())
        );
        assert_eq!(promises.others(&one, 7, &elsewhere), Others::default());
        // Jobs that bring the same files to one place need their space once.
        assert_eq!(promises.others(&two, 7, &place("/a")), Others::default());
        let other = || Promise {
            progress: Arc::new(JobProgress::unstored()),
            place: place("/b"),
            ..promise(7, 100)
        };
        let refused = promises.promise(&two, other(), 1500, 500);
        assert!(refused.is_some_and(|why| why.contains("for another job") && why.contains("100 B more")));
        // A file has its space: that is not free any more, and not promised either.
        let placed = progress.place(600);
        assert_eq!(promises.others(&two, 7, &elsewhere).bytes, 400);
        assert!(promises.promise(&two, other(), 900, 500).is_some());
        assert_eq!(promises.promise(&two, other(), 1000, 500), None);
        promises.leave(&two);
        drop(placed);
        // Some of it was there, and is not counted yet.
        assert_eq!(promises.promise(&one, promise(7, 300), 1500, 500), None);
        assert_eq!(promises.others(&two, 7, &elsewhere).bytes, 300);
        promises.leave(&one);
        assert_eq!(promises.others(&two, 7, &elsewhere), Others::default());
    }
}
