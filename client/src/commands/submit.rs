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
    let waits_for = (job.state() == JobState::Held).then(|| job.hold_reason());
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
        let ways = format!("follow it: hfctl watch {id}; end it: hfctl cancel {id}");
        match waits_for {
            Some(HoldReason::Access) => context
                .out
                .note(&format!("{name} is job {id} and waits for access: {detail}\n  {ways}")),
            Some(HoldReason::Window) => context.out.note(&format!("{name} is job {id}; {detail}\n  {ways}")),
            _ if existing => {}
            _ => context
                .out
                .note(&format!("{name} is queued; follow it with: hfctl watch {id}")),
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
