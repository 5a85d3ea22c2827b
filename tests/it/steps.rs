//! Dying and failing at named steps: the real daemon runs a small day of work under `strace`, which kills it at the n-th
//! call of one kind that changes a file, or lets that call fail once. Afterwards everything must be as if nothing had been.
//!
//! A site is a call and a number; strace counts for each thread by itself, and the first thread that gets there is struck.
//! `HFETCH_STEPS=all` strikes at every site and is the release lane; `HFETCH_STEPS=20`, at twenty of each call.

mod day;
mod keeping;
mod missed;
mod upgrade;

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt as _, path::Path, sync::Mutex, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use hfetch_tests::{
    check,
    harness::{PATIENCE, Scratch, programs},
    python::skip,
};
use rustix::process::Signal;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use self::day::{Day, Left};

/// What changes files, by the names that the kernel has for it.
const CALLS: [&str; 18] = [
    "write",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "link",
    "linkat",
    "symlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "fallocate",
    "fchmod",
];
/// Logs and wake-ups are writes as well: too many, and most of them to no file.
const NOT_STRUCK: [&str; 1] = ["write"];
/// Sites of each call that are struck where not all are.
const KILLED_OF_EACH: usize = 5;
const FAILED_OF_EACH: usize = 1;
/// Errors that one call after the other gives once.
const ERRORS: [&str; 4] = ["ENOSPC", "EIO", "EDQUOT", "EINTR"];
/// A daemon that was struck is gone after this, when nobody has seen it die.
const LAST_BREATH: Duration = Duration::from_millis(300);
/// Daemons at a time.
const AT_A_TIME: usize = 3;

/// What happens at a site.
#[derive(Debug, Clone, Copy)]
enum Strike {
    Nothing,
    Kill,
    Fail(&'static str),
}

/// The n-th call of a kind in one thread.
#[derive(Debug, Clone)]
struct Site {
    call: String,
    nth: u64,
}

/// How many sites of each call are struck.
fn of_each_call(usual: usize) -> usize {
    let said = std::env::var("HFETCH_STEPS").ok();
    match said.as_deref() {
        Some("all") => usize::MAX,
        Some(number) => number.parse().unwrap_or(usual),
        None => usual,
    }
}

/// Whether strace may follow a program here.
pub(super) async fn can_strace() -> bool {
    let tried = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "true"])
        .output();
    tried.await.is_ok_and(|output| output.status.success())
}

/// The daemon under strace, as our own child: what ends it is seen as it is.
fn struck(scratch: &Scratch, site: &Site, strike: Strike, log: &Path) -> anyhow::Result<Child> {
    let names: Vec<String> = CALLS.iter().map(|call| format!("?{call}")).collect();
    let mut command = scratch.command("strace");
    command.args(["-D", "-f", "-qq", "-e", "signal=none"]);
    // With its filter in the kernel strace is quicker, and forgets to send signals.
    if !matches!(strike, Strike::Kill) {
        command.arg("--seccomp-bpf");
    }
    command.arg("-e");
    let Site { call, nth } = site;
    match strike {
        Strike::Nothing => command.arg(format!("trace={}", names.join(","))),
        Strike::Kill => command.args([
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:signal=KILL:when={nth}"),
        ]),
        Strike::Fail(error) => command.args([
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:error={error}:when={nth}"),
        ]),
    };
    let stderr = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(scratch.path("hfetchd.log"))?;
    command
        .arg("-o")
        .arg(log)
        .arg(programs().join("hfetchd"))
        .arg("--state-dir")
        .arg(scratch.state())
        .args(day::config(scratch))
        // One thread fewer that the calls spread over.
        .env("TOKIO_WORKER_THREADS", "1")
        .stdout(std::process::Stdio::null())
        .stderr(stderr)
        .spawn()
        .context("strace does not start")
}

