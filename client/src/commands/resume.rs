//! `hfctl resume`: let paused jobs go on.

use hfetch_proto::v1::{HoldReason, JobState, ListJobsRequest, ResumeJobsRequest};

use crate::cli::IdsArgs;
use crate::commands::acting;
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

pub(super) async fn run(context: &Context, args: &IdsArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let (selector, mut refusals) = acting::selector(&daemon, args).await?;
    let (mut jobs, mut total) = (Vec::new(), 0);
    if !acting::is_empty(&selector) {
        let request = ResumeJobsRequest {
            selector: Some(selector),
        };
        let answer = daemon.jobs().resume_jobs(request).await?.into_inner();
        jobs = answer.jobs;
        total = answer.jobs_total;
        refusals.extend(answer.refusals);
    }
    let exit = acting::report(context, jobs, total, &refusals)?;
    // Only a note: the jobs are resumed, whatever becomes of it.
    if args.all && args.user.is_none() {
        tell_of_approvals(context, &daemon).await.ok();
    }
    Ok(exit)
}

/// A yes is said to each by its id: "all" are the paused ones.
async fn tell_of_approvals(context: &Context, daemon: &Daemon) -> Result<(), CliError> {
    let request = ListJobsRequest {
        states: vec![JobState::Held.into()],
        ..ListJobsRequest::default()
    };
    let held = daemon.jobs().list_jobs(request).await?.into_inner().jobs;
    let ids = held.iter().filter(|job| job.hold_reason() == HoldReason::Approval);
    let ids: Vec<&str> = ids.map(|job| job.id.as_str()).collect();
    if !ids.is_empty() {
        context.out.note(&format!(
            "--all does not say yes for you; these wait for one: `hfctl resume {}`",
            ids.join(" ")
        ));
    }
    Ok(())
}
