//! `EventService`: committed events from the store, then from the bus; progress samples between them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::Map};
use hfetch_proto::{reason, v1};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status};
use v1::watch_response::Body;

use super::{
    convert,
    identity::{Caller, Guard},
    status::refuse,
};
use crate::{
    engine::{CallError, Engine, Events, ProgressReading},
    model::{Event, EventSeq, Job, JobId, JobState},
    store::{Filter, Scope, StoreError},
};

/// Messages that wait for a slow reader; then it is waited for, and reads the rest from the store.
const QUEUE: usize = 64;
/// Events read from the store at a time.
const PAGE: u32 = 500;
/// Without anything else to say, the stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Jobs that one watch may name.
const MOST_JOBS: usize = 1000;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct EventApi {
    pub(super) engine: Engine,
    pub(super) guard: Guard,
    pub(super) stopping: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Boxed: a queue has room for 32 of them from the beginning, there are thousands of queues, and a message is large.
type Message = Result<Box<v1::WatchResponse>, Status>;
type Sender = mpsc::Sender<Message>;
type Unboxed = fn(Message) -> Result<v1::WatchResponse, Status>;

/// Why a watch ends.
enum End {
    /// The reader is gone.
    Gone,
    Refused(Status),
}

impl From<CallError> for End {
    fn from(error: CallError) -> Self {
        Self::Refused(error.into())
    }
}

#[tonic::async_trait]
impl v1::event_service_server::EventService for EventApi {
    type WatchStream = Map<ReceiverStream<Message>, Unboxed>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope();
        let request = request.into_inner();
        if request.job_ids.len() > MOST_JOBS {
            return Err(CallError::invalid("job_ids", format!("are more than {MOST_JOBS}")).into());
        }
        let mut jobs = HashSet::new();
        for text in &request.job_ids {
            // Also tells at once when one does not exist.
            jobs.insert(self.engine.find_job(scope, text).await?);
        }
        let samples = Duration::from_millis(u64::from(request.progress_interval_ms));
        let watch = Watch {
            engine: self.engine.clone(),
            guard: self.guard.clone(),
            caller,
            scope,
            jobs,
            samples: (!samples.is_zero()).then(|| samples.max(SHORTEST_INTERVAL)),
            last_samples: Vec::new(),
            queued: HashMap::new(),
            seen: EventSeq(0),
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            let end = tokio::select! {
                end = watch.run(&sender, request.after_seq.map(EventSeq), request.snapshot) => end,
                () = stopping.cancelled() => {
                    End::Refused(refuse(Code::Unavailable, reason::STOPPING, "the daemon is stopping".into()))
                }
            };
            if let End::Refused(status) = end {
                // A reader that does not read hears the end of the stream instead.
                let _told = sender.try_send(Err(status));
            }
        });
        let unboxed: Unboxed = |message| message.map(|message| *message);
        Ok(Response::new(ReceiverStream::new(receiver).map(unboxed)))
    }
}

struct Watch {
    engine: Engine,
    guard: Guard,
    caller: Caller,
    scope: Scope,
    /// Empty: all that the scope shows.
    jobs: HashSet<JobId>,
    samples: Option<Duration>,
    last_samples: Vec<(JobId, ProgressReading)>,
    /// Named jobs in the queue: whose they are, and what was told of why they wait, if it is known what was.
    queued: HashMap<JobId, (u32, Option<Option<String>>)>,
    /// Number of the newest event that was sent or passed over.
    seen: EventSeq,
}

