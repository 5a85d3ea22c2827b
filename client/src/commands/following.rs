//! What `download`, `submit --wait` and `wait` share: follow jobs to their end, then tell how they ended.

use hfetch_proto::v1::{GetJobRequest, HoldReason, Job, JobState};

use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{self, Cursor, Follower};
use crate::retry::retrying;
use crate::view::human;
use crate::view::progress::Monitor;

/// A job by its id or the beginning of it.
pub(super) async fn get_job(daemon: &Daemon, id: &str) -> Result<Job, CliError> {
    let answer = retrying(|| {
        let (mut jobs, request) = (daemon.jobs(), GetJobRequest { id: id.to_owned() });
        async move { jobs.get_job(request).await }
    })
    .await?;
    answer
        .job
        .ok_or_else(|| CliError::new(Exit::Failed, "hfetchd answered without a job"))
}

/// The full ids for what the user typed, without duplicates, in order.
pub(super) async fn full_ids(daemon: &Daemon, typed: &[String]) -> Result<Vec<String>, CliError> {
    let mut ids: Vec<String> = Vec::new();
    for id in typed {
        let job = get_job(daemon, id).await?;
        if !ids.contains(&job.id) {
            ids.push(job.id);
        }
    }
    Ok(ids)
}

/// Shows progress until all of the jobs (full ids) have ended, or wait for somebody to give access or say yes; gives them back as they are then.
pub(super) async fn to_end(context: &Context, daemon: &Daemon, ids: &[String]) -> Result<Vec<Job>, CliError> {
    context.jobs_outlive_us(ids);
    let mut monitor = Monitor::new(&context.out);
    let mut follower = Follower::new(daemon, Cursor::new(ids.to_vec(), monitor.interval_ms(), None));
    follow::until_ended(&mut follower, ids, follow::has_settled, &mut |item| {
        monitor.take(item);
        Ok(())
    })
    .await?;
    drop(monitor);
    let mut jobs = Vec::with_capacity(ids.len());
    for id in ids {
        jobs.push(get_job(daemon, id).await?);
    }
    Ok(jobs)
}

/// Says on stderr how the jobs ended, and which exit code that is.
pub(super) fn tell_ends(context: &Context, jobs: &[Job]) -> Exit {
    let mut exit = Exit::Done;
    for job in jobs {
        if job.state() == JobState::Done {
            context.out.note(&human::good_end(job));
            continue;
        }
        exit = Exit::JobFailed;
        if job.state() == JobState::Held {
            // Not ended, but a script must not wait for days for somebody's consent.
            let (id, detail) = (&job.id, &job.detail);
            let (what, hint) = match job.hold_reason() {
                // Its detail names the command that says yes.
                HoldReason::Approval => ("a yes", String::new()),
                _ => (
                    "access",
                    format!("follow it again when access is granted: hfctl wait {id}; "),
                ),
            };
            let text = format!("job {id} waits for {what}: {detail}");
            let hint = format!("{hint}end it: hfctl cancel {id}");
            context.out.problem(&text, Some(&hint));
            continue;
        }
        let (text, hint) = human::bad_end(job).unwrap_or_else(|| {
            let hint = format!("follow it again: hfctl watch {}", job.id);
            (format!("job {} ended, but was queued again since", job.id), Some(hint))
        });
        context.out.problem(&text, hint.as_deref());
    }
    exit
}
