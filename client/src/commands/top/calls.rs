//! What the screen asks the daemon, and what it has it do: one call at a time, wishes in their order.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use hfetch_proto::v1::{
    CancelJobsRequest, GetLimitRequest, GetServerInfoRequest, Job, JobRoute, JobState, ListEndpointsRequest,
    ListJobRoutesRequest, ListJobsRequest, PauseJobsRequest, Priority, Refusal, ResumeJobsRequest, Selector,
    SetLimitRequest, UpdateJobsRequest,
};
use tokio::time::timeout;
use tonic::Status;

use super::model::{Reading, Wish};
use crate::connect::Daemon;
use crate::retry::is_passing;
use crate::view::bandwidth::rate;
use crate::view::{human, words};

/// Jobs that are shown: of those that move, of those that wait, of those that are over.
const MOST: [(&[JobState], u32); 3] = [
    (&[JobState::Active], 100),
    (&[JobState::Queued, JobState::Held, JobState::Paused], 100),
    (&[JobState::Done, JobState::Failed, JobState::Cancelled], 20),
];
/// A call that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a call.
pub(super) enum Answer {
    Read(Result<Box<Reading>, Status>),
    /// What to say of a wish.
    Done(String),
}

/// The call that is under way, and the wishes that wait for it.
pub(super) struct Calls<'a> {
    daemon: &'a Daemon,
    wishes: VecDeque<Wish>,
    looking: Option<LocalBoxFuture<'a, Answer>>,
    acting: Option<LocalBoxFuture<'a, Answer>>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(daemon: &'a Daemon) -> Calls<'a> {
        Calls {
            daemon,
            wishes: VecDeque::new(),
            looking: None,
            acting: None,
        }
    }

    /// Has the daemon do it, after what was wanted before.
    pub(super) fn want(&mut self, wish: Wish) {
        self.wishes.push_back(wish);
        // It would tell what was before.
        self.looking = None;
        self.next();
    }

    /// Looks at everything, unless it is under way or a wish is, after which it is looked at anyway.
    pub(super) fn look(&mut self, chosen: Option<String>) {
        if self.looking.is_none() && self.acting.is_none() {
            let daemon = self.daemon;
            let reading = async move {
                let reading = timeout(PATIENCE, read(daemon, chosen)).await;
                Answer::Read(
                    reading
                        .unwrap_or_else(|_| Err(Status::unavailable(SILENT)))
                        .map(Box::new),
                )
            };
            self.looking = Some(reading.boxed_local());
        }
    }

    /// What came of the call that is under way; never, when none is. Safe to cancel.
    pub(super) async fn answer(&mut self) -> Answer {
        let Some(call) = self.acting.as_mut().or(self.looking.as_mut()) else {
            return pending().await;
        };
        let answer = call.await;
        if self.acting.take().is_none() {
            self.looking = None;
        }
        self.next();
        answer
    }

    fn next(&mut self) {
        if self.acting.is_none()
            && let Some(wish) = self.wishes.pop_front()
        {
            self.acting = Some(act(self.daemon, wish).boxed_local());
        }
    }
}

const SILENT: &str = "hfetchd does not answer";

/// Everything that is shown; of one job also its routes.
///
/// # Errors
/// What the daemon or the connection says.
pub(super) async fn read(daemon: &Daemon, chosen: Option<String>) -> Result<Reading, Status> {
    let (mut admin, mut bandwidth, mut endpoints) = (daemon.admin(), daemon.bandwidth(), daemon.endpoints());
    let (info, limit, endpoints, moving, waiting, over, routes) = tokio::try_join!(
        admin.get_server_info(GetServerInfoRequest { check_files: false }),
        bandwidth.get_limit(GetLimitRequest {}),
        endpoints.list_endpoints(ListEndpointsRequest {}),
        jobs(daemon, MOST[0]),
        jobs(daemon, MOST[1]),
        jobs(daemon, MOST[2]),
        routes(daemon, chosen),
    )?;
    let limit = limit.into_inner();
    Ok(Reading {
        info: info.into_inner(),
        jobs: [moving, waiting, over].concat(),
        limit: limit.limit.unwrap_or_default(),
        windows: limit.windows,
        endpoints: endpoints.into_inner().endpoints,
        routes,
    })
}

