//! Numbers for Prometheus: what is told, to whom, and that README, alerts and dashboard speak of nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use hfetch_tests::{
    harness::{Scratch, eventually},
    sim::{RepoBuilder, SimHub},
};
use saphyr::{LoadableYamlNode as _, Yaml};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const MIB: u64 = 1 << 20;

/// The whole answer to a request as it stands.
async fn ask(port: u16, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn scrape(port: u16) -> anyhow::Result<String> {
    let answer = ask(port, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let (head, text) = answer.split_once("\r\n\r\n").context("an answer")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    ensure!(head.contains("text/plain; version=0.0.4"), "{answer}");
    Ok(text.to_owned())
}

async fn port(scratch: &Scratch) -> anyhow::Result<u16> {
    eventually("the port", async || {
        let log = scratch.log();
        let line = log.lines().find(|line| line.contains("serving metrics"));
        let digits = line.and_then(|line| line.split("127.0.0.1:").nth(1));
        let digits = digits.map(|text| text.chars().take_while(char::is_ascii_digit).collect::<String>());
        digits.and_then(|digits| digits.parse().ok()).ok_or(log)
    })
    .await
}

/// Every sample of a scrape: its name, with labels, and its value. Each must belong to the kind that was told before it.
fn samples(text: &str) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut samples = BTreeMap::new();
    let mut told = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            told = rest.split(' ').next().unwrap_or_default();
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            ensure!(family(name) == told, "`{line}` comes under `{told}`");
            let again = samples.insert(name.to_owned(), value.parse()?);
            ensure!(again.is_none(), "{name} is there twice");
        }
    }
    Ok(samples)
}

/// A name without its labels.
fn family(sample: &str) -> &str {
    sample.split('{').next().unwrap_or(sample)
}

/// The names in a text, with the labels where it demands some: `hfetch_jobs{state="active"}`.
fn wanted(text: &str) -> BTreeSet<String> {
    let names = text.match_indices("hfetch_").map(|(at, _)| {
        let rest = &text[at..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        match rest[end..].strip_prefix('{').and_then(|labels| labels.split_once('}')) {
            Some((labels, _)) => format!("{}{{{labels}}}", &rest[..end]),
            None => rest[..end].to_owned(),
        }
    });
    names.collect()
}

fn shipped(name: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[tokio::test]
async fn what_prometheus_reads_is_what_happened() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/secret").seeded("model.safetensors", 5 * MIB, 1))
        .start()?;
    let config = format!(
        "[metrics]\nlisten = '127.0.0.1:0'\n[bandwidth]\nlimit = '1GiB/s'\n[[endpoints]]\nname = 'here'\nurl = '{}'\n",
        hub.endpoint()
    );
    let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    let port = port(&scratch).await?;
    scratch.hfctl(["download", "org/secret"]).await?.ok()?;
    // Whatever callers name has no name here, and makes no line of its own.
    for stranger in ["http://127.0.0.1:9/stranger", "http://127.0.0.1:9/another"] {
        scratch
            .hfctl([
                "submit",
                "org/secret",
                "--endpoint",
                stranger,
                "--at",
                "2099-01-01T00:00:00Z",
            ])
            .await?
            .ok()?;
    }
    scratch.hfctl(["download", "org/none"]).await?.exits(5)?;
    let text = eventually("held jobs", async || {
        let text = scrape(port).await.map_err(|error| error.to_string())?;
        let held = text.lines().any(|line| line == "hfetch_jobs_held{reason=\"window\"} 2");
        if held { Ok(text) } else { Err(text) }
    })
    .await?;
    for foreign in ["secret", "none\"", "stranger", "another"] {
        assert!(!text.contains(foreign), "{foreign} is in\n{text}");
    }
    let there = samples(&text)?;
    let value = |name: &str| {
        there
            .get(name)
            .copied()
            .with_context(|| format!("no {name} in\n{text}"))
    };
    assert!(value("hfetch_received_bytes_total{endpoint=\"here\"}")? >= (5 * MIB) as f64);
    assert!(value("hfetch_requests_total{endpoint=\"here\"}")? >= 2.0);
    assert_eq!(value("hfetch_received_bytes_total{endpoint=\"other\"}")?, 0.0);
    assert_eq!(value("hfetch_jobs_ended_total{state=\"done\"}")?, 1.0);
    assert_eq!(value("hfetch_limit_bytes_per_second")?, (1 << 30) as f64);
    assert_eq!(value("hfetch_jobs{state=\"held\"}")?, 2.0);
    let free = there
        .iter()
        .find(|(name, _)| name.starts_with("hfetch_disk_free_bytes{"));
    assert!(free.is_some_and(|(_, free)| *free > 0.0), "{text}");

    // README tells of each, with its label, and of no other.
    let readme = shipped("README.md")?;
    let rows = readme.lines().filter(|line| line.starts_with("| `hfetch_"));
    let told: BTreeSet<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            format!("{} {}", cells[1], cells[2])
        })
        .collect();
    let label = |sample: &str| {
        sample
            .split_once('{')
            .and_then(|(_, rest)| Some(rest.split_once('=')?.0.to_owned()))
    };
    let real = there
        .keys()
        .map(|sample| format!("{} {}", family(sample), label(sample).unwrap_or_default()));
    assert_eq!(told, real.collect());

    // Alerts and dashboard ask for what is there.
    for name in [
        "daemon/dist/prometheus/alerts.yml",
        "daemon/dist/prometheus/grafana.json",
    ] {
        let asked = wanted(&shipped(name)?);
        assert!(asked.len() > 5, "{name}: {asked:?}");
        for one in asked {
            let is_there = there.keys().any(|sample| *sample == one || family(sample) == one);
            assert!(is_there, "{name} asks for {one}, which is not in\n{text}");
        }
    }
    daemon.stop().await?;
    Ok(())
}

