//! `hfctl submit`: queue a download, print the job's id.

use hfetch_proto::v1::{HoldReason, JobState};

use crate::cli::SubmitArgs;
use crate::commands::following;
use crate::commands::submission::{self, Outcome, Submitted};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::view::json::JobJson;
use crate::view::{human, words};

pub(super) async fn run(context: &Context, args: &SubmitArgs) -> Result<Exit, CliError> {
    let submitted = match submission::run(context, args, "submit").await? {
        Outcome::Queued(submitted) => *submitted,
        Outcome::Planned(exit) => return Ok(exit),
    };
    let Submitted {
        daemon, job, existing, ..
    } = submitted;
    let id = job.id.clone();
    let forecast = human::clean(&job.forecast);
    let job_waits = job.state() == JobState::Held && job.hold_reason() == HoldReason::Access;
    let detail = human::clean(&job.detail);
    let name = human::clean(&words::repo_name(job.repo_type(), &job.repo_id));
    if !context.out.json {
        context.out.answer(&id)?;
    } else if !args.wait {
        context.out.answer_json(&JobJson::new(job).existing(existing))?;
    }
    if context.out.json && args.wait {
        // The object comes at the end; who is interrupted before it knows the job.
        context.out.note(&format!("{name} is queued as job {id}"));
    }
    if existing {
        context
            .out
            .note(&format!("{name} was queued before under this request id, as job {id}"));
    }
    if !forecast.is_empty() {
        context.out.note(&forecast);
    }
    if !args.wait {
        if job_waits {
            context.out.note(&format!(
                "{name} is job {id} and waits for access: {detail}\n  follow it: hfctl watch {id}; end it: hfctl cancel {id}"
            ));
        } else if !existing {
            context
                .out
                .note(&format!("{name} is queued; follow it with: hfctl watch {id}"));
        }
        return Ok(Exit::Done);
    }
    let jobs = following::to_end(context, &daemon, &[id]).await?;
    let exit = following::tell_ends(context, &jobs);
    if context.out.json {
        for job in jobs {
            context.out.answer_json(&JobJson::new(job).existing(existing))?;
        }
    }
    Ok(exit)
}
