//! `JobService`.

use hfetch_proto::{reason, v1};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use super::{
    convert,
    gate::about,
    identity::Caller,
    selection::{Selection, Told, all, answer, cut, selection},
};
use crate::{
    engine::{CallError, Chosen, Engine, FileReading, Renewal, Verb},
    model::{JobId, naming},
    store::{Filter, Scope},
};

const JOBS_PAGE: u32 = 100;
const JOBS_PAGE_MAX: u32 = 1000;
const FILES_PAGE: u32 = 1000;
const FILES_PAGE_MAX: u32 = 10_000;

pub(super) struct JobApi {
    pub(super) engine: Engine,
}

/// Why a verb could not act on one of several jobs.
pub(super) fn refusal(id: &str, error: CallError) -> v1::Refusal {
    let status = Status::from(error);
    let info = status.get_details_error_info();
    let id: String = id.chars().take(40).collect();
    v1::Refusal {
        reason: info.map_or_else(|| reason::INTERNAL.to_owned(), |info| info.reason),
        message: naming(status.message(), &id),
        id,
    }
}

impl JobApi {
    fn to_wire(&self, job: &crate::model::Job) -> v1::Job {
        convert::job_now(&self.engine, job)
    }

    /// Acts on each id by itself, so that one bad id does not spoil the others.
    async fn act(
        &self,
        caller: &Caller,
        selector: Option<v1::Selector>,
        verb: Verb,
        renewal: Option<&mut Renewal>,
    ) -> Result<Told, Status> {
        let mut told = Told::default();
        let (scope, ids) = match selection(caller, selector)? {
            Selection::All(scope) => {
                if let Some(renewal) = renewal {
                    self.renew_all(caller, verb, renewal).await?;
                }
                for job in self.engine.act(scope, Chosen::All, verb).await? {
                    told.add(self.to_wire(&job));
                }
                return Ok(told);
            }
            Selection::AllOf(user) => {
                let ids = self.engine.job_ids(all(Scope::All, user, verb.which())).await?;
                (Scope::All, ids.iter().map(JobId::to_string).collect())
            }
            Selection::Ids(ids) => (caller.scope(), ids),
        };
        let mut renewal = renewal;
        for text in ids {
            match self.act_on_one(scope, &text, verb, renewal.as_deref_mut()).await {
                Ok(job) => told.add(self.to_wire(&job)),
                Err(error) => told.refusals.push(refusal(&text, error)),
            }
        }
        Ok(told)
    }

    /// The caller's own jobs that "all" stands for get the token of this call.
    async fn renew_all(&self, caller: &Caller, verb: Verb, renewal: &mut Renewal) -> Result<(), CallError> {
        let own = Scope::Uid(caller.owner.uid);
        for id in self.engine.job_ids(all(own, String::new(), verb.which())).await? {
            // One that is gone meanwhile needs none.
            if let Ok(job) = self.engine.job(own, &id).await {
                self.engine.renew_token(renewal, &job).await?;
            }
        }
        Ok(())
    }

    async fn act_on_one(
        &self,
        scope: Scope,
        text: &str,
        verb: Verb,
        renewal: Option<&mut Renewal>,
    ) -> Result<crate::model::Job, CallError> {
        let id = self.engine.find_job(scope, text).await?;
        if let Some(renewal) = renewal {
            let job = self.engine.job(scope, &id).await?;
            self.engine.renew_token(renewal, &job).await?;
        }
        let mut jobs = self.engine.act(scope, Chosen::One(id), verb).await?;
        jobs.pop()
            .ok_or_else(|| CallError::Internal("a verb gave no job".into()))
    }

    async fn find(&self, scope: Scope, text: &str) -> Result<JobId, CallError> {
        self.engine.find_job(scope, text).await
    }
}

