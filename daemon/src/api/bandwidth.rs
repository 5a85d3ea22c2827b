//! `BandwidthService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{convert, identity::Caller, job::refusal};
use crate::{
    engine::{CallError, Engine, GlobalLimit, JobWish, LimitSource, LimitWish},
    model::{Job, JobState},
    store::{Filter, Scope},
};

/// Jobs that one call may change.
const MOST_JOBS: u32 = 1000;

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
    }
}

impl BandwidthApi {
    /// The ids that a selection stands for.
    async fn chosen(&self, scope: Scope, selector: v1::Selector) -> Result<Vec<String>, CallError> {
        if !selector.all {
            return match selector.ids.len() {
                0 => Err(CallError::invalid("selector", "names no job")),
                count if count > MOST_JOBS as usize => {
                    Err(CallError::invalid("selector", format!("more than {MOST_JOBS} ids")))
                }
                _ => Ok(selector.ids),
            };
        }
        if !selector.ids.is_empty() {
            return Err(CallError::invalid("selector", "either ids or all"));
        }
        let filter = Filter {
            scope,
            states: vec![JobState::Queued, JobState::Active, JobState::Held, JobState::Paused],
            user: String::new(),
            repo: String::new(),
            before_row: None,
            limit: MOST_JOBS + 1,
        };
        let (jobs, _) = self.engine.list_jobs(filter).await?;
        if jobs.len() > MOST_JOBS as usize {
            return Err(CallError::invalid(
                "selector",
                format!("more than {MOST_JOBS} jobs are open: name them"),
            ));
        }
        Ok(jobs.into_iter().map(|job| job.id.to_string()).collect())
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
        Ok(Response::new(v1::GetLimitResponse { limit }))
    }

    async fn set_limit(&self, request: Request<v1::SetLimitRequest>) -> Result<Response<v1::SetLimitResponse>, Status> {
        let caller = Caller::of(&request)?;
        if !caller.operator {
            let text = "only the owner of the daemon or root may set the limit of everybody".to_owned();
            return Err(CallError::NotAllowed(text).into());
        }
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
        let scope = Caller::of(&request)?.scope();
        let request = request.into_inner();
        let wish = JobWish {
            priority: convert::priority_change(request.priority)?,
            limit: request.limit,
            window: request.window,
        };
        self.engine.check_job_wish(&wish)?;
        let (mut jobs, mut refusals) = (Vec::new(), Vec::new());
        for text in self.chosen(scope, request.selector.unwrap_or_default()).await? {
            match self.change(scope, &text, &wish).await {
                Ok(job) => jobs.push(convert::job(&job, self.engine.progress(&job.id).as_ref())),
                Err(error) => refusals.push(refusal(&text, error)),
            }
        }
        Ok(Response::new(v1::UpdateJobsResponse { jobs, refusals }))
    }
}