#[test]
fn alerts_and_dashboard_are_whole() -> anyhow::Result<()> {
    let alerts = shipped("daemon/dist/prometheus/alerts.yml")?;
    let alerts = Yaml::load_from_str(&alerts)?;
    let rules = alerts[0]["groups"][0]["rules"].as_sequence().context("rules")?;
    for rule in rules {
        let name = rule["alert"].as_str().context("a name")?;
        for text in [
            &rule["expr"],
            &rule["annotations"]["summary"],
            &rule["labels"]["severity"],
        ] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
    }
    let board: serde_json::Value = serde_json::from_str(&shipped("daemon/dist/prometheus/grafana.json")?)?;
    let panels = board["panels"].as_array().context("panels")?;
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let targets = panel["targets"].as_array().context("targets")?;
        let asks = |target: &serde_json::Value| target["expr"].as_str().is_some_and(|text| text.contains("hfetch_"));
        assert!(!targets.is_empty() && targets.iter().all(asks), "{panel}");
    }
    Ok(())
}

#[tokio::test]
async fn only_metrics_and_only_from_here() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?.config("[metrics]\nlisten = '127.0.0.1:0'\n")?;
    let daemon = scratch.daemon().await?;
    let port = port(&scratch).await?;
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
        ("GET /metrics HTTP/1.0\r\n\r\n", 421),
        (
            "POST /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
            405,
        ),
        ("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 404),
        ("GET /metrics HTTP/1.1\r\nhost: [::1]:9\r\n\r\n", 200),
    ] {
        let answer = ask(port, request).await?;
        assert!(
            answer.split(' ').nth(1) == Some(status.to_string().as_str()),
            "{request}: {answer}"
        );
    }
    // Open connections keep nobody from stopping.
    let _silent = TcpStream::connect(("127.0.0.1", port)).await?;
    daemon.stop().await?;
    Ok(())
}
