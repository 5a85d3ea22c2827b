//! Which small files are there already, and which are to be fetched.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::{Looked, Wanted, verified};
use crate::{
    cache::{self, Check, FileStamp, Found, Ready},
    engine::{
        finish,
        shared::{JobContext, blocking, blocking_until_stopped},
        stop::JobStop,
        takeover::Seated,
        transfer::{Published, hint},
        turns::Turn,
    },
    model::{CommitHash, Digest, FileRecord},
    store::{FileDone, Verified},
};

/// Looks for files that are there already, and completes those whose names alone are missing. What is found is verified. Of
/// those that are not there one of each content is to be fetched.
pub(in crate::engine) async fn look(
    context: Arc<JobContext>,
    store: Arc<cache::Store>,
    commit: CommitHash,
    files: Vec<(FileRecord, Option<Turn>)>,
) -> Result<Looked, JobStop> {
    let mut looked = Looked::default();
    let mut turns: HashMap<Digest, Turn> = HashMap::new();
    let mut mine = Vec::new();
    for (file, turn) in files {
        if let Entry::Vacant(free) = turns.entry(file.digest) {
            let take = || context.shared.turns.try_take(store.staging_key(&file.digest));
            let Some(turn) = turn.or_else(take) else {
                looked.taken.push(file);
                continue;
            };
            free.insert(turn);
        }
        mine.push(file);
    }
    let absent = match context.spec.force_download {
        true => mine,
        false => absent(&context, &store, &commit, mine, &mut looked).await?,
    };
    for file in absent {
        match turns.remove(&file.digest) {
            Some(turn) => looked.wanted.push(Wanted {
                seated: Some(Seated::new(&context, &store, &file)),
                file,
                turn,
            }),
            None => looked.taken.push(file),
        }
    }
    // Before they are fetched: what has no place would be fetched again and again.
    if let Some(first) = looked.wanted.first() {
        let bytes = looked.wanted.iter().map(|wanted| wanted.file.size).sum();
        let count = looked.wanted.len() as u64;
        let name = first.file.path.as_str();
        if let Err(stop) = finish::check_room(&context, &store, name, (count, bytes)).await {
            let first = looked.wanted.drain(..).next();
            looked.failed.extend(first.map(|wanted| (wanted.file, stop)));
        }
    }
    Ok(looked)
}

/// Those that are not there.
async fn absent(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    files: Vec<FileRecord>,
    looked: &mut Looked,
) -> Result<Vec<FileRecord>, JobStop> {
    let (places, at) = (store.clone(), commit.clone());
    let glanced = blocking(move || {
        let glance = |file: FileRecord| {
            let stamp = places.glance(&at, &file.path, &file.digest);
            (file, stamp)
        };
        files.into_iter().map(glance).collect::<Vec<_>>()
    })
    .await;
    let (mut absent, mut there) = (Vec::new(), Vec::new());
    for (file, stamp) in glanced {
        match stamp {
            Ok(None) => absent.push(file),
            Ok(Some(stamp)) => there.push((file, stamp)),
            Err(error) => looked.failed.push((file, error.into())),
        }
    }
    if !there.is_empty() {
        absent.extend(verify_found(context, store, commit, there, looked).await?);
    }
    Ok(absent)
}

/// Verifies what stands in the places of some files, and gives blobs that are right their names. Gives those that are wrong.
async fn verify_found(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    there: Vec<(FileRecord, FileStamp)>,
    looked: &mut Looked,
) -> Result<Vec<FileRecord>, JobStop> {
    let asked = there.iter().map(|(file, stamp)| verified(stamp, file.digest));
    let known = context.shared.store.vouched(asked.collect()).await;
    let known: HashSet<Verified> = known.into_iter().collect();
    let hashing = context.unless_stopped(context.shared.hashing.acquire()).await?;
    let (places, at, progress) = (store.clone(), commit.clone(), context.progress.clone());
    let remembered = known.clone();
    let found = blocking_until_stopped(context, move |stopped| {
        let mut found = Vec::with_capacity(there.len());
        // Equal files have one blob, which is hashed once.
        let mut sound = HashSet::new();
        for (file, _) in there {
            let check = Check {
                vouched: &|stamp| {
                    let stamp = verified(stamp, file.digest);
                    remembered.contains(&stamp) || sound.contains(&stamp)
                },
                cancel: stopped,
                progress: &|_| progress.moved(),
            };
            let what = places.find(&at, &file.path, file.size, &file.digest, &check);
            if let Ok(Found::Published(stamp) | Found::BlobPresent(stamp)) = &what {
                sound.insert(verified(stamp, file.digest));
            }
            found.push((file, what));
        }
        link_all(&places, &at, &mut found, stopped);
        Ok(found)
    })
    .await?;
    drop(hashing);
    let (mut fresh, mut wrong) = (Vec::new(), Vec::new());
    for (file, what) in found {
        match what {
            Ok(Found::Published(stamp) | Found::BlobPresent(stamp)) => {
                let now = verified(&stamp, file.digest);
                fresh.extend((!known.contains(&now)).then_some(now));
                let done = FileDone {
                    id: file.id,
                    reused: true,
                };
                looked.reused.push((file, Published::new(done, None)));
            }
            Ok(Found::Corrupt { path }) => {
                finish::warn_corrupt(context, &file, &path).await?;
                wrong.push(file);
            }
            Ok(Found::Absent) => wrong.push(file),
            Err(error) => looked.failed.push((file, error.into())),
        }
    }
    hint(context.shared.store.vouch_all(fresh).await);
    Ok(wrong)
}

type FoundFile = (FileRecord, Result<Found, cache::CacheError>);

/// Names the blobs that have none, in one batch.
fn link_all(
    store: &cache::Store,
    commit: &CommitHash,
    found: &mut [FoundFile],
    stopped: &std::sync::atomic::AtomicBool,
) {
    let mut nameless: Vec<&mut FoundFile> = found
        .iter_mut()
        .filter(|(_, what)| matches!(what, Ok(Found::BlobPresent(_))))
        .collect();
    let batch = nameless.iter().map(|(file, what)| Ready {
        path: file.path.clone(),
        digest: file.digest,
        staging: None,
        found: match what {
            Ok(Found::BlobPresent(stamp)) => Some(*stamp),
            _ => None,
        },
    });
    let linked = store.publish_batch(commit, batch.collect(), &finish::patience(&|_| (), stopped));
    for (file, stamp) in nameless.iter_mut().zip(linked) {
        file.1 = stamp.map(Found::Published);
    }
}
