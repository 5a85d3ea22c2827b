//! Four hosts that speak TLS behind real proxies, each reached by the way that its rule names; and a token that is looked for
//! everywhere.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use hfetch_tests::{
    CANARY, check,
    dns::NameServer,
    harness::{Daemon, Scratch},
    own_network,
    proxies::{RealProxy, configuration, login_file, sent},
    secrets::{contains, holding},
    sim::{Authority, Gated, Host, Identity, RepoBuilder, SimHub, Token},
};

/// What the two large files hold together.
const BYTES: u64 = 5_000_000;
const LARGE: [&str; 2] = ["a.safetensors", "b.safetensors"];
/// Where the daemon asks for names; the proxies ask elsewhere.
const OWN_NAMES: [u8; 4] = [127, 0, 0, 2];

fn repo() -> RepoBuilder {
    RepoBuilder::model("org/model")
        .plain("config.json", b"{}".to_vec())
        .seeded("a.safetensors", 3_000_000, 5)
        .seeded("b.safetensors", 2_000_000, 6)
}

fn hub_at(byte: u8, names: [&str; 2], identity: &Identity, repo: RepoBuilder) -> anyhow::Result<SimHub> {
    let at = |byte| SocketAddr::from(([127, 0, 1, byte], 0));
    SimHub::builder()
        .hub_address(at(byte))
        .cdn_address(at(byte + 1))
        .names(names[0], names[1])
        .tls(identity, identity)
        .repo(repo)
        .token_as(CANARY, Token::read("alice"))
        .start()
}

/// All bytes of a CDN went to one way, and the journal accounts for each of them; gives how many those were.
fn all_by_one_way(hub: &SimHub, peer: &str) -> u64 {
    let again: u64 = LARGE.iter().map(|file| hub.journal().duplicate_bytes(file)).sum();
    // By one connection: what was under way to one that was made anew because it stood still.
    assert!(again <= 512 << 10, "{again} bytes again\n{}", hub.journal().text());
    let expected = BTreeMap::from([(peer.to_owned(), BYTES + again)]);
    assert_eq!(sent(hub, Host::Cdn), expected, "{}", hub.journal().text());
    BYTES + again
}

/// Fails when the command line or the environment of any process holds the token.
fn no_process_has_it(daemon: &Daemon<'_>) -> anyhow::Result<()> {
    let mut looked_at = 0;
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let is_process = folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
        for name in ["cmdline", "environ", "status", "stat", "comm", "maps", "mountinfo"] {
            // Processes end while they are looked at.
            if is_process && let Ok(bytes) = fs::read(folder.join(name)) {
                anyhow::ensure!(!contains(&bytes, CANARY), "it is in {}", folder.join(name).display());
                looked_at += u32::from(folder.ends_with(daemon.pid().to_string()));
            }
        }
    }
    anyhow::ensure!(looked_at >= 2, "the daemon was not looked at");
    Ok(())
}

#[test]
fn four_hosts_over_tls_by_four_rules_and_a_token_that_stays_at_home() -> anyhow::Result<()> {
    own_network::run(
        "network::proxies::four_hosts_over_tls_by_four_rules_and_a_token_that_stays_at_home",
        four_hosts(),
    )
}

