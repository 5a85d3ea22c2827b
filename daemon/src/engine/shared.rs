//! What all tasks of the engine share: adapters, limits, and who works on which partial file.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    board::Board,
    buffers::Buffers,
    clock::Clock,
    courtesy,
    disk_pool::DiskPool,
    dispatcher::Full,
    forecast::Forecasts,
    gate::Gate,
    gated::AccessWaits,
    gates::Gates,
    ledger::Ledgers,
    leftovers::place_of,
    limits::Limits,
    permit::Permits,
    progress::JobProgress,
    sources::{SourceId, Sources},
    space::Promises,
    stop::JobStop,
    sweeps::Sweeps,
    takeover::Seats,
    timing::Bells,
    turns::{Partials, Turns},
    unclaimed::UnclaimedInAll,
};
use crate::{
    cache::{self, CacheError},
    config::{Config, DEFAULT_MAX_CONNECTIONS, Mode, PageCache},
    hub::{Endpoint, FileTarget, Hub},
    model::{CommitHash, Destination, FileRecord, Job, JobId, JobSpec, JudgedRepo, Owner, Token, Trust},
    store::{Place, Store},
    tokens::TokenStore,
};

/// Hashing runs on at most so many threads: one core hashes faster than most links deliver.
const HASHING_THREADS: usize = 2;
const PREVIEWS: usize = 2;

/// Shared by every task.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) hub: Hub,
    pub(super) tokens: Arc<TokenStore>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) mode: Mode,
    cache_options: cache::Options,
    /// Writes and syncs.
    pub(super) disk: DiskPool,
    /// Hashes.
    pub(super) hash_pool: DiskPool,
    pub(super) unclaimed: Arc<UnclaimedInAll>,
    /// What is between the network and the disk.
    pub(super) buffers: Arc<Buffers>,
    pub(super) board: Board,
    pub(super) clock: Clock,
    /// Where bytes are paid for, and the limits that count there.
    pub(super) gate: Gate,
    pub(super) limits: Limits,
    /// How we give way to others on the line.
    pub(super) courtesy: courtesy::Told,
    /// When the windows of the jobs at work close.
    pub(super) bells: Bells,
    /// The servers that bytes come from, and the connections to them.
    pub(super) sources: Sources,
    pub(super) hashing: Semaphore,
    /// Held from looking at the free space until it is reserved.
    pub(super) reserving: AsyncMutex<()>,
    /// What jobs at work still need on their disks.
    pub(super) promises: Promises,
    /// Who begins nothing now, and why.
    pub(super) full: Mutex<Full>,
    /// By user: held while it is looked at what the user may keep on disk.
    pub(super) allowing: Mutex<HashMap<u32, Arc<AsyncMutex<()>>>>,
    /// Held while room is made for a job.
    pub(super) making_room: Arc<AsyncMutex<()>>,
    /// Dry runs at a time: each may list a hundred thousand files.
    pub(super) previews: Semaphore,
    /// Identity of this boot of the machine; empty when the system does not tell.
    pub(super) boot: String,
    /// By partial file, by ref, and by folder of a repository.
    pub(super) turns: Turns<PathBuf>,
    pub(super) sweeps: Sweeps,
    /// Who fetches which file.
    pub(super) seats: Seats,
    pub(super) partials: Partials<PathBuf>,
    /// By question to an endpoint.
    pub(super) judging: Turns<JudgedRepo>,
    pub(super) gates: Gates,
    /// Origins that did not answer, so that plans do not wait for them again and again.
    pub(super) away: Gates,
    /// Who pays for what comes over the network.
    pub(super) ledgers: Ledgers,
    /// When jobs will be ready.
    pub(super) forecasts: Forecasts,
    /// Jobs that wait for access to a gated repository.
    pub(super) access_waits: AccessWaits,
    /// Wakes who runs them.
    pub(super) schedules_changed: Notify,
    /// Who may have what, asked before jobs are queued.
    pub(super) permits: Permits,
}

