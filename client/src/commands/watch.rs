//! `hfctl watch`: what happens, as lines for people or one JSON object a line.

use std::cell::RefCell;

use crate::cli::WatchArgs;
use crate::commands::following;
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{self, Cursor, Follower, Item, has_ended};
use crate::view::human;
use crate::view::json::WatchJson;
use crate::view::progress::{BACK, LOST, Monitor, note_with_time};

/// Milliseconds between samples for a program that reads them.
const JSON_INTERVAL_MS: u32 = 1000;

pub(super) async fn run(context: &Context, args: &WatchArgs) -> Result<Exit, CliError> {
    let daemon = context.dial().await?;
    let ids = following::full_ids(&daemon, &args.ids).await?;
    if ids.is_empty() {
        context.on_interrupt("interrupted; the downloads go on in hfetchd");
    } else {
        context.jobs_outlive_us(&ids);
    }
    // Progress belongs to named jobs; a stream of everything stays a list of events. Where lines go to a file and bars would
    // go to a terminal, neither disturbs the other.
    let shows = !ids.is_empty() && !context.out.json && !args.no_progress;
    let monitor = if shows && (context.out.on_terminal() || !context.out.may_draw()) {
        Monitor::beside_lines(&context.out)
    } else {
        Monitor::Silent
    };
    let interval = match (args.no_progress, context.out.json) {
        (true, _) => 0,
        (false, true) => JSON_INTERVAL_MS,
        (false, false) => monitor.interval_ms(),
    };
    let monitor = RefCell::new(monitor);
    let mut tell = |item: &Item| tell(context, &mut monitor.borrow_mut(), item);
    let mut follower = Follower::new(&daemon, Cursor::new(ids.clone(), interval, args.after));
    if ids.is_empty() {
        loop {
            tell(&follower.next().await?)?;
        }
    }
    if args.after.is_none() {
        follow::until_ended(&mut follower, &ids, |state, _| has_ended(state), &mut tell).await?;
    } else {
        until_replayed(&daemon, &mut follower, ids.clone(), &mut tell).await?;
    }
    drop(monitor);
    if context.out.json {
        return exit_code(&daemon, &ids).await;
    }
    let mut jobs = Vec::with_capacity(ids.len());
    for id in &ids {
        jobs.push(following::get_job(&daemon, id).await?);
    }
    Ok(following::tell_ends(context, &jobs))
}

async fn exit_code(daemon: &Daemon, ids: &[String]) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for id in ids {
        if human::bad_end(&following::get_job(daemon, id).await?).is_some() {
            exit = Exit::JobFailed;
        }
    }
    Ok(exit)
}

/// With `--after` old events come again, ends of earlier runs of a job among them. A job has ended for us when the event
/// is not older than its last end, or when the stream falls silent and the daemon says that it has ended.
async fn until_replayed(
    daemon: &Daemon,
    follower: &mut Follower<'_>,
    mut open: Vec<String>,
    tell: &mut dyn FnMut(&Item) -> Result<(), CliError>,
) -> Result<(), CliError> {
    while !open.is_empty() {
        let item = follower.next().await?;
        tell(&item)?;
        match &item {
            Item::Event(event) if has_ended(event.state()) => {
                let job = following::get_job(daemon, &event.job_id).await?;
                let last = human::time(event.time.as_ref()) >= human::time(job.ended_at.as_ref());
                if has_ended(job.state()) && last {
                    open.retain(|id| *id != job.id);
                }
            }
            Item::Job(job) if has_ended(job.state()) => open.retain(|id| *id != job.id),
            Item::Heartbeat(_) => {
                let mut still_open = Vec::new();
                for id in open {
                    if !has_ended(following::get_job(daemon, &id).await?.state()) {
                        still_open.push(id);
                    }
                }
                open = still_open;
            }
            _ => {}
        }
    }
    Ok(())
}

fn tell(context: &Context, monitor: &mut Monitor, item: &Item) -> Result<(), CliError> {
    let out = &context.out;
    if let Item::Pruned = item {
        out.warn("the events asked for are no longer kept; beginning with the present state of the jobs");
        return Ok(());
    }
    if out.json {
        return match item.clone() {
            Item::Job(job) => out.answer_json_line(&WatchJson::job(*job)),
            Item::Ready(seq) => out.answer_json_line(&WatchJson::Ready { seq }),
            Item::Event(event) => out.answer_json_line(&WatchJson::event(*event)),
            Item::Progress(sample) => out.answer_json_line(&WatchJson::progress(sample)),
            Item::Lost => {
                note_with_time(out, LOST);
                Ok(())
            }
            Item::Back => {
                note_with_time(out, BACK);
                Ok(())
            }
            Item::Heartbeat(_) | Item::Pruned => Ok(()),
        };
    }
    let line = match item {
        Item::Job(job) => Some(human::waiting_line(job)),
        Item::Event(event) => Some(human::event_line(event)),
        Item::Lost | Item::Back | Item::Ready(_) | Item::Progress(_) | Item::Heartbeat(_) | Item::Pruned => None,
    };
    if let Some(line) = line {
        monitor.suspend(|| out.answer(&line))?;
    }
    match (&monitor, item) {
        (Monitor::Silent | Monitor::Lines(_), Item::Lost) => note_with_time(out, LOST),
        (Monitor::Silent | Monitor::Lines(_), Item::Back) => note_with_time(out, BACK),
        _ => monitor.take(item),
    }
    Ok(())
}
