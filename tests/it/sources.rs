//! Connections to servers: as many as pay and no more, several servers at a time, and no slow one that holds a file. What
//! counts is read from the journals of the servers.

mod back;

use std::time::Duration;

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Host, Journal, Kind, Matcher, Record, RepoBuilder, Rule, SimHub, Storage, Switches},
};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const FILE: &str = "model.safetensors";

fn hub(size: u64) -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked))
        .start()
}

fn cdn() -> Matcher {
    Matcher::any().host(Host::Cdn).file(FILE)
}

/// The most transfers of the file that were open at one time.
fn most_at_once(journal: &Journal) -> usize {
    at_once(&journal.records())
}

fn at_once(records: &[Record]) -> usize {
    let is_transfer = |record: &&Record| record.host == Host::Cdn && record.status == 206;
    let transfers: Vec<&Record> = records.iter().filter(is_transfer).collect();
    let ends = |record: &Record| record.ended.unwrap_or(Duration::MAX);
    let open_with = |one: &Record| {
        let is_open = |other: &&&Record| other.started <= one.started && ends(other) > one.started;
        transfers.iter().filter(is_open).count()
    };
    transfers.iter().map(|one| open_with(one)).max().unwrap_or(0)
}

/// Downloads from these hubs with a default configuration; gives the most connections that the daemon told of.
async fn download(hubs: &[&SimHub], args: &[&str]) -> anyhow::Result<u64> {
    download_with("", hubs, args).await
}

async fn download_with(config: &str, hubs: &[&SimHub], args: &[&str]) -> anyhow::Result<u64> {
    let scratch = Scratch::new(hubs[0].endpoint())?.config(config)?;
    let daemon = scratch.daemon().await?;
    let mut all = vec!["org/m"];
    for hub in hubs {
        all.extend(["--endpoint", hub.endpoint()]);
    }
    all.extend(args);
    let id = scratch.submit(&all).await?;
    // The server's view is late: what we have closed is open to it for a moment longer.
    let told = scratch.hfctl(["watch", "--json", &id]).await?.ok()?;
    let mut most = 0;
    for line in told.lines() {
        let line: Value = serde_json::from_str(line)?;
        most = most.max(line["connections"].as_u64().unwrap_or(0));
    }
    daemon.stop().await?;
    check::finished(&scratch, hubs)?;
    Ok(most)
}

#[tokio::test]
async fn connections_are_added_while_each_brings_more() -> anyhow::Result<()> {
    let hub = hub(96 * MIB)?;
    hub.pace().set_per_connection(Some(3_000_000));
    let told = download(&[&hub], &[]).await?;
    let most = most_at_once(hub.journal());
    assert!(most > 8, "only {most}\n{}", hub.journal().text());
    assert!((1..=32).contains(&told), "{told}");
    Ok(())
}

#[tokio::test]
async fn connections_stay_few_when_more_would_bring_nothing() -> anyhow::Result<()> {
    let hub = hub(40 * MIB)?;
    hub.pace().set_total(Some(16_000_000));
    download(&[&hub], &[]).await?;
    // Doubled once, to find out.
    let most = most_at_once(hub.journal());
    assert!(most <= 8, "{most} at once\n{}", hub.journal().text());
    Ok(())
}

#[tokio::test]
async fn a_server_that_takes_four_is_seldom_asked_for_a_fifth() -> anyhow::Result<()> {
    let few = Switches {
        cdn_concurrency: Some(4),
        ..Switches::default()
    };
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, 40 * MIB, 5, Storage::Linked))
        .switches(few)
        .start()?;
    hub.pace().set_per_connection(Some(4_000_000));
    download(&[&hub], &[]).await?;
    let refused = hub.journal().count(|record| record.status == 503);
    assert!(
        (1..=12).contains(&refused),
        "{refused} refusals\n{}",
        hub.journal().text()
    );
    let served = hub.journal().count(|record| record.status == 206);
    assert!(served >= 5);
    Ok(())
}