impl Shared {
    pub(super) fn new(
        store: Store,
        hub: Hub,
        tokens: TokenStore,
        config: watch::Receiver<Arc<Config>>,
        mode: Mode,
    ) -> Self {
        let connections = config.borrow().transfer.max_connections;
        Self {
            gate: Gate::new(hub.clone()),
            clock: Clock::system(),
            limits: Limits::default(),
            courtesy: courtesy::Told::default(),
            bells: Bells::default(),
            disk: DiskPool::for_writing(),
            hash_pool: DiskPool::for_hashing(HASHING_THREADS),
            unclaimed: Arc::default(),
            buffers: Buffers::new(connections),
            store,
            hub,
            tokens: Arc::new(tokens),
            config,
            mode,
            cache_options: cache::Options {
                create_parents: mode == Mode::User,
                mode: None,
                passing: false,
            },
            board: Board::default(),
            sources: Sources::new(connections),
            hashing: Semaphore::new(HASHING_THREADS),
            boot: boot_id(),
            promises: Promises::default(),
            full: Mutex::default(),
            allowing: Mutex::default(),
            reserving: AsyncMutex::new(()),
            making_room: Arc::default(),
            previews: Semaphore::new(PREVIEWS),
            turns: Turns::default(),
            sweeps: Sweeps::default(),
            seats: Seats::default(),
            partials: Partials::default(),
            judging: Turns::default(),
            gates: Gates::default(),
            away: Gates::default(),
            ledgers: Ledgers::default(),
            forecasts: Forecasts::default(),
            access_waits: AccessWaits::default(),
            schedules_changed: Notify::new(),
            permits: Permits::default(),
        }
    }

    /// By a clock, with the limits that were set, and with what a crash left of the accounts.
    pub(super) fn with(self, clock: Clock, limits: Limits, ledgers: Ledgers, goodput: Option<u64>) -> Self {
        Self {
            forecasts: Forecasts::new(goodput),
            clock,
            limits,
            ledgers,
            ..self
        }
    }

    /// Opens the destination of a job; on a shared daemon a local directory must lie below an allowed root. Blocks.
    pub(super) fn open_destination(&self, spec: &JobSpec) -> Result<cache::Store, CacheError> {
        self.open_place(&place_of(spec))
    }

    /// The same of a place that jobs are known to write to. Blocks.
    pub(super) fn open_place(&self, place: &Place) -> Result<cache::Store, CacheError> {
        let (destination, kind, repo) = (&place.destination, place.kind, &place.repo_id);
        let config = self.config();
        let options = cache::Options {
            passing: config.storage.page_cache == PageCache::Drop,
            ..self.cache_options
        };
        if let (Mode::System, Destination::LocalDir(path)) = (self.mode, destination) {
            let roots = &config.storage.local_roots;
            // Without a root (the configuration may have changed since) nothing is below it.
            let base = roots
                .iter()
                .find(|root| path.starts_with(root))
                .cloned()
                .unwrap_or_else(|| PathBuf::from("/dev/null"));
            return cache::Store::open_below(&base, destination, kind, repo, options);
        }
        cache::Store::open(destination, kind, repo, options).map_err(|error| match error {
            // We may make all of it, and could not: waiting for a disk to be mounted does not help.
            CacheError::RootMissing { path } if self.cache_options.create_parents => {
                CacheError::Permission { act: "create", path }
            }
            other => other,
        })
    }

    /// The source that each endpoint is.
    pub(super) fn sources_of(&self, endpoints: &[EndpointAccess]) -> Vec<SourceId> {
        let config = self.config();
        let source_of = |access: &EndpointAccess| {
            let origin = access.endpoint.origin();
            let configured = config.endpoints.iter().find(|known| known.url.origin() == origin);
            let most = configured.map_or(DEFAULT_MAX_CONNECTIONS, |known| known.max_connections);
            self.sources.of(&access.endpoint, most)
        };
        endpoints.iter().map(source_of).collect()
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }
}

/// Hidden from services with `ProcSubset=pid`; then nothing is trusted across processes but what is on the disk.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// An endpoint as one job may use it.
#[derive(Debug, Clone)]
pub(super) struct EndpointAccess {
    pub(super) endpoint: Endpoint,
    /// The submitter's token, only when it is bound to this endpoint's origin.
    pub(super) token: Option<Token>,
    /// Whose account the token stands for.
    pub(super) account: Option<u32>,
    /// Whether its word on digests is the official one.
    pub(super) trust: Trust,
    /// It brings bytes only while no other endpoint of the job can.
    pub(super) fallback: bool,
}

