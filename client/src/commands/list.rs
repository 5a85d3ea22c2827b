//! `hfctl list`: jobs, newest first.

use hfetch_proto::v1::{Job, JobState, ListJobsRequest, ListJobsResponse};
use jiff::Timestamp;

use crate::cli::{ListArgs, StateArg};
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::retry::retrying;
use crate::view::json::{JobJson, ListJson};
use crate::view::table;

/// The most that the daemon gives at once.
const LARGEST_PAGE: u32 = 1000;

pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let (jobs, next) = collect(&daemon, args).await?;
    if context.out.json {
        let jobs = jobs.into_iter().map(JobJson::new).collect();
        context.out.answer_json(&ListJson {
            jobs,
            next_page_token: (!next.is_empty()).then_some(next),
        })?;
        return Ok(Exit::Done);
    }
    if jobs.is_empty() {
        context.out.note("no jobs");
        return Ok(Exit::Done);
    }
    context
        .out
        .answer(&table::jobs(&context.out, &jobs, Timestamp::now()))?;
    // Who says how many they want has them.
    if !next.is_empty() && args.limit_rows.is_none() {
        context
            .out
            .note(&format!("there are more: --all, or --page-token {next}"));
    }
    Ok(Exit::Done)
}

async fn collect(daemon: &Daemon, args: &ListArgs) -> Result<(Vec<Job>, String), CliError> {
    let mut jobs = Vec::new();
    let mut token = args.page_token.clone().unwrap_or_default();
    loop {
        let left = args
            .limit_rows
            .map(|rows| rows.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
        let request = ListJobsRequest {
            page_size: page_size(args, left),
            page_token: token,
            states: args.state.iter().map(|state| wire_state(*state).into()).collect(),
            user: args.user.clone().unwrap_or_default(),
            repo: args.repo.clone().unwrap_or_default(),
        };
        let page = page(daemon, &request).await?;
        let got = u32::try_from(page.jobs.len()).unwrap_or(u32::MAX);
        jobs.extend(page.jobs);
        token = page.next_page_token;
        let enough = match left {
            Some(left) => got >= left,
            None => !args.all,
        };
        if enough || token.is_empty() {
            return Ok((jobs, token));
        }
    }
}

fn page_size(args: &ListArgs, left: Option<u32>) -> u32 {
    let wanted = args.page_size.unwrap_or(if args.all { LARGEST_PAGE } else { 0 });
    match (left, wanted) {
        (Some(left), 0) => left.min(LARGEST_PAGE),
        (Some(left), wanted) => left.min(wanted),
        (None, wanted) => wanted,
    }
}

async fn page(daemon: &Daemon, request: &ListJobsRequest) -> Result<ListJobsResponse, CliError> {
    let answer = retrying(|| {
        let (mut jobs, request) = (daemon.jobs(), request.clone());
        async move { jobs.list_jobs(request).await }
    });
    Ok(answer.await?)
}

fn wire_state(state: StateArg) -> JobState {
    match state {
        StateArg::Queued => JobState::Queued,
        StateArg::Active => JobState::Active,
        StateArg::Held => JobState::Held,
        StateArg::Paused => JobState::Paused,
        StateArg::Done => JobState::Done,
        StateArg::Failed => JobState::Failed,
        StateArg::Cancelled => JobState::Cancelled,
    }
}