#[tonic::async_trait]
impl v1::job_service_server::JobService for JobApi {
    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let submit = convert::submit(
            caller,
            request.spec,
            request.request_id,
            (&request.token, request.no_login),
        )?;
        let (job, existing, warnings) = self.engine.submit(submit).await?;
        let answer = v1::SubmitJobResponse {
            job: Some(self.to_wire(&job)),
            existing,
            warnings,
        };
        Ok(about(answer, [job.id.to_string()]))
    }

    async fn plan_job(&self, request: Request<v1::PlanJobRequest>) -> Result<Response<v1::PlanJobResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let submit = convert::submit(caller, request.spec, String::new(), (&request.token, request.no_login))?;
        let preview = self.engine.preview(submit).await?;
        Ok(Response::new(v1::PlanJobResponse {
            repo_id: preview.spec.repo_id.to_string(),
            repo_type: convert::kind_to_wire(preview.spec.kind).into(),
            commit: preview.commit,
            path: preview.path.display().to_string(),
            bytes_total: preview.files.iter().map(|file| file.size).sum(),
            bytes_to_fetch: preview.missing,
            files: preview
                .files
                .iter()
                .take(FILES_PAGE_MAX as usize)
                .map(|file| convert::file(&FileReading::at_rest(file.clone()), None))
                .collect(),
            files_total: preview.files.len() as u64,
            disk_free: preview.disk_free,
            warnings: preview.warnings,
            failure: preview.failure.as_ref().map(|why| convert::failure(why, None)),
        }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let id = self.find(scope, &request.into_inner().id).await?;
        let job = self.engine.job(scope, &id).await?;
        Ok(Response::new(v1::GetJobResponse {
            job: Some(self.to_wire(&job)),
        }))
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let request = request.into_inner();
        let limit = page_size(request.page_size, JOBS_PAGE, JOBS_PAGE_MAX);
        let before_row = match request.page_token.as_str() {
            "" => None,
            token => Some(
                token
                    .parse()
                    .map_err(|_| CallError::invalid("page_token", "is not one of ours"))?,
            ),
        };
        let filter = Filter {
            scope,
            states: convert::state_filter(&request.states)?,
            held_for: Vec::new(),
            user: request.user,
            repo: request.repo,
            before_row,
            limit,
        };
        let (jobs, seq) = self.engine.list_jobs(filter).await?;
        let full = jobs.len() == limit as usize;
        let mut page: Vec<v1::Job> = jobs.iter().map(|job| self.to_wire(job)).collect();
        let more = cut(&mut page) || full;
        let last = page.len().checked_sub(1).map(|last| jobs[last].row);
        let next_page_token = last.filter(|_| more).map(|row| row.to_string()).unwrap_or_default();
        let jobs = page;
        Ok(Response::new(v1::ListJobsResponse {
            jobs,
            next_page_token,
            event_seq: seq.0,
        }))
    }

    async fn list_files(
        &self,
        request: Request<v1::ListFilesRequest>,
    ) -> Result<Response<v1::ListFilesResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let request = request.into_inner();
        let limit = page_size(request.page_size, FILES_PAGE, FILES_PAGE_MAX);
        let id = self.find(scope, &request.id).await?;
        let job = self.engine.job(scope, &id).await?;
        let files = self.engine.list_files(&job, request.page_token, limit).await?;
        let full = files.len() == limit as usize;
        let next_page_token = files
            .last()
            .filter(|_| full)
            .map(|file| file.record.path.to_string())
            .unwrap_or_default();
        Ok(Response::new(v1::ListFilesResponse {
            files: files.iter().map(|file| convert::file(file, Some(&id))).collect(),
            next_page_token,
        }))
    }

    async fn pause_jobs(
        &self,
        request: Request<v1::PauseJobsRequest>,
    ) -> Result<Response<v1::PauseJobsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let told = self
            .act(&caller, request.into_inner().selector, Verb::Pause, None)
            .await?;
        Ok(answer!(told, PauseJobsResponse))
    }

    async fn resume_jobs(
        &self,
        request: Request<v1::ResumeJobsRequest>,
    ) -> Result<Response<v1::ResumeJobsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let told = self
            .act(&caller, request.into_inner().selector, Verb::Resume, None)
            .await?;
        Ok(answer!(told, ResumeJobsResponse))
    }

    async fn cancel_jobs(
        &self,
        request: Request<v1::CancelJobsRequest>,
    ) -> Result<Response<v1::CancelJobsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let told = self
            .act(&caller, request.into_inner().selector, Verb::Cancel, None)
            .await?;
        Ok(answer!(told, CancelJobsResponse))
    }

    async fn retry_jobs(
        &self,
        request: Request<v1::RetryJobsRequest>,
    ) -> Result<Response<v1::RetryJobsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let token = convert::token(&request.token)?;
        let mut renewal = Renewal::new(caller.owner.clone(), token, request.no_login);
        let told = self
            .act(&caller, request.selector, Verb::Retry, Some(&mut renewal))
            .await?;
        Ok(answer!(told, RetryJobsResponse))
    }
}

fn page_size(asked: u32, default: u32, most: u32) -> u32 {
    if asked == 0 { default } else { asked.min(most) }
}
