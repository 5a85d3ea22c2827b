//! The caches as a whole: what is in them, whether it is sound, and making them smaller.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use tokio::sync::mpsc;

use super::{CallError, Engine, shared::Shared, stop::chain};
use crate::{
    cache::{
        self, CacheError, CachedRevision, Inspected, Kept, OpenFiles, Options, Store as CacheStore, Survey, Swept,
    },
    model::{CommitHash, Destination, JobState, RepoId, RepoKind, Revision},
    store::{Filter, Scope},
};

/// Jobs that are read at a time.
const PAGE: u32 = 500;
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
}

/// What a sweep did in a repository.
#[derive(Debug, Clone)]
pub struct SweptRepo {
    /// The cache.
    pub cache: PathBuf,
    /// Its kind.
    pub kind: RepoKind,
    /// Its id.
    pub repo: RepoId,
    /// What went, and what did not.
    pub swept: Swept,
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

/// Repositories with jobs that are not over, by cache and folder: their revisions have no refs yet.
type Busy = HashSet<(PathBuf, String)>;

fn failed(error: &CacheError) -> CallError {
    CallError::Internal(chain(error))
}

fn open(cache: &Path, kind: RepoKind, repo: &RepoId) -> Result<CacheStore, CallError> {
    let destination = Destination::Cache(cache.to_owned());
    CacheStore::open(&destination, kind, repo, Options::default()).map_err(|error| failed(&error))
}

/// Whether a revision is meant.
fn means(wanted: &Revision, revision: &CachedRevision) -> bool {
    let text = wanted.to_string();
    let begins = text.len() >= SHORTEST_COMMIT && revision.commit.as_str().starts_with(&text);
    begins || revision.refs.contains(&text)
}

/// Every repository of the caches that the targets mean; without targets, all.
fn found(caches: &[PathBuf], targets: &[CacheTarget], busy: &Busy) -> Result<Vec<CachedRepo>, CallError> {
    let mut repos = Vec::new();
    for cache in caches {
        for (kind, repo) in cache::repos(cache).map_err(|error| failed(&error))? {
            let wanted = |target: &CacheTarget| target.kind == kind && target.repo == repo;
            if !targets.is_empty() && !targets.iter().any(wanted) {
                continue;
            }
            let survey = open(cache, kind, &repo)?.survey().map_err(|error| failed(&error))?;
            repos.push(CachedRepo {
                busy: busy.contains(&(cache.clone(), repo.folder(kind))),
                cache: cache.clone(),
                kind,
                repo,
                survey,
            });
        }
    }
    for target in targets {
        let here = repos
            .iter()
            .filter(|one| one.kind == target.kind && one.repo == target.repo);
        let meant = match &target.revision {
            None => here.count() > 0,
            Some(wanted) => here
                .flat_map(|one| &one.survey.revisions)
                .any(|revision| means(wanted, revision)),
        };
        if !meant {
            let revision = target
                .revision
                .as_ref()
                .map(|revision| format!("@{revision}"))
                .unwrap_or_default();
            return Err(CallError::NotCached(format!("{}{revision}", target.repo)));
        }
    }
    Ok(repos)
}

/// The revisions of a repository that the targets mean.
fn chosen(repo: &CachedRepo, targets: &[CacheTarget]) -> BTreeSet<CommitHash> {
    let mine = |target: &&CacheTarget| target.kind == repo.kind && target.repo == repo.repo;
    let revisions = repo.survey.revisions.iter().filter(|revision| {
        let mut mine = targets.iter().filter(mine);
        targets.is_empty() || mine.any(|target| target.revision.as_ref().is_none_or(|wanted| means(wanted, revision)))
    });
    revisions.map(|revision| revision.commit.clone()).collect()
}

async fn busy(shared: &Shared) -> Result<Busy, CallError> {
    let states = JobState::ALL.into_iter().filter(|state| !state.is_final()).collect();
    let mut filter = Filter {
        scope: Scope::All,
        states,
        user: String::new(),
        repo: String::new(),
        before_row: None,
        limit: PAGE,
    };
    let mut busy = Busy::new();
    loop {
        let (jobs, _) = shared.store.list_jobs(filter.clone()).await?;
        for job in &jobs {
            if let Destination::Cache(cache) = &job.spec.destination {
                busy.insert((cache.clone(), job.spec.repo_id.folder(job.spec.kind)));
            }
        }
        match jobs.last() {
            Some(last) if jobs.len() == PAGE as usize => filter.before_row = Some(last.row),
            _ => return Ok(busy),
        }
    }
}

impl Engine {
    /// What the configured caches hold.
    ///
    /// # Errors
    /// When the store or a disk fails.
    pub async fn caches(&self) -> Result<Vec<CachedRepo>, CallError> {
        let caches = self.config().storage.caches.clone();
        let busy = busy(&self.shared).await?;
        self.shared.hash_pool.run(move || found(&caches, &[], &busy)).await
    }

