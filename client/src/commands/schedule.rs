//! `hfctl schedule`: recurring pulls.

use hfetch_proto::v1::{
    AddScheduleRequest, GetScheduleRequest, ListSchedulesRequest, PauseScheduleRequest, RemoveScheduleRequest,
    ResumeScheduleRequest, RunOutcome, RunScheduleRequest, Schedule,
};

use crate::cli::{ScheduleAddArgs, ScheduleCommand};
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::process_env;
use crate::resolve;
use crate::retry::retrying;
use crate::spec;
use crate::token::Token;
use crate::view::human;
use crate::view::schedule::{self as view, RunJson, ScheduleJson};

/// What is done to schedules one by one.
#[derive(Clone, Copy)]
enum Act {
    Pause,
    Resume,
    Remove,
}

pub(super) async fn run(context: &Context, command: ScheduleCommand) -> Result<Exit, CliError> {
    match command {
        ScheduleCommand::Add(args) => add(context, &args).await,
        ScheduleCommand::List => list(context).await,
        ScheduleCommand::Show(args) => show(context, &args.id).await,
        ScheduleCommand::Pause(args) => act(context, &args.ids, Act::Pause).await,
        ScheduleCommand::Resume(args) => act(context, &args.ids, Act::Resume).await,
        ScheduleCommand::Remove(args) => act(context, &args.ids, Act::Remove).await,
        ScheduleCommand::Run(args) => run_now(context, &args.id).await,
    }
}

fn told(schedule: Option<Schedule>) -> Result<Schedule, CliError> {
    schedule.ok_or_else(|| CliError::new(Exit::Failed, "hfetchd answered without a schedule"))
}

async fn add(context: &Context, args: &ScheduleAddArgs) -> Result<Exit, CliError> {
    let mut spec = spec::job_spec(&args.one_run(), context.is_remote()?, &context.cwd, &process_env)?;
    let token = Token::for_wire(spec::token(&args.token, &context.cwd, &process_env)?);
    if let Some(warning) = spec::token_warning(&args.token) {
        context.out.warn(warning);
    }
    let daemon = context.dial().await?;
    spec.resolved = Some(resolve::resolve(context, &daemon, &spec, &token, "schedule add").await?);
    if let Some(warning) = spec::drop_patterns_beside_files(&mut spec) {
        context.out.warn(warning);
    }
    let request = AddScheduleRequest {
        spec: Some(spec),
        cron: args.cron.clone(),
        timezone: args.timezone.clone().unwrap_or_default(),
        keep_revisions: args.keep,
        token,
        no_login: spec::no_login(&process_env),
    };
    // Safe to repeat: the same once more is the one that is there.
    let answer = retrying(|| {
        let (mut schedules, request) = (daemon.schedules(), request.clone());
        async move { schedules.add_schedule(request).await }
    })
    .await?;
    for warning in &answer.warnings {
        context.out.warn(warning);
    }
    let schedule = told(answer.schedule)?;
    let out = &context.out;
    if answer.existing {
        out.note("there is this very schedule already");
    }
    out.note(&view::upcoming(&schedule));
    if out.json {
        out.answer_json(&ScheduleJson::new(schedule))?;
    } else {
        out.answer(&human::clean(&schedule.id))?;
    }
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let answer = retrying(|| {
        let mut schedules = daemon.schedules();
        async move { schedules.list_schedules(ListSchedulesRequest {}).await }
    })
    .await?;
    let out = &context.out;
    if out.json {
        let schedules: Vec<_> = answer.schedules.into_iter().map(ScheduleJson::new).collect();
        out.answer_json(&schedules)?;
    } else if answer.schedules.is_empty() {
        out.note("no schedules; `hfctl schedule add NAME --cron '30 0 * * *'` makes one");
    } else {
        out.answer(&view::list(out, &answer.schedules))?;
    }
    Ok(Exit::Done)
}

async fn get(daemon: &Daemon, id: &str) -> Result<Schedule, CliError> {
    let answer = retrying(|| {
        let (mut schedules, request) = (daemon.schedules(), GetScheduleRequest { id: id.to_owned() });
        async move { schedules.get_schedule(request).await }
    })
    .await?;
    told(answer.schedule)
}

async fn show(context: &Context, id: &str) -> Result<Exit, CliError> {
    let schedule = get(&context.dial().await?, id).await?;
    let out = &context.out;
    if out.json {
        out.answer_json(&ScheduleJson::new(schedule))?;
    } else {
        out.answer(&view::details(out, &schedule))?;
    }
    Ok(Exit::Done)
}

/// Each by itself: one that is not there does not spoil the others.
async fn act(context: &Context, ids: &[String], act: Act) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let mut changed = Vec::new();
    let mut worst: Option<CliError> = None;
    for id in ids {
        match act_on_one(&daemon, id, act).await {
            Ok(schedule) => changed.push(schedule),
            Err(error) if ids.len() == 1 => return Err(error),
            Err(error) => {
                context.out.problem(&format!("{id}: {error}"), None);
                worst.get_or_insert(error);
            }
        }
    }
    let out = &context.out;
    if out.json {
        let changed: Vec<_> = changed.into_iter().map(ScheduleJson::new).collect();
        out.answer_json(&changed)?;
    } else {
        for schedule in &changed {
            let text = match act {
                Act::Remove => format!("removed {}", human::clean(&schedule.id)),
                Act::Pause | Act::Resume => view::upcoming(schedule),
            };
            out.note(&text);
        }
    }
    Ok(worst.map_or(Exit::Done, |error| error.exit()))
}

async fn act_on_one(daemon: &Daemon, id: &str, act: Act) -> Result<Schedule, CliError> {
    let (mut schedules, id) = (daemon.schedules(), id.to_owned());
    let schedule = match act {
        Act::Pause => {
            let answer = schedules.pause_schedule(PauseScheduleRequest { id }).await?;
            answer.into_inner().schedule
        }
        Act::Resume => {
            let answer = schedules.resume_schedule(ResumeScheduleRequest { id }).await?;
            answer.into_inner().schedule
        }
        Act::Remove => {
            let answer = schedules.remove_schedule(RemoveScheduleRequest { id }).await?;
            answer.into_inner().schedule
        }
    };
    told(schedule)
}

async fn run_now(context: &Context, id: &str) -> Result<Exit, CliError> {
    let mut schedules = context.dial().await?.schedules();
    // Not repeated by itself: a run whose answer was lost has been made all the same.
    let answer = schedules.run_schedule(RunScheduleRequest { id: id.to_owned() }).await?;
    let run = answer.into_inner().run.unwrap_or_default();
    let out = &context.out;
    let exit = match run.outcome() {
        RunOutcome::Job | RunOutcome::Unchanged => Exit::Done,
        RunOutcome::Overlap | RunOutcome::Refused | RunOutcome::Unspecified => Exit::Failed,
    };
    match run.outcome() {
        RunOutcome::Job => {
            let job = human::clean(&run.job_id);
            out.note(&format!("follow it with: hfctl watch {job}"));
            if !out.json {
                out.answer(&job)?;
            }
        }
        RunOutcome::Unchanged => out.note(&human::clean(&run.detail)),
        RunOutcome::Overlap | RunOutcome::Refused | RunOutcome::Unspecified => out.problem(&run.detail, None),
    }
    if out.json {
        out.answer_json(&RunJson::new(run))?;
    }
    Ok(exit)
}
