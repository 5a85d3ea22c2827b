//! What `submit` and `download` share: from arguments to a durable job, or to a plan with `--dry-run`.

use hfetch_proto::v1::{Job, JobSpec, PlanJobRequest, SubmitJobRequest};

use crate::cli::SubmitArgs;
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::resolve;
use crate::retry::retrying;
use crate::spec;
use crate::token::Token;
use crate::view::{details, json, table};

/// A job that is durable.
pub(super) struct Submitted {
    pub(super) daemon: Daemon,
    pub(super) spec: JobSpec,
    pub(super) job: Job,
    /// The request id was known: the job is an earlier one.
    pub(super) existing: bool,
}

/// What became of the arguments.
pub(super) enum Outcome {
    /// The job is queued.
    Queued(Box<Submitted>),
    /// `--dry-run`: the plan has been told.
    Planned(Exit),
}

/// Checks, resolves the name, and submits or plans.
pub(super) async fn run(context: &Context, args: &SubmitArgs, verb: &str) -> Result<Outcome, CliError> {
    let mut spec = spec::job_spec(args, &context.cwd, &process_env)?;
    let token = Token::for_wire(spec::token(&args.token, &context.cwd, &process_env)?);
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    for note in spec::habit_notes(args) {
        context.out.note(note);
    }
    let daemon = context.dial().await?;
    spec.resolved = Some(resolve::resolve(context, &daemon, &spec, &token, verb).await?);
    if let Some(warning) = spec::drop_patterns_beside_files(&mut spec) {
        context.out.warn(warning);
    }
    if args.dry_run {
        return plan(context, &daemon, spec, token).await.map(Outcome::Planned);
    }
    let request_id = args.request_id.clone().unwrap_or_else(spec::random_request_id);
    let request = SubmitJobRequest {
        spec: Some(spec.clone()),
        request_id,
        token,
        no_login: spec::no_login(&process_env),
    };
    context.on_interrupt("interrupted while submitting; `hfctl list` tells whether the job was queued");
    // Safe to repeat: the request id makes the second call answer with the first one's job.
    let answer = retrying(|| {
        let (mut jobs, request) = (daemon.jobs(), request.clone());
        async move { jobs.submit_job(request).await }
    })
    .await?;
    for warning in &answer.warnings {
        context.out.warn(warning);
    }
    let job = answer
        .job
        .ok_or_else(|| CliError::new(Exit::Failed, "hfetchd answered without a job"))?;
    Ok(Outcome::Queued(Box::new(Submitted {
        daemon,
        spec,
        job,
        existing: answer.existing,
    })))
}

async fn plan(context: &Context, daemon: &Daemon, spec: JobSpec, token: String) -> Result<Exit, CliError> {
    let request = PlanJobRequest {
        spec: Some(spec),
        token,
        no_login: spec::no_login(&process_env),
    };
    let plan = retrying(|| {
        let (mut jobs, request) = (daemon.jobs(), request.clone());
        async move { jobs.plan_job(request).await }
    })
    .await?;
    for warning in &plan.warnings {
        context.out.warn(warning);
    }
    let failure = plan.failure.clone();
    if context.out.json {
        context.out.answer_json(&json::PlanJson::new(plan))?;
    } else if failure.is_none() || !plan.files.is_empty() {
        let files = table::plan(&context.out, &plan.files);
        context
            .out
            .answer(&format!("{files}\n\n{}", details::plan_summary(&plan)))?;
    }
    match failure {
        None => Ok(Exit::Done),
        Some(failure) => {
            let hint = (!failure.hint.is_empty()).then_some(failure.hint.as_str());
            context
                .out
                .problem(&format!("the job would fail: {}", failure.message), hint);
            Ok(Exit::JobFailed)
        }
    }
}
