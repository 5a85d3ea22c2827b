//! The caches as a whole: what is in them, what is pinned there, and whether it is sound.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{CallError, Engine, shared::Shared, stop::chain};
use crate::{
    cache::{self, CacheError, CachedRevision, Inspected, Learnt, Options, Store as CacheStore, Survey},
    model::{CommitHash, Destination, RepoId, RepoKind, Revision},
    store::Place,
};

/// Answers that wait for a slow reader.
const QUEUE: usize = 64;
/// Fewer characters of a commit could be a word.
const SHORTEST_COMMIT: usize = 6;

/// A repository, or some of its revisions.
#[derive(Debug, Clone)]
pub struct CacheTarget {
    /// Its kind.
    pub kind: RepoKind,
    /// Its id.
    pub repo: RepoId,
    /// A branch, a tag, a commit or the beginning of one; `None`: all of it.
    pub revision: Option<Revision>,
}

/// A repository in a cache.
#[derive(Debug, Clone)]
pub struct CachedRepo {
    /// The cache.
    pub cache: PathBuf,
    /// Its kind.
    pub kind: RepoKind,
    /// Its id.
    pub repo: RepoId,
    /// What is in it.
    pub survey: Survey,
    /// A job works on it, or waits to.
    pub busy: bool,
    /// Of its bytes, those in files that a repository before it has as well: they take room once.
    pub shared_bytes: u64,
}

/// A file that was looked at.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The cache.
    pub cache: PathBuf,
    /// Its kind.
    pub kind: RepoKind,
    /// Its id.
    pub repo: RepoId,
    /// The revision.
    pub commit: CommitHash,
    /// The file, and what came out.
    pub file: Inspected,
}

/// What a call means, shared by its steps.
pub(super) type Targets = Arc<[CacheTarget]>;

pub(super) fn failed(error: &CacheError) -> CallError {
    CallError::Internal(chain(error))
}

/// A repository's folder, whose turn belongs to who sweeps it, pins in it, or finishes a job there.
pub(super) fn folder_of(place: &Place) -> PathBuf {
    place.destination.path().join(place.repo_id.folder(place.kind))
}

pub(super) fn open(place: &Place) -> Result<CacheStore, CallError> {
    let opened = CacheStore::open(&place.destination, place.kind, &place.repo_id, Options::default());
    opened.map_err(|error| failed(&error))
}

pub(super) fn survey(place: &Place) -> Result<Survey, CallError> {
    open(place)?.survey().map_err(|error| failed(&error))
}

/// Whether a revision is meant.
fn means(wanted: &Revision, revision: &CachedRevision) -> bool {
    let text = wanted.to_string();
    let begins = text.len() >= SHORTEST_COMMIT && revision.commit.as_str().starts_with(&text);
    begins || revision.refs.contains(&text)
}

pub(super) fn is_about(target: &CacheTarget, place: &Place) -> bool {
    target.kind == place.kind && target.repo == place.repo_id
}

/// Every repository of the caches that the targets mean; without targets, all. What is in them may change at any time.
fn places(caches: &[PathBuf], targets: &[CacheTarget]) -> Result<Vec<Place>, CallError> {
    let mut places = Vec::new();
    for cache in caches {
        for (kind, repo_id) in cache::repos(cache).map_err(|error| failed(&error))? {
            let place = Place {
                destination: Destination::Cache(cache.clone()),
                kind,
                repo_id,
            };
            if targets.is_empty() || targets.iter().any(|target| is_about(target, &place)) {
                places.push(place);
            }
        }
    }
    for target in targets {
        let mut meant = false;
        for place in places.iter().filter(|place| is_about(target, place)) {
            meant |= match &target.revision {
                None => true,
                Some(wanted) => survey(place)?.revisions.iter().any(|one| means(wanted, one)),
            };
        }
        if !meant {
            let revision = target.revision.as_ref().map(|revision| format!("@{revision}"));
            let revision = revision.unwrap_or_default();
            return Err(CallError::NotCached(format!("{}{revision}", target.repo)));
        }
    }
    Ok(places)
}

/// The revisions of a repository that the targets mean.
pub(super) fn chosen(place: &Place, survey: &Survey, targets: &[CacheTarget]) -> BTreeSet<CommitHash> {
    let revisions = survey.revisions.iter().filter(|revision| {
        let mut mine = targets.iter().filter(|target| is_about(target, place));
        targets.is_empty() || mine.any(|target| target.revision.as_ref().is_none_or(|wanted| means(wanted, revision)))
    });
    revisions.map(|revision| revision.commit.clone()).collect()
}

