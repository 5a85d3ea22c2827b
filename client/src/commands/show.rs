//! `hfctl show`: one job, with its files when asked.

use hfetch_proto::v1::{File, JobRoute, ListFilesRequest, ListJobRoutesRequest};
use jiff::Timestamp;

use crate::cli::ShowArgs;
use crate::commands::following::get_job;
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::retry::retrying;
use crate::view::json::JobJson;
use crate::view::{details, routes as routes_view, table};

pub(super) async fn run(context: &Context, args: &ShowArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let job = get_job(&daemon, &args.id).await?;
    let files = if args.files {
        Some(all_files(&daemon, &job.id).await?)
    } else {
        None
    };
    let routes = routes(&daemon, &job.id).await?;
    if context.out.json {
        let job = JobJson::new(job).with_routes(routes);
        context.out.answer_json(&match files {
            Some(files) => job.with_files(files),
            None => job,
        })?;
        return Ok(Exit::Done);
    }
    let mut text = details::job(&job, Timestamp::now());
    match files {
        Some(files) if files.is_empty() && job.files_total > 0 => context
            .out
            .note("the job ended long ago: its list of files is not kept any more (jobs.keep_files)"),
        Some(files) if files.is_empty() => context.out.note("the files are not known until the job is planned"),
        Some(files) => text = format!("{text}\n\n{}", table::files(&context.out, &files)),
        None => {}
    }
    if !routes.is_empty() {
        text = format!("{text}\n\n{}", routes_view::account(&context.out, &routes));
    }
    context.out.answer(&text)?;
    Ok(Exit::Done)
}

async fn routes(daemon: &Daemon, id: &str) -> Result<Vec<JobRoute>, CliError> {
    let request = ListJobRoutesRequest { id: id.to_owned() };
    let answer = retrying(|| {
        let (mut routes, request) = (daemon.routes(), request.clone());
        async move { routes.list_job_routes(request).await }
    })
    .await;
    match answer {
        Ok(answer) => Ok(answer.routes),
        // An older daemon keeps no account.
        Err(status) if status.code() == tonic::Code::Unimplemented => Ok(Vec::new()),
        Err(status) => Err(status.into()),
    }
}

async fn all_files(daemon: &Daemon, id: &str) -> Result<Vec<File>, CliError> {
    let mut files = Vec::new();
    let mut request = ListFilesRequest {
        id: id.to_owned(),
        page_size: 10_000,
        page_token: String::new(),
    };
    loop {
        let page = retrying(|| {
            let (mut jobs, request) = (daemon.jobs(), request.clone());
            async move { jobs.list_files(request).await }
        })
        .await?;
        files.extend(page.files);
        if page.next_page_token.is_empty() {
            return Ok(files);
        }
        request.page_token = page.next_page_token;
    }
}
