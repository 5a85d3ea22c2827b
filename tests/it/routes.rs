//! Every hop by its own way: rules, real proxies, four hosts, and what each of them saw.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use hfetch_tests::{
    check,
    harness::Scratch,
    proxies::{LOGIN, RealProxy, configuration, login_file, sent},
    sim::{Host, Journal, RepoBuilder, SimHub},
};

/// What every repository here holds beside a small file.
const LARGE: [(&str, u64); 2] = [("a.safetensors", 3_000_000), ("b.safetensors", 2_000_000)];

/// A hub on one loopback address, with its CDN on the next one.
fn hub_at(last_byte: u8) -> anyhow::Result<SimHub> {
    let at = |last_byte| SocketAddr::from(([127, 0, 0, last_byte], 0));
    SimHub::builder()
        .hub_address(at(last_byte))
        .cdn_address(at(last_byte + 1))
        .repo(
            RepoBuilder::model("org/model")
                .plain("config.json", b"{}".to_vec())
                .seeded(LARGE[0].0, LARGE[0].1, 5)
                .seeded(LARGE[1].0, LARGE[1].1, 6),
        )
        .start()
}

/// Both proxies; `None` when one is missing, which was told.
async fn proxies() -> anyhow::Result<Option<(RealProxy, RealProxy)>> {
    let http = RealProxy::http(21).await?;
    let socks = RealProxy::socks(22).await?;
    Ok(http.zip(socks))
}

/// All bytes of the large files came by one way, to one connection at a time: each once, but for what was under way to a
/// connection that was made anew because it stood still. On a busy machine one may.
fn all_came_from(hub: &SimHub, peer: &str) -> u64 {
    let again: u64 = LARGE.iter().map(|(file, _)| hub.journal().duplicate_bytes(file)).sum();
    assert!(again <= 512 << 10, "{again} bytes again\n{}", hub.journal().text());
    let expected = LARGE.iter().map(|(_, size)| size).sum::<u64>() + again;
    let cdn = sent(hub, Host::Cdn);
    assert_eq!(
        cdn,
        BTreeMap::from([(peer.to_owned(), expected)]),
        "{}",
        hub.journal().text()
    );
    expected
}

fn peers(sent: &BTreeMap<String, u64>) -> Vec<&str> {
    sent.keys().map(String::as_str).collect()
}

