//! Access is asked of the origin with the user's token over its own way; the bytes come over the cheap one, by hash, from a mirror
//! that never sees the token.

use std::{collections::BTreeMap, fs, net::SocketAddr, os::unix::fs::PermissionsExt as _};

use hfetch_tests::{
    check,
    harness::Scratch,
    proxies::{LOGIN, RealProxy},
    sim::{Fault, Gated, Host, Matcher, RepoBuilder, SimHub, Storage},
};

const TOKEN: &str = "hf_alice";
const LARGE: (&str, u64) = ("model.safetensors", 5_000_000);

fn repo() -> RepoBuilder {
    RepoBuilder::model("org/gated")
        .plain("config.json", vec![b'x'; 2000])
        .seeded_as(LARGE.0, LARGE.1, 5, Storage::Linked)
}

/// A hub on one loopback address, with its CDN on the next one.
fn hub_at(last_byte: u8, repo: RepoBuilder) -> anyhow::Result<SimHub> {
    let at = |last_byte| SocketAddr::from(([127, 0, 0, last_byte], 0));
    let hub = SimHub::builder()
        .hub_address(at(last_byte))
        .cdn_address(at(last_byte + 1));
    hub.repo(repo).token(TOKEN, "alice").start()
}

/// The origin costs: its way is the proxy. The mirror does not, and stands first.
fn scratch(origin: &SimHub, mirror: &SimHub, proxy: &RealProxy) -> anyhow::Result<Scratch> {
    let scratch = Scratch::new("")?;
    let login = scratch.path("proxy-login");
    fs::write(&login, LOGIN)?;
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600))?;
    let config = format!(
        "[[endpoints]]\nname = \"mirror\"\nurl = \"{}\"\n\n\
         [[endpoints]]\nname = \"origin\"\nurl = \"{}\"\ntoken = \"own\"\nbytes = \"fallback\"\n\n\
         [[proxies]]\nname = \"dear\"\nurl = \"{}\"\npassword_file = \"{}\"\n\n\
         [routing]\nrules = [\"IP-CIDR,127.0.0.1/32,dear\", \"IP-CIDR,127.0.0.2/32,dear\", \"MATCH,DIRECT\"]\n",
        mirror.endpoint(),
        origin.endpoint(),
        proxy.url,
        login.display()
    );
    scratch.config(&config)
}

/// Body bytes of the large file by host and by the address that asked for them.
fn large(hub: &SimHub) -> BTreeMap<(Host, String), u64> {
    let mut sent = BTreeMap::new();
    let of_large = |record: &hfetch_tests::sim::Record| record.file.as_deref() == Some(LARGE.0) && record.status < 300;
    for record in hub.journal().filter(of_large) {
        *sent.entry((record.host, record.peer.ip().to_string())).or_default() += record.body_bytes;
    }
    sent.retain(|_, bytes| *bytes > 0);
    sent
}

fn saw_no_token(hub: &SimHub, host: Host) {
    assert_eq!(hub.journal().authorizations(host), [] as [&str; 0], "{host:?}");
    let asked = hub.journal().filter(|record| record.host == host);
    let named = |text: &str| text.contains(TOKEN);
    for record in asked {
        let in_headers = record.headers.iter().any(|(_, value)| named(value));
        let elsewhere = named(&record.path) || named(&record.query) || named(&String::from_utf8_lossy(&record.body));
        assert!(!in_headers && !elsewhere, "{host:?}: {}", record.line());
    }
}

