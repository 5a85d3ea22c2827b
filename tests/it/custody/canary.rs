//! One token, looked for everywhere: in files, logs, `/proc`, answers to every question that can be asked, and what the daemon
//! says to whoever connects to a port of its.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hfetch_tests::{
    check,
    harness::{Daemon, PATIENCE, Scratch},
    sim::Host,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{CANARY, gated_hub, holding, typed};

/// Every question that the daemon answers with words of its own; `JOB` is an id. A new command is a line here.
const QUESTIONS: &[&[&str]] = &[
    &["list", "--json", "--all"],
    &["show", "JOB", "--json", "--files"],
    &["watch", "JOB", "--json", "--after", "0"],
    &["daemon", "status", "--json"],
    &["daemon", "logs", "-n", "10000"],
    &["doctor", "--json"],
    &["whoami", "--json"],
    &["usage", "--by", "user,endpoint,host,route", "--json"],
    &["endpoint", "list", "--json"],
    &["endpoint", "probe", "--repo", "org/gated", "--json"],
    &["route", "explain", "org/gated", "--measure", "--json"],
    &["submit", "org/gated", "--dry-run", "--json"],
    &["search", "gated", "--json"],
    &["alias", "list", "--json"],
    &["cache", "list", "--json"],
    &["limit", "--json"],
];
/// What is asked of every port of the daemon, over HTTP: where metrics will be.
const PAGES: [&str; 2] = ["/", "/metrics"];
/// What `/proc` tells of a process, and of each of its threads.
const PROC: [&str; 14] = [
    "cmdline",
    "environ",
    "comm",
    "status",
    "stat",
    "maps",
    "smaps",
    "mountinfo",
    "limits",
    "io",
    "wchan",
    "stack",
    "auxv",
    "cgroup",
];

#[tokio::test]
async fn the_token_is_nowhere_but_at_its_origin_and_in_its_file() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    // Everything that can be logged is.
    let config = format!(
        "[log]\nfilter = \"trace\"\n\n[metrics]\nlisten = \"{}\"\n",
        free_port().await?
    );
    let scratch = Scratch::new(hub.endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    typed(&scratch, &["login"], CANARY).await?.ok()?;
    // By the login, and by a token of the job's own; one that stands while it is looked at, in the middle of its bytes.
    let with_token = [("HF_TOKEN", CANARY)];
    scratch.hfctl(["download", "org/gated", "config.json"]).await?.ok()?;
    let gate = hub.hold_bodies("model.safetensors", 5 << 20);
    let ran = scratch.hfctl_with(["submit", "org/gated"], &with_token).await?;
    let id = ran.ok()?.trim().to_owned();
    gate.reached().await;
    let mut seen = sightings(&scratch, &daemon, &id).await?;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    seen.extend(sightings(&scratch, &daemon, &id).await?);
    daemon.stop().await?;
    assert!(seen.is_empty(), "the token is in {seen:#?}");
    let found = holding(&scratch.path(""), CANARY)?;
    assert_eq!(found.len(), 1, "one file a user: {found:?}");
    assert!(found[0].starts_with(scratch.state().join("tokens")), "{found:?}");
    assert!(!hub.journal().authorizations(Host::Hub).is_empty(), "the Hub saw it");
    assert_eq!(hub.journal().authorizations(Host::Cdn), [] as [&str; 0], "the CDN did");
    assert!(
        scratch.log().contains("TRACE") || scratch.log().contains("DEBUG"),
        "nothing was logged"
    );
    check::tidied(&scratch, &[&hub])
}

/// All places where the token shows, beside its own file.
async fn sightings(scratch: &Scratch, daemon: &Daemon<'_>, id: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    let own = scratch.state().join("tokens");
    let files = holding(&scratch.path(""), CANARY)?;
    seen.extend(
        files
            .iter()
            .filter(|path| !path.starts_with(&own))
            .map(|path| shown(path)),
    );
    seen.extend(in_proc(daemon.pid())?.iter().map(|path| shown(path)));
    for question in QUESTIONS {
        let args: Vec<&str> = question
            .iter()
            .map(|word| if *word == "JOB" { id } else { word })
            .collect();
        // A watch of a job that goes on has no end.
        if args[0] == "watch" && scratch.state_of(id).await? != "done" {
            continue;
        }
        let ran = scratch.hfctl(&args).await?;
        if ran.stdout.contains(CANARY) || ran.stderr.contains(CANARY) {
            seen.insert(format!("hfctl {}", args.join(" ")));
        }
    }
    for port in ports(daemon.pid())? {
        for page in PAGES {
            if ask(port, page).await?.contains(CANARY) {
                seen.insert(format!("http://{port}{page}"));
            }
        }
    }
    Ok(seen)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Entries of a process in `/proc` that hold the token.
fn in_proc(pid: u32) -> anyhow::Result<Vec<PathBuf>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut folders = vec![process.clone()];
    for thread in fs::read_dir(process.join("task"))? {
        folders.push(thread?.path());
    }
    let mut found = Vec::new();
    let mut read = 0;
    for folder in folders {
        for name in PROC {
            // Threads end while they are looked at, and not every kernel has all of these.
            if let Ok(bytes) = fs::read(folder.join(name)) {
                read += 1;
                if String::from_utf8_lossy(&bytes).contains(CANARY) {
                    found.push(folder.join(name));
                }
            }
        }
    }
    for open in fs::read_dir(process.join("fd"))? {
        let path = open?.path();
        let leads_to = fs::read_link(&path).unwrap_or_default();
        found.extend(leads_to.to_string_lossy().contains(CANARY).then_some(path));
    }
    anyhow::ensure!(read > 2 * PROC.len(), "the daemon was hardly looked at: {read}");
    Ok(found)
}

/// Where a process listens over TCP.
fn ports(pid: u32) -> anyhow::Result<Vec<SocketAddr>> {
    let mut sockets = BTreeSet::new();
    for open in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let leads_to = fs::read_link(open?.path()).unwrap_or_default();
        let name = leads_to.to_string_lossy().into_owned();
        sockets.extend(
            name.strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'))
                .map(str::to_owned),
        );
    }
    let table = fs::read_to_string(Path::new("/proc/net/tcp"))?;
    let listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (*state == "0A" && sockets.contains(*inode)).then(|| SocketAddr::from(([127, 0, 0, 1], port)))
    });
    Ok(listening.collect())
}

/// What a port says to a request for a page.
async fn ask(at: SocketAddr, page: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A port that was free a moment ago.
async fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}
