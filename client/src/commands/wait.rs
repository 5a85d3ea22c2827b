//! `hfctl wait`: until all of the jobs have ended.

use crate::cli::WaitArgs;
use crate::commands::following;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::human;
use crate::view::json::JobJson;

pub(super) async fn run(context: &Context, args: &WaitArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let ids = following::full_ids(&daemon, &args.ids).await?;
    let ended = following::to_end(context, &daemon, &ids);
    let jobs = match args.timeout {
        None => ended.await?,
        Some(limit) => tokio::time::timeout(limit, ended).await.map_err(|_| {
            let after = human::seconds(limit.as_secs());
            CliError::new(
                Exit::Failed,
                format!("not all jobs have ended after {after}; they go on"),
            )
        })??,
    };
    let exit = following::tell_ends(context, &jobs);
    if context.out.json {
        context
            .out
            .answer_json(&jobs.into_iter().map(JobJson::new).collect::<Vec<_>>())?;
    } else {
        for job in &jobs {
            context.out.answer(&human::job_line(job))?;
        }
    }
    Ok(exit)
}