/// Both hosts are told, each with its way, and what every way to it delivers.
fn told(hosts: &serde_json::Value, names: [&str; 2]) -> anyhow::Result<()> {
    let roles = [
        serde_json::json!(["api", "resolve", "bytes"]),
        serde_json::json!(["bytes"]),
    ];
    for (at, (name, way)) in names.into_iter().zip(["http", "socks"]).enumerate() {
        let host = &hosts[at];
        let facts = (&host["host"], &host["way"], &host["answers"], &host["roles"]);
        assert_eq!(
            facts,
            (&name.into(), &way.into(), &true.into(), &roles[at]),
            "{hosts:#}"
        );
        for (at, measured) in ["DIRECT", "http", "socks"].into_iter().enumerate() {
            let reading = &host["measured"][at];
            assert_eq!(reading["way"], measured, "{hosts:#}");
            assert_eq!(reading["answers"], true, "{hosts:#}");
            assert_eq!(reading["chosen"], measured == way, "{hosts:#}");
            anyhow::ensure!(reading["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{hosts:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn four_hosts_by_four_rules() -> anyhow::Result<()> {
    let Some((http, socks)) = proxies().await? else {
        return Ok(());
    };
    let (official, mirror) = (hub_at(1)?, hub_at(3)?);
    let scratch = Scratch::new(official.endpoint())?;
    let login = login_file(&scratch)?;
    let rules = [
        "IP-CIDR,127.0.0.1/32,http",
        "IP-CIDR,127.0.0.2/32,socks",
        "IP-CIDR,127.0.0.3/32,DIRECT",
        "IP-CIDR,127.0.0.4/32,http",
        "MATCH,REJECT",
    ];
    let rules = rules.map(str::to_owned);
    let scratch = scratch.config(&configuration(&http, &socks, &login, &rules))?;
    let daemon = scratch.daemon().await?;
    scratch
        .hfctl(["download", "org/model", "-x", "1", "-j", "1"])
        .await?
        .ok()?;
    let (http_peer, socks_peer) = (http.peer.to_string(), socks.peer.to_string());
    let pages = sent(&official, Host::Hub);
    assert_eq!(peers(&pages), [http_peer.as_str()], "{}", official.journal().text());
    let came = all_came_from(&official, &socks_peer);
    // And the job tells the same.
    let jobs = scratch.hfctl(["list", "--json"]).await?.json()?;
    let id = jobs["jobs"][0]["id"].as_str().unwrap_or_default().to_owned();
    let job = scratch.show(&id).await?;
    let account: Vec<_> = ["host", "way", "rule"]
        .map(|key| {
            (0..2)
                .map(|at| job["routes"][at][key].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        })
        .into();
    let host = |endpoint: &str| endpoint.trim_start_matches("http://").to_owned();
    assert_eq!(account[0], [host(official.endpoint()), host(official.cdn_endpoint())]);
    assert_eq!(account[1], ["http", "socks"]);
    assert_eq!(account[2], rules[..2]);
    let counted = job["routes"][1]["bytes"].as_u64().unwrap_or_default();
    assert!((5_000_000..=came).contains(&counted), "{came} were sent: {job}");
    let explained = scratch
        .hfctl(["route", "explain", "org/model", "--measure", "--json"])
        .await?
        .json()?;
    assert_eq!(explained["notes"], serde_json::json!([]), "{explained:#}");
    told(
        &explained["hosts"],
        [&host(official.endpoint()), &host(official.cdn_endpoint())],
    )?;

    // The mirror's pages come directly, its bytes through the other proxy.
    let other_cache = scratch.path("other").display().to_string();
    let from_mirror = [
        "download",
        "org/model",
        "-x",
        "1",
        "-j",
        "1",
        // What the first cache has is not copied.
        "--force-download",
        "--cache-dir",
        &other_cache,
        "--endpoint",
        mirror.endpoint(),
    ];
    scratch.hfctl(from_mirror).await?.ok()?;
    let pages = sent(&mirror, Host::Hub);
    assert_eq!(peers(&pages), ["127.0.0.1"], "{}", mirror.journal().text());
    all_came_from(&mirror, &http_peer);

    // What no rule but the last is about is not asked at all, and the job says why it waits.
    let rejected = hub_at(5)?;
    let id = scratch
        .submit(&["org/model", "--local-dir", "x", "--endpoint", rejected.endpoint()])
        .await?;
    let job = scratch.until(&id, "held (endpoint)").await?;
    assert!(
        job["detail"].as_str().unwrap_or_default().contains("MATCH,REJECT"),
        "{job}"
    );
    assert!(rejected.journal().is_empty());
    scratch.hfctl(["cancel", &id]).await?.ok()?;
    daemon.stop().await?;
    assert!(!scratch.log().contains("s3cret"), "the proxy's password is in the log");
    // Two caches, and measurements.
    check::tidied(&scratch, &[&official, &mirror])
}

#[tokio::test]
async fn a_reload_changes_the_way_and_loses_no_byte() -> anyhow::Result<()> {
    let Some((http, socks)) = proxies().await? else {
        return Ok(());
    };
    let hub = hub_at(1)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let login = login_file(&scratch)?;
    let rules = |way: &str| ["MATCH,".to_owned() + way];
    let scratch = scratch.config(&configuration(&http, &socks, &login, &rules("http")))?;
    let daemon = scratch.daemon().await?;
    // Slow and steady: a body that stood still would be asked for again.
    hub.pace().set_per_connection(Some(100_000));
    let id = scratch.submit(&["org/model", "-j", "1", "-x", "1"]).await?;
    let on_its_way = |journal: &Journal| journal.bytes_sent_for("a.safetensors") > 0;
    hub.journal().wait_for("the first bytes", on_its_way).await;
    let before = sent(&hub, Host::Hub);
    assert_eq!(peers(&before), [http.peer.to_string()]);
    fs::write(
        scratch.path("hfetch.toml"),
        configuration(&http, &socks, &login, &rules("socks")),
    )?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    hub.pace().set_per_connection(None);
    scratch.wait_done(&[&id]).await?;
    let cdn = sent(&hub, Host::Cdn);
    // The file that was on its way came by the old way, the next one by the new.
    let expected = [(http.peer, 3_000_000), (socks.peer, 2_000_000)];
    assert_eq!(cdn, expected.map(|(peer, bytes)| (peer.to_string(), bytes)).into());
    for file in ["a.safetensors", "b.safetensors"] {
        assert_eq!(hub.journal().duplicate_bytes(file), 0, "{}", hub.journal().text());
    }
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn of_several_ways_one_that_works_is_taken() -> anyhow::Result<()> {
    let Some((http, socks)) = proxies().await? else {
        return Ok(());
    };
    let hub = hub_at(1)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let login = login_file(&scratch)?;
    let config = configuration(&http, &socks, &login, &["MATCH,AUTO(http,socks)".to_owned()]);
    let scratch = scratch.config(&config)?;
    // The first one dies before it is asked.
    http.stop().await?;
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["download", "org/model"]).await?.ok()?;
    for host in [Host::Hub, Host::Cdn] {
        assert_eq!(peers(&sent(&hub, host)), [socks.peer.to_string()]);
    }
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

/// Without rules the variables count, and a password in them reaches the proxy alone.
#[tokio::test]
async fn without_rules_the_variables_count() -> anyhow::Result<()> {
    let Some((http, socks)) = proxies().await? else {
        return Ok(());
    };
    let hub = hub_at(1)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let with_login = |url: &str| url.replace("://", &format!("://{LOGIN}@"));
    let (http_url, socks_url) = (with_login(&http.url), with_login(&socks.url));
    for (variables, hub_peer, cdn_peer) in [
        (vec![("http_proxy", http_url.as_str())], http.peer, http.peer),
        (
            vec![("ALL_PROXY", socks_url.as_str()), ("NO_PROXY", "127.0.0.1")],
            SocketAddr::from(([127, 0, 0, 1], 0)).ip(),
            socks.peer,
        ),
    ] {
        let seen = hub.journal().len();
        let daemon = scratch.daemon_with(&variables).await?;
        scratch
            .hfctl(["download", "org/model", "--force-download"])
            .await?
            .ok()?;
        daemon.stop().await?;
        for record in hub.journal().records_since(seen) {
            let expected = if record.host == Host::Hub { hub_peer } else { cdn_peer };
            assert_eq!(record.peer.ip(), expected, "{variables:?} {}", record.line());
        }
    }
    check::tidied(&scratch, &[&hub])
}

/// What is broken is told with what to do, and by the exit code.
#[tokio::test]
async fn the_doctor_finds_what_is_broken() -> anyhow::Result<()> {
    let Some((http, socks)) = proxies().await? else {
        return Ok(());
    };
    let hub = hub_at(1)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let nobody = scratch.hfctl(["doctor", "--json"]).await?;
    assert_eq!(nobody.code, 1, "{}", nobody.stdout);
    assert!(nobody.stdout.contains("hfctl daemon start"), "{}", nobody.stdout);
    let login = login_file(&scratch)?;
    let config = configuration(&http, &socks, &login, &["MATCH,http".to_owned()]);
    let scratch = scratch.config(&config)?;
    let daemon = scratch.daemon().await?;
    let well = scratch.hfctl(["doctor", "--json"]).await?.json()?;
    assert_eq!(well["broken"], 0, "{well:#}");
    let has = |report: &serde_json::Value, check: &str, status: &str| {
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let of = |finding: &serde_json::Value| finding["check"] == check && finding["status"] == status;
        findings.iter().filter(|finding| of(finding)).count()
    };
    for (check, count) in [
        ("daemon", 1),
        ("disk", 1),
        ("folder", 1),
        ("proxy", 2),
        ("endpoint", 1),
        ("route", 2),
        ("token", 1),
    ] {
        assert_eq!(has(&well, check, "ok"), count, "{check} in {well:#}");
    }
    // A token that nobody knows; then the proxy that the rules name is gone, too.
    let unknown = [("HF_TOKEN", "hf_unknown")];
    let ran = scratch.hfctl_with(["doctor", "--json"], &unknown).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(has(&report, "token", "broken"), 1, "{report:#}");
    http.stop().await?;
    let ran = scratch.hfctl_with(["doctor", "--json"], &unknown).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    for check in ["proxy", "endpoint"] {
        assert_eq!(has(&report, check, "broken"), 1, "{check} in {report:#}");
    }
    // Of the token nothing can be said now; and there are two other ways to the Hub, of which the answer names the first.
    assert_eq!(has(&report, "token", "warning"), 1, "{report:#}");
    assert!(
        ran.stdout.contains("lead ") && ran.stdout.contains("by DIRECT"),
        "{report:#}"
    );
    assert!(
        !ran.stdout.contains("hf_unknown") && !ran.stdout.contains("s3cret"),
        "{}",
        ran.stdout
    );
    for finding in report["findings"].as_array().into_iter().flatten() {
        let told = finding["status"] == "ok" || finding["hint"].is_string();
        assert!(told, "nothing to do about {finding}");
    }
    let text = scratch.hfctl(["doctor"]).await?;
    assert!(
        text.stdout.contains("broken") && text.stdout.contains("->"),
        "{}",
        text.stdout
    );
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