async fn jobs(daemon: &Daemon, (states, most): (&[JobState], u32)) -> Result<Vec<Job>, Status> {
    let request = ListJobsRequest {
        page_size: most,
        states: states.iter().map(|state| (*state).into()).collect(),
        ..ListJobsRequest::default()
    };
    Ok(daemon.jobs().list_jobs(request).await?.into_inner().jobs)
}

type Routes = Option<(String, Vec<JobRoute>)>;

/// The job may be forgotten by now: then there is nothing to tell.
async fn routes(daemon: &Daemon, id: Option<String>) -> Result<Routes, Status> {
    let Some(id) = id else { return Ok(None) };
    match daemon
        .routes()
        .list_job_routes(ListJobRoutesRequest { id: id.clone() })
        .await
    {
        Ok(answer) => Ok(Some((id, answer.into_inner().routes))),
        Err(status) if is_passing(&status) => Err(status),
        Err(_) => Ok(None),
    }
}

/// Has the daemon do it; gives what to say: what came of it, or why not. The screen stays either way.
async fn act(daemon: &Daemon, wish: Wish) -> Answer {
    Answer::Done(match timeout(PATIENCE, ask(daemon, wish)).await {
        Ok(Ok(said)) => said,
        Ok(Err(status)) => status.message().to_owned(),
        Err(_) => SILENT.to_owned(),
    })
}

async fn ask(daemon: &Daemon, wish: Wish) -> Result<String, Status> {
    let (mut jobs, mut bandwidth) = (daemon.jobs(), daemon.bandwidth());
    let one = |id: &String| {
        Some(Selector {
            ids: vec![id.clone()],
            ..Selector::default()
        })
    };
    match wish {
        Wish::Quit => Ok(String::new()),
        Wish::Pause(id) => {
            let request = PauseJobsRequest { selector: one(&id) };
            let refusals = jobs.pause_jobs(request).await?.into_inner().refusals;
            Ok(said(&refusals, format!("{id} is paused; p lets it go on")))
        }
        Wish::Resume(id) => {
            let request = ResumeJobsRequest { selector: one(&id) };
            let refusals = jobs.resume_jobs(request).await?.into_inner().refusals;
            Ok(said(&refusals, format!("{id} goes on")))
        }
        Wish::Cancel(id) => {
            let request = CancelJobsRequest { selector: one(&id) };
            let refusals = jobs.cancel_jobs(request).await?.into_inner().refusals;
            Ok(said(&refusals, format!("{id} is cancelled")))
        }
        Wish::Prioritise(id, priority) => {
            let request = update(one(&id), priority, None);
            let refusals = bandwidth.update_jobs(request).await?.into_inner().refusals;
            Ok(said(
                &refusals,
                format!("{id} has priority {}", words::priority(priority)),
            ))
        }
        Wish::LimitJob(id, limit) => {
            let request = update(one(&id), Priority::Unspecified, Some(limit.clone()));
            let refusals = bandwidth.update_jobs(request).await?.into_inner().refusals;
            Ok(said(&refusals, format!("{id} has the limit {limit}")))
        }
        Wish::LimitAll(limit) => {
            let request = SetLimitRequest { limit, for_sec: None };
            let limit = bandwidth
                .set_limit(request)
                .await?
                .into_inner()
                .limit
                .unwrap_or_default();
            Ok(format!("the limit of all is {}", rate(limit.bytes_per_sec)))
        }
    }
}

fn update(selector: Option<Selector>, priority: Priority, limit: Option<String>) -> UpdateJobsRequest {
    UpdateJobsRequest {
        selector,
        priority: priority.into(),
        limit,
        window: None,
    }
}

fn said(refusals: &[Refusal], done: String) -> String {
    refusals.first().map_or(done, |refusal| human::clean(&refusal.message))
}
