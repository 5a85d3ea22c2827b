//! What the journal gets: fields that `journalctl HFETCH_JOB=...` finds, and that README names.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::Context as _;
use hfetch_tests::{
    harness::{PATIENCE, Scratch},
    python,
    sim::{RepoBuilder, SimHub},
};
use tokio::{net::UnixDatagram, sync::mpsc::channel, task::JoinSet, time::timeout};

/// A `/run` of the daemon's own, in which the journal's socket is the one that is named first; then becomes the command.
const ENTER: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && ln -s \"$0\" /run/systemd/journal/socket && exec \"$@\"";

/// The fields of a message in the journal's protocol: `NAME=value`, or `NAME`, a length of 8 bytes, and the value.
fn fields(mut message: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some(end) = message.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&message[..end], &message[end + 1..]);
        match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                fields.insert(text(&line[..at]), text(&line[at + 1..]));
                message = rest;
            }
            None => {
                let Some((length, value)) = rest.split_first_chunk::<8>() else {
                    break;
                };
                let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
                fields.insert(text(line), text(value.get(..length).unwrap_or_default()));
                message = value.get(length + 1..).unwrap_or_default();
            }
        }
    }
    fields
}

#[tokio::test]
async fn a_job_is_found_by_its_fields() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        python::skip("a journal of its own needs root");
        return Ok(());
    }
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/model").seeded("a.bin", 1000, 1))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let journal = scratch.path("journal");
    let socket = UnixDatagram::bind(&journal)?;
    // Read from the first moment on: who logs waits while the socket is full.
    let (tell, mut messages) = channel(1000);
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = socket.recv(&mut buffer).await {
            let message = fields(&buffer[..length]);
            // The first one is empty: it asks whether somebody is there.
            if !message.is_empty() && tell.send(message).await.is_err() {
                return;
            }
        }
    });
    let log = fs::File::create(scratch.path("hfetchd.log"))?.metadata()?;
    let journal = journal.to_str().context("a path")?;
    let scratch = scratch
        .env("JOURNAL_STREAM", &format!("{}:{}", log.dev(), log.ino()))
        .daemon_within(&["unshare", "--mount", "sh", "-c", ENTER, journal]);
    let daemon = scratch.daemon().await?;
    let id = scratch.hfctl(["submit", "org/model", "--wait"]).await?.ok()?;
    let id = id.lines().next().context("an id")?;

    let mut heard = Vec::new();
    loop {
        let message = timeout(PATIENCE, messages.recv()).await?.context("a message")?;
        let is_end = message.get("HFETCH_STATE").is_some_and(|state| state == "done");
        heard.push(message);
        if is_end {
            break;
        }
    }
    let of_job: Vec<_> = heard
        .iter()
        .filter(|message| message.get("HFETCH_JOB").is_some_and(|job| job == id))
        .collect();
    assert!(of_job.len() >= 2, "{heard:?}");
    assert!(
        of_job
            .iter()
            .any(|message| message.get("HFETCH_REPO").is_some_and(|repo| repo == "org/model"))
    );
    assert!(heard.iter().all(|message| message["SYSLOG_IDENTIFIER"] == "hfetchd"));
    let audited = heard.iter().find(|message| message.contains_key("HFETCH_METHOD"));
    let audited = audited.context("who submitted")?;
    assert_eq!(audited["TARGET"], "hfetchd::audit");
    assert_eq!(
        (&*audited["HFETCH_UID"], &*audited["HFETCH_OUTCOME"]),
        ("0", "Ok"),
        "{audited:?}"
    );

    // README names the fields that are there.
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    for field in heard
        .iter()
        .flat_map(BTreeMap::keys)
        .filter(|field| field.starts_with("HFETCH_"))
    {
        let general = ["HFETCH_SOCKET", "HFETCH_VERSION"];
        assert!(
            general.contains(&field.as_str()) || readme.contains(&format!("`{field}`")),
            "{field}"
        );
    }
    daemon.stop().await?;
    drop(reading);
    Ok(())
}
