//! Bytes that break off, stall, drip or are other bytes.

use std::time::Duration;

use hfetch_tests::{
    check,
    sim::{Fault, Journal, Kind, Matcher, Rule},
};

use super::{Case, FILE, MIB, PLAIN, SIZE, all, cdn, complete, failed, hub, resolve, scratch, strikes, tree};

#[tokio::test]
async fn cut_connections() {
    all(vec![
        Case::new("reset before the head", cdn(), Fault::ResetBeforeHead, 3),
        Case::new("reset at once", cdn(), Fault::ResetAfter(0), 2),
        Case::new("reset after 1 MB", cdn(), Fault::ResetAfter(1_000_000), 4).keeps(),
        Case::new("early FIN before the head", cdn(), Fault::CutBeforeHead, 3),
        Case::new("early FIN after 1 MB", cdn(), Fault::CutAfter(1_000_000), 4).keeps(),
        Case::new("short and in good form", cdn(), Fault::ShortChunked(700_000), 2).keeps(),
        Case::new("reset where it is asked", resolve(), Fault::ResetBeforeHead, 2),
        Case::new("FIN where it is asked", resolve(), Fault::CutBeforeHead, 2),
        Case::new(
            "reset in the plain file",
            Matcher::any().file(PLAIN),
            Fault::ResetAfter(3),
            2,
        ),
        Case::new(
            "FIN in the plain file",
            Matcher::any().file(PLAIN),
            Fault::CutAfter(3),
            2,
        ),
    ])
    .await;
}

#[tokio::test]
async fn stalls_and_drips() {
    all(vec![
        Case::new("a silent head", cdn(), Fault::StallBeforeHead, 1),
        Case::new("a silent body", cdn(), Fault::StallAfter(600_000), 2).keeps(),
        Case::new("silence where it is asked", resolve(), Fault::StallBeforeHead, 1),
        Case::new(
            "a silent plain file",
            Matcher::any().file(PLAIN),
            Fault::StallAfter(3),
            1,
        ),
        Case::new("a drip", cdn(), Fault::Drip(64 << 10, Duration::from_millis(20)), 1),
        Case::new("a late answer", cdn(), Fault::Delay(Duration::from_millis(600)), 3),
    ])
    .await;
}

#[tokio::test]
async fn answers_that_are_no_parts() {
    all(vec![
        Case::new("206 of elsewhere", cdn(), Fault::OtherRange(100_000), 2),
        Case::new("206 of before", cdn().ranged(true), Fault::OtherRange(-1), 2),
        Case::new("206 without Content-Range", cdn(), Fault::NoContentRange, 2),
        Case::new("206 with a wrong total", cdn(), Fault::WrongTotal(SIZE + 1), 2),
        Case::new("more than announced", cdn(), Fault::Overlong(100_000), 2).keeps(),
        Case::new("gzip unasked", cdn(), Fault::Gzip, 2),
        Case::new("multipart", cdn(), Fault::Multipart, 2),
        Case::new("a login page for bytes", cdn(), Fault::Html, 3),
        Case::new("a login page for an address", resolve(), Fault::Html, 2),
        Case::new("416", cdn(), Fault::status(416), 2),
        Case::new("500", cdn(), Fault::status(500), 2),
        Case::new("503 where it is asked", resolve(), Fault::status(503), 2),
    ])
    .await;
}

#[tokio::test]
async fn a_server_without_ranges_is_asked_for_the_whole() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(cdn(), Fault::IgnoreRange);
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    let whole = |journal: &Journal| journal.count(|record| record.status == 200 && record.sent == (0..SIZE));
    assert_eq!(whole(hub.journal()), 1, "{}", hub.journal().text());
    Ok(())
}

#[tokio::test]
async fn wrong_bytes_once_are_thrown_away_with_a_warning() -> anyhow::Result<()> {
    for fault in [Fault::FlipByte(9 * MIB + 17), Fault::ShiftedBytes(4096)] {
        let hub = hub()?;
        let matcher = cdn();
        // Every connection of the first fetch passes the byte once.
        hub.faults().add(Rule::new(matcher, fault).first(5));
        let scratch = scratch(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let id = scratch.submit(&["org/m"]).await?;
        scratch.wait_done(&[&id]).await?;
        let warnings = scratch.warnings(&id).await?.concat();
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])?;
        complete(&scratch, &hub)?;
        let host = hub.cdn_endpoint().trim_start_matches("http://");
        let host = host.split(':').next().unwrap_or(host);
        assert!(warnings.contains(host), "{host} is not in {warnings:?}");
        assert!(warnings.contains("nothing was published"), "{warnings}");
        assert!(strikes(hub.journal()) > 0);
    }
    Ok(())
}

#[tokio::test]
async fn wrong_bytes_always_fail_the_job_and_nothing_is_published() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(cdn(), Fault::FlipByte(9 * MIB + 17));
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m"]).await?;
    assert_eq!(job["failure"]["kind"], "integrity", "{job}");
    let repo = hub.repo(Kind::Model, "org/m").expect("it is there");
    let digest = repo.commit("main").expect("one").files[FILE].etag()?.to_owned();
    let found = tree::entries(&scratch.cache())?;
    assert!(
        !found.keys().any(|path| path.ends_with(&digest) || path.ends_with(FILE)),
        "{found:#?}"
    );
    assert!(
        hub.journal().bytes_sent_for(FILE) <= 3 * SIZE,
        "{}",
        hub.journal().text()
    );
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