impl Engine {
    /// What the configured caches hold.
    ///
    /// # Errors
    /// When the store or a disk fails.
    pub async fn caches(&self) -> Result<Vec<CachedRepo>, CallError> {
        let open: HashSet<PathBuf> = self.shared.store.worked_on().await?.iter().map(folder_of).collect();
        let mut seen = HashSet::new();
        let look = move |place: Place| {
            let found = survey(&place)?;
            let cache = place.destination.path();
            let again = found
                .shared()
                .into_iter()
                .filter(|(inode, _)| !seen.insert((cache.to_owned(), *inode)));
            Ok(CachedRepo {
                shared_bytes: again.map(|(_, bytes)| bytes).sum(),
                busy: open.contains(&folder_of(&place)),
                cache: cache.to_owned(),
                kind: place.kind,
                repo: place.repo_id,
                survey: found,
            })
        };
        let places = self.cached(&Targets::default()).await?;
        let looked = move || places.into_iter().map(look).collect();
        self.shared.hash_pool.run(looked).await
    }

    /// The repositories that the targets mean.
    pub(super) async fn cached(&self, targets: &Targets) -> Result<Vec<Place>, CallError> {
        let (caches, targets) = (self.config().storage.caches.clone(), targets.clone());
        self.shared.hash_pool.run(move || places(&caches, &targets)).await
    }

    /// Pins the revisions that the targets mean, or takes the pins away; how many changed.
    ///
    /// # Errors
    /// When a target is not there; when a disk fails.
    pub async fn set_pins(&self, targets: Vec<CacheTarget>, pinned: bool) -> Result<u64, CallError> {
        if targets.is_empty() {
            return Err(CallError::invalid("targets", "names no repository"));
        }
        let targets: Targets = targets.into();
        let mut changed = 0;
        for place in self.cached(&targets).await? {
            let turn = self.shared.turns.take(folder_of(&place)).await;
            let targets = targets.clone();
            let work = move || {
                // Kept to the end of this, also when the caller goes away.
                let _turn = turn;
                let store = open(&place)?;
                let survey = store.survey().map_err(|error| failed(&error))?;
                let set = |commit| store.set_pin(commit, pinned).map_err(|error| failed(&error));
                let commits = chosen(&place, &survey, &targets);
                commits
                    .iter()
                    .try_fold(0, |sum, commit| Ok::<_, CallError>(sum + u64::from(set(commit)?)))
            };
            changed += self.shared.hash_pool.run(work).await?;
        }
        Ok(changed)
    }

    /// Hashes the files that the targets mean (none: all) at low priority, and tells each as it is known.
    ///
    /// # Errors
    /// When a target is not there; when a disk fails.
    pub async fn verify_caches(&self, targets: Vec<CacheTarget>) -> Result<Verifying, CallError> {
        let targets: Targets = targets.into();
        let places = self.cached(&targets).await?;
        let (sender, files) = mpsc::channel(QUEUE);
        let shared = self.shared.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            for place in places {
                if let Err(error) = verify_one(&shared, &place, &targets, &sender).await {
                    // Nobody listens: nobody needs to know.
                    drop(sender.send(Err(error)).await);
                    return;
                }
            }
        });
        Ok(Verifying { files, _task: task })
    }
}

/// Files as they are hashed; dropped, it ends.
#[derive(Debug)]
pub struct Verifying {
    pub(super) files: mpsc::Receiver<Result<Verified, CallError>>,
    _task: JoinSet<()>,
}

impl Verifying {
    /// The next one, or why there are no more.
    pub async fn next(&mut self) -> Option<Result<Verified, CallError>> {
        self.files.recv().await
    }
}

/// Ends the hashing of a file that nobody waits for.
struct StopHashing(Arc<AtomicBool>);

impl Drop for StopHashing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While the listener takes its time, no thread is held, and nobody else's turn to hash.
async fn verify_one(
    shared: &Shared,
    place: &Place,
    targets: &Targets,
    sender: &mpsc::Sender<Result<Verified, CallError>>,
) -> Result<(), CallError> {
    let (at, wanted) = (place.clone(), targets.clone());
    let look = move || {
        let store = open(&at)?;
        let survey = store.survey().map_err(|error| failed(&error))?;
        let chosen = chosen(&at, &survey, &wanted);
        let revisions = survey.revisions.into_iter().filter(|one| chosen.contains(&one.commit));
        Ok::<_, CallError>((Arc::new(store), revisions.map(Arc::new).collect::<Vec<_>>()))
    };
    let (store, revisions) = shared.hash_pool.run(look).await?;
    let mut learnt = Learnt::default();
    for revision in revisions {
        for number in 0.. {
            let permit = shared.hashing.acquire().await.map_err(|_| CallError::Stopping)?;
            let stop = StopHashing(Arc::default());
            let (files, of, stopped) = (store.clone(), revision.clone(), stop.0.clone());
            let work = move || {
                let inspected = files.inspect(&of, number, &mut learnt, &stopped);
                (inspected, learnt)
            };
            let (inspected, back) = shared.hash_pool.run(work).await;
            drop(permit);
            learnt = back;
            let Some(file) = inspected.map_err(|error| failed(&error))? else {
                break;
            };
            let verified = Verified {
                cache: place.destination.path().to_owned(),
                kind: place.kind,
                repo: place.repo_id.clone(),
                commit: revision.commit.clone(),
                file,
            };
            if sender.send(Ok(verified)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
