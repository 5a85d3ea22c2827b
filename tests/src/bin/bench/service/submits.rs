//! Jobs come in: at an even pace, and as fast as many clients can bring them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use hfetch_proto::v1::{
    GetServerInfoRequest, admin_service_client::AdminServiceClient, job_service_client::JobServiceClient,
};
use hfetch_tests::harness::channel_to;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep_until},
};

use super::{NO_HUB, Times, ms, submit};
use crate::{daemon::socket, place::Place, report::Figure};

/// A hundred a second.
const EVERY: Duration = Duration::from_millis(10);
/// Who submit all at once.
const CLIENTS: usize = 64;

pub(super) async fn measure(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let place = Place::new(programs, folder, NO_HUB)?;
    let daemon = place.daemon().await?;
    let socket = socket(place.folder.path());
    let many = if quick { 100 } else { 3000 };
    let cpu = daemon.cpu_seconds()?;
    let even = evenly(&socket, many).await?;
    let even_cpu = (daemon.cpu_seconds()? - cpu) / (EVERY * u32::try_from(many)?).as_secs_f64();
    let time = Duration::from_secs(if quick { 1 } else { 15 });
    let crowd = crowd(&socket, many, time).await?;
    let taken = crowd.0.len();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = taken as f64 / time.as_secs_f64();
    // Whatever was answered is there, also for who comes after a kill.
    daemon.kill();
    let daemon = place.daemon().await?;
    let mut admin = AdminServiceClient::new(channel_to(socket).await?);
    let info = admin.get_server_info(GetServerInfoRequest::default()).await?;
    let there = info.into_inner().jobs_held;
    let told = u64::try_from(many + taken)?;
    ensure!(
        there >= told,
        "{told} jobs were taken in, {there} are there after a kill"
    );
    daemon.stop().await?;
    Ok(vec![
        Figure {
            what: format!("submit, 100 a second, {many} in all, a connection each: p50, p99, longest"),
            found: format!("{}, {}, {}", ms(even.part(50)), ms(even.part(99)), ms(even.longest())),
            goal: "p99 50 ms",
        },
        Figure {
            what: "the daemon's share of a processor meanwhile".to_owned(),
            found: format!("{:.0} %", even_cpu * 100.0),
            goal: "",
        },
        Figure {
            what: format!("submit, {CLIENTS} clients at once: jobs a second; p50, p99 of an answer"),
            found: format!("{rate:.0}; {}, {}", ms(crowd.part(50)), ms(crowd.part(99))),
            goal: "1000",
        },
    ])
}

/// A submit every so often, whether or not those before were answered: as many users with `hfctl`, each by a connection of its
/// own. The time of one is from the moment at which it was due.
async fn evenly(socket: &Path, many: usize) -> anyhow::Result<Times> {
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for (number, turn) in (0..many).zip(0_u32..) {
        let due = begun + EVERY * turn;
        sleep_until(due).await;
        let socket = socket.to_owned();
        calls.spawn(async move {
            let mut jobs = JobServiceClient::new(channel_to(socket).await?);
            submit(&mut jobs, number).await?;
            anyhow::Ok(due.elapsed())
        });
    }
    let mut times = Vec::with_capacity(many);
    while let Some(call) = calls.join_next().await {
        times.push(call??);
    }
    Ok(Times::new(times))
}

/// Clients that submit one job after another, for a time; their repositories are numbered from here on.
async fn crowd(socket: &Path, first: usize, time: Duration) -> anyhow::Result<Times> {
    let mut clients = JoinSet::new();
    let end = Instant::now() + time;
    for client in 0..CLIENTS {
        clients.spawn(one_of_many(socket.to_owned(), first + client, end));
    }
    let mut times = Vec::new();
    while let Some(client) = clients.join_next().await {
        times.extend(client?.context("one of many clients")?);
    }
    Ok(Times::new(times))
}

async fn one_of_many(socket: PathBuf, first: usize, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut jobs = JobServiceClient::new(channel_to(socket).await?);
    let mut times = Vec::new();
    for turn in 0.. {
        let begun = Instant::now();
        submit(&mut jobs, first + turn * CLIENTS).await?;
        if Instant::now() > end {
            break;
        }
        times.push(begun.elapsed());
    }
    Ok(times)
}
