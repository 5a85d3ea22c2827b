//! How well limits hold: accuracy, the time until a change is in force, shares of users, and what the allocator costs.
//!
//! Against simulated Hubs whose send buffers are small, so that what is counted as sent has nearly arrived.

mod course;

use std::path::Path;

use anyhow::bail;
use hfetch_tests::{
    shares::{USERS, User, jain, open_to_all},
    sim::{Host, Record, RepoBuilder, SimHub, Storage, Switches},
};
use tokio::time::{Duration, sleep};

use self::course::Course;
use crate::{
    daemon::socket,
    measure::{Ended, Group},
    place::Place,
    report::{Figure, table_of},
    rows::MIB,
    say,
};

const FILE: &str = "model.safetensors";
const REPO: &str = "bench/model";
const MB: u64 = 1_000_000;
/// The cap whose accuracy is measured, in bytes per second.
const CAP: u64 = 8 * MB;
/// A change of the limit, and back.
const CHANGE: [u64; 2] = [16 * MB, 2 * MB];
/// A limit that never holds anything.
const NO_LIMIT: &str = "1000GB/s";
/// One run may take so long.
const LIMIT: Duration = Duration::from_secs(120);

/// A Hub with these repositories, each of one file of so many bytes.
fn hub(repos: &[&str], size: u64) -> anyhow::Result<SimHub> {
    let switches = Switches {
        send_buffer: Some(32 << 10),
        ..Switches::default()
    };
    let repos = repos.iter().zip(1..);
    repos
        .fold(SimHub::builder(), |hub, (name, seed)| {
            hub.repo(RepoBuilder::model(name).seeded_as(FILE, size, seed, Storage::Linked))
        })
        .switches(switches)
        .start()
}

