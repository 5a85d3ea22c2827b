//! `AUTO(...)`: of several ways to a host the faster one is found, remembered and left again when it fails. The ways are real
//! proxies; the slow one has a slow line before it.

use std::{collections::BTreeMap, fs, net::SocketAddr, os::unix::fs::PermissionsExt as _};

use hfetch_tests::{
    check,
    harness::Scratch,
    proxies::{LOGIN, RealProxy, login_file},
    relay::Relay,
    sim::{Host, RepoBuilder, SimHub, Storage},
};

const MB: u64 = 1_000_000;
const SIZE: u64 = 24 * MB;
const FILE: &str = "model.safetensors";
/// Of one connection by the slow way: the file would take minutes.
const SLOW: u64 = 100_000;
/// Fast enough for anything.
const WIDE: u64 = 4_000_000_000;

fn repo(id: &str, seed: u64) -> RepoBuilder {
    RepoBuilder::model(id).seeded_as(FILE, SIZE, seed, Storage::Linked)
}

fn hub() -> anyhow::Result<SimHub> {
    let repos = [("org/one", 1), ("org/two", 2), ("org/three", 3)];
    let hub = repos
        .into_iter()
        .fold(SimHub::builder(), |hub, (id, seed)| hub.repo(repo(id, seed)));
    hub.start()
}

/// A proxy with a line of this pace before it, named `slow`, another one as it is, named `fast`, and rules; pages come directly.
fn scratch(hub: &SimHub, slow: &Relay, fast: &RealProxy, rule: &str) -> anyhow::Result<Scratch> {
    let scratch = Scratch::new(hub.endpoint())?;
    let login = scratch.path("proxy-login");
    fs::write(&login, LOGIN)?;
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600))?;
    let config = format!(
        "[transfer]\nstall_timeout = \"2s\"\n\
         [[proxies]]\nname = \"slow\"\nurl = \"http://{}\"\npassword_file = \"{login}\"\n\
         [[proxies]]\nname = \"fast\"\nurl = \"{}\"\npassword_file = \"{login}\"\n\
         [routing]\nrules = [\"IP-CIDR,127.0.0.1/32,DIRECT\", \"{rule}\"]\n",
        slow.address,
        fast.url,
        login = login.display()
    );
    scratch.config(&config)
}

fn address_of(proxy: &RealProxy) -> anyhow::Result<SocketAddr> {
    let (_, address) = proxy.url.split_once("://").unwrap_or_default();
    Ok(address.parse()?)
}

/// Bytes of files that the CDN sent, by the address that asked.
fn sent(hub: &SimHub) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for record in hub.journal().filter(|record| record.host == Host::Cdn) {
        *sent.entry(record.peer.ip().to_string()).or_default() += record.body_bytes;
    }
    sent
}

fn by(sent: &BTreeMap<String, u64>, peer: &str) -> u64 {
    sent.get(peer).copied().unwrap_or_default()
}

/// With `socks5` names are resolved here, with `socks5h` there; each carries all.
#[tokio::test]
async fn both_kinds_of_socks_carry_all_bytes() -> anyhow::Result<()> {
    let Some(socks) = RealProxy::socks(29).await? else {
        return Ok(());
    };
    for scheme in ["socks5", "socks5h"] {
        let hub = hub()?;
        let scratch = Scratch::new(hub.endpoint())?;
        let (login, url) = (login_file(&scratch)?, socks.url.replace("socks5h", scheme));
        let config = format!(
            "[[proxies]]\nname = \"socks\"\nurl = \"{url}\"\npassword_file = \"{login}\"\n\
             [routing]\nrules = [\"MATCH,socks\"]\n"
        );
        let scratch = scratch.config(&config)?;
        let daemon = scratch.daemon().await?;
        scratch.hfctl(["download", "org/one"]).await?.ok()?;
        let sent: Vec<_> = sent(&hub).into_iter().collect();
        assert_eq!(sent, [(socks.peer.to_string(), SIZE)], "{url}");
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])?;
    }
    Ok(())
}

