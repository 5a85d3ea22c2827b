//! Clears up after jobs that are not worked on any more: each place once, however many of its jobs end together, and a few at
//! a time, for a disk may hang.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    dispatcher::{ActiveJob, Dispatcher, Ending},
    leftovers,
    shared::Shared,
};
use crate::{
    model::{JobId, JobMove},
    store::{Place, StoreError},
};

/// Places that are looked at together.
const AT_ONCE: usize = 4;
/// Jobs that are read together.
const JOBS: usize = 500;

/// What is to be looked at, and when.
#[derive(Default)]
struct Places {
    /// As soon as it may be.
    waiting: HashSet<Place>,
    running: HashMap<Id, Place>,
    /// Partial files of cancelled jobs are kept for a while.
    later: HashMap<Place, Later>,
}

/// When a place is looked at again, and when for the last time; what is cancelled between the two waits for the latter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Later {
    next: Instant,
    last: Instant,
}

impl Places {
    fn ask(&mut self, place: Place) {
        self.waiting.insert(place);
    }

    fn ask_later(&mut self, place: Place, at: Instant) {
        let later = self.later.entry(place).or_insert(Later { next: at, last: at });
        later.last = later.last.max(at);
    }

    /// Moves what is due to what waits.
    fn due(&mut self, now: Instant) {
        let due: Vec<Place> = self
            .later
            .iter()
            .filter(|(_, later)| later.next <= now)
            .map(|(place, _)| place.clone())
            .collect();
        for place in due {
            if let Some(Later { next, last }) = self.later.remove(&place)
                && last > next
            {
                self.later.insert(place.clone(), Later { next: last, last });
            }
            self.ask(place);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.later.values().map(|later| later.next).min()
    }

    /// One to look at now: what is being looked at waits until that is over.
    fn take(&mut self) -> Option<Place> {
        if self.running.len() >= AT_ONCE {
            return None;
        }
        let is_free = |place: &&Place| self.running.values().all(|running| running != *place);
        let place = self.waiting.iter().find(is_free).cloned()?;
        self.waiting.take(&place)
    }
}

/// Until nobody can tell of a job any more.
async fn run(shared: Arc<Shared>, mut ended: mpsc::UnboundedReceiver<JobId>) {
    let mut places = Places::default();
    if let Err(error) = remember(&shared, &mut places).await {
        tracing::warn!(%error, "what cancelled jobs have left goes later");
    }
    let mut tasks = JoinSet::new();
    loop {
        while let Some(place) = places.take() {
            let (shared, at) = (shared.clone(), place.clone());
            let task = tasks.spawn(async move { leftovers::sweep_old(&shared, at).await });
            places.running.insert(task.id(), place);
        }
        let next = places.next_due();
        let mut ids = Vec::new();
        tokio::select! {
            count = ended.recv_many(&mut ids, JOBS) => {
                if count == 0 {
                    return;
                }
                if let Err(error) = note(&shared, &mut places, ids).await {
                    tracing::warn!(%error, "what jobs have left goes later");
                }
            }
            Some(over) = tasks.join_next_with_id() => {
                let task = over.map_or_else(|error| error.id(), |(task, ())| task);
                places.running.remove(&task);
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => places.due(Instant::now()),
        }
    }
}

async fn note(shared: &Shared, places: &mut Places, ids: Vec<JobId>) -> Result<(), StoreError> {
    let keep = leftovers::kept_after_cancel(shared);
    for (place, cancelled) in shared.store.places_of(ids).await? {
        if cancelled {
            places.ask_later(place.clone(), Instant::now() + keep);
        }
        places.ask(place);
    }
    Ok(())
}

/// Jobs that were cancelled before a restart; what is older the sweep of all places finds.
async fn remember(shared: &Shared, places: &mut Places) -> Result<(), StoreError> {
    let (now, keep) = (Timestamp::now(), leftovers::kept_after_cancel(shared));
    let since = SignedDuration::try_from(keep)
        .ok()
        .and_then(|keep| now.checked_sub(keep).ok());
    for (place, at) in shared.store.cancelled_since(since.unwrap_or(Timestamp::MIN)).await? {
        let ago = Duration::try_from(now.duration_since(at)).unwrap_or_default();
        places.ask_later(place, Instant::now() + keep.saturating_sub(ago));
    }
    Ok(())
}

/// Works in the background until it is dropped.
pub(super) struct Clearing {
    ended: mpsc::UnboundedSender<JobId>,
    _task: JoinSet<()>,
}

impl Clearing {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (ended, heard) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(run(shared, heard));
        Self { ended, _task: task }
    }

    /// Clears up after a job that is not worked on any more. Not waited for: its disk may hang, and the other jobs' must not.
    pub(super) fn up_after(&self, id: &JobId) {
        if self.ended.send(id.clone()).is_err() {
            tracing::error!(job = %id, "nobody clears up any more until the daemon starts again");
        }
    }
}

impl Dispatcher {
    /// The same of a job as it was worked on last: who is done has done so before.
    pub(super) fn clear_up_after(&self, id: &JobId, active: Option<&ActiveJob>) {
        let ending = active.and_then(|active| active.ending.as_ref());
        if !matches!(ending, Some(Ending::Move(JobMove::Finish, _))) {
            self.clearing.up_after(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Destination, RepoId, RepoKind};

    fn place(number: usize) -> Place {
        Place {
            destination: Destination::Cache("/c".into()),
            kind: RepoKind::Model,
            repo_id: RepoId::parse(&format!("a/b{number}")).unwrap(),
        }
    }

    #[tokio::test]
    async fn a_place_is_looked_at_once_for_all_its_jobs_and_a_few_at_a_time() {
        let mut places = Places::default();
        let mut tasks = JoinSet::new();
        let mut begin = |places: &mut Places| -> Option<(Id, Place)> {
            let place = places.take()?;
            let task = tasks.spawn(async {}).id();
            places.running.insert(task, place.clone());
            Some((task, place))
        };
        (0..2000).for_each(|_| places.ask(place(1)));
        let (task, taken) = begin(&mut places).unwrap();
        assert_eq!(taken, place(1));
        assert!(begin(&mut places).is_none());
        // Asked for while it is looked at: once more, afterwards.
        places.ask(place(1));
        assert!(begin(&mut places).is_none());
        places.running.remove(&task);
        assert_eq!(begin(&mut places).map(|(_, place)| place), Some(place(1)));
        assert!(begin(&mut places).is_none());
        (2..100).for_each(|number| places.ask(place(number)));
        let more = std::iter::from_fn(|| begin(&mut places)).count();
        assert_eq!((more, places.running.len()), (AT_ONCE - 1, AT_ONCE));
    }

    #[test]
    fn what_was_cancelled_at_many_times_is_looked_at_twice() {
        let mut places = Places::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for seconds in [10, 12, 20, 15] {
            places.ask_later(place(1), at(seconds));
        }
        assert_eq!(places.next_due(), Some(at(10)));
        places.due(at(9));
        assert!(places.waiting.is_empty());
        places.due(at(10));
        assert_eq!(places.waiting.drain().collect::<Vec<_>>(), [place(1)]);
        assert_eq!(places.next_due(), Some(at(20)));
        places.due(at(30));
        assert_eq!(places.waiting.drain().collect::<Vec<_>>(), [place(1)]);
        assert_eq!(places.next_due(), None);
    }
}
