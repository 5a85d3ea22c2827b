//! `hfctl set`: change priority, limit or window of jobs.

use hfetch_proto::v1::UpdateJobsRequest;

use crate::cli::SetArgs;
use crate::commands::acting;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::spec;

pub(super) async fn run(context: &Context, args: &SetArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let (selector, mut refusals) = acting::selector(&daemon, &args.ids).await?;
    let (mut jobs, mut total) = (Vec::new(), 0);
    if !acting::is_empty(&selector) {
        let request = UpdateJobsRequest {
            selector: Some(selector),
            priority: spec::priority(args.change.priority).into(),
            limit: args.change.limit.clone(),
            window: args.change.window.clone(),
        };
        let answer = daemon.bandwidth().update_jobs(request).await?.into_inner();
        jobs = answer.jobs;
        total = answer.jobs_total;
        refusals.extend(answer.refusals);
    }
    acting::report(context, jobs, total, &refusals)
}