#[tokio::test]
async fn the_users_number_is_never_exceeded() -> anyhow::Result<()> {
    let hub = hub(32 * MIB)?;
    hub.pace().set_per_connection(Some(6_000_000));
    let told = download(&[&hub], &["-x", "3"]).await?;
    let most = most_at_once(hub.journal());
    assert!(most >= 3, "{most}\n{}", hub.journal().text());
    assert!((1..=3).contains(&told), "{told}\n{}", hub.journal().text());
    Ok(())
}

#[tokio::test]
async fn two_mirrors_add_up_and_nothing_comes_twice() -> anyhow::Result<()> {
    let (first, second) = (hub(60 * MIB)?, hub(60 * MIB)?);
    first.pace().set_total(Some(15_000_000));
    second.pace().set_total(Some(15_000_000));
    download(&[&first, &second], &[]).await?;
    let sent = [&first, &second].map(|hub| hub.journal().bytes_sent_for(FILE));
    for one in sent {
        assert!(one > 20 * MIB, "unequal: {sent:?}");
    }
    // What was under way when a slow tail was shared.
    assert!(sent.iter().sum::<u64>() <= 66 * MIB, "{sent:?}");
    Ok(())
}

#[tokio::test]
async fn a_slow_mirror_brings_its_share_and_does_not_hold_the_file() -> anyhow::Result<()> {
    let (fast, slow) = (hub(60 * MIB)?, hub(60 * MIB)?);
    fast.pace().set_total(Some(20_000_000));
    // A segment that was left to it would take minutes, and nobody waits so long here.
    slow.pace().set_total(Some(20_000));
    download(&[&slow, &fast], &[]).await?;
    let sent = [&fast, &slow].map(|hub| hub.journal().bytes_sent_for(FILE));
    assert!(sent[1] > 0 && sent[1] < 10 * MIB, "{sent:?}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_that_dies_loses_its_share() -> anyhow::Result<()> {
    let (good, dying) = (hub(60 * MIB)?, hub(60 * MIB)?);
    good.pace().set_total(Some(20_000_000));
    // Each of its bodies breaks off, and then it answers no more.
    dying
        .faults()
        .add(Rule::new(cdn(), Fault::ResetAfter(2_000_000)).first(6));
    dying.faults().add(Rule::new(cdn(), Fault::ResetBeforeHead).skip(6));
    download(&[&dying, &good], &[]).await?;
    assert!(good.journal().bytes_sent_for(FILE) > 40 * MIB);
    let asked = dying.journal().count(|record| record.host == Host::Cdn);
    assert!(
        asked < 30,
        "{asked} requests to a dead host\n{}",
        dying.journal().text()
    );
    Ok(())
}

/// One response in three stands still for ever, and so would the job if the stall timeout were all that it had.
#[tokio::test]
async fn what_stands_still_while_others_are_served_is_asked_for_again() -> anyhow::Result<()> {
    let hub = hub(60 * MIB)?;
    hub.pace().set_total(Some(30_000_000));
    hub.faults()
        .add(Rule::new(cdn(), Fault::StallAfter(1_000_000)).chance(0.34, 7));
    download_with("[transfer]\nstall_timeout = \"1h\"\n", &[&hub], &[]).await?;
    let sent = hub.journal().bytes_sent_for(FILE);
    assert!(sent <= 70 * MIB, "{} MiB again", (sent - 60 * MIB) / MIB);
    Ok(())
}

/// The last one of the file's segments drips: idle connections take it over.
#[tokio::test]
async fn a_slow_tail_is_shared() -> anyhow::Result<()> {
    let hub = hub(40 * MIB)?;
    hub.faults()
        .add(Rule::new(cdn(), Fault::Drip(16 << 10, Duration::from_secs(20))).nth(4));
    download(&[&hub], &["-x", "4"]).await?;
    Ok(())
}

#[tokio::test]
async fn commits_agree() -> anyhow::Result<()> {
    let (one, other) = (hub(MIB)?, hub(MIB)?);
    let commit = |hub: &SimHub| {
        hub.repo(Kind::Model, "org/m")
            .and_then(|repo| Some(repo.commit("main")?.sha.clone()))
    };
    assert_eq!(commit(&one), commit(&other));
    Ok(())
}