/// What the tasks of one job share.
pub(super) struct JobContext {
    pub(super) shared: Arc<Shared>,
    pub(super) id: JobId,
    pub(super) row: i64,
    pub(super) owner: Owner,
    pub(super) spec: JobSpec,
    pub(super) endpoints: Vec<EndpointAccess>,
    /// The source that each of them is.
    pub(super) sources: Vec<SourceId>,
    /// Which of them may bring bytes.
    pub(super) admission: Arc<Admission>,
    pub(super) progress: Arc<JobProgress>,
    /// When this run began.
    pub(super) since: Instant,
    /// How long nothing had come before this run, over holds and restarts.
    pub(super) stuck_for: Duration,
    /// An earlier run has brought files.
    pub(super) had_files: bool,
    /// Sweeps of caches before this run.
    pub(super) sweeps_before: u64,
    pub(super) cancel: CancellationToken,
}

impl EndpointAccess {
    /// Names the quota that a call uses: the Hub counts per account, or per address without one.
    pub(super) fn gate(&self) -> String {
        let account = self
            .account
            .map_or_else(|| "anonymous".to_owned(), |uid| uid.to_string());
        format!("{} {account}", self.endpoint.origin().ascii_serialization())
    }
}

impl JobContext {
    pub(super) fn new(
        shared: Arc<Shared>,
        job: &Job,
        endpoints: Vec<EndpointAccess>,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let sources = shared.sources_of(&endpoints);
        Arc::new(Self {
            sweeps_before: shared.sweeps.count(),
            shared,
            sources,
            admission: Arc::new(Admission::new(&endpoints)),
            id: job.id.clone(),
            row: job.row,
            owner: job.owner.clone(),
            spec: job.spec.clone(),
            endpoints,
            progress: Arc::new(JobProgress::new(job)),
            had_files: job.files_done > 0,
            since: Instant::now(),
            stuck_for: job.stuck_since.map_or(Duration::ZERO, |since| {
                Duration::try_from(since.duration_until(Timestamp::now())).unwrap_or_default()
            }),
            cancel,
        })
    }

    /// Whether files that were in their places may be gone by now.
    pub(super) fn may_have_lost_files(&self) -> bool {
        self.had_files || self.shared.sweeps.count() != self.sweeps_before
    }

    /// The same job with a token of its own, for work that may be ended before the job.
    pub(super) fn child(&self) -> Arc<Self> {
        Arc::new(Self {
            shared: self.shared.clone(),
            id: self.id.clone(),
            row: self.row,
            owner: self.owner.clone(),
            spec: self.spec.clone(),
            endpoints: self.endpoints.clone(),
            sources: self.sources.clone(),
            admission: self.admission.clone(),
            progress: self.progress.clone(),
            had_files: self.had_files,
            since: self.since,
            sweeps_before: self.sweeps_before,
            stuck_for: self.stuck_for,
            cancel: self.cancel.child_token(),
        })
    }

    /// A file as the hub is asked for it.
    pub(super) fn target(&self, commit: &CommitHash, file: &FileRecord) -> FileTarget {
        FileTarget {
            kind: self.spec.kind,
            repo_id: self.spec.repo_id.clone(),
            commit: commit.clone(),
            path: file.path.clone(),
            size: file.size,
            digest: file.digest,
        }
    }

    /// Waits for a future unless the job is stopped first.
    pub(super) async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, JobStop> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(JobStop::Cancelled),
            value = future => Ok(value),
        }
    }
}

/// Runs blocking work on the blocking pool. A panic there is a panic here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only while the runtime is being torn down; nobody waits for the answer then.
        Err(_) => std::future::pending().await,
    }
}

/// Runs work on files that may hash them, and that looks at a flag now and then; the flag is set when the job is stopped.
pub(super) async fn blocking_until_stopped<T: Send + 'static>(
    context: &JobContext,
    work: impl FnOnce(&AtomicBool) -> Result<T, CacheError> + Send + 'static,
) -> Result<T, JobStop> {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = stopped.clone();
    let work = context.shared.hash_pool.run(move || work(&seen));
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => Ok(done?),
        () = context.cancel.cancelled() => {
            stopped.store(true, Ordering::Relaxed);
            // It may be over the point of no return: what it did is what counts.
            Ok(work.await?)
        }
    }
}
