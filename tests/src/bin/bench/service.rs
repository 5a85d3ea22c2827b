//! The control plane: what watchers cost and how soon they hear, how soon and how many jobs are taken in.
//!
//! Against the real hfetchd at its real socket, over gRPC as every client speaks it. Callers are played by this one process, on
//! the same processors and with a single thread: what it needs is in the figures. All of it is one user, and nothing is
//! configured: by the socket a user may have 512 connections with 128 calls each.
//!
//! The jobs are for tomorrow (`--at`): they are taken in and held, and no Hub is asked. Nothing is switched off: each answer
//! comes after a sync of `jobs.db`, and a row tells what a sync costs where it lies. At the end hfetchd is killed, and the next
//! one must know every job whose id was told.

mod submits;
mod watchers;

use std::{fs::File, io::Write as _, path::Path, time::SystemTime};

use anyhow::Context as _;
use hfetch_proto::v1::{JobSpec, PauseJobsRequest, Selector, SubmitJobRequest, job_service_client::JobServiceClient};
use tokio::time::{Duration, Instant};
use tonic::transport::Channel;

use crate::report::{Figure, table_of};

/// Nobody is there, and nobody is asked.
const NO_HUB: &str = "http://127.0.0.1:9";
/// Jobs are for so much later.
const LATER: Duration = Duration::from_secs(24 * 3600);

/// Measures, and gives a Markdown table.
///
/// # Errors
/// When something cannot be measured.
pub(crate) async fn measure(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<String> {
    let mut figures = vec![load()?, disk(folder, quick)?];
    figures.extend(watchers::measure(programs, folder, quick).await?);
    figures.extend(submits::measure(programs, folder, quick).await?);
    Ok(table_of(figures))
}

fn load() -> anyhow::Result<Figure> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let minute = text.split(' ').next().context("the load of a minute")?;
    Ok(Figure {
        what: "load of this machine before, over a minute".to_owned(),
        found: minute.to_owned(),
        goal: "",
    })
}

/// What a sync of a few kilobytes costs where the databases will lie.
fn disk(folder: Option<&Path>, quick: bool) -> anyhow::Result<Figure> {
    let place = folder.map_or_else(std::env::temp_dir, Path::to_owned);
    let mut file: File = tempfile::tempfile_in(place)?;
    let mut times = Vec::new();
    for _ in 0..if quick { 10 } else { 200 } {
        let begun = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    let times = Times::new(times);
    Ok(Figure {
        what: "a sync of 4 KiB to this disk: p50, p99".to_owned(),
        found: format!("{}, {}", ms(times.part(50)), ms(times.part(99))),
        goal: "",
    })
}

/// Durations in order.
struct Times(Vec<Duration>);

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// So many of a hundred took no longer.
    fn part(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or_default()
    }

    fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Submits a job for tomorrow, of a repository of its own, and gives its id.
async fn submit(jobs: &mut JobServiceClient<Channel>, number: usize) -> anyhow::Result<String> {
    let spec = JobSpec {
        name: format!("bench/model-{number}"),
        start_at: Some((SystemTime::now() + LATER).into()),
        ..JobSpec::default()
    };
    let request = SubmitJobRequest {
        spec: Some(spec),
        ..SubmitJobRequest::default()
    };
    let answer = jobs.submit_job(request).await?.into_inner();
    Ok(answer.job.context("a job")?.id)
}

/// Pauses a job: one event.
async fn pause(jobs: &mut JobServiceClient<Channel>, id: String) -> anyhow::Result<()> {
    let selector = Selector {
        ids: vec![id],
        ..Selector::default()
    };
    let request = PauseJobsRequest {
        selector: Some(selector),
    };
    let answer = jobs.pause_jobs(request).await?.into_inner();
    anyhow::ensure!(answer.jobs.len() == 1, "not paused: {answer:?}");
    Ok(())
}

#[test]
fn parts_of_a_hundred() {
    let seconds = |numbers: &[u64]| Times::new(numbers.iter().copied().map(Duration::from_secs).collect());
    let hundred = seconds(&(1..=100).rev().collect::<Vec<_>>());
    for (percent, expected) in [(50, 50), (99, 99), (100, 100)] {
        assert_eq!(hundred.part(percent).as_secs(), expected);
    }
    let three = seconds(&[3, 1, 2]);
    assert_eq!((three.part(50).as_secs(), three.part(99).as_secs()), (2, 3));
    assert_eq!(three.longest().as_secs(), 3);
    assert_eq!(seconds(&[]).part(50), Duration::ZERO);
}
