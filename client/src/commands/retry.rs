//! `hfctl retry`: queue failed or cancelled jobs again, with the caller's present token.

use hfetch_proto::v1::RetryJobsRequest;

use crate::cli::RetryArgs;
use crate::commands::acting;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::spec;
use crate::token::Token;

pub(super) async fn run(context: &Context, args: &RetryArgs) -> Result<Exit, CliError> {
    let token = Token::for_wire(spec::token(&args.token, &context.cwd, &process_env)?);
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    let daemon = context.dial().await?;
    let (selector, mut refusals) = acting::selector(&daemon, &args.ids).await?;
    let (mut jobs, mut total) = (Vec::new(), 0);
    if !acting::is_empty(&selector) {
        let request = RetryJobsRequest {
            selector: Some(selector),
            token,
            no_login: spec::no_login(&process_env),
        };
        let answer = daemon.jobs().retry_jobs(request).await?.into_inner();
        jobs = answer.jobs;
        total = answer.jobs_total;
        refusals.extend(answer.refusals);
    }
    acting::report(context, jobs, total, &refusals)
}
