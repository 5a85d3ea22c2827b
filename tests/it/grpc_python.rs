//! Any language's generated client works: Python's, made from our `.proto` files while the test runs.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use hfetch_tests::harness::Scratch;
use hfetch_tests::python::{Python, Talk};
use hfetch_tests::sim::{RepoBuilder, SimHub};
use serde_json::{Value, json};

const CLIENT: &str = include_str!("../data/python/grpc_client.py");
const PROTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
const SERVICES: [&str; 12] = [
    "AdminService",
    "BandwidthService",
    "CacheService",
    "DoctorService",
    "EndpointService",
    "EventService",
    "JobService",
    "NameService",
    "RouteService",
    "ScheduleService",
    "TokenService",
    "UsageService",
];
const MIB: u64 = 1 << 20;

/// The generated client at work.
struct Client {
    talk: Talk,
    _generated: tempfile::TempDir,
}

impl Client {
    async fn start(python: &Python, scratch: &Scratch) -> anyhow::Result<Self> {
        let generated = tempfile::tempdir()?;
        let folder = generated.path().to_str().context("UTF-8")?;
        let target = format!("unix:{}", scratch.socket().display());
        let mut talk = python.talk(CLIENT, &[PROTOS, folder, &target], scratch.environment())?;
        let services: Value = serde_json::from_str(&talk.hear().await?)?;
        ensure!(services["services"] == json!(SERVICES), "{services}");
        Ok(Self {
            talk,
            _generated: generated,
        })
    }

    async fn ask(&mut self, order: Value) -> anyhow::Result<Value> {
        self.talk.say(&order.to_string()).await?;
        Ok(serde_json::from_str(&self.talk.hear().await?)?)
    }

    async fn ok(&mut self, order: Value) -> anyhow::Result<Value> {
        let mut answer = self.ask(order.clone()).await?;
        ensure!(answer.get("ok").is_some(), "{order}: {answer}");
        Ok(answer["ok"].take())
    }

    async fn jobs(&mut self, method: &str, fields: Value) -> anyhow::Result<Value> {
        self.ok(json!(["call", "JobService", method, fields])).await
    }

    /// The ids of all jobs, listed one a page.
    async fn pages_of_one(&mut self) -> anyhow::Result<Vec<String>> {
        let (mut ids, mut token) = (Vec::new(), json!(""));
        loop {
            let page = self
                .jobs("ListJobs", json!({ "page_size": 1, "page_token": token }))
                .await?;
            let jobs = page["jobs"].as_array().context("jobs")?;
            ensure!(jobs.len() <= 1 && ids.len() < 10, "{page}");
            ids.extend(jobs.iter().filter_map(|job| job["id"].as_str().map(str::to_owned)));
            token = page["next_page_token"].clone();
            if token == "" {
                return Ok(ids);
            }
        }
    }

    /// Events of a watch until this one has come.
    async fn events(&mut self, watch: &str, until: &str) -> anyhow::Result<Vec<Value>> {
        let read = self.ok(json!(["read", watch, until])).await?;
        let bodies = read.as_array().context("a list")?;
        Ok(bodies.iter().filter_map(|body| body.get("event").cloned()).collect())
    }
}

async fn python() -> Option<Python> {
    Python::with("grpc, grpc_tools.protoc, grpc_health.v1, grpc_reflection.v1alpha, grpc_status").await
}

