//! Servers that fall silent, or nearly so, in each phase of a job, with the configuration that everybody has: a job does not
//! stand as `active` for ninety seconds without a byte or a reason.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use hfetch_tests::{
    check,
    sim::{Fault, Gate, Host, Matcher, Rule, SimHub},
};
use tokio::time::timeout;

use super::{FILE, MIB, Scratch, cdn, complete, hub, listing, resolve};

/// What a Hub does, until it is undone.
enum Silence {
    Held(Gate),
    Fault,
}

/// What is promised: two stalls of half a minute come first, and a busy machine is late with both.
const PROMISED: Duration = Duration::from_secs(90);

/// A job under it tells that it waits and why in time, and goes on afterwards.
async fn is_told(name: &str, begin: impl Fn(&SimHub) -> Silence) -> anyhow::Result<()> {
    let hub = hub()?;
    let silence = begin(&hub);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "2"]).await?;
    let held = async {
        match scratch.until(&id, "held (endpoint)").await {
            Err(_) => scratch.until(&id, "held (endpoint)").await,
            told => told,
        }
    };
    let job = timeout(PROMISED, held).await.context("nothing is told")??;
    let detail = job["detail"].as_str().unwrap_or_default();
    anyhow::ensure!(detail.len() > 10 && job["next_attempt_at"].is_string(), "{name}: {job}");
    match silence {
        Silence::Held(gate) => gate.release(),
        Silence::Fault => hub.faults().clear(),
    }
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)
}

#[tokio::test]
async fn a_silent_server_is_told_of_in_every_phase() {
    let answers = |name: &'static str, matcher: fn() -> Matcher| {
        Box::pin(async move {
            (
                name,
                is_told(name, |hub| Silence::Held(hub.hold_answers(matcher()))).await,
            )
        }) as std::pin::Pin<Box<dyn Future<Output = (&'static str, anyhow::Result<()>)>>>
    };
    let body = async {
        let begin = |hub: &SimHub| Silence::Held(hub.hold_bodies(FILE, 2 * MIB));
        ("a body", is_told("a body", begin).await)
    };
    let dripping = async {
        let begin = |hub: &SimHub| {
            hub.faults()
                .add(Rule::new(listing(), Fault::Drip(1, Duration::from_secs(10))));
            Silence::Fault
        };
        ("a listing that drips", is_told("a listing that drips", begin).await)
    };
    let outcomes = join_all([
        answers("the info", || Matcher::any().host(Host::Hub).path("*/revision/*")),
        answers("the listing", listing),
        answers("where the bytes lie", resolve),
        answers("the bytes", cdn),
        Box::pin(body),
        Box::pin(dripping),
    ])
    .await;
    let faults: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(name, outcome)| Some(format!("== {name}: {:#}", outcome.err()?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}
