//! A mirror that was away and comes back gets its share again within the minute: one that was there, and one that was not.

use hfetch_tests::{
    check,
    harness::{Daemon, Scratch, eventually},
    sim::{Host, Journal, SimHub},
};

use super::{FILE, MIB, at_once, hub};

/// Tells in its log what it finds out of its sources.
const TELLS: &str = "[log]\nformat = \"text\"\nfilter = \"hfetchd=debug\"\n";

/// Kills a Hub with its CDN.
async fn kill(hub: &SimHub) {
    hub.take_down(Host::Hub).await;
    hub.take_down(Host::Cdn).await;
}

fn start_again(hub: &SimHub) -> anyhow::Result<()> {
    hub.bring_up(Host::Hub)?;
    hub.bring_up(Host::Cdn)
}

/// A Hub that would take some minutes alone, and its mirror.
fn hubs() -> anyhow::Result<[SimHub; 2]> {
    let hubs = [hub(96 * MIB)?, hub(96 * MIB)?];
    hubs[0].pace().set_total(Some(300_000));
    hubs[1].pace().set_per_connection(Some(1_000_000));
    Ok(hubs)
}

async fn begin<'a>(scratch: &'a Scratch, hubs: &[SimHub; 2]) -> anyhow::Result<(Daemon<'a>, String)> {
    let daemon = scratch.daemon().await?;
    let [slow, mirror] = [0, 1].map(|number| hubs[number].endpoint());
    let id = scratch
        .submit(&["org/m", "--endpoint", slow, "--endpoint", mirror])
        .await?;
    Ok((daemon, id))
}

async fn logged(scratch: &Scratch, text: &str) -> anyhow::Result<()> {
    eventually(text, async || {
        let log = scratch.log();
        log.contains(text).then_some(()).ok_or(log)
    })
    .await
}

/// Waits until a Hub that was started again, with answer `since`, brings bytes, and then by more connections than are tried first.
async fn has_its_share(mirror: &SimHub, since: u64) {
    let at_once = |journal: &Journal| at_once(&journal.records_since(since));
    let journal = mirror.journal();
    journal
        .wait_for("bytes of the mirror", |journal| at_once(journal) > 0)
        .await;
    journal.wait_for("its share", |journal| at_once(journal) > 4).await;
}

/// Starts the mirror again, and waits for its share and for the end of the job.
async fn ends_with_both(scratch: &Scratch, daemon: Daemon<'_>, hubs: &[SimHub; 2], id: &str) -> anyhow::Result<()> {
    let [slow, mirror] = hubs;
    let since = mirror.journal().len();
    start_again(mirror)?;
    has_its_share(mirror, since).await;
    scratch.wait_done(&[id]).await?;
    daemon.stop().await?;
    check::finished(scratch, &[slow, mirror])
}

#[tokio::test]
async fn a_mirror_that_was_killed_and_started_again() -> anyhow::Result<()> {
    let hubs = hubs()?;
    let scratch = Scratch::new(hubs[0].endpoint())?.config(TELLS)?;
    let (daemon, id) = begin(&scratch, &hubs).await?;
    let mirror = &hubs[1];
    let brought = |journal: &Journal| journal.bytes_sent_for(FILE) > 2 * MIB;
    mirror.journal().wait_for("some bytes of the mirror", brought).await;
    kill(mirror).await;
    // By now it is asked seldom.
    logged(&scratch, "attempts_made=5").await?;
    ends_with_both(&scratch, daemon, &hubs, &id).await
}

#[tokio::test]
async fn a_mirror_that_was_away_when_it_was_judged() -> anyhow::Result<()> {
    let hubs = hubs()?;
    let scratch = Scratch::new(hubs[0].endpoint())?.config(TELLS)?;
    let mirror = &hubs[1];
    kill(mirror).await;
    let (daemon, id) = begin(&scratch, &hubs).await?;
    logged(&scratch, "fault=\"unreachable\"").await?;
    ends_with_both(&scratch, daemon, &hubs, &id).await
}