/// Measures, and gives a Markdown table.
///
/// # Errors
/// When something cannot be measured.
pub(crate) async fn measure(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<String> {
    let mut figures = accuracy(programs, folder, quick).await?;
    figures.extend(change(programs, folder).await?);
    figures.extend(fairness(programs, folder, quick).await?);
    figures.extend(overhead(programs, folder, quick).await?);
    Ok(table_of(figures))
}

fn percent(found: f64, of: f64) -> String {
    format!("{:+.1} %", (found / of - 1.0) * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

async fn accuracy(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let seconds = if quick { 4 } else { 22 };
    let hub = hub(&[REPO], CAP * (seconds + 4))?;
    let place = Place::new(programs, folder, hub.endpoint())?;
    let daemon = place.daemon().await?;
    place.hfctl(&["limit", &format!("{CAP}B/s")]).await?;
    place.hfctl(&["submit", REPO, "-x", "8"]).await?;
    let course = Course::of(&hub, Duration::from_secs(seconds)).await;
    daemon.stop().await?;
    let cap = float(CAP);
    let window = if quick { 2 } else { 10 };
    let (low, high) = course.windows(Duration::from_secs(window));
    let (lowest, highest) = course.windows(Duration::from_secs(1));
    let first = course.rate(Duration::ZERO, Duration::from_secs(1));
    Ok(vec![
        Figure {
            what: format!("any {window} s under 8 MB/s, 8 connections: lowest, highest"),
            found: format!("{}, {}", percent(low, cap), percent(high, cap)),
            goal: "within 5 %",
        },
        Figure {
            what: "any 1 s: lowest, highest".to_owned(),
            found: format!("{}, {}", percent(lowest, cap), percent(highest, cap)),
            goal: "within 25 %",
        },
        Figure {
            what: "the first second".to_owned(),
            found: percent(first, cap),
            goal: "no burst",
        },
    ])
}

async fn change(programs: &Path, folder: Option<&Path>) -> anyhow::Result<Vec<Figure>> {
    let hub = hub(&[REPO], 200 * MB)?;
    let place = Place::new(programs, folder, hub.endpoint())?;
    let daemon = place.daemon().await?;
    let [fast, slow] = CHANGE;
    place.hfctl(&["limit", &format!("{fast}B/s")]).await?;
    place.hfctl(&["submit", REPO, "-x", "4"]).await?;
    Course::of(&hub, Duration::from_secs(2)).await;
    let mut figures = Vec::new();
    for (what, limit) in [("16 to 2 MB/s", slow), ("2 to 16 MB/s", fast)] {
        let limit_text = format!("{limit}B/s");
        let words = ["limit", &limit_text];
        let (set, course) = tokio::join!(place.hfctl(&words), Course::of(&hub, Duration::from_secs(3)));
        set?;
        let after = course.settles(float(limit), Duration::from_millis(100));
        figures.push(Figure {
            what: format!("a change from {what} is in force after, the command included"),
            found: after.map_or("not at all".to_owned(), |after| format!("{} ms", after.as_millis())),
            goal: "250 ms",
        });
    }
    daemon.stop().await?;
    Ok(figures)
}

async fn fairness(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<Vec<Figure>> {
    if !rustix::process::geteuid().is_root() {
        say("fairness: left out, playing two users needs root");
        return Ok(Vec::new());
    }
    let mut figures = Vec::new();
    for (what, weight, many) in [
        ("64 connections of one user and 1 of another, equal weights", 1.0, 64),
        ("4 connections each, weights 3 and 1", 3.0, 4),
    ] {
        let [ours, theirs] = shares(programs, folder, quick, weight, many).await?;
        let part = ours / (ours + theirs);
        figures.push(Figure {
            what: what.to_owned(),
            found: format!(
                "{} of its share; Jain {:.4}",
                percent(part, weight / (weight + 1.0)),
                jain(&[ours / weight, theirs])
            ),
            goal: "within 5 %",
        });
    }
    Ok(figures)
}

/// Bytes of two users in some seconds; the first has this weight and so many connections, the second 1, and 1 or as many.
async fn shares(
    programs: &Path,
    folder: Option<&Path>,
    quick: bool,
    weight: f64,
    many: u32,
) -> anyhow::Result<[f64; 2]> {
    let hub = hub(&["bench/one", "bench/other"], 200 * MB)?;
    // Slow enough that each connection pays, until all are there.
    hub.pace().set_per_connection(Some(100_000));
    let mut place = Place::new(programs, folder, hub.endpoint())?;
    let (state, cache) = (place.folder.path().join("s"), place.folder.path().join("hub"));
    std::fs::create_dir_all(&cache)?;
    // What systemd sets makes it a daemon for all.
    place.env.push(("STATE_DIRECTORY", state.display().to_string()));
    let config = format!(
        "[storage]\ncache = \"{}\"\nmin_free = 0\n[transfer]\nconnections = {many}\nmax_connections = 128\n\
         [[endpoints]]\nname = \"hub\"\nurl = \"{}\"\nmax_connections = 128\n[users.{}]\nweight = {weight}\n",
        cache.display(),
        hub.endpoint(),
        USERS[0].1
    );
    std::fs::write(place.folder.path().join("hfetch.toml"), config)?;
    let daemon = place.daemon().await?;
    open_to_all(place.folder.path(), &state)?;
    let socket = socket(place.folder.path());
    let mut one = User::connect(USERS[0].0, socket.clone()).await?;
    let mut other = User::connect(USERS[1].0, socket).await?;
    let few = if many > 4 { 1 } else { many };
    let ids = [
        one.submit("bench/one", many).await?,
        other.submit("bench/other", few).await?,
    ];
    let all = usize::try_from(many + few)?;
    let open = || {
        let bodies = |record: &Record| record.host == Host::Cdn && record.ended.is_none();
        hub.journal().count(bodies)
    };
    hub.journal().wait_for("all connections", |_| open() >= all).await;
    place.hfctl(&["limit", &format!("{CAP}B/s")]).await?;
    hub.pace().set_per_connection(None);
    sleep(Duration::from_secs(2)).await;
    let before = [one.bytes_done(&ids[0]).await?, other.bytes_done(&ids[1]).await?];
    sleep(Duration::from_secs(if quick { 2 } else { 10 })).await;
    let after = [one.bytes_done(&ids[0]).await?, other.bytes_done(&ids[1]).await?];
    daemon.stop().await?;
    Ok([float(after[0] - before[0]), float(after[1] - before[1])])
}

/// The same download with the allocator asked for every chunk, and without: a limit that never holds is asked all the same.
async fn overhead(programs: &Path, folder: Option<&Path>, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (size, runs) = if quick { (64 * MIB, 1) } else { (1024 * MIB, 5) };
    // As fast as it goes.
    let hub = SimHub::builder()
        .repo(RepoBuilder::model(REPO).seeded_as(FILE, size, 1, Storage::Linked))
        .start()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // In turn, so that what the machine does besides strikes both.
    for _ in 0..runs {
        without.push(once(programs, folder, &hub, "off").await?);
        with.push(once(programs, folder, &hub, NO_LIMIT).await?);
    }
    let ratio = |of: fn(&(f64, f64)) -> f64| median(&with, of) / median(&without, of);
    Ok(vec![Figure {
        what: format!(
            "{} MiB with a limit that never holds, against none: seconds, CPU seconds",
            size / MIB
        ),
        found: format!("x {:.3}, x {:.3}", ratio(|run| run.0), ratio(|run| run.1)),
        goal: "not measurable",
    }])
}

/// Seconds and the daemon's CPU seconds of one download.
async fn once(programs: &Path, folder: Option<&Path>, hub: &SimHub, limit: &str) -> anyhow::Result<(f64, f64)> {
    let place = Place::new(programs, folder, hub.endpoint())?;
    let daemon = place.daemon().await?;
    place.hfctl(&["limit", limit]).await?;
    rustix::fs::sync();
    let before = daemon.cpu_seconds()?;
    let log = place.folder.path().join("command.log");
    let mut group = Group::start(&mut place.command(&["download", REPO, "-x", "16"]), &log)?;
    let Ended::Itself { code: Some(0), used } = group.wait(LIMIT, || false).await? else {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        bail!("hfctl download did not end well: {said}");
    };
    let cpu = daemon.cpu_seconds()? - before;
    daemon.stop().await?;
    Ok((used.seconds, cpu))
}

fn median(runs: &[(f64, f64)], of: fn(&(f64, f64)) -> f64) -> f64 {
    let mut figures: Vec<f64> = runs.iter().map(of).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
