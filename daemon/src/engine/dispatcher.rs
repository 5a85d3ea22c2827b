//! The loop: hear one thing, handle it, hand out work. The only one who moves jobs by itself; workers return values.
//!
//! It hears of users' changes as everybody does, by committed events: a change whose caller went away is heard all the same.

mod full;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::broadcast::error::RecvError,
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::full::Full;
use super::{
    Events, access, admission, budgets,
    clearing::Clearing,
    difference,
    finish::{self, Finished},
    lane::Lane,
    ledger, planner,
    pulse::PulseAsked,
    shared::{JobContext, Shared},
    small::{Fetched, Looked, Placed},
    stop::JobStop,
    transfer::Published,
    turns::Turn,
    upkeep::STORE_RETRY,
};
use crate::{
    cache,
    model::{CommitHash, Failure, FailureKind, FileId, FileRecord, Job, JobId, JobMove},
    store::{MoveNote, Scope, StoreError},
};

/// Jobs that are held with their transfers still alive (waiting for an endpoint), or wait for other jobs, do not count as active,
/// up to this.
const MOST_IN_MEMORY: usize = 64;
/// Rates and waits are looked at so often while a job is active.
const TICK: Duration = Duration::from_millis(500);
/// Budgets are looked at so often while a job is active.
const BUDGET_TICK: Duration = Duration::from_millis(100);

/// What a task of a job came to.
pub(super) enum Work {
    Planned(Result<Box<Job>, JobStop>),
    Opened(Result<OpenedPlan, JobStop>),
    /// A large file, all the way.
    File(FileRecord, Result<Published, JobStop>),
    /// Another job takes a large file over.
    Left(FileRecord),
    /// Another job has done with a large file, or left it to this one.
    Freed(FileRecord, Result<Option<Turn>, JobStop>),
    /// Some small files were looked for.
    Looked(Result<Box<Looked>, JobStop>),
    /// Others have done with them, or left them to this job.
    Waited(Result<Vec<(FileRecord, Option<Turn>)>, JobStop>),
    /// A small file is in memory, or another job takes it over.
    Fetched(FileRecord, Result<Option<Box<Fetched>>, JobStop>),
    /// Small files were brought to the disk.
    Placed(Placed),
    /// A step that concerns no single file.
    Stopped(JobStop),
    Finished(Result<Finished, JobStop>),
}

/// A planned job, ready for its files.
pub(super) struct OpenedPlan {
    pub(super) store: Arc<cache::Store>,
    pub(super) commit: CommitHash,
}

/// A job with tasks.
pub(super) struct ActiveJob {
    pub(super) context: Arc<JobContext>,
    pub(super) plan: Option<OpenedPlan>,
    /// Large files of the plan that were read but not begun; with the turn, those that another job left to this one.
    pub(super) files: VecDeque<(FileRecord, Option<Turn>)>,
    /// Large files in transfer.
    pub(super) transfers: usize,
    /// Large files that another job is fetching.
    pub(super) waiting_large: usize,
    /// The small ones.
    pub(super) lane: Lane,
    pub(super) last_read: FileId,
    pub(super) all_read: bool,
    pub(super) tasks: usize,
    /// Asks its endpoints what they are worth, until it ends.
    pub(super) judging: JoinSet<()>,
    pub(super) finishing: bool,
    /// How it shall end, once its tasks are gone.
    pub(super) ending: Option<Ending>,
    /// It is shown as held while its transfers wait until then.
    pub(super) held_until: Option<Instant>,
    /// Its row says that nothing has come for a while.
    pub(super) stuck: bool,
    /// The first file that was given up.
    pub(super) file_failure: Option<Failure>,
}

/// The move of a job whose tasks are ending.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// Somebody moved it already.
    Told,
    Move(JobMove, MoveNote),
    /// Its window has closed.
    Window,
}

