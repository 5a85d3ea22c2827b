//! The list of the files: pages that fail, repeat, end early or are something else.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Host, Kind, Matcher, RepoBuilder, Rule, SimHub, Switches},
};

use super::{Case, FILE, PLAIN, all, at_once, complete, failed, hub, listing, repo, resigning};

/// Requests for what the repository is.
fn info() -> Matcher {
    Matcher::any().host(Host::Hub).path("*/revision/*")
}

#[tokio::test]
async fn answers_to_the_plan_that_fail_for_a_while() {
    all(vec![
        Case::new("500 for the info", info(), Fault::status(500), 2),
        Case::new("500 for the listing", listing(), Fault::status(500), 2),
        Case::new(
            "502 with a page",
            listing(),
            Fault::Answer(502, vec![], b"<html>".to_vec()),
            1,
        ),
        Case::new("a login page for the info", info(), Fault::Html, 2),
        Case::new("a login page for the listing", listing(), Fault::Html, 2),
        Case::new("a reset listing", listing(), Fault::ResetAfter(40), 2),
        Case::new("a cut listing", listing(), Fault::CutAfter(40), 2),
        Case::new("a listing that looks whole", listing(), Fault::ShortChunked(40), 2),
        Case::new(
            "half JSON",
            info(),
            Fault::Answer(200, vec![], b"{\"sha\": ".to_vec()),
            2,
        ),
        Case::new(
            "JSON of something else",
            info(),
            Fault::Answer(200, vec![], b"[1, 2]".to_vec()),
            2,
        ),
        Case::new("a compressed listing", listing(), Fault::Gzip, 1),
    ])
    .await;
}

/// Takes half a minute: the patience for such answers is no setting.
#[tokio::test]
async fn silence_in_the_plan_ends() {
    all(vec![
        Case::new("a listing that stalls", listing(), Fault::StallAfter(40), 1),
        Case::new("no answer to the info", info(), Fault::StallBeforeHead, 1),
    ])
    .await;
}

fn many() -> RepoBuilder {
    (0..25).fold(repo(), |repo, number| {
        repo.plain(&format!("d/{number}.json"), format!("{number}"))
    })
}

#[tokio::test]
async fn one_of_many_pages_fails() -> anyhow::Result<()> {
    for number in [1, 3] {
        let small = Switches {
            page_size: 7,
            ..Switches::default()
        };
        let hub = SimHub::builder().repo(many()).switches(small).start()?;
        hub.faults().add(Rule::new(listing(), Fault::status(503)).nth(number));
        let scratch = Scratch::new(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let id = scratch.submit(&["org/m"]).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])?;
        complete(&scratch, &hub)?;
        assert!(hub.journal().count(|record| record.path.contains("/tree/")) <= 12);
    }
    Ok(())
}

#[tokio::test]
async fn pages_without_an_end_are_noticed() -> anyhow::Result<()> {
    let looping = Switches {
        page_size: 7,
        ignore_cursor: true,
        ..Switches::default()
    };
    let hub = SimHub::builder().repo(many()).switches(looping).start()?;
    let scratch = resigning(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m"]).await?;
    assert_eq!(job["failure"]["kind"], "endpoint_unreachable", "{job}");
    let message = job["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("list"), "{message}");
    daemon.stop().await?;
    assert!(hub.journal().len() < 300, "{}", hub.journal().text());
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn files_that_are_gone() -> anyhow::Result<()> {
    let hub = hub()?;
    let gone = Fault::Answer(404, vec![("X-Error-Code".into(), "EntryNotFound".into())], vec![]);
    hub.fault(Matcher::any().file(FILE), gone);
    let scratch = resigning(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m"]).await?;
    assert_eq!(job["failure"]["kind"], "entry_not_found", "{job}");
    // The rest goes on.
    assert_eq!(job["files_done"], 1, "{job}");
    let repo = hub.repo(Kind::Model, "org/m").expect("it is there");
    let snapshot = scratch.cache().join("models--org--m/snapshots");
    let file = snapshot.join(&repo.commit("main").expect("it has one").sha).join(PLAIN);
    assert_eq!(std::fs::read(file)?, b"{\"a\": 1}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

async fn ends(rule: Rule, kind: &str) -> anyhow::Result<()> {
    let hub = hub()?;
    hub.faults().add(rule);
    let scratch = resigning(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m"]).await?;
    anyhow::ensure!(job["failure"]["kind"] == kind, "{job}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])?;
    anyhow::ensure!(hub.journal().len() < 60, "{}", hub.journal().text());
    Ok(())
}

#[tokio::test]
async fn what_never_gets_better_is_given_up() {
    let always = Rule::new;
    at_once([
        (
            "a page for ever",
            ends(always(listing(), Fault::Html), "endpoint_unreachable"),
        ),
        (
            "500 for ever",
            ends(always(info(), Fault::status(500)), "endpoint_unreachable"),
        ),
        ("403 for ever", ends(always(info(), Fault::status(403)), "unauthorized")),
        ("404 for ever", ends(always(info(), Fault::status(404)), "not_found")),
        (
            "a small file that is always short",
            ends(
                always(Matcher::any().file(PLAIN), Fault::ShortChunked(3)),
                "bad_endpoint",
            ),
        ),
    ])
    .await;
}
