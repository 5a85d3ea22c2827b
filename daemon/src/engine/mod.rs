//! Floor 3: the flow of a job, always downhill: submit, plan, schedule, transfer, verify, publish, tell. The only module
//! that knows all adapters. Workers return values upward; only the dispatcher and the store change state.

mod access;
mod admission;
mod aliases;
mod backup;
mod board;
mod budgets;
mod buffers;
mod caches;
mod charged;
mod checkpoint;
mod clearing;
mod clock;
mod conduct;
mod connection;
mod courtesy;
mod crew;
mod destination;
mod difference;
mod disk_pool;
mod dispatcher;
mod doctor;
mod doubts;
mod endpoints;
mod error;
mod figures;
mod files;
mod finish;
mod forecast;
mod frontier;
mod gate;
mod gated;
mod gates;
mod handout;
mod heard;
mod judge;
mod keep;
mod known_link;
mod lane;
mod last_look;
mod ledger;
mod leftovers;
mod limits;
mod login;
mod names;
mod official;
mod on_result;
mod permit;
mod planner;
mod preview;
mod progress;
mod pulls;
mod pulse;
mod questions;
mod refs;
mod remote;
mod renew;
mod repair;
mod replan;
mod retry;
mod routes;
mod schedules;
mod shared;
mod small;
mod sources;
mod space;
mod stage;
mod stop;
mod submit;
mod sweeps;
mod takeover;
mod tally;
mod tick;
mod timed;
mod timing;
mod transfer;
mod turns;
mod twins;
mod unclaimed;
mod upkeep;
mod verb;
mod wanted;
mod writer;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    budgets::BudgetView,
    caches::{CacheTarget, CachedRepo, Verified, Verifying},
    clock::Clock,
    courtesy::Courtesy,
    doctor::{Finding, Health},
    endpoints::{EndpointView, ProbeCall, Probed},
    error::CallError,
    figures::{EndpointFigures, Figures},
    files::FileReading,
    forecast::Forecast,
    limits::{GlobalLimit, JobWish, LimitSource, LimitWish, WindowView},
    login::{Identity, TokenCall, TokenSource},
    names::{HubCall, Meaning, MeaningBy},
    preview::Preview,
    progress::ProgressReading,
    renew::Renewal,
    routes::{Explanation, HostRoute, RouteCall, RouteSubject, millis},
    schedules::{AddSchedule, ScheduleView},
    stop::chain,
    submit::{Submit, Wish},
    sweeps::SweptRepo,
    verb::{Chosen, Verb},
};
use self::{dispatcher::Dispatcher, pulse::Pulse, shared::Shared, tally::Tally};
use crate::{
    config::{Config, Mode},
    hub::{Hub, RepoSummary},
    model::{Event, EventSeq, Job, JobId, JobMove, JobState},
    store::{Filter, MoveNote, Scope, Store, StoreError, StoreThreads},
    tokens::TokenStore,
};

/// Committed events that a slow watcher may be behind before it reads from the store again.
const EVENTS: usize = 4096;

/// Committed events, in order. A watcher that lags is told so and reads from the store.
pub type Events = broadcast::Receiver<Arc<Event>>;

/// What others ask of the engine; clones are one engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    mode: Mode,
    events: broadcast::Sender<Arc<Event>>,
    pulse: Pulse,
    /// How jobs ended since the start.
    tally: Arc<Tally>,
}

/// Ends the engine: see [`Running::stop`].
pub struct Running {
    root: CancellationToken,
    tasks: JoinSet<()>,
    threads: StoreThreads,
}

impl Running {
    /// Ends transfers, keeps what they have, closes the store once the last [`Engine`] is dropped. The caller bounds the
    /// time; whatever is cut off then is found again by the next start, as after a kill.
    pub async fn stop(mut self) {
        self.root.cancel();
        while let Some(joined) = self.tasks.join_next().await {
            if let Err(error) = joined {
                tracing::error!(%error, "the dispatcher ended badly");
            }
        }
        shared::blocking(move || self.threads.join()).await;
    }

    /// Resolves when the engine ended by itself - a panic of the dispatcher, a store that only a restart can mend - which
    /// it never should.
    pub async fn failed(&mut self) -> &'static str {
        let failed = self.threads.failed();
        tokio::select! {
            joined = self.tasks.join_next() => {
                if let Some(Err(error)) = joined {
                    tracing::error!(%error, "the dispatcher ended badly");
                }
                "the dispatcher ended"
            }
            () = failed.cancelled() => "the job database failed",
        }
    }
}

