//! The ledger against what the Hub says that it sent.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Ending, Fault, Host, Matcher, RepoBuilder, Rule, SimHub, Storage, Switches},
};
use serde_json::Value;

const MB: u64 = 1_000_000;
/// What may lie in the sockets of one connection: the Hub counts it as sent, and whoever is killed or closes never reads it.
const IN_FLIGHT: u64 = (384 << 10) + (64 << 10);

async fn usage(scratch: &Scratch, args: &[&str]) -> anyhow::Result<Value> {
    let args = ["usage", "--json"].iter().chain(args).copied();
    scratch.hfctl(args).await?.json()
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap_or_else(|| panic!("{key} in {line}"))
}

/// Body bytes of both origins.
fn sent(hub: &SimHub) -> u64 {
    hub.journal().body_bytes(Host::Hub) + hub.journal().body_bytes(Host::Cdn)
}

#[tokio::test]
async fn every_byte_is_booked_once_with_what_became_of_it() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/m")
                .plain("config.json", vec![b'x'; 5000])
                .plain("vocab.txt", vec![b'y'; 70_000])
                .seeded_as("model.safetensors", 3 * MB, 5, Storage::Linked),
        )
        .start()?;
    // A refusal with a body, wrong bytes of a small file, and a large file that breaks off: none may be lost to the ledger.
    let sorry = b"{\"error\":\"sorry\"}".to_vec();
    let once = |matcher: Matcher, fault| hub.faults().add(Rule::new(matcher, fault).once());
    let file = |name| Matcher::any().file(name);
    once(file("config.json"), Fault::Answer(503, Vec::new(), sorry.clone()));
    once(
        Matcher::any().path("/api/resolve-cache/*vocab.txt"),
        Fault::FlipByte(17),
    );
    once(file("model.safetensors").host(Host::Cdn), Fault::CutAfter(MB));
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "1"]).await?;
    scratch.wait_done(&[&id]).await?;
    scratch.hfctl(["search", "org"]).await?.ok()?;
    let by_host = usage(&scratch, &["--by", "host,endpoint"]).await?;
    let total = &by_host["total"];
    assert_eq!(
        number(total, "bytes"),
        sent(&hub),
        "{by_host:#}\n{}",
        hub.journal().text()
    );
    assert_eq!(
        number(total, "bytes_wasted"),
        sorry.len() as u64 + 70_000,
        "{by_host:#}\n{}",
        hub.journal().text()
    );
    assert_eq!(number(total, "bytes_repeated"), 0, "{by_host:#}");
    let host = |endpoint: &str| endpoint.trim_start_matches("http://").to_owned();
    for (origin, name) in [(Host::Hub, host(hub.endpoint())), (Host::Cdn, host(hub.cdn_endpoint()))] {
        let lines = by_host["lines"].as_array().into_iter().flatten();
        let line = lines.into_iter().find(|line| line["host"] == name.as_str());
        let line = line.unwrap_or_else(|| panic!("{name} in {by_host:#}"));
        assert_eq!(number(line, "bytes"), hub.journal().body_bytes(origin), "{by_host:#}");
        assert_eq!(line["endpoint"], hub.endpoint(), "{by_host:#}");
    }
    // What the job itself had is told with it: all but the search.
    let job = scratch.show(&id).await?;
    let of_job: u64 = job["routes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|route| number(route, "bytes"))
        .sum();
    let searched = hub.journal().filter(|record| record.query.contains("search="));
    let searched: u64 = searched.iter().map(|record| record.body_bytes).sum();
    assert_eq!((of_job + searched, searched > 0), (sent(&hub), true), "{job:#}");
    // The same by other keys, after a stop and a start, and nobody else's.
    daemon.stop().await?;
    let daemon = scratch.daemon().await?;
    let user = job["user"].as_str().unwrap_or_default();
    for args in [
        &["--by", "day"][..],
        &["--by", "user", "--days", "1"],
        &["--by", "route", "--user", user],
    ] {
        let told = usage(&scratch, args).await?;
        assert_eq!(number(&told["total"], "bytes"), sent(&hub), "{told:#}");
        assert_eq!(told["lines"].as_array().map(Vec::len), Some(1), "{told:#}");
    }
    assert_eq!(
        usage(&scratch, &["--by", "route"]).await?["lines"][0]["route"],
        "DIRECT"
    );
    assert_eq!(
        number(&usage(&scratch, &["--user", "nobody-else"]).await?["total"], "bytes"),
        0
    );
    let table = scratch.hfctl(["usage", "--by", "day,host"]).await?.ok()?;
    assert!(table.contains("WASTED") && table.contains("total"), "{table}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_kill_takes_no_more_than_its_last_second_from_the_ledger() -> anyhow::Result<()> {
    const FILE: &str = "model.safetensors";
    let rate = 5 * MB;
    let buffers = Switches {
        send_buffer: Some(32 << 10),
        ..Switches::default()
    };
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, 30 * MB, 5, Storage::Linked))
        .switches(buffers)
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?.config(&format!("[bandwidth]\nlimit = '{rate}B'"))?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "2"]).await?;
    hub.journal()
        .wait_for("a part of the file", |journal| journal.bytes_sent_for(FILE) > 8 * MB)
        .await;
    daemon.kill().await?;
    let before = sent(&hub);
    // Once more before anything comes: what the first kill cost is not forgotten by the second.
    for host in [Host::Hub, Host::Cdn] {
        hub.take_down(host).await;
    }
    let daemon = scratch.daemon().await?;
    scratch.until(&id, "held (endpoint)").await?;
    daemon.kill().await?;
    for host in [Host::Hub, Host::Cdn] {
        hub.bring_up(host)?;
    }
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["limit", "off"]).await?.ok()?;
    scratch.wait_done(&[&id]).await?;
    let told = usage(&scratch, &["--by", "host"]).await?;
    let booked = number(&told["total"], "bytes");
    // What was sent to a connection that was closed, and lay in its sockets.
    let closed = hub.journal().count(|record| record.ending == Ending::PeerClosed) as u64;
    let tolerance = rate + closed * IN_FLIGHT;
    let sent = sent(&hub);
    assert!(
        booked <= sent && sent - booked <= tolerance,
        "{sent} sent, {booked} booked\n{told:#}"
    );
    assert!(before > 8 * MB && booked > 30 * MB, "{before} {booked}");
    // What came again is told apart: without it, the file came once.
    let (wasted, repeated) = (
        number(&told["total"], "bytes_wasted"),
        number(&told["total"], "bytes_repeated"),
    );
    let again = hub.journal().bytes_sent_for(FILE) - 30 * MB;
    assert_eq!(wasted, 0, "{told:#}");
    assert!(
        repeated.abs_diff(again) <= tolerance,
        "{repeated} booked as repeated, {again} came again\n{told:#}"
    );
    // And it is where a power cut does not reach it once it was settled.
    daemon.stop().await?;
    let db = check::open(&scratch.state().join("jobs.db"))?;
    let after: u64 = db.query_row("SELECT sum(bytes) FROM ledger", [], |row| row.get(0))?;
    assert_eq!(after, booked);
    check::tidied(&scratch, &[&hub])
}