#[tokio::test]
async fn access_is_the_origins_and_the_bytes_are_the_mirrors() -> anyhow::Result<()> {
    let Some(proxy) = RealProxy::http(21).await? else {
        return Ok(());
    };
    let origin = hub_at(1, repo().gated(Gated::Manual, &["alice"]))?;
    let mirror = hub_at(3, repo())?;
    let scratch = scratch(&origin, &mirror, &proxy)?;
    let daemon = scratch.daemon().await?;
    let ran = scratch
        .hfctl_with(["download", "org/gated", "--json"], &[("HF_TOKEN", TOKEN)])
        .await?;
    let job = ran.json()?;
    assert_eq!(job["trust"], "origin", "{job:#}");
    let job = scratch.show(job["id"].as_str().unwrap_or_default()).await?;
    // All of the large file came directly from where the mirror leads; of the origin's way not a byte of it.
    let direct = (Host::Cdn, "127.0.0.1".to_owned());
    // Each byte once, but for the part that was tried to find out what the mirror is worth, and what stood still.
    let expected = LARGE.1 + mirror.journal().duplicate_bytes(LARGE.0);
    assert_eq!(
        large(&mirror),
        BTreeMap::from([(direct, expected)]),
        "{}",
        mirror.journal().text()
    );
    assert_eq!(large(&origin), BTreeMap::new(), "{}", origin.journal().text());
    // The origin was asked with the token, by its own way, and saw it on no hop but its own.
    let asked = origin.journal().filter(|record| record.host == Host::Hub);
    assert!(!asked.is_empty() && asked.iter().all(|record| record.peer.ip() == proxy.peer));
    assert!(!origin.journal().authorizations(Host::Hub).is_empty());
    saw_no_token(&origin, Host::Cdn);
    saw_no_token(&mirror, Host::Hub);
    saw_no_token(&mirror, Host::Cdn);
    // And the job tells the same: nothing but descriptions, lists and a byte to try came by the dear way.
    let dear: u64 = job["routes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|route| route["way"] == "dear")
        .filter_map(|route| route["bytes"].as_u64())
        .sum();
    let sent = origin.journal().body_bytes(Host::Hub) + origin.journal().body_bytes(Host::Cdn);
    assert!(dear > 0 && dear <= sent && sent < 100_000, "{dear} of {sent}: {job:#}");
    daemon.stop().await?;
    check::finished(&scratch, &[&origin, &mirror])
}

/// What the mirror refuses comes from the origin, with the token as far as the origin goes and no further.
#[tokio::test]
async fn what_the_mirror_does_not_give_comes_from_the_origin() -> anyhow::Result<()> {
    let Some(proxy) = RealProxy::http(21).await? else {
        return Ok(());
    };
    // As hf-mirror.com does: it asks for a token, which it is not given.
    let gated = || repo().gated(Gated::Manual, &["alice"]);
    let (origin, mirror) = (hub_at(1, gated())?, hub_at(3, gated())?);
    let scratch = scratch(&origin, &mirror, &proxy)?;
    let daemon = scratch.daemon().await?;
    let token = [("HF_TOKEN", TOKEN)];
    scratch.hfctl_with(["download", "org/gated"], &token).await?.ok()?;
    assert_eq!(large(&mirror), BTreeMap::new(), "{}", mirror.journal().text());
    let by_proxy = (Host::Cdn, proxy.peer.to_string());
    assert!(large(&origin).get(&by_proxy).is_some_and(|bytes| *bytes >= LARGE.1));
    saw_no_token(&origin, Host::Cdn);
    saw_no_token(&mirror, Host::Hub);
    saw_no_token(&mirror, Host::Cdn);
    daemon.stop().await?;
    check::finished(&scratch, &[&origin, &mirror])
}

/// The origin's no counts, whatever the mirror would give away.
#[tokio::test]
async fn who_has_no_access_gets_nothing_from_the_mirror() -> anyhow::Result<()> {
    let Some(proxy) = RealProxy::http(21).await? else {
        return Ok(());
    };
    let origin = hub_at(1, repo().gated(Gated::Manual, &[]))?;
    let mirror = hub_at(3, repo())?;
    // The question before queueing goes unanswered: the job finds out by itself.
    origin.fault(Matcher::any().path("*/auth-check"), Fault::status(404));
    let scratch = scratch(&origin, &mirror, &proxy)?;
    let daemon = scratch.daemon().await?;
    let ran = scratch
        .hfctl_with(["download", "org/gated"], &[("HF_TOKEN", TOKEN)])
        .await?;
    let page = format!("{}/org/gated", origin.endpoint());
    assert!(
        ran.stderr.contains("waits for access") && ran.stderr.contains(&page),
        "{}",
        ran.stderr
    );
    ran.exits(5)?;
    let plan = scratch
        .hfctl_with(["submit", "org/gated", "--dry-run"], &[("HF_TOKEN", TOKEN)])
        .await?;
    assert!(plan.stderr.contains("has no access"), "{}", plan.stderr);
    plan.exits(5)?;
    assert_eq!(large(&mirror), BTreeMap::new(), "{}", mirror.journal().text());
    daemon.stop().await?;
    check::sound(&scratch, &[&origin, &mirror])
}