/// What a day leaves that nothing disturbed, and the sites in it.
async fn undisturbed(day: &Day) -> anyhow::Result<(Left, Vec<Site>)> {
    let scratch = day.scratch()?;
    let log = scratch.path("calls");
    let nowhere = Site {
        call: String::new(),
        nth: 0,
    };
    let mut child = struck(&scratch, &nowhere, Strike::Nothing, &log)?;
    day.live(&scratch, &Mutex::default()).await?;
    let status = day::stop(&mut child).await?;
    anyhow::ensure!(status.success(), "it stopped with {status}");
    check::sound(&scratch, &[])?;
    let left = day.left(&scratch)?;
    // strace writes its last lines after the daemon is gone.
    let counts = hfetch_tests::harness::eventually("all calls", async || {
        let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        let counts = most_in_a_thread(&text);
        if counts.keys().any(|call| call.starts_with("rename")) {
            Ok(counts)
        } else {
            Err(text)
        }
    })
    .await?;
    let sites = counts
        .into_iter()
        .filter(|(call, _)| !NOT_STRUCK.contains(&call.as_str()))
        .flat_map(|(call, most)| {
            (1..=most).map(move |nth| Site {
                call: call.clone(),
                nth,
            })
        })
        .collect();
    Ok((left, sites))
}

/// By call: the most that one thread made of it.
fn most_in_a_thread(log: &str) -> BTreeMap<String, u64> {
    let mut by_thread: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        // A call that another thread's interrupted goes on in a line that begins with `<...`.
        if let Some((call, _)) = rest
            .trim_start()
            .split_once('(')
            .filter(|(call, _)| !call.starts_with('<'))
        {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let known = most.entry(call.to_owned()).or_default();
        *known = (*known).max(count);
    }
    most
}

/// What a site showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// The daemon died there.
    Died,
    /// The daemon ended by itself.
    Ended,
    /// It went on.
    WentOn,
}

async fn kill_at(day: &Day, wanted: &Left, site: &Site) -> anyhow::Result<Shown> {
    let scratch = day.scratch()?;
    let answered = Mutex::default();
    let mut child = struck(&scratch, site, Strike::Kill, Path::new("/dev/null"))?;
    let shown = tokio::select! {
        biased;
        status = child.wait() => {
            status?;
            Shown::Died
        }
        lived = day.live(&scratch, &answered) => {
            let patience = if lived.is_ok() { LAST_BREATH } else { PATIENCE };
            match (lived, timeout(patience, child.wait()).await) {
                // hfctl saw it die before we did.
                (_, Ok(status)) => {
                    status?;
                    Shown::Died
                }
                // The calls fell otherwise this time, and nobody made so many of them.
                (Ok(()), Err(_)) => match day::stop(&mut child).await? {
                    status if status.success() => Shown::WentOn,
                    // Its last steps change files, too.
                    status if status.signal() == Some(Signal::KILL.as_raw()) => Shown::Died,
                    status => anyhow::bail!("it stopped with {status}\n{}", scratch.log()),
                },
                (Err(error), Err(_)) => return Err(error),
            }
        }
    };
    let faults = day.faults(&scratch)?;
    anyhow::ensure!(faults.is_empty(), "right after it: {faults:#?}");
    day.set_right(&scratch, &answered, wanted).await?;
    Ok(shown)
}

async fn fail_at(day: &Day, wanted: &Left, site: &Site, error: &'static str) -> anyhow::Result<Shown> {
    let scratch = day.scratch()?;
    let answered = Mutex::default();
    let mut child = struck(&scratch, site, Strike::Fail(error), Path::new("/dev/null"))?;
    let shown = tokio::select! {
        biased;
        status = child.wait() => {
            // A database that cannot be trusted any more ends it, in good order.
            let status = status?;
            anyhow::ensure!(status.code().is_some(), "it ended with {status}\n{}", scratch.log());
            Shown::Ended
        }
        lived = day.live_through(&scratch, &answered) => {
            lived?;
            let status = day::stop(&mut child).await?;
            anyhow::ensure!(status.code().is_some(), "it stopped with {status}\n{}", scratch.log());
            Shown::WentOn
        }
    };
    let faults = day.faults(&scratch)?;
    anyhow::ensure!(faults.is_empty(), "right after it: {faults:#?}");
    day.set_right(&scratch, &answered, wanted).await?;
    Ok(shown)
}