/// Who was killed at the line does not begin the month anew.
#[tokio::test]
async fn a_budget_that_is_spent_is_spent_after_a_kill_too() -> anyhow::Result<()> {
    const FILE: &str = "model.safetensors";
    let (budget, rate) = (4 * MB, 2 * MB);
    let buffers = Switches {
        send_buffer: Some(32 << 10),
        ..Switches::default()
    };
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, 12 * MB, 5, Storage::Linked))
        .repo(RepoBuilder::model("org/other").seeded_as(FILE, 12 * MB, 6, Storage::Linked))
        .switches(buffers)
        .start()?;
    let config = format!("[bandwidth]\nlimit = '{rate}B'\n[users.default]\nbudget = '{budget}B/month'\n");
    let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "2"]).await?;
    scratch.until(&id, "held (budget)").await?;
    daemon.kill().await?;
    let daemon = scratch.daemon().await?;
    let second = scratch.submit(&["org/other", "-x", "2"]).await?;
    scratch.until(&second, "held (budget)").await?;
    let first = scratch.show(&id).await?;
    assert_eq!(first["reason"], "budget", "{first:#}");
    // A fifth of a second beyond the line, what lay in the sockets, and the last second before the kill.
    let most = budget + rate / 5 + rate + 4 * IN_FLIGHT;
    assert!(sent(&hub) <= most, "{} of {most}\n{}", sent(&hub), hub.journal().text());
    scratch.hfctl(["cancel", "--all"]).await?.ok()?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