impl Watch {
    async fn run(mut self, sender: &Sender, after: Option<EventSeq>, snapshot: bool) -> End {
        match self.follow(sender, after, snapshot).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn follow(
        &mut self,
        sender: &Sender,
        after: Option<EventSeq>,
        snapshot: bool,
    ) -> Result<std::convert::Infallible, End> {
        // Subscribed before the number is read: nothing falls between the store and the bus.
        let mut live = self.engine.events();
        let newest = self.engine.newest_event().await?;
        self.seen = after.unwrap_or(newest);
        if self.seen > newest {
            // A number of another database: waiting for it would swallow events.
            return Err(CallError::from(StoreError::NoSuchEvent(newest.0)).into());
        }
        if snapshot {
            self.snapshot(sender).await?;
        } else {
            self.note_named().await?;
        }
        send(sender, Body::Ready(v1::Ready { seq: self.seen.0 })).await?;
        self.catch_up(sender).await?;
        let mut tick = interval(self.samples.map_or(HEARTBEAT / 2, |samples| samples.min(HEARTBEAT / 2)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_sent = Instant::now();
        loop {
            tokio::select! {
                received = next(&mut live) => {
                    let sent = match received {
                        Some(event) if event.seq.0 == self.seen.0 + 1 => self.send_event(sender, &event).await?,
                        // Sent from the store already.
                        Some(event) if event.seq <= self.seen => false,
                        // Something was missed: the store has it.
                        Some(_) | None => self.catch_up(sender).await?,
                    };
                    if sent {
                        last_sent = Instant::now();
                    }
                }
                _ = tick.tick() => {
                    self.guard.still_admits(&self.caller).map_err(End::Refused)?;
                    if self.send_samples(sender) | self.send_reasons(sender).await? {
                        last_sent = Instant::now();
                    }
                    if last_sent.elapsed() >= HEARTBEAT {
                        send(sender, Body::Heartbeat(v1::Heartbeat { seq: self.seen.0 })).await?;
                        last_sent = Instant::now();
                    }
                }
                () = sender.closed() => return Err(End::Gone),
            }
        }
    }

    /// Sends the named jobs, or every open one, a page at a time.
    async fn snapshot(&mut self, sender: &Sender) -> Result<(), End> {
        for id in self.jobs.clone() {
            let job = self.engine.job(self.scope, &id).await?;
            self.note_queued(&id, job.owner.uid, job.state);
            self.send_job(sender, &job).await?;
        }
        if !self.jobs.is_empty() {
            return Ok(());
        }
        let mut filter = Filter {
            scope: self.scope,
            states: JobState::ALL.into_iter().filter(|state| !state.is_final()).collect(),
            held_for: Vec::new(),
            user: String::new(),
            repo: String::new(),
            before_row: None,
            limit: PAGE,
        };
        loop {
            let (page, _) = self.engine.list_jobs(filter.clone()).await?;
            for job in &page {
                self.send_job(sender, job).await?;
            }
            if page.len() < PAGE as usize {
                return Ok(());
            }
            filter.before_row = page.last().map(|job| job.row);
        }
    }

    /// Who goes on after a number gets no snapshot, but may have missed why its jobs wait.
    async fn note_named(&mut self) -> Result<(), End> {
        if self.samples.is_none() {
            return Ok(());
        }
        for id in self.jobs.clone() {
            if let Some(job) = self.job_or_none(&id).await? {
                self.note_queued(&id, job.owner.uid, job.state);
            }
        }
        // What they were told before the outage is not known here, so they are told in any case.
        for (_, told) in self.queued.values_mut() {
            *told = None;
        }
        Ok(())
    }

    /// A job, unless it was forgotten: its events have told how it ended.
    async fn job_or_none(&self, id: &JobId) -> Result<Option<Job>, End> {
        match self.engine.job(self.scope, id).await {
            Ok(job) => Ok(Some(job)),
            Err(CallError::Store(StoreError::NoSuchJob(_))) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn send_job(&self, sender: &Sender, job: &Job) -> Result<(), End> {
        send(sender, Body::Job(convert::job_now(&self.engine, job))).await
    }

    /// Sends what the store has after the last number.
    async fn catch_up(&mut self, sender: &Sender) -> Result<bool, End> {
        let mut sent = false;
        loop {
            let newest = self.engine.newest_event().await?;
            let events = self.engine.events_after(self.scope, self.seen, PAGE).await?;
            let last = events.len() < PAGE as usize;
            for event in &events {
                sent |= self.send_event(sender, event).await?;
            }
            if last {
                // Other users' events have numbers too.
                self.seen = self.seen.max(newest);
                return Ok(sent);
            }
        }
    }

    /// False when the watcher is not to hear of it.
    async fn send_event(&mut self, sender: &Sender, event: &Event) -> Result<bool, End> {
        let visible = match self.scope {
            Scope::All => true,
            Scope::Uid(uid) => event.uid == uid,
        };
        let wanted = visible && (self.jobs.is_empty() || self.jobs.contains(&event.job_id));
        if wanted {
            self.note_queued(&event.job_id, event.uid, event.what.state);
            send(sender, Body::Event(convert::event(event))).await?;
        }
        self.seen = event.seq;
        Ok(wanted)
    }

    /// What waits in the queue is in nobody's figures.
    fn note_queued(&mut self, id: &JobId, uid: u32, state: JobState) {
        if self.jobs.is_empty() || self.samples.is_none() {
            return;
        }
        if state == JobState::Queued {
            self.queued.entry(id.clone()).or_insert((uid, Some(None)));
        } else {
            self.queued.remove(id);
        }
    }

    /// Tells what named jobs in the queue wait for, when that is not what was told last.
    async fn send_reasons(&mut self, sender: &Sender) -> Result<bool, End> {
        let mut changed = Vec::new();
        for (id, (uid, told)) in &mut self.queued {
            let why = self.engine.why_nothing_begins(*uid);
            if told.as_ref() != Some(&why) {
                *told = Some(why);
                changed.push(id.clone());
            }
        }
        let mut sent = false;
        for id in changed {
            let job = self.job_or_none(&id).await?;
            if let Some(job) = job.filter(|job| job.state == JobState::Queued) {
                let sample = convert::waiting_sample(convert::job_now(&self.engine, &job));
                send(sender, Body::Progress(sample)).await?;
                sent = true;
            }
        }
        Ok(sent)
    }

    /// Sends the figures of jobs that moved since the last time. Samples that find no room are left out.
    fn send_samples(&mut self, sender: &Sender) -> bool {
        if self.samples.is_none() {
            return false;
        }
        let ids: Vec<JobId> = if self.jobs.is_empty() {
            self.engine.active_jobs(self.scope)
        } else {
            self.jobs.iter().cloned().collect()
        };
        let mut sent = false;
        let mut now = Vec::new();
        for id in ids {
            let Some(reading) = self.engine.progress(&id) else {
                continue;
            };
            let same = self
                .last_samples
                .iter()
                .any(|(known, last)| *known == id && *last == reading);
            if !same {
                let body = Body::Progress(convert::progress_sample(&id, &reading));
                let room = sender.try_send(Ok(Box::new(v1::WatchResponse { body: Some(body) })));
                sent |= room.is_ok();
            }
            now.push((id, reading));
        }
        self.last_samples = now;
        sent
    }
}

/// The next event of the bus; `None` when some were lost.
async fn next(live: &mut Events) -> Option<std::sync::Arc<Event>> {
    match live.recv().await {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(_)) => None,
        // The engine ends after its watchers.
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

/// Boxes the message before it waits: what a watcher waits with stays small.
fn send(sender: &Sender, body: Body) -> impl Future<Output = Result<(), End>> + Send {
    let message = Ok(Box::new(v1::WatchResponse { body: Some(body) }));
    async move { sender.send(message).await.map_err(|_| End::Gone) }
}