#[tokio::test]
async fn the_faster_way_is_found_remembered_and_left_when_it_dies() -> anyhow::Result<()> {
    let Some((http, fast)) = RealProxy::http(25).await?.zip(RealProxy::socks(26).await?) else {
        return Ok(());
    };
    let hub = hub()?;
    let line = Relay::start(address_of(&http)?, SLOW).await?;
    let scratch = scratch(&hub, &line, &fast, "MATCH,AUTO(slow,fast)")?;
    let (slow_peer, fast_peer) = (http.peer.to_string(), fast.peer.to_string());
    let daemon = scratch.daemon().await?;
    // Both are tried, and the fast one brings nearly all of it.
    scratch.hfctl(["download", "org/one"]).await?.ok()?;
    let first = sent(&hub);
    assert!(
        first.contains_key(&slow_peer),
        "it was not tried\n{}",
        hub.journal().text()
    );
    assert!(by(&first, &fast_peer) > SIZE / 4 * 3, "{first:?}");
    // What was found out counts for the next file of the host.
    scratch.hfctl(["download", "org/two"]).await?.ok()?;
    let second = sent(&hub);
    let more = |peer: &str| by(&second, peer) - by(&first, peer);
    assert!(more(&fast_peer) > SIZE / 4 * 3, "{first:?} {second:?}");
    // Asked by each way, both answer, and differ by what they are.
    let explained = scratch
        .hfctl(["route", "explain", "org/one", "--measure", "--json"])
        .await?
        .json()?;
    let cdn = hub.cdn_endpoint().trim_start_matches("http://");
    let hosts = explained["hosts"].as_array().into_iter().flatten();
    let host = hosts
        .into_iter()
        .find(|host| host["host"] == cdn)
        .cloned()
        .unwrap_or_default();
    let speed = |way: &str| {
        let readings = host["measured"].as_array().into_iter().flatten();
        let reading = readings.into_iter().find(|reading| reading["way"] == way)?;
        reading["bytes_per_sec"].as_u64()
    };
    assert!(
        speed("fast") > speed("slow") && speed("slow").is_some(),
        "{explained:#}"
    );
    assert_eq!(host["rule"], "MATCH,AUTO(slow,fast)", "{explained:#}");
    // Its proxy dies in the middle of a file; the line of the other is as good as any by now.
    let gate = hub.hold_bodies(FILE, 5 * MB);
    let id = scratch.submit(&["org/three"]).await?;
    gate.reached().await;
    line.set_pace(WIDE);
    fast.stop().await?;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    assert!(
        by(&sent(&hub), &slow_peer) > by(&second, &slow_peer) + SIZE / 2,
        "{:?}",
        sent(&hub)
    );
    let job = scratch.show(&id).await?;
    let ways: Vec<_> = job["routes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|route| route["way"].clone())
        .collect();
    assert!(ways.contains(&"slow".into()), "{job:#}");
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

/// A way that takes connections and says nothing is the worst: nobody is refused, and nothing comes.
#[tokio::test]
async fn a_way_that_says_nothing_is_left() -> anyhow::Result<()> {
    let Some((http, fast)) = RealProxy::http(27).await?.zip(RealProxy::socks(28).await?) else {
        return Ok(());
    };
    let hub = hub()?;
    let line = Relay::start(address_of(&http)?, 0).await?;
    for (rule, peer) in [
        ("MATCH,AUTO(slow,fast)", fast.peer.to_string()),
        ("MATCH,AUTO(slow,DIRECT)", "127.0.0.1".to_owned()),
        ("MATCH,AUTO(DIRECT,slow)", "127.0.0.1".to_owned()),
    ] {
        let scratch = scratch(&hub, &line, &fast, rule)?;
        let before = by(&sent(&hub), &peer);
        let daemon = scratch.daemon().await?;
        scratch.hfctl(["download", "org/one"]).await?.ok()?;
        assert!(by(&sent(&hub), &peer) >= before + SIZE, "{rule}: {:?}", sent(&hub));
        daemon.stop().await?;
        check::tidied(&scratch, &[&hub])?;
    }
    assert_eq!(by(&sent(&hub), &http.peer.to_string()), 0, "{:?}", sent(&hub));
    Ok(())
}