fn seq(event: &Value) -> u64 {
    // JSON of protobuf writes 64-bit numbers as text.
    event["seq"].as_str().and_then(|seq| seq.parse().ok()).unwrap_or(0)
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[tokio::test]
async fn health_and_reflection_answer() -> anyhow::Result<()> {
    let Some(python) = python().await else {
        return Ok(());
    };
    let hub = SimHub::builder().start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut client = Client::start(&python, &scratch).await?;
    assert_eq!(client.ok(json!(["health", ""])).await?, "SERVING");
    for service in SERVICES {
        let name = format!("hfetch.v1.{service}");
        assert_eq!(client.ok(json!(["health", name])).await?, "SERVING", "{service}");
    }
    let unknown = client.ask(json!(["health", "hfetch.v1.Nothing"])).await?;
    assert_eq!(unknown["error"], "NOT_FOUND", "{unknown}");
    let told = client.ok(json!(["reflection"])).await?;
    let expected: BTreeSet<String> = SERVICES.iter().map(|name| format!("hfetch.v1.{name}")).collect();
    for version in ["v1", "v1alpha"] {
        let services: BTreeSet<String> = serde_json::from_value(told[version].clone())?;
        assert!(services.is_superset(&expected), "{version}: {services:?}");
        assert!(services.contains("grpc.health.v1.Health"), "{version}: {services:?}");
    }
    for service in SERVICES {
        assert_eq!(told["same"][service], true, "{told}");
    }
    let info = client.ok(json!(["call", "AdminService", "GetServerInfo", {}])).await?;
    assert_eq!(info["pid"], daemon.pid(), "{info}");
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_generated_client_submits_watches_lists_and_cancels() -> anyhow::Result<()> {
    let Some(python) = python().await else {
        return Ok(());
    };
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/small")
                .file("config.json", "{}")
                .seeded("a.bin", 5000, 1),
        )
        .repo(RepoBuilder::model("org/slow").seeded("model.safetensors", 4 * MIB, 2))
        .start()?;
    let gate = hub.hold_bodies("model.safetensors", MIB);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut client = Client::start(&python, &scratch).await?;
    client
        .ok(json!(["watch", "all", { "after_seq": 0, "progress_interval_ms": 100 }]))
        .await?;

    // The same request twice is one job; another one under its id is refused.
    let submit = json!({ "spec": { "name": "org/small" }, "request_id": "py-1" });
    let first = client.jobs("SubmitJob", submit.clone()).await?;
    let small = first["job"]["id"].as_str().context("an id")?.to_owned();
    assert_eq!(
        (&first["job"]["state"], &first["existing"]),
        (&json!("JOB_STATE_QUEUED"), &json!(false))
    );
    let again = client.jobs("SubmitJob", submit).await?;
    assert_eq!((&again["job"]["id"], &again["existing"]), (&json!(small), &json!(true)));
    let other = json!({ "spec": { "name": "org/slow" }, "request_id": "py-1" });
    let refused = client.ask(json!(["call", "JobService", "SubmitJob", other])).await?;
    assert_eq!(refused["error"], "ALREADY_EXISTS", "{refused}");
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("hfetch/") && reason.len() > 7, "{refused}");

    let events = client.events("all", "JOB_STATE_DONE").await?;
    let seen = types(&events);
    assert_eq!(seen.first(), Some(&"EVENT_TYPE_SUBMITTED"), "{events:#?}");
    assert_eq!(
        seen.iter().filter(|event| **event == "EVENT_TYPE_FILE_DONE").count(),
        2,
        "{events:#?}"
    );
    assert!(seen.contains(&"EVENT_TYPE_PLANNED"), "{events:#?}");
    let numbers: Vec<u64> = events.iter().map(seq).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers[0] > 0, "{numbers:?}");
    client.ok(json!(["leave", "all"])).await?;

    // From any number on, the rest comes as it came, with nothing lost or doubled; also from another daemon.
    let middle = numbers[numbers.len() / 2];
    let rest: Vec<Value> = events.iter().filter(|event| seq(event) > middle).cloned().collect();
    client.ok(json!(["watch", "rest", { "after_seq": middle }])).await?;
    assert_eq!(client.events("rest", "JOB_STATE_DONE").await?, rest);

    let slow = client
        .jobs("SubmitJob", json!({ "spec": { "name": "org/slow" } }))
        .await?;
    let slow = slow["job"]["id"].as_str().context("an id")?.to_owned();
    gate.reached().await;
    assert_eq!(
        client.pages_of_one().await?,
        [slow.clone(), small.clone()],
        "newest first"
    );
    let done = client.jobs("ListJobs", json!({ "states": ["JOB_STATE_DONE"] })).await?;
    assert_eq!(done["jobs"].as_array().map(Vec::len), Some(1), "{done}");
    let files = client.jobs("ListFiles", json!({ "id": small })).await?;
    assert_eq!(files["files"][0]["path"], "a.bin", "{files}");
    let job = client.jobs("GetJob", json!({ "id": slow })).await?;
    assert_eq!(
        (&job["job"]["state"], &job["job"]["bytes_total"]),
        (&json!("JOB_STATE_ACTIVE"), &json!((4 * MIB).to_string()))
    );

    let cancelled = client
        .jobs("CancelJobs", json!({ "selector": { "ids": [slow, "0000000000"] } }))
        .await?;
    assert_eq!(cancelled["jobs"][0]["state"], "JOB_STATE_CANCELLED", "{cancelled}");
    assert_eq!(cancelled["refusals"].as_array().map(Vec::len), Some(1), "{cancelled}");
    let events = client.events("rest", "JOB_STATE_CANCELLED").await?;
    assert!(events.iter().all(|event| event["job_id"] == slow), "{events:#?}");
    let gone = client
        .ask(json!(["call", "JobService", "GetJob", { "id": "0000000000" }]))
        .await?;
    assert_eq!(gone["error"], "NOT_FOUND", "{gone}");

    // A stop is told; the stream goes on where it was with the next daemon on the same socket.
    let last = seq(events.last().context("events")?);
    daemon.stop().await?;
    let ended = client.ask(json!(["read", "rest", "never"])).await?;
    assert_eq!(ended["error"], "UNAVAILABLE", "{ended}");
    gate.release();
    let daemon = scratch.daemon().await?;
    client
        .ok(json!(["watch", "later", { "after_seq": last, "job_ids": [slow] }]))
        .await?;
    client
        .jobs("RetryJobs", json!({ "selector": { "ids": [slow] } }))
        .await?;
    let events = client.events("later", "JOB_STATE_DONE").await?;
    assert_eq!(seq(&events[0]), last + 1, "{events:#?}");
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}