/// What all sites showed.
struct Outcome {
    what: &'static str,
    struck: usize,
    shown: BTreeMap<Shown, usize>,
    faults: Vec<String>,
}

impl Outcome {
    fn summary(&self) -> String {
        let Self {
            what,
            struck,
            shown,
            faults,
        } = self;
        format!("{what} at {struck} sites: {shown:?}, {} faults", faults.len())
    }

    fn died(&self) -> usize {
        self.shown.get(&Shown::Died).copied().unwrap_or(0)
    }
}

/// Strikes at many sites, a few at a time, and tells of every one that left something wrong.
async fn strike_all<F>(what: &'static str, sites: Vec<Site>, strike: impl Fn(Site) -> F) -> Outcome
where
    F: Future<Output = anyhow::Result<Shown>>,
{
    let struck = sites.len();
    let outcomes = stream::iter(sites).map(|site| {
        let running = strike(site.clone());
        async move { (site, running.await) }
    });
    let outcomes: Vec<_> = outcomes.buffer_unordered(AT_A_TIME).collect().await;
    let mut shown: BTreeMap<Shown, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (Site { call, nth }, outcome) in outcomes {
        match outcome {
            Ok(one) => *shown.entry(one).or_default() += 1,
            Err(error) => faults.push(format!("== {what} at {call} number {nth}: {error:?}")),
        }
    }
    Outcome {
        what,
        struck,
        shown,
        faults,
    }
}

/// So many sites of each call, from its first to its last, moved on by some quarters of the way to the next one.
fn sample(sites: &[Site], usual: usize, quarters: usize) -> Vec<Site> {
    let mut sampled = Vec::new();
    for of_call in sites.chunk_by(|one, next| one.call == next.call) {
        let wanted = of_each_call(usual).min(of_call.len());
        let places = (0..wanted).map(|index| (index * 4 + quarters) * of_call.len() / (wanted * 4));
        sampled.extend(places.map(|place| of_call[place].clone()));
    }
    sampled
}

#[tokio::test]
async fn dying_at_any_step_leaves_nothing_wrong() -> anyhow::Result<()> {
    if !can_strace().await {
        skip("strace cannot follow a program here");
        return Ok(());
    }
    let day = Day::new()?;
    let (wanted, sites) = undisturbed(&day).await?;
    println!("{} sites", sites.len());
    let (day, wanted) = (&day, &wanted);
    let sites = sample(&sites, KILLED_OF_EACH, 2);
    let outcome = strike_all("killed", sites, |site| async move { kill_at(day, wanted, &site).await }).await;
    println!("{}", outcome.summary());
    assert!(outcome.faults.is_empty(), "{}", outcome.faults.join("\n\n"));
    // A rig that strikes nobody proves nothing.
    assert!(outcome.died() * 2 > outcome.struck, "most sites were not reached");
    Ok(())
}

#[tokio::test]
async fn failing_at_any_step_leaves_nothing_wrong() -> anyhow::Result<()> {
    if !can_strace().await {
        skip("strace cannot follow a program here");
        return Ok(());
    }
    let day = Day::new()?;
    let (wanted, sites) = undisturbed(&day).await?;
    let (day, wanted) = (&day, &wanted);
    let mut faults = Vec::new();
    for (quarters, error) in ERRORS.into_iter().enumerate() {
        let sites = sample(&sites, FAILED_OF_EACH, quarters);
        let outcome = strike_all(
            error,
            sites,
            |site| async move { fail_at(day, wanted, &site, error).await },
        )
        .await;
        println!("{}", outcome.summary());
        faults.extend(outcome.faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    Ok(())
}

#[test]
fn calls_are_counted_by_thread() {
    let log = "12 pwrite64(7, \"x\", 1, 0) = 1\n13 pwrite64(8, \"(\", 1, 0 <unfinished ...>\n12 fsync(7) = 0\n\
               13 <... pwrite64 resumed>) = 1\n12 pwrite64(7, \"y\", 1, 0) = 1\n";
    let counts = most_in_a_thread(log);
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("fsync".to_owned(), 1), ("pwrite64".to_owned(), 2)]
    );
}
