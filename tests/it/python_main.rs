//! The main job, as the users of the files see it: what hfetch put on disk is found, trusted and loaded by the real
//! `huggingface_hub`, and what that put there is taken over by hfetch.

mod dataset;
mod globs;
mod local_dir;
mod locks;
mod model;
mod revisions;
mod takeover;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use hfetch_tests::harness::{Ran, Scratch, eventually};
use hfetch_tests::python::Python;
use hfetch_tests::sim::{Commit, Record, SimHub};
use hfetch_tests::tree;
use serde_json::{Value, json};

const STEPS: &str = include_str!("../data/python/steps.py");
const MIB: u64 = 1 << 20;
const OFFLINE: &[(&str, &str)] = &[("HF_HUB_OFFLINE", "1")];
const ONLINE: &[(&str, &str)] = &[];

/// SHA-256 by path.
type Hashes = BTreeMap<String, String>;

/// One person with a scratch home, hfetch and Python.
struct User {
    python: Python,
    scratch: Scratch,
}

impl User {
    fn new(python: Python, hub: &SimHub) -> anyhow::Result<Self> {
        let scratch = Scratch::new(hub.endpoint())?
            .env("HF_HUB_DISABLE_XET", "1")
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .env("HF_HUB_DISABLE_UPDATE_CHECK", "1")
            .env("NO_COLOR", "1");
        Ok(Self { python, scratch })
    }

    fn environment(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut environment = self.scratch.environment();
        environment.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        environment
    }

    /// Calls of `huggingface_hub`, all in one process; the result of each.
    async fn steps(&self, steps: Value, more: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let ran = self
            .python
            .output(STEPS, &[&steps.to_string()], self.environment(more))
            .await?;
        let printed = ran.ok()?;
        serde_json::from_str(printed.lines().last().unwrap_or_default()).context("not a JSON list")
    }

    /// Where `snapshot_download` says the files lie, and what they are.
    async fn snapshot(&self, arguments: Value, more: &[(&str, &str)]) -> anyhow::Result<(String, Hashes)> {
        let steps = json!([{ "call": "snapshot_download", "args": arguments }]);
        let results = self.steps(steps, more).await?;
        let found = &results[0]["ok"];
        let path = found["path"]
            .as_str()
            .with_context(|| format!("no snapshot: {}", results[0]))?;
        Ok((path.to_owned(), serde_json::from_value(found["files"].clone())?))
    }

    async fn hf(&self, arguments: &[&str], more: &[(&str, &str)]) -> anyhow::Result<Ran> {
        self.python.hf(arguments, self.environment(more)).await
    }

    /// `hf cache ls` finds these and nothing to warn of or to clean up, and the scan behind it neither.
    async fn expect_tidy_cache(&self, listed: &[&str]) -> anyhow::Result<()> {
        let ran = self
            .hf(&["cache", "ls", "--show-warnings", "--no-truncate"], OFFLINE)
            .await?;
        let said = ran.stderr.clone();
        let shown = ran.ok()?;
        ensure!(said.is_empty(), "hf cache ls complains: {said}");
        for name in listed {
            ensure!(shown.contains(name), "{name} is not in {shown}");
        }
        let scan = &self.steps(json!([{ "call": "scan_cache_dir" }]), OFFLINE).await?[0]["ok"];
        ensure!(scan["warnings"] == "[]", "the scan warns: {scan}");
        let faults = tree::faults(&self.scratch.cache())?;
        ensure!(faults.is_empty(), "{faults:#?}");
        Ok(())
    }

    async fn hfctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.scratch.hfctl(arguments).await?.ok()
    }

    async fn job(&self, id: &str) -> anyhow::Result<Value> {
        self.scratch.hfctl(["show", "--json", id]).await?.json()
    }

    /// Submits, kills the daemon twice while `file` is on its way, lets a third one finish. Gives the job.
    async fn submit_and_kill_twice(
        &self,
        hub: &SimHub,
        submit: &[&str],
        file: &str,
        step: u64,
    ) -> anyhow::Result<Value> {
        let mut daemon = self.scratch.daemon().await?;
        let mut gate = hub.hold_bodies(file, step);
        let id = self.hfctl(&[&["submit"], submit].concat()).await?.trim().to_owned();
        for _ in 0..2 {
            gate.reached().await;
            let job = self.job(&id).await?;
            ensure!(job["state"] == "active", "{job}");
            daemon.kill().await?;
            // The next gate stands before the next daemon asks.
            gate = hub.hold_bodies(file, step);
            daemon = self.scratch.daemon().await?;
        }
        gate.reached().await;
        gate.release();
        self.hfctl(&["wait", &id]).await?;
        let job = self.job(&id).await?;
        ensure!(
            job["state"] == "done" && job["bytes_done"] == job["bytes_total"],
            "{job}"
        );
        daemon.stop().await?;
        Ok(job)
    }
}

/// What a commit holds.
fn hashes(commit: &Commit) -> anyhow::Result<Hashes> {
    let hash =
        |(path, file): (&String, &hfetch_tests::sim::StoredFile)| Ok((path.clone(), file.content.sha256()?.to_owned()));
    commit.files.iter().map(hash).collect()
}

/// The plain files below a folder; the books that Python keeps in a local directory left out.
fn hashes_below(folder: &Path) -> anyhow::Result<Hashes> {
    let mut found = Hashes::new();
    for (path, entry) in tree::entries(folder)? {
        let path = path.to_str().context("UTF-8")?.to_owned();
        match entry {
            _ if path.starts_with(".cache/") => {}
            tree::Entry::File(_, hash) => drop(found.insert(path, hash)),
            tree::Entry::Link(target) => anyhow::bail!("{path} is a link to {}", target.display()),
        }
    }
    Ok(found)
}

/// Requests since a mark that brought bytes of files.
fn fetched_since(hub: &SimHub, mark: u64) -> Vec<String> {
    let fetched = |record: &Record| record.file.is_some() && record.method == "GET";
    let records = hub.journal().records_since(mark);
    records
        .iter()
        .filter(|record| fetched(record))
        .map(Record::line)
        .collect()
}

/// Waits until a job says this of itself.
async fn says(user: &User, id: &str, text: &str) -> anyhow::Result<()> {
    eventually(&format!("{text:?}"), async || {
        let job = user.job(id).await.map_err(|error| error.to_string())?;
        if job["detail"].as_str().is_some_and(|detail| detail.contains(text)) {
            Ok(())
        } else {
            Err(job.to_string())
        }
    })
    .await
}
