//! Making caches smaller, beside jobs that come at any time.
//!
//! What is to go is decided where it goes, in the turn of the repository's folder: jobs take that turn for their last step,
//! and pins are set in it. A job that begins after the sweep has asked for open ones sees by the number of sweeps that there
//! was one, and looks at its end whether its files are still there.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    CallError, Engine,
    caches::{CacheTarget, Targets, chosen, failed, folder_of, is_about, open},
    leftovers,
    transfer::hint,
    turns::Turn,
};
use crate::{
    cache::{Kept, OpenFiles, Swept},
    model::{CommitHash, RepoId, RepoKind},
    store::Place,
};

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
    /// Bytes of unfinished downloads that went, or would.
    pub partial_bytes: u64,
}

/// Sweeps so far, in all caches.
#[derive(Debug, Clone, Default)]
pub(super) struct Sweeps(Arc<AtomicU64>);

impl Sweeps {
    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Begins one, which counts from its end on, however it ends.
    pub(super) fn begin(&self, turn: Turn) -> Sweeping {
        Sweeping {
            counted: self.0.clone(),
            _turn: turn,
        }
    }
}

/// A sweep that is going on, in its repository's turn.
pub(super) struct Sweeping {
    counted: Arc<AtomicU64>,
    /// Let go after the count.
    _turn: Turn,
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.counted.fetch_add(1, Ordering::SeqCst);
    }
}

impl Engine {
    /// Removes revisions and what only they need: those that the targets mean, or (none) those without a ref, and unfinished
    /// downloads that no job will go on with. Pins, open files and jobs that are not over keep theirs.
    ///
    /// # Errors
    /// When a target is not there; when the store or a disk fails.
    pub async fn sweep(&self, targets: Vec<CacheTarget>, dry_run: bool) -> Result<Vec<SweptRepo>, CallError> {
        let targets: Targets = targets.into();
        let places = self.cached(&targets).await?;
        self.sweep_places(places, &targets, dry_run).await
    }

    /// The same of repositories that were found before.
    pub(super) async fn sweep_places(
        &self,
        places: Vec<Place>,
        targets: &Targets,
        dry_run: bool,
    ) -> Result<Vec<SweptRepo>, CallError> {
        let mut done = Vec::new();
        for place in places {
            let turn = self.shared.turns.take(folder_of(&place)).await;
            let busy = self.shared.store.is_worked_on(place.clone()).await?;
            let whole = targets.is_empty()
                || targets
                    .iter()
                    .any(|target| is_about(target, &place) && target.revision.is_none());
            let partials_of = place.clone();
            let (sweeping, targets) = (self.shared.sweeps.begin(turn), targets.clone());
            let work = move || {
                // To the end of this, also when the caller goes away.
                let _sweeping = sweeping;
                sweep_now(&place, &targets, busy, dry_run)
            };
            let mut swept = self.shared.hash_pool.run(work).await?;
            if whole {
                swept.partial_bytes =
                    hint(leftovers::sweep_left(&self.shared, partials_of, dry_run).await).unwrap_or(0);
            }
            if !swept.swept.removed.is_empty() || !swept.swept.kept.is_empty() || swept.partial_bytes > 0 {
                done.push(swept);
            }
        }
        Ok(done)
    }
}

/// Sweeps one repository, unless jobs work on it. Blocks.
pub(super) fn sweep_now(
    place: &Place,
    targets: &[CacheTarget],
    busy: bool,
    dry_run: bool,
) -> Result<SweptRepo, CallError> {
    let store = open(place)?;
    let open_files = OpenFiles::look();
    let survey = store.survey().map_err(|error| failed(&error))?;
    let victims: BTreeSet<CommitHash> = match targets {
        [] => {
            let loose = survey.revisions.iter().filter(|one| one.refs.is_empty() && !one.pinned);
            loose.map(|one| one.commit.clone()).collect()
        }
        targets => chosen(place, &survey, targets),
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
        let swept = store.sweep(&survey, &victims, &open_files, dry_run);
        swept.map_err(|error| failed(&error))?
    };
    Ok(SweptRepo {
        cache: place.destination.path().to_owned(),
        kind: place.kind,
        repo: place.repo_id.clone(),
        swept,
        partial_bytes: 0,
    })
}