    /// Removes revisions and what only they need: those that the targets mean, or (none) those without a ref. Pins, open
    /// files and jobs that are not over keep theirs.
    ///
    /// # Errors
    /// When a target is not there; when the store or a disk fails.
    pub async fn sweep(&self, targets: Vec<CacheTarget>, dry_run: bool) -> Result<Vec<SweptRepo>, CallError> {
        let caches = self.config().storage.caches.clone();
        let at_first = busy(&self.shared).await?;
        let wanted = targets.clone();
        let repos = self
            .shared
            .hash_pool
            .run(move || found(&caches, &wanted, &at_first))
            .await?;
        let mut done = Vec::new();
        for repo in repos {
            // Asked again right before: jobs come at any time.
            let busy = busy(&self.shared)
                .await?
                .contains(&(repo.cache.clone(), repo.repo.folder(repo.kind)));
            let targets = targets.clone();
            let swept = self
                .shared
                .hash_pool
                .run(move || sweep_one(repo, &targets, busy, dry_run))
                .await?;
            if !swept.swept.removed.is_empty() || !swept.swept.kept.is_empty() {
                done.push(swept);
            }
        }
        Ok(done)
    }

    /// Pins the revisions that the targets mean, or takes the pins away; how many changed.
    ///
    /// # Errors
    /// When a target is not there; when a disk fails.
    pub async fn set_pins(&self, targets: Vec<CacheTarget>, pinned: bool) -> Result<u64, CallError> {
        if targets.is_empty() {
            return Err(CallError::invalid("targets", "names no repository"));
        }
        let caches = self.config().storage.caches.clone();
        let work = move || {
            let mut changed = 0;
            for repo in found(&caches, &targets, &Busy::new())? {
                let store = open(&repo.cache, repo.kind, &repo.repo)?;
                for commit in chosen(&repo, &targets) {
                    changed += u64::from(store.set_pin(&commit, pinned).map_err(|error| failed(&error))?);
                }
            }
            Ok(changed)
        };
        self.shared.hash_pool.run(work).await
    }

    /// Hashes the files that the targets mean (none: all) at low priority, and tells each as it is known. Ends early when
    /// nobody listens any more.
    ///
    /// # Errors
    /// When a target is not there; when a disk fails.
    pub async fn verify_caches(
        &self,
        targets: Vec<CacheTarget>,
    ) -> Result<mpsc::Receiver<Result<Verified, CallError>>, CallError> {
        let caches = self.config().storage.caches.clone();
        let wanted = targets.clone();
        let repos = self
            .shared
            .hash_pool
            .run(move || found(&caches, &wanted, &Busy::new()))
            .await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let cancel = Arc::new(AtomicBool::new(false));
        // Ends with its listener, at the latest with the pool.
        drop(self.shared.hash_pool.spawn(move || {
            for repo in repos {
                if let Err(error) = verify_one(&repo, &targets, &cancel, &sender) {
                    // Nobody listens: nobody needs to know.
                    drop(sender.blocking_send(Err(error)));
                    return;
                }
            }
        }));
        Ok(receiver)
    }
}

fn sweep_one(repo: CachedRepo, targets: &[CacheTarget], busy: bool, dry_run: bool) -> Result<SweptRepo, CallError> {
    let survey = &repo.survey;
    let victims: BTreeSet<CommitHash> = match targets {
        [] => {
            let loose = survey.revisions.iter().filter(|one| one.refs.is_empty() && !one.pinned);
            loose.map(|one| one.commit.clone()).collect()
        }
        targets => chosen(&repo, targets),
    };
    let swept = if busy {
        let nothing = victims.is_empty() && survey.loose_bytes == 0;
        let kept = Kept {
            what: "all of it".to_owned(),
            why: "a job that is not over works on it".to_owned(),
        };
        Swept {
            kept: if nothing { Vec::new() } else { vec![kept] },
            ..Swept::default()
        }
    } else {
        let open_files = OpenFiles::look();
        let store = open(&repo.cache, repo.kind, &repo.repo)?;
        store
            .sweep(survey, &victims, &open_files, dry_run)
            .map_err(|error| failed(&error))?
    };
    Ok(SweptRepo {
        cache: repo.cache,
        kind: repo.kind,
        repo: repo.repo,
        swept,
    })
}

fn verify_one(
    repo: &CachedRepo,
    targets: &[CacheTarget],
    cancel: &AtomicBool,
    sender: &mpsc::Sender<Result<Verified, CallError>>,
) -> Result<(), CallError> {
    let store = open(&repo.cache, repo.kind, &repo.repo)?;
    let wanted = chosen(repo, targets);
    let mut known = HashMap::new();
    for revision in repo.survey.revisions.iter().filter(|one| wanted.contains(&one.commit)) {
        let mut tell = |file: Inspected| {
            let verified = Verified {
                cache: repo.cache.clone(),
                kind: repo.kind,
                repo: repo.repo.clone(),
                commit: revision.commit.clone(),
                file,
            };
            if sender.blocking_send(Ok(verified)).is_err() {
                cancel.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        };
        store
            .inspect(revision, &mut known, cancel, &mut tell)
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}
