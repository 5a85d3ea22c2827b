//! What holds at the end of every integration test, whatever the test was about.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::{
    harness::{Scratch, eventually},
    sim::{Host, SimHub},
    tree,
};

mod claims;
mod repeats;

pub use claims::{claimed, hashed};
pub use repeats::{kept, sent_again, sent_since};

/// Fails unless the cache is valid, the databases are whole, no daemon panicked, and nothing forbidden happened at the hubs.
/// Partial files may lie about: some job may still want them. Daemons may be running.
///
/// # Errors
/// With everything that is wrong.
pub fn sound(scratch: &Scratch, hubs: &[&SimHub]) -> anyhow::Result<()> {
    let mut faults = tree::faults(&scratch.cache())?;
    for name in ["jobs.db", "progress.db"] {
        faults.extend(database_faults(&scratch.state().join(name))?);
    }
    faults.extend(log_faults(&scratch.log()));
    for hub in hubs {
        faults.extend(hub.journal().violations());
    }
    ensure!(faults.is_empty(), "{faults:#?}\nthe daemon's log:\n{}", scratch.log());
    Ok(())
}

/// As [`tidied`], and no byte of a file came twice without a cause: for tests whose jobs are all done, and that asked for
/// nothing twice.
///
/// # Errors
/// With everything that is wrong.
pub fn finished(scratch: &Scratch, hubs: &[&SimHub]) -> anyhow::Result<()> {
    tidied(scratch, hubs)?;
    let twice = repeats::once(hubs);
    ensure!(twice.is_empty(), "{}", twice.join("\n"));
    Ok(())
}

/// As [`sound`], and nothing of ours is left beside the cache's own files. For tests that lose, spoil or force what they ask
/// for again.
///
/// # Errors
/// With everything that is wrong.
pub fn tidied(scratch: &Scratch, hubs: &[&SimHub]) -> anyhow::Result<()> {
    sound(scratch, hubs)?;
    let staging = staging(&scratch.path(""))?;
    ensure!(staging.is_empty(), "staging is left: {staging:?}");
    Ok(())
}

/// Every staging folder and what is in it, below a folder.
///
/// # Errors
/// When something cannot be read.
pub fn staging(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let ours = path.components().any(|part| part.as_os_str() == ".hfetch");
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            if ours {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// What SQLite itself finds wrong in a database; nothing when there is none.
fn database_faults(path: &Path) -> anyhow::Result<Vec<String>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let db = open(path)?;
    let mut faults = Vec::new();
    let integrity: Vec<String> = db
        .prepare("PRAGMA integrity_check")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    faults.extend(
        integrity
            .into_iter()
            .filter(|line| line != "ok")
            .map(|line| format!("{name}: {line}")),
    );
    let orphans: Vec<String> = db
        .prepare("PRAGMA foreign_key_check")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    faults.extend(orphans.into_iter().map(|table| format!("{name}: an orphan in {table}")));
    Ok(faults)
}

/// Opens a database of the daemon for looking at it.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> anyhow::Result<Connection> {
    #[expect(clippy::disallowed_methods, reason = "a look from outside, read-only")]
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_secs(10))?;
    Ok(db)
}

/// Lines of a log that tell of a bug.
fn log_faults(log: &str) -> Vec<String> {
    let words = [
        "panicked at",
        "a task panicked",
        "the dispatcher ended",
        "broken invariant",
    ];
    log.lines()
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .map(|line| format!("the log says: {line}"))
        .collect()
}

/// Returns once everything that a Hub and its CDN have sent was taken out of the sockets by the programs it was sent to.
///
/// # Errors
/// When it is not taken.
pub async fn taken(hub: &SimHub) -> anyhow::Result<()> {
    let ports = [Host::Hub, Host::Cdn].map(|host| format!(":{:04X}", hub.address(host).port()));
    let mut quiet = 0;
    eventually("empty sockets", async || {
        let queued = queued(&ports).map_err(|error| error.to_string())?;
        quiet = if queued == 0 { quiet + 1 } else { 0 };
        // Three times: between the socket and the program's own memory lies a moment.
        if quiet >= 3 {
            Ok(())
        } else {
            Err(format!("{queued} bytes wait"))
        }
    })
    .await
}

/// Bytes that wait in sockets of these ports, at either end.
fn queued(ports: &[String]) -> anyhow::Result<u64> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let mut sum = 0;
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (Some(local), Some(remote), Some(queues)) = (columns.get(1), columns.get(2), columns.get(4)) else {
            continue;
        };
        // 0A listens: its numbers are connections.
        let listens = columns.get(3) == Some(&"0A");
        let ours = ports.iter().any(|port| local.ends_with(port) || remote.ends_with(port));
        if let Some((send, receive)) = queues.split_once(':').filter(|_| ours && !listens) {
            sum += u64::from_str_radix(send, 16)? + u64::from_str_radix(receive, 16)?;
        }
    }
    Ok(sum)
}
