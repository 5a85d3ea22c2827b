//! `BandwidthService`.

use std::time::Duration;

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{
    convert,
    identity::Caller,
    job::refusal,
    selection::{Selection, Told, all, answer, selection},
};
use crate::{
    engine::{CallError, Courtesy, Engine, GlobalLimit, JobWish, LimitSource, LimitWish, WindowView, millis},
    model::{Job, JobId, JobState},
    sched::{calendar::Opening, ledbat::Seen},
    store::Scope,
};

pub(super) struct BandwidthApi {
    pub(super) engine: Engine,
}

fn to_wire(limit: &GlobalLimit) -> v1::GlobalLimit {
    v1::GlobalLimit {
        bytes_per_sec: limit.in_force.bytes_per_sec,
        next_change_at: limit.in_force.next.map(|(at, _)| convert::timestamp(at)),
        next_bytes_per_sec: limit.in_force.next.and_then(|(_, rate)| rate),
        source: match limit.source {
            LimitSource::Config => "config",
            LimitSource::Set => "set",
        }
        .to_owned(),
        text: limit.text.clone(),
        until: limit.until.map(convert::timestamp),
        current_bytes_per_sec: limit.bytes_per_sec,
        giving_way: limit.courtesy.map(giving_way),
    }
}

fn giving_way(courtesy: Courtesy) -> v1::GivingWay {
    let told = |time: fn(&Seen) -> Duration| courtesy.seen.as_ref().map(|seen| millis(time(seen)));
    v1::GivingWay {
        bytes_per_sec: courtesy.bytes_per_sec,
        queueing_ms: told(|seen| seen.queueing),
        target_ms: told(|seen| seen.target),
        round_trip_ms: told(|seen| seen.base),
        hidden: courtesy.hidden,
    }
}

fn window(view: WindowView) -> v1::Window {
    let (open, change) = match view.opening {
        Opening::Open(until) => (true, until),
        Opening::Closed(until) => (false, until),
    };
    v1::Window {
        name: view.name,
        open,
        next_change_at: change.map(convert::timestamp),
        bytes_per_sec: view.bytes_per_sec,
    }
}

impl BandwidthApi {
    /// The ids that a selection stands for, and where they are looked for.
    async fn chosen(&self, caller: &Caller, selector: Option<v1::Selector>) -> Result<(Scope, Vec<String>), CallError> {
        let (scope, user) = match selection(caller, selector)? {
            Selection::Ids(ids) => return Ok((caller.scope(), ids)),
            Selection::All(scope) => (scope, String::new()),
            Selection::AllOf(user) => (Scope::All, user),
        };
        let open = [JobState::Queued, JobState::Active, JobState::Held, JobState::Paused];
        let ids = self.engine.job_ids(all(scope, user, (&open, &[]))).await?;
        Ok((scope, ids.iter().map(JobId::to_string).collect()))
    }

    async fn change(&self, scope: Scope, text: &str, wish: &JobWish) -> Result<Job, CallError> {
        let id = self.engine.find_job(scope, text).await?;
        self.engine.change_job(scope, &id, wish).await
    }
}

#[tonic::async_trait]
impl v1::bandwidth_service_server::BandwidthService for BandwidthApi {
    async fn get_limit(&self, request: Request<v1::GetLimitRequest>) -> Result<Response<v1::GetLimitResponse>, Status> {
        Caller::of(&request)?;
        let limit = Some(to_wire(&self.engine.limit()));
        let windows = self.engine.windows().into_iter().map(window).collect();
        Ok(Response::new(v1::GetLimitResponse { limit, windows }))
    }

    async fn set_limit(&self, request: Request<v1::SetLimitRequest>) -> Result<Response<v1::SetLimitResponse>, Status> {
        let request = request.into_inner();
        let wish = match (request.limit.trim(), request.for_sec) {
            ("", None) => LimitWish::Reset,
            ("", Some(_)) => return Err(CallError::invalid("limit", "is missing; for how long is not enough").into()),
            (text, seconds) => LimitWish::Set(text.to_owned(), seconds),
        };
        let limit = Some(to_wire(&self.engine.set_limit(wish).await?));
        Ok(Response::new(v1::SetLimitResponse { limit }))
    }

    async fn update_jobs(
        &self,
        request: Request<v1::UpdateJobsRequest>,
    ) -> Result<Response<v1::UpdateJobsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let wish = JobWish {
            priority: convert::priority_change(request.priority)?,
            limit: request.limit,
            window: request.window,
        };
        self.engine.check_job_wish(&wish)?;
        let mut told = Told::default();
        let (scope, ids) = self.chosen(&caller, request.selector).await?;
        for text in ids {
            match self.change(scope, &text, &wish).await {
                Ok(job) => told.add(convert::job_now(&self.engine, &job)),
                Err(error) => told.refusals.push(refusal(&text, error)),
            }
        }
        Ok(answer!(told, UpdateJobsResponse))
    }
}
