//! Two endpoints: when the first is dead, empty or lies, the second serves.

use hfetch_tests::{
    check,
    sim::{Fault, Host, Matcher, RepoBuilder, SimHub},
};

use super::{FILE, MIB, SIZE, at_once, cdn, complete, hub, scratch};

async fn second_serves(set: impl AsyncFnOnce(&SimHub)) -> anyhow::Result<()> {
    let (first, second) = (hub()?, hub()?);
    set(&first).await;
    let scratch = scratch(first.endpoint())?;
    let daemon = scratch.daemon().await?;
    let args = ["org/m", "--endpoint", first.endpoint(), "--endpoint", second.endpoint()];
    let id = scratch.submit(&args).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&first, &second])?;
    complete(&scratch, &second)?;
    let sent = second.journal().bytes_sent_for(FILE);
    anyhow::ensure!(sent > 0, "the second was not asked\n{}", first.journal().text());
    anyhow::ensure!(sent <= SIZE + 8 * MIB, "{} MiB", sent / MIB);
    anyhow::ensure!(first.journal().len() < 60, "a storm\n{}", first.journal().text());
    Ok(())
}

#[tokio::test]
async fn the_first_endpoint_is_no_good() {
    at_once([(
        "down",
        second_serves(async |hub: &SimHub| hub.take_down(Host::Hub).await),
    )])
    .await;
    at_once([(
        "its CDN is down",
        second_serves(async |hub: &SimHub| hub.take_down(Host::Cdn).await),
    )])
    .await;
    let faults = |faults: Vec<(Matcher, Fault)>| {
        second_serves(async move |hub: &SimHub| {
            for (matcher, fault) in faults {
                hub.fault(matcher, fault);
            }
        })
    };
    let any = Matcher::any;
    at_once([
        ("500", faults(vec![(any(), Fault::status(500))])),
        ("a login page", faults(vec![(any(), Fault::Html)])),
        ("not found", faults(vec![(any(), Fault::status(404))])),
        ("silent bodies", faults(vec![(cdn(), Fault::StallAfter(100_000))])),
        ("refused for good", faults(vec![(cdn(), Fault::access_denied())])),
        ("wrong ranges", faults(vec![(cdn(), Fault::OtherRange(4096))])),
        ("no ranges", faults(vec![(cdn(), Fault::IgnoreRange)])),
        ("compressed", faults(vec![(cdn(), Fault::Gzip)])),
        ("rate limited", faults(vec![(any(), Fault::too_many_seconds(60))])),
        ("resets", faults(vec![(any(), Fault::ResetBeforeHead)])),
    ])
    .await;
}

#[tokio::test]
async fn an_endpoint_that_lies_about_bytes_is_left() -> anyhow::Result<()> {
    let (first, second) = (hub()?, hub()?);
    first.fault(cdn(), Fault::FlipByte(3 * MIB));
    let scratch = scratch(first.endpoint())?;
    let daemon = scratch.daemon().await?;
    let args = ["org/m", "--endpoint", first.endpoint(), "--endpoint", second.endpoint()];
    // Nearly all of the first try is the liar's.
    let gate = second.hold_bodies(FILE, 0);
    let id = scratch.submit(&args).await?;
    first
        .journal()
        .wait_for("the liar's bytes", |journal| journal.bytes_sent_for(FILE) >= 18 * MIB)
        .await;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    let warnings = scratch.warnings(&id).await?.concat();
    assert!(warnings.contains("nothing was published"), "{warnings}");
    daemon.stop().await?;
    complete(&scratch, &second)?;
    // What the liar did not send, and what it did once more: the file once.
    let sent = second.journal().bytes_sent_for(FILE);
    assert!(sent <= SIZE + MIB, "{sent}\n{}", second.journal().text());
    check::finished(&scratch, &[&first, &second])
}

#[tokio::test]
async fn an_endpoint_without_the_repository_is_passed_over() -> anyhow::Result<()> {
    let first = SimHub::builder()
        .repo(RepoBuilder::model("org/other").plain("x", b"x".to_vec()))
        .start()?;
    let second = hub()?;
    let scratch = scratch(first.endpoint())?;
    let daemon = scratch.daemon().await?;
    let args = ["org/m", "--endpoint", first.endpoint(), "--endpoint", second.endpoint()];
    let id = scratch.submit(&args).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    complete(&scratch, &second)?;
    check::finished(&scratch, &[&first, &second])
}
