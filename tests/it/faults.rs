//! Everything that a server or a network can do to a download, one at a time (the list is in `rows`): it ends done with the
//! right bytes, or says why it does not.

mod ends;
mod holds;
mod links;
mod listing;
mod paths;
mod rows;
mod shapes;
mod silence;
mod transfer;

use futures_util::{StreamExt as _, stream};
use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Host, Journal, Kind, Matcher, RepoBuilder, Rule, SimHub, Storage},
    tree,
};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 20 * MIB;
const FILE: &str = "model.safetensors";
const PLAIN: &str = "config.json";
/// Cases of one table that run at a time.
const AT_A_TIME: usize = 4;
/// More requests than this for two files are a storm.
const MOST_REQUESTS: u64 = 80;

/// One linked and one plain file.
fn repo() -> RepoBuilder {
    RepoBuilder::model("org/m")
        .seeded_as(FILE, SIZE, 5, Storage::Linked)
        .plain(PLAIN, b"{\"a\": 1}".to_vec())
}

fn hub() -> anyhow::Result<SimHub> {
    SimHub::builder().repo(repo()).start()
}

/// Requests for the bytes of the linked file.
fn cdn() -> Matcher {
    Matcher::any().host(Host::Cdn).file(FILE)
}

/// Requests that ask where the bytes of the linked file lie.
fn resolve() -> Matcher {
    Matcher::any().host(Host::Hub).file(FILE)
}

/// Requests for the list of the files.
fn listing() -> Matcher {
    Matcher::any().host(Host::Hub).path("*/tree/*")
}

/// Times that some fault struck.
fn strikes(journal: &Journal) -> usize {
    journal.count(|record| !record.faults.is_empty())
}

/// Impatient, so that a stall is one within a second.
fn scratch(endpoint: &str) -> anyhow::Result<Scratch> {
    Scratch::new(endpoint)?.config("[transfer]\nstall_timeout = \"1s\"\n")
}

/// One that gives a job up when nothing has come for ten seconds: long enough for another answer to be heard first.
fn resigning(endpoint: &str) -> anyhow::Result<Scratch> {
    Scratch::new(endpoint)?.config("[transfer]\nstall_timeout = \"1s\"\ngive_up_after = \"10s\"\n")
}

/// Fails unless both files of [`repo`] are there under the names that their bytes give them.
fn complete(scratch: &Scratch, hub: &SimHub) -> anyhow::Result<()> {
    let repo = hub.repo(Kind::Model, "org/m").expect("it was put there");
    let commit = repo.commit("main").expect("it has one");
    let folder = scratch.cache().join("models--org--m");
    for (path, file) in &commit.files {
        let link = folder.join("snapshots").join(&commit.sha).join(path);
        let blob = std::fs::canonicalize(&link)?;
        assert_eq!(blob.file_name().and_then(|name| name.to_str()), Some(file.etag()?));
        assert_eq!(std::fs::metadata(blob)?.len(), file.content.size());
    }
    Ok(())
}

/// A fault that a download gets over.
struct Case {
    name: &'static str,
    rules: Vec<Rule>,
    /// Bytes that may be fetched again for it.
    again: u64,
    /// What came of answers that broke off must be kept.
    keeps: bool,
}

impl Case {
    /// What a connection had under way may be lost.
    fn new(name: &'static str, matcher: Matcher, fault: Fault, times: u64) -> Self {
        Self::with(name, Rule::new(matcher, fault).first(times))
    }

    fn with(name: &'static str, rule: Rule) -> Self {
        Self {
            name,
            rules: vec![rule],
            again: 8 * MIB,
            keeps: false,
        }
    }

    /// By one connection, which nobody helps: what came before the break is not asked for again.
    fn keeps(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// The whole file may come again, and once more.
    fn costly(mut self) -> Self {
        self.again = 2 * SIZE;
        self
    }

    async fn run(self) -> anyhow::Result<()> {
        let hub = hub()?;
        for rule in self.rules {
            hub.faults().add(rule);
        }
        let scratch = scratch(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let args: &[&str] = if self.keeps { &["org/m", "-x", "1"] } else { &["org/m"] };
        let id = scratch.submit(args).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])?;
        complete(&scratch, &hub)?;
        let journal = hub.journal();
        if self.keeps {
            check::kept(journal, FILE)?;
        }
        anyhow::ensure!(strikes(journal) > 0, "it did not strike\n{}", journal.text());
        anyhow::ensure!(journal.len() <= MOST_REQUESTS, "a storm\n{}", journal.text());
        let sent = journal.bytes_sent_for(FILE);
        anyhow::ensure!(
            sent <= SIZE + self.again,
            "{} MiB too many\n{}",
            (sent - SIZE) / MIB,
            journal.text()
        );
        Ok(())
    }
}

/// Runs a table of faults that a download gets over.
async fn all(cases: Vec<Case>) {
    at_once(cases.into_iter().map(|case| (case.name, case.run()))).await;
}

/// Runs cases side by side, for most of their time is waiting, and tells of every one that fails.
async fn at_once(cases: impl IntoIterator<Item = (&'static str, impl Future<Output = anyhow::Result<()>>)>) {
    let outcomes = stream::iter(cases).map(|(name, case)| async move { (name, case.await) });
    let outcomes: Vec<_> = outcomes.buffer_unordered(AT_A_TIME).collect().await;
    let faults: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(name, outcome)| Some(format!("== {name}: {}", outcome.err()?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Submits, waits, and gives the job, which must have failed.
async fn failed(scratch: &Scratch, args: &[&str]) -> anyhow::Result<Value> {
    let id = scratch.submit(args).await?;
    scratch.hfctl(["wait", &id]).await?.exits(5)?;
    scratch.show(&id).await
}