impl Engine {
    /// Opens the store in `state_dir`, puts back what a crash left, and starts. Must run inside the runtime.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub async fn start(
        clock: Clock,
        state_dir: &Path,
        mode: Mode,
        config: watch::Receiver<Arc<Config>>,
        hub: Hub,
        tokens: TokenStore,
    ) -> Result<(Self, Running), StoreError> {
        let (events, heard) = broadcast::channel(EVENTS);
        let sender = events.clone();
        let tally = Arc::new(Tally::default());
        let ends = tally.clone();
        let on_commit = move |committed: Vec<Event>| {
            for event in committed {
                ends.count(&event);
                // Nobody listening is fine.
                let _listeners = sender.send(Arc::new(event));
            }
        };
        let dir = state_dir.to_owned();
        let (store, threads) = shared::blocking(move || Store::open(&dir, Box::new(on_commit))).await?;
        // Leases die with a process: what was active is queued again, and goes on from its claims.
        let active = (&[JobState::Active][..], &[][..]);
        let recovered = store
            .move_all(Scope::All, active, JobMove::Requeue, MoveNote::default())
            .await?;
        if !recovered.is_empty() {
            tracing::info!(jobs = recovered.len(), "unfinished jobs go on");
        }
        if let Err(error) = store.recall_partials().await {
            tracing::warn!(%error, "how far the waiting jobs are is not known");
        }
        let limits = limits::stored(&store).await?;
        let ledgers = ledger::recovered(&store, clock.now()).await?;
        let goodput = store.goodput().await?;
        let shared = Shared::new(store, hub, tokens, config, mode).with(clock, limits, ledgers, goodput);
        let shared = Arc::new(shared);
        let root = CancellationToken::new();
        let (pulse, asked) = pulse::pulse();
        let dispatcher = Dispatcher::new(shared.clone(), root.clone(), asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(limits::run(shared.clone(), root.clone()));
        tasks.spawn(shared.gate.clone().run(root.clone()));
        tasks.spawn(courtesy::run(shared.clone(), root.clone()));
        tasks.spawn(ledger::run(shared.clone(), root.clone()));
        tasks.spawn(forecast::run(shared.clone(), root.clone()));
        tasks.spawn(pulls::run(shared.clone(), events.subscribe(), root.clone()));
        tasks.spawn(dispatcher.run(heard));
        tasks.spawn(upkeep::forget_now_and_then(shared.clone(), root.clone()));
        let engine = Self {
            shared,
            mode,
            events,
            pulse,
            tally,
        };
        Ok((engine, Running { root, tasks, threads }))
    }

    /// Finds a job by its id or a prefix of it.
    ///
    /// # Errors
    /// When none or several fit.
    pub async fn find_job(&self, scope: Scope, text: &str) -> Result<JobId, CallError> {
        let prefix = JobId::parse_prefix(text).map_err(|_| StoreError::NoSuchJob(text.chars().take(40).collect()))?;
        Ok(self.shared.store.find_job(scope, prefix).await?)
    }

    /// Reads a job.
    ///
    /// # Errors
    /// When there is none, or it is another user's.
    pub async fn job(&self, scope: Scope, id: &JobId) -> Result<Job, CallError> {
        Ok(self.shared.store.job(scope, id).await?)
    }

    /// A page of jobs and the number of the newest event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_jobs(&self, filter: Filter) -> Result<(Vec<Job>, EventSeq), CallError> {
        Ok(self.shared.store.list_jobs(filter).await?)
    }

    /// The endpoints, and what is known of them; what was found with other users' repositories is told without names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn endpoints(&self, scope: Scope, uid: u32) -> Result<Vec<EndpointView>, CallError> {
        endpoints::list(&self.shared, self.mode, scope, uid).await
    }

    /// Asks endpoints for one repository, compares, and remembers.
    ///
    /// # Errors
    /// With the field that is wrong, or when none of them can be asked.
    pub async fn probe_endpoints(&self, call: ProbeCall) -> Result<Probed, CallError> {
        endpoints::probe(&self.shared, self.mode, call).await
    }

    /// Live figures of a job that is being worked on.
    pub fn progress(&self, id: &JobId) -> Option<ProgressReading> {
        self.shared.board.read(id)
    }

    /// The jobs of a scope that are being worked on.
    pub fn active_jobs(&self, scope: Scope) -> Vec<JobId> {
        self.shared.board.jobs(scope)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// Bytes per second of all jobs over the last seconds.
    pub fn bytes_per_sec(&self) -> u64 {
        self.shared.board.bytes_per_sec()
    }

    /// Events from now on.
    pub fn events(&self) -> Events {
        self.events.subscribe()
    }

    /// Committed events after a number, oldest first.
    ///
    /// # Errors
    /// When some of them are no longer kept.
    pub async fn events_after(&self, scope: Scope, after: EventSeq, limit: u32) -> Result<Vec<Event>, CallError> {
        Ok(self.shared.store.events_after(scope, after, limit).await?)
    }

    /// Number of the newest event.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_event(&self) -> Result<EventSeq, CallError> {
        Ok(self.shared.store.newest_event().await?)
    }

    /// Number of jobs in each open state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn counts(&self) -> Result<Vec<(JobState, u64)>, CallError> {
        Ok(self.shared.store.counts().await?)
    }

    /// What a name means; asks the Hub only for a bare name that no table knows.
    ///
    /// # Errors
    /// When it is no name at all.
    pub async fn resolve_name(&self, call: HubCall) -> Result<Meaning, CallError> {
        names::resolve(&self.shared, self.mode, call).await
    }

    /// The Hub's search.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn search(&self, call: HubCall, limit: u32) -> Result<Vec<RepoSummary>, CallError> {
        names::search(&self.shared, self.mode, call, limit).await
    }
}