pub(super) struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: HashMap<JobId, ActiveJob>,
    pub(super) tasks: JoinSet<Work>,
    pub(super) task_jobs: HashMap<Id, JobId>,
    /// What clears up after jobs that ended.
    pub(super) clearing: Clearing,
    pub(super) root: CancellationToken,
    /// The queue, or the room for it, may have changed.
    pub(super) look_at_queue: bool,
    /// Jobs that a user may have taken away, whose rows could not be read.
    pub(super) unread: HashSet<JobId>,
    /// When to look at held jobs and at the queue in any case.
    pub(super) next_look: Option<Instant>,
    /// When the next held job is due.
    pub(super) next_due: Option<Timestamp>,
    /// Somebody asks whether this loop still turns.
    pulse: PulseAsked,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>, root: CancellationToken, pulse: PulseAsked) -> Self {
        Self {
            clearing: Clearing::start(shared.clone()),
            shared,
            jobs: HashMap::new(),
            tasks: JoinSet::new(),
            task_jobs: HashMap::new(),
            root,
            look_at_queue: true,
            unread: HashSet::new(),
            next_look: None,
            next_due: None,
            pulse,
        }
    }

    /// Runs until the token is cancelled, then until every task has kept what it has.
    pub(super) async fn run(mut self, mut events: Events) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut budget_tick = interval(BUDGET_TICK);
        budget_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let root = self.root.clone();
        self.look_again().await;
        while !root.is_cancelled() {
            while std::mem::take(&mut self.look_at_queue) && !root.is_cancelled() {
                self.hold_untimely().await;
                self.start_jobs().await;
                self.look_for_places();
            }
            let (next_look, next_due, shared) = (self.next_look, self.next_due, self.shared.clone());
            tokio::select! {
                () = root.cancelled() => break,
                heard = events.recv() => match heard {
                    Ok(event) => self.on_events(event, &mut events).await,
                    Err(RecvError::Lagged(_)) => self.on_lost_events().await,
                    Err(RecvError::Closed) => break,
                },
                Some(joined) = self.tasks.join_next_with_id() => self.on_joined(joined).await,
                Some(answer) = self.pulse.recv() => drop(answer.send(())),
                _ = tick.tick(), if !self.jobs.is_empty() => self.on_tick().await,
                () = sleep_until(next_look.unwrap_or_else(Instant::now)), if next_look.is_some() => {
                    self.look_again().await;
                }
                _ = budget_tick.tick(), if !self.jobs.is_empty() && budgets::are_set(&shared.config()) => {
                    self.mind_budgets().await;
                }
                () = shared.clock.reaches_if(next_due) => self.look_again().await,
                rung = shared.bells.rung(&shared.clock) => self.on_bell(rung).await,
            }
        }
        // The job tokens are children of the root: every task is ending now.
        root.cancel();
        while let Some(joined) = self.tasks.join_next_with_id().await {
            self.on_joined(joined).await;
        }
        // The last: nothing comes any more.
        ledger::settle(&self.shared).await;
    }

    async fn on_joined(&mut self, joined: Result<(Id, Work), JoinError>) {
        let mut batch = vec![joined];
        // Results that wait together are stored together.
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            batch.push(joined);
        }
        let mut results = Vec::with_capacity(batch.len());
        for joined in batch {
            let (task, work) = match joined {
                Ok((task, work)) => (task, Ok(work)),
                Err(error) => (error.id(), Err(error)),
            };
            let Some(id) = self.task_jobs.remove(&task) else {
                continue;
            };
            if let Some(active) = self.jobs.get_mut(&id) {
                active.tasks -= 1;
            }
            results.push((id, work));
        }
        self.on_results(results).await;
    }

    /// Takes jobs off the queue while there is room.
    async fn start_jobs(&mut self) {
        let full = self.look_who_is_full();
        let room = self.look_for_places();
        if room == 0 {
            return;
        }
        // Those that are still ending may be queued again already: look past them.
        let limit = u32::try_from(room + self.jobs.len()).unwrap_or(u32::MAX);
        let config = self.shared.config();
        let weight = move |user: &str| config.users.of(user).weight;
        let queued = match self
            .shared
            .store
            .next_queued(limit, full.into_iter().collect(), weight)
            .await
        {
            Ok(queued) => queued,
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                return self.look_within(STORE_RETRY);
            }
        };
        let fresh = queued.into_iter().filter(|job| !self.jobs.contains_key(&job.id));
        let bounded = budgets::are_set(&self.shared.config());
        for job in fresh.take(room).collect::<Vec<_>>() {
            if self.look_who_is_full().contains(&job.owner.uid) {
                // Its place is another's.
                self.look_at_queue = true;
                continue;
            }
            let held = if bounded {
                self.hold_unaffordable(&job).await
            } else {
                None
            };
            match held {
                None => self.start_job(&job).await,
                // Its place is another's.
                Some(Ok(())) => self.look_at_queue = true,
                Some(Err(error)) => {
                    tracing::error!(job = %job.id, %error, "a job cannot be held");
                    return self.look_within(STORE_RETRY);
                }
            }
        }
    }

    async fn start_job(&mut self, job: &Job) {
        let started = self
            .shared
            .store
            .move_job(Scope::All, &job.id, JobMove::Start, MoveNote::default())
            .await;
        let job = match started {
            Ok(job) => job,
            // Somebody paused or cancelled it between the two steps.
            Err(StoreError::IllegalMove(_)) => return,
            Err(error) => {
                tracing::error!(job = %job.id, %error, "a job cannot be started");
                return self.look_within(STORE_RETRY);
            }
        };
        let mut endpoints = access::endpoints_of(&self.shared, &job).await;
        let has_endpoints = !endpoints.is_empty();
        budgets::keep_affordable(&self.shared, &mut endpoints);
        let context = JobContext::new(self.shared.clone(), &job, endpoints, self.root.child_token());
        self.shared.board.put(&job.id, job.owner.uid, context.progress.clone());
        context.progress.lost(self.shared.ledgers.take_lost(&job.id));
        let config = self.shared.config();
        let options = config.users.of(&job.owner.user);
        self.shared.gate.enter(&job, options.weight);
        self.shared.sources.bound(&job.owner, options.max_connections);
        self.shared
            .bells
            .enter(&config, &job.id, &job.spec.pacing, self.shared.clock.now());
        tracing::info!(job = %job.id, repo = %job.spec.repo_id, "started");
        self.jobs.insert(
            job.id.clone(),
            ActiveJob {
                context: context.clone(),
                plan: None,
                files: VecDeque::new(),
                transfers: 0,
                waiting_large: 0,
                lane: Lane::default(),
                last_read: FileId(0),
                all_read: false,
                tasks: 0,
                judging: JoinSet::new(),
                finishing: false,
                ending: None,
                held_until: None,
                stuck: job.stuck_since.is_some(),
                file_failure: None,
            },
        );
        if context.endpoints.is_empty() && has_endpoints {
            // The last budget was spent a moment ago: looked at anew, it is held.
            self.stop_with(&job.id, Ending::Move(JobMove::Requeue, MoveNote::default()))
                .await;
            return;
        }
        if context.endpoints.is_empty() {
            let failure = Failure::new(
                FailureKind::Internal,
                "the job has no endpoint that can be used",
                "submit it again",
            );
            return self.end(&job.id, JobStop::JobFailed(failure)).await;
        }
        let store = self.shared.store.clone();
        match store.is_planned(job.row).await {
            // What was given up in an earlier run is tried again.
            Ok(true) => match store.reopen_files(job.row).await {
                Ok(()) => self.open_plan(&job),
                Err(error) => self.end(&job.id, error.into()).await,
            },
            Ok(false) => self.spawn(&job.id, async move {
                Work::Planned(planner::plan(&context).await.map(Box::new))
            }),
            Err(error) => self.end(&job.id, error.into()).await,
        }
    }

    /// Opens the destination of a planned job.
    pub(super) fn open_plan(&mut self, job: &Job) {
        let Some(active) = self.jobs.get_mut(&job.id) else {
            return;
        };
        let context = active.context.clone();
        let job = job.clone();
        // Who waits for a yes asks nobody meanwhile.
        if difference::approved(&job).is_ok() {
            active.judging.spawn(admission::run(context.clone(), job.clone()));
        }
        let id = job.id.clone();
        self.spawn(&id, async move { Work::Opened(finish::open(&context, &job).await) });
    }

    pub(super) fn spawn(&mut self, id: &JobId, work: impl Future<Output = Work> + Send + 'static) {
        if let Some(active) = self.jobs.get_mut(id) {
            active.tasks += 1;
            let task = self.tasks.spawn(work);
            self.task_jobs.insert(task.id(), id.clone());
        }
    }
}
