//! `ScheduleService`.

use hfetch_proto::v1;
use tonic::{Request, Response, Status};

use super::{convert, gate::about, identity::Caller};
use crate::{
    engine::{AddSchedule, Engine, ScheduleView},
    model::{Pull, RunOutcome, Schedule, ScheduleRun},
};

pub(super) struct ScheduleApi {
    pub(super) engine: Engine,
}

fn run(run: &ScheduleRun) -> v1::ScheduleRun {
    let outcome = match run.outcome {
        RunOutcome::Job => v1::RunOutcome::Job,
        RunOutcome::Unchanged => v1::RunOutcome::Unchanged,
        RunOutcome::Overlap => v1::RunOutcome::Overlap,
        RunOutcome::Refused => v1::RunOutcome::Refused,
    };
    v1::ScheduleRun {
        due_at: run.due_at.map(convert::timestamp),
        ran_at: Some(convert::timestamp(run.ran_at)),
        outcome: outcome.into(),
        detail: run.detail.clone(),
        job_id: run.job.as_ref().map(ToString::to_string).unwrap_or_default(),
        job_state: run.state.map_or(v1::JobState::Unspecified, convert::job_state).into(),
        commit: run.commit.clone(),
        files_to_fetch: run.difference.map(|difference| difference.files),
        bytes_to_fetch: run.difference.map(|difference| difference.bytes),
    }
}

fn spec(pull: Pull) -> v1::JobSpec {
    let terms = pull.terms;
    v1::JobSpec {
        name: pull.repo_id.to_string(),
        repo_type: convert::kind_to_wire(pull.kind).into(),
        revision: pull.revision.to_string(),
        files: terms.selection.files,
        include: terms.selection.include,
        exclude: terms.selection.exclude,
        cache_dir: terms.cache_dir,
        local_dir: terms.local_dir,
        endpoints: terms.endpoints,
        priority: convert::priority(terms.priority).into(),
        connections: terms.connections.unwrap_or(0),
        max_workers: terms.max_workers.unwrap_or(0),
        limit: terms.limit,
        window: terms.window,
        hold_above: terms.hold_above,
        preferred_cache_dir: terms.preferred_cache_dir,
        preferred_endpoint: terms.preferred_endpoint,
        ..v1::JobSpec::default()
    }
}

fn to_wire(view: ScheduleView) -> v1::Schedule {
    let Schedule {
        id,
        owner,
        pull,
        cron,
        keep,
        paused,
        created_at,
        ..
    } = view.schedule;
    v1::Schedule {
        id: id.to_string(),
        user: owner.user,
        uid: owner.uid,
        repo_id: pull.repo_id.to_string(),
        repo_type: convert::kind_to_wire(pull.kind).into(),
        revision: pull.revision.to_string(),
        spec: Some(spec(pull)),
        cron,
        timezone: view.timezone,
        keep_revisions: keep,
        paused,
        created_at: Some(convert::timestamp(created_at)),
        next_runs: view.next.into_iter().map(convert::timestamp).collect(),
        last_runs: view.last.iter().map(run).collect(),
    }
}

#[tonic::async_trait]
impl v1::schedule_service_server::ScheduleService for ScheduleApi {
    async fn add_schedule(
        &self,
        request: Request<v1::AddScheduleRequest>,
    ) -> Result<Response<v1::AddScheduleResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let asked = convert::submit(caller, request.spec, String::new(), (&request.token, request.no_login))?;
        let call = AddSchedule {
            owner: asked.owner,
            wish: asked.wish,
            cron: request.cron,
            timezone: request.timezone,
            keep: request.keep_revisions,
            token: asked.token,
            no_login: asked.no_login,
        };
        let (view, existing, warnings) = self.engine.add_schedule(call).await?;
        let id = view.schedule.id.to_string();
        let answer = v1::AddScheduleResponse {
            schedule: Some(to_wire(view)),
            existing,
            warnings,
        };
        Ok(about(answer, [id]))
    }

    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Result<Response<v1::ListSchedulesResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let schedules = self.engine.schedules(scope).await?;
        Ok(Response::new(v1::ListSchedulesResponse {
            schedules: schedules.into_iter().map(to_wire).collect(),
        }))
    }

    async fn get_schedule(
        &self,
        request: Request<v1::GetScheduleRequest>,
    ) -> Result<Response<v1::GetScheduleResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let view = self.engine.schedule(scope, &request.into_inner().id).await?;
        let schedule = Some(to_wire(view));
        Ok(Response::new(v1::GetScheduleResponse { schedule }))
    }

    async fn pause_schedule(
        &self,
        request: Request<v1::PauseScheduleRequest>,
    ) -> Result<Response<v1::PauseScheduleResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let view = self
            .engine
            .pause_schedule(scope, &request.into_inner().id, true)
            .await?;
        let id = view.schedule.id.to_string();
        let schedule = Some(to_wire(view));
        Ok(about(v1::PauseScheduleResponse { schedule }, [id]))
    }

    async fn resume_schedule(
        &self,
        request: Request<v1::ResumeScheduleRequest>,
    ) -> Result<Response<v1::ResumeScheduleResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let view = self
            .engine
            .pause_schedule(scope, &request.into_inner().id, false)
            .await?;
        let id = view.schedule.id.to_string();
        let schedule = Some(to_wire(view));
        Ok(about(v1::ResumeScheduleResponse { schedule }, [id]))
    }

    async fn remove_schedule(
        &self,
        request: Request<v1::RemoveScheduleRequest>,
    ) -> Result<Response<v1::RemoveScheduleResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let view = self.engine.remove_schedule(scope, &request.into_inner().id).await?;
        let id = view.schedule.id.to_string();
        let schedule = Some(to_wire(view));
        Ok(about(v1::RemoveScheduleResponse { schedule }, [id]))
    }

    async fn run_schedule(
        &self,
        request: Request<v1::RunScheduleRequest>,
    ) -> Result<Response<v1::RunScheduleResponse>, Status> {
        let scope = Caller::of(&request)?.scope();
        let id = request.into_inner().id;
        let ran = self.engine.run_schedule(scope, &id).await?;
        let answer = v1::RunScheduleResponse { run: Some(run(&ran)) };
        Ok(about(answer, [id.chars().take(40).collect::<String>()]))
    }
}
