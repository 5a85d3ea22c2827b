//! Trouble that lasts: the job is shown as held with the reason, and goes on by itself.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Host, Journal, Matcher, RepoBuilder, Rule, SimHub},
};
use serde_json::Value;

use super::{FILE, MIB, PLAIN, at_once, cdn, complete, hub, repo, resolve, scratch, strikes};

/// What a held job tells: a reason for people, and when it goes on.
fn told(job: &Value) -> anyhow::Result<()> {
    let detail = job["detail"].as_str().unwrap_or_default();
    anyhow::ensure!(!detail.is_empty(), "held without a reason: {job}");
    Ok(())
}

/// A fault until the job is held in this state.
async fn held_by(matcher: Matcher, fault: Fault, state: &str) -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(matcher, fault);
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    told(&scratch.until(&id, state).await?)?;
    hub.faults().clear();
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    anyhow::ensure!(strikes(hub.journal()) > 0);
    anyhow::ensure!(hub.journal().len() < 60, "a storm\n{}", hub.journal().text());
    Ok(())
}

const LIMITED: &str = "held (rate_limited)";

#[tokio::test]
async fn too_many_requests_in_every_form() {
    let info = || Matcher::any().host(Host::Hub).path("*/revision/*");
    at_once([
        ("RateLimit", held_by(resolve(), Fault::too_many_ratelimit(5), LIMITED)),
        ("Retry-After", held_by(resolve(), Fault::too_many_seconds(5), LIMITED)),
        (
            "Retry-After as a date",
            held_by(resolve(), Fault::too_many_date(6), LIMITED),
        ),
        ("nothing", held_by(resolve(), Fault::too_many_bare(), LIMITED)),
    ])
    .await;
    at_once([
        (
            "RateLimit for the plan",
            held_by(info(), Fault::too_many_ratelimit(5), LIMITED),
        ),
        (
            "Retry-After at the CDN",
            held_by(cdn(), Fault::too_many_seconds(5), LIMITED),
        ),
    ])
    .await;
}

/// Nobody asks before: not for this file, and not another job for anything.
#[tokio::test]
async fn a_wait_that_was_asked_for_is_kept() -> anyhow::Result<()> {
    let other = RepoBuilder::model("org/other").plain(PLAIN, b"{}".to_vec());
    let hub = SimHub::builder().repo(repo()).repo(other).start()?;
    hub.faults()
        .add(Rule::new(resolve(), Fault::too_many_seconds(8)).once());
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", FILE]).await?;
    scratch.until(&id, LIMITED).await?;
    let second = scratch.submit(&["org/other"]).await?;
    scratch.wait_done(&[&id, &second]).await?;
    daemon.stop().await?;
    let asked = hub
        .journal()
        .filter(|record| record.host == Host::Hub && record.file.as_deref() == Some(FILE));
    let refused = asked
        .iter()
        .find(|record| record.status == 429)
        .expect("one was refused");
    let end = refused.ended.unwrap_or_default();
    let early = hub.journal().filter(|record| {
        record.host == Host::Hub && record.seq > refused.seq && record.started.saturating_sub(end).as_millis() < 7900
    });
    assert!(early.is_empty(), "{early:#?}");
    assert!(hub.journal().count(|record| record.path.contains("org/other")) > 0);
    check::finished(&scratch, &[&hub])
}

/// Nor a call of a user: it is told why, and until when. Another account has its own quota.
#[tokio::test]
async fn a_users_own_calls_keep_a_wait_that_was_asked_for() -> anyhow::Result<()> {
    let other = RepoBuilder::model("org/other").plain(PLAIN, b"{}".to_vec());
    let hub = SimHub::builder()
        .repo(repo())
        .repo(other)
        .token("hf_alice", "alice")
        .start()?;
    hub.faults()
        .add(Rule::new(resolve(), Fault::too_many_seconds(600)).once());
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", FILE]).await?;
    scratch.until(&id, LIMITED).await?;
    let asked = hub.journal().len();
    for line in [
        "search other",
        "submit other",
        "submit org/other --dry-run",
        "route explain org/other",
        "endpoint probe",
        "alias add short org/other",
    ] {
        let ran = scratch.hfctl(line.split(' ')).await?;
        let said = format!("{}{}", ran.stdout, ran.stderr);
        for words in ["asked for fewer requests and is not asked before ", ", in "] {
            assert!(said.contains(words), "{line}: no {words:?} in {said}");
        }
    }
    assert_eq!(hub.journal().len(), asked, "{}", hub.journal().text());
    let ran = scratch
        .hfctl_with(["search", "other"], &[("HF_TOKEN", "hf_alice")])
        .await?;
    assert!(ran.ok()?.contains("org/other"));
    // What a call hears is kept by all of the same account.
    hub.faults()
        .add(Rule::new(Matcher::any().host(Host::Hub), Fault::too_many_seconds(600)).once());
    let with_token = async |line: &str| scratch.hfctl_with(line.split(' '), &[("HF_TOKEN", "hf_alice")]).await;
    let refused = with_token("search m").await?;
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    let asked = hub.journal().len();
    let ran = with_token("search m").await?;
    assert!(ran.stderr.contains("is not asked before"), "{}", ran.stderr);
    assert_eq!(hub.journal().len(), asked, "{}", hub.journal().text());
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn an_endpoint_in_trouble_is_waited_for() {
    let api = || Matcher::any().host(Host::Hub).path("*/revision/*");
    at_once([
        ("503 for a while", held_by(api(), Fault::status(503), "held (endpoint)")),
        (
            "503 with a wish",
            held_by(
                resolve(),
                Fault::Answer(503, vec![("Retry-After".into(), "4".into())], vec![]),
                "held (endpoint)",
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_waited_for() {
    at_once([
        ("the Hub, before", goes_down(Host::Hub, 0)),
        ("the CDN, before", goes_down(Host::Cdn, 0)),
        ("the CDN, in the middle", goes_down(Host::Cdn, 7 * MIB)),
    ])
    .await;
}

async fn goes_down(host: Host, after: u64) -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // One connection: the failures of several are counted together, and the waits grow accordingly.
    let args = ["org/m", "-x", "1"];
    let id = if after == 0 {
        hub.take_down(host).await;
        scratch.submit(&args).await?
    } else {
        let gate = hub.hold_bodies(FILE, after);
        let id = scratch.submit(&args).await?;
        gate.reached().await;
        check::taken(&hub).await?;
        hub.take_down(host).await;
        id
    };
    let asked = hub.journal().len();
    told(&scratch.until(&id, "held (endpoint)").await?)?;
    if host == Host::Cdn {
        // A dead server's address is not asked for ever: the Hub may know another one.
        let asks = |journal: &Journal| {
            journal
                .count(|record| record.seq >= asked && record.host == Host::Hub && record.file.as_deref() == Some(FILE))
        };
        hub.journal()
            .wait_for("questions for another address", |journal| asks(journal) > 0)
            .await;
    }
    hub.bring_up(host)?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    // The dead server's kernel had nothing, and what had come is kept.
    let again = check::sent_again(&hub, FILE, asked);
    anyhow::ensure!(again == 0, "{again} bytes again\n{}", hub.journal().text());
    Ok(())
}
