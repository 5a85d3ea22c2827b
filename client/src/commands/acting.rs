//! What `pause`, `resume`, `cancel` and `retry` share: which jobs, and what became of each.

use hfetch_proto::reason;
use hfetch_proto::v1::{Job, Refusal, Selector};
use tonic::Code;

use crate::cli::IdsArgs;
use crate::commands::following::get_job;
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::{CliError, verdict};
use crate::exit::Exit;
use crate::view::human;
use crate::view::json::JobJson;

/// Length of a full id; shorter ones are beginnings.
const ID_CHARS: usize = 10;

/// The selection on the wire, and the ids that fit no job or several.
pub(super) async fn selector(daemon: &Daemon, args: &IdsArgs) -> Result<(Selector, Vec<Refusal>), CliError> {
    let mut selector = Selector {
        ids: Vec::new(),
        all: args.all || args.all_users,
        user: args.user.clone().unwrap_or_default(),
        all_users: args.all_users,
    };
    let mut refusals = Vec::new();
    for typed in &args.ids {
        if typed.len() >= ID_CHARS {
            selector.ids.push(typed.clone());
            continue;
        }
        match get_job(daemon, typed).await {
            Ok(job) => selector.ids.push(job.id),
            Err(error) if matches!(error.exit(), Exit::NotFound | Exit::Usage) => {
                let found = error.exit() == Exit::Usage;
                let reason = if found {
                    reason::JOB_ID_AMBIGUOUS
                } else {
                    reason::JOB_NOT_FOUND
                };
                refusals.push(Refusal {
                    id: typed.clone(),
                    reason: reason.to_owned(),
                    message: error.to_string(),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((selector, refusals))
}

/// Whether there is anything to ask the daemon for.
pub(super) fn is_empty(selector: &Selector) -> bool {
    !selector.all && selector.ids.is_empty()
}

/// One line per job on stdout, refusals on stderr, and the exit code. `total` counts jobs that the answer had no room for.
pub(super) fn report(context: &Context, jobs: Vec<Job>, total: u64, refusals: &[Refusal]) -> Result<Exit, CliError> {
    let untold = total.saturating_sub(jobs.len() as u64);
    if jobs.is_empty() && refusals.is_empty() {
        context.out.note("none of your jobs is in a state that this changes");
    }
    if context.out.json {
        context
            .out
            .answer_json(&jobs.into_iter().map(JobJson::new).collect::<Vec<_>>())?;
    } else {
        for job in &jobs {
            context.out.answer(&human::job_line(job))?;
        }
    }
    if untold > 0 {
        context
            .out
            .note(&format!("and {untold} more: `hfctl list --all` shows them"));
    }
    for refusal in refusals {
        let (_, hint) = verdict(Some(&refusal.reason), Code::Unknown);
        context
            .out
            .problem(&format!("{}: {}", refusal.id, refusal.message), hint);
    }
    Ok(exit_for(refusals))
}

/// 4 or 6 when every refusal says so, else 1: a script can tell "all gone" from "some went wrong".
fn exit_for(refusals: &[Refusal]) -> Exit {
    let all = |reason: &str| refusals.iter().all(|refusal| refusal.reason == reason);
    match refusals {
        [] => Exit::Done,
        _ if all(reason::JOB_NOT_FOUND) => Exit::NotFound,
        _ if all(reason::PERMISSION_DENIED) => Exit::NotAllowed,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_refusals() {
        let check = |reasons: &[&str], exit| {
            let refusal = |reason: &&str| Refusal {
                reason: (*reason).to_owned(),
                ..Refusal::default()
            };
            assert_eq!(
                exit_for(&reasons.iter().map(refusal).collect::<Vec<_>>()),
                exit,
                "{reasons:?}"
            );
        };
        check(&[], Exit::Done);
        check(&[reason::JOB_NOT_FOUND, reason::JOB_NOT_FOUND], Exit::NotFound);
        check(&[reason::PERMISSION_DENIED], Exit::NotAllowed);
        check(&[reason::WRONG_STATE], Exit::Failed);
        check(&[reason::JOB_NOT_FOUND, reason::WRONG_STATE], Exit::Failed);
    }
}
