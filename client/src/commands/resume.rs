//! `hfctl resume`: let paused jobs go on.

use hfetch_proto::v1::ResumeJobsRequest;

use crate::cli::IdsArgs;
use crate::commands::acting;
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
    acting::report(context, jobs, total, &refusals)
}