async fn four_hosts() -> anyhow::Result<()> {
    let Some((http, socks)) = RealProxy::http(21).await?.zip(RealProxy::socks(22).await?) else {
        return Ok(());
    };
    let authority = Authority::new()?;
    let (hub, hub_cdn) = ("official.test", "official-cdn.test");
    let (mirror, mirror_cdn) = ("mirror.test", "mirror-cdn.test");
    let identity = authority.identity(&[hub, hub_cdn, mirror, mirror_cdn])?;
    let gated = repo().gated(Gated::Manual, &["alice"]);
    let official = hub_at(1, [hub, hub_cdn], &identity, gated)?;
    let second = hub_at(3, [mirror, mirror_cdn], &identity, repo())?;

    // The proxies find all names. The daemon finds the one that it reaches directly.
    let (theirs, ours) = (
        NameServer::start().await?,
        NameServer::start_at(OWN_NAMES.into()).await?,
    );
    for (name, address) in [
        (hub, "127.0.1.1"),
        (hub_cdn, "127.0.1.2"),
        (mirror, "127.0.1.3"),
        (mirror_cdn, "127.0.1.4"),
    ] {
        theirs.lead(name, &[address])?;
    }
    ours.lead(mirror, &["127.0.1.3"])?;
    let scratch = super::trusting(official.endpoint(), &authority)?;
    let login = login_file(&scratch)?;
    let rules = [
        "DOMAIN,official.test,http",
        "DOMAIN,official-cdn.test,socks",
        "DOMAIN,mirror.test,DIRECT",
        "DOMAIN,mirror-cdn.test,http",
        "MATCH,REJECT",
    ];
    let endpoints = format!(
        "[[endpoints]]\nname = \"official\"\nurl = \"{}\"\ntoken = \"own\"\n\
         [[endpoints]]\nname = \"mirror\"\nurl = \"{}\"\ntoken = \"never\"\n",
        official.endpoint(),
        second.endpoint()
    );
    let resolv = scratch.path("resolv.conf");
    fs::write(&resolv, "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n")?;
    let mount = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", resolv.display());
    let scratch = scratch
        .config(&(configuration(&http, &socks, &login, &rules) + &endpoints))?
        .daemon_within(&["unshare", "--mount", "sh", "-c", &mount, "sh"]);
    let daemon = scratch.daemon().await?;

    let mut heard = String::new();
    let with_token = [("HF_TOKEN", CANARY)];
    let submit = ["submit", "org/model", "-x", "1", "-j", "1", "--endpoint"];
    let of = |endpoint: &'static str| submit.into_iter().chain([endpoint]);
    let gate = official.hold_bodies("b.safetensors", 100_000);
    let ran = scratch.hfctl_with(of("official"), &with_token).await?;
    heard += &(ran.stdout.clone() + &ran.stderr);
    let id = ran.ok()?.trim().to_owned();
    gate.reached().await;
    no_process_has_it(&daemon)?;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    let (http_peer, socks_peer) = (http.peer.to_string(), socks.peer.to_string());
    let pages = sent(&official, Host::Hub);
    assert_eq!(
        pages.keys().collect::<Vec<_>>(),
        [&http_peer],
        "{}",
        official.journal().text()
    );
    let came = all_by_one_way(&official, &socks_peer);
    let job = scratch.show(&id).await?;
    let told = job["routes"].as_array().into_iter().flatten();
    let mut of_cdn = told.filter(|route| route["host"].as_str().is_some_and(|host| host.starts_with(hub_cdn)));
    let counted = of_cdn.next().and_then(|route| route["bytes"].as_u64());
    assert!(
        counted.is_some_and(|counted| (BYTES..=came).contains(&counted)),
        "{came} were sent: {job}"
    );
    for name in [hub, hub_cdn] {
        assert!(
            theirs.asked(name) > 0 && ours.asked(name) == 0,
            "{name} was not left to the proxy"
        );
    }

    // The mirror's pages come directly, its bytes through the other proxy; and it never hears of the token.
    let cache = scratch.path("other").display().to_string();
    // What the first cache has is not copied.
    let into_another = of("mirror").chain(["--force-download", "--cache-dir", &cache]);
    let id = scratch
        .hfctl_with(into_another, &with_token)
        .await?
        .ok()?
        .trim()
        .to_owned();
    scratch.wait_done(&[&id]).await?;
    let pages = sent(&second, Host::Hub);
    assert_eq!(
        pages.keys().collect::<Vec<_>>(),
        ["127.0.0.1"],
        "{}",
        second.journal().text()
    );
    all_by_one_way(&second, &http_peer);
    assert_eq!(ours.asked(mirror_cdn), 0, "{mirror_cdn} was not left to the proxy");

    for args in [
        vec!["show", &id, "--json"],
        vec!["list", "--json"],
        vec!["watch", &id, "--json", "--after", "0"],
        vec!["route", "explain", "org/model", "--json"],
        vec!["doctor", "--json"],
        vec!["daemon", "status", "--json"],
    ] {
        let ran = scratch.hfctl_with(&args, &with_token).await?;
        heard += &(ran.stdout + &ran.stderr);
    }
    no_process_has_it(&daemon)?;
    daemon.stop().await?;
    assert!(!heard.contains(CANARY), "an answer holds it");
    let token_files = scratch.state().join("tokens");
    let found = holding(&scratch.path(""), CANARY)?;
    assert!(
        found.iter().all(|path| path.starts_with(&token_files)),
        "it is in {found:?}"
    );
    assert!(!scratch.log().contains("s3cret"), "the proxy's password is in the log");
    let seen = official.journal().authorizations(Host::Hub);
    assert!(!seen.is_empty() && seen.iter().all(|value| value.ends_with(CANARY)));
    assert_eq!(second.journal().authorizations(Host::Hub), Vec::<String>::new());
    check::tidied(&scratch, &[&official, &second])
}

/// A proxy that dies in the middle of a file costs what was under way; the other way takes over.
#[tokio::test]
async fn a_proxy_that_dies_in_mid_body_is_left() -> anyhow::Result<()> {
    let Some((http, socks)) = RealProxy::http(23).await?.zip(RealProxy::socks(24).await?) else {
        return Ok(());
    };
    let hub = SimHub::builder().repo(repo()).start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let login = login_file(&scratch)?;
    let config = configuration(&http, &socks, &login, &["MATCH,AUTO(http,socks)"]);
    let scratch = scratch.config(&config)?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("a.safetensors", 1_000_000);
    let id = scratch.submit(&["org/model", "-x", "1", "-j", "1"]).await?;
    gate.reached().await;
    let (first, other) = match hub.journal().requests_for("a.safetensors").last() {
        Some(record) if record.peer.ip() == http.peer => (http, socks),
        _ => (socks, http),
    };
    first.stop().await?;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    let (journal, other) = (hub.journal(), other.peer.to_string());
    let by_other = sent(&hub, Host::Cdn).get(&other).copied().unwrap_or_default();
    assert!(by_other >= BYTES - 1_000_000, "{by_other}\n{}", journal.text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
