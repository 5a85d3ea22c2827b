//! Bytes that change on the disk or on the way: found, located, fetched again at the cost of their blocks, and blamed on who
//! sent them.

use std::{os::unix::fs::FileExt as _, path::PathBuf};

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    python::skip,
    sim::{Fault, Host, Matcher, RepoBuilder, Rule, SimHub, Storage},
    tree,
};

use crate::steps::can_strace;

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 16 * MIB;
const FILE: &str = "model.safetensors";

fn hub(size: u64) -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked))
        .start()
}

fn cdn() -> Matcher {
    Matcher::any().host(Host::Cdn).file(FILE)
}

fn partial(scratch: &Scratch) -> anyhow::Result<PathBuf> {
    let staging = check::staging(&scratch.cache())?;
    let part = staging
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "part"));
    Ok(part.expect("a partial file"))
}

/// Turns one bit of the partial file.
fn flip(scratch: &Scratch, at: u64) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(partial(scratch)?)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x10], at)?;
    Ok(file.sync_all()?)
}

/// Returns once the journal of the daemon has checks of so many blocks.
async fn hashed(scratch: &Scratch, blocks: u64) -> anyhow::Result<()> {
    eventually("block checks", async || match check::hashed(scratch) {
        Ok(bytes) if bytes >= blocks * BLOCK => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// How often anybody was warned of a block that is not what it was.
fn damaged(scratch: &Scratch) -> anyhow::Result<usize> {
    let db = check::open(&scratch.state().join("jobs.db"))?;
    let told = "SELECT count(*) FROM events WHERE kind = 'warning' AND detail LIKE '%damaged on the disk%'";
    Ok(db.query_row(told, [], |row| row.get(0))?)
}

/// The claims are of another boot of the machine.
fn another_boot(scratch: &Scratch) -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a test plays a reboot")]
    let db = rusqlite::Connection::open(scratch.state().join("progress.db"))?;
    anyhow::ensure!(db.execute("UPDATE claims SET boot = 'another'", [])? == 1);
    Ok(())
}

/// What happens to the partial file while no daemon runs.
struct Damage {
    name: &'static str,
    kill: bool,
    reboot: bool,
    flip: Option<u64>,
}

impl Damage {
    async fn run(self) -> anyhow::Result<()> {
        let size = 160 * MIB;
        let hub = hub(size)?;
        let scratch = Scratch::new(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let gate = hub.hold_bodies(FILE, 100 * MIB);
        // One connection, so that the file grows from its beginning.
        let id = scratch.submit(&["org/m", "-x", "1"]).await?;
        gate.reached().await;
        check::taken(&hub).await?;
        hashed(&scratch, 3).await?;
        if self.kill {
            daemon.kill().await?;
        } else {
            daemon.stop().await?;
        }
        if let Some(at) = self.flip {
            flip(&scratch, at)?;
        }
        if self.reboot {
            another_boot(&scratch)?;
        }
        gate.release();
        let daemon = scratch.daemon().await?;
        scratch.wait_done(&[&id]).await?;
        let told = damaged(&scratch)?;
        daemon.stop().await?;
        check::tidied(&scratch, &[&hub])?;
        let again = hub.journal().duplicate_bytes(FILE);
        let expected = if self.flip.is_some() { BLOCK } else { 0 };
        // A kill costs what was not claimed.
        let lost = if self.kill { 64 * MIB } else { 0 };
        anyhow::ensure!(
            (expected..=expected + lost).contains(&again),
            "{}: {again} bytes came twice\n{}",
            self.name,
            hub.journal().text()
        );
        anyhow::ensure!(
            told == usize::from(self.flip.is_some()),
            "{}: {told} warnings",
            self.name
        );
        Ok(())
    }
}

#[tokio::test]
async fn a_partial_file_that_changed_behind_us_costs_the_changed_block() -> anyhow::Result<()> {
    let case = |name, kill, reboot, flip| Damage {
        name,
        kill,
        reboot,
        flip,
    };
    for damage in [
        case("a flip after a kill", true, false, Some(20 * MIB)),
        case("a flip after a stop", false, false, Some(7)),
        case("a flip before a reboot", false, true, Some(2 * BLOCK - 1)),
        case("a reboot", false, true, None),
    ] {
        damage.run().await?;
    }
    Ok(())
}

/// A process that claims before it has looked at what may have changed does not end the doubt: it is killed there, and the
/// next one looks.
#[tokio::test]
async fn what_changed_before_the_last_kill_is_seen_after_the_next() -> anyhow::Result<()> {
    if !can_strace().await {
        skip("strace may not follow a program here");
        return Ok(());
    }
    let hub = hub(160 * MIB)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies(FILE, 64 * MIB);
    let id = scratch.submit(&["org/m", "-x", "1"]).await?;
    gate.reached().await;
    hashed(&scratch, 2).await?;
    daemon.kill().await?;
    let before = check::claimed(&scratch)?;
    flip(&scratch, 20 * MIB)?;
    let later = hub.hold_bodies(FILE, 2 * BLOCK);
    gate.release();
    // Whoever hashes or compares with checks reads so, and here gets nothing, however often.
    let read = [
        "-e",
        "trace=preadv2",
        "-e",
        "inject=preadv2:error=EINTR:delay_enter=20000",
    ];
    let scratch = scratch.daemon_within(
        &[
            &["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"],
            &read[..],
        ]
        .concat(),
    );
    let daemon = scratch.daemon().await?;
    later.reached().await;
    check::taken(&hub).await?;
    // After the last write: the file is as it was claimed when the next process finds it.
    eventually("a claim of what came since", async || match check::claimed(&scratch) {
        Ok(bytes) if bytes >= before + 2 * BLOCK - MIB => Ok(()),
        other => Err(format!("{other:?}, {before} before")),
    })
    .await?;
    assert_eq!(damaged(&scratch)?, 0, "it could not look");
    daemon.kill().await?;
    later.release();
    let scratch = scratch.daemon_within(&[]);
    let daemon = scratch.daemon().await?;
    scratch.wait_done(&[&id]).await?;
    assert_eq!(damaged(&scratch)?, 1, "warnings of the damaged block");
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])?;
    Ok(())
}

#[tokio::test]
async fn one_wrong_bit_from_the_only_server_does_not_cost_the_file() -> anyhow::Result<()> {
    let size = 20 * BLOCK;
    let hub = hub(size)?;
    // The first request is for the lowest bytes; one connection, for one that helps another makes bytes come twice.
    hub.faults().add(Rule::new(cdn(), Fault::FlipByte(3 * MIB)).once());
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "1"]).await?;
    scratch.wait_done(&[&id]).await?;
    let warnings = scratch.warnings(&id).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    let again = hub.journal().duplicate_bytes(FILE);
    // Eight suspects at a time.
    assert!(
        (BLOCK..=8 * BLOCK).contains(&again),
        "{} MiB came twice\n{}",
        again / MIB,
        hub.journal().text()
    );
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert!(warning.contains("16.0 MiB from byte 0 on"), "{warning}");
    assert!(
        warning.contains(hub.endpoint()) && warning.contains("nothing was published"),
        "{warning}"
    );
    Ok(())
}

#[tokio::test]
async fn the_mirror_that_lies_is_named_and_left_out() -> anyhow::Result<()> {
    let size = 6 * BLOCK;
    let (honest, liar) = (hub(size)?, hub(size)?);
    for hub in [&honest, &liar] {
        hub.pace().set_total(Some(40 * MIB));
    }
    liar.fault(cdn(), Fault::ShiftedBytes(4096));
    let scratch = Scratch::new(honest.endpoint())?;
    let daemon = scratch.daemon().await?;
    let args = ["org/m", "--endpoint", honest.endpoint(), "--endpoint", liar.endpoint()];
    let id = scratch.submit(&args).await?;
    scratch.wait_done(&[&id]).await?;
    let warnings = scratch.warnings(&id).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&honest, &liar])?;
    assert!(liar.journal().bytes_sent_for(FILE) > 0, "it was never asked");
    let blamed: Vec<&String> = warnings.iter().filter(|line| line.contains("wrong bytes")).collect();
    let [warning] = &blamed[..] else { panic!("{warnings:?}") };
    assert!(warning.contains(liar.endpoint()), "{warning}");
    assert!(!warning.contains(honest.endpoint()), "{warning}");
    // Its blocks come again, and nothing else: beside the file, and what connections that help each other cost.
    let mut wrong: Vec<bool> = vec![false; 6];
    for range in liar.journal().ranges_of(FILE) {
        for block in range.start / BLOCK..=(range.end - 1) / BLOCK {
            wrong[usize::try_from(block)?] = true;
        }
    }
    let wrong = wrong.into_iter().filter(|wrong| *wrong).count() as u64 * BLOCK;
    let sent = honest.journal().bytes_sent_for(FILE) + liar.journal().bytes_sent_for(FILE);
    assert!(
        sent <= size + wrong + BLOCK,
        "{} MiB for {} MiB, of which {} were wrong",
        sent / MIB,
        size / MIB,
        wrong / MIB
    );
    Ok(())
}

#[tokio::test]
async fn two_servers_that_are_both_wrong_fail_the_file() -> anyhow::Result<()> {
    let size = 2 * BLOCK + 5;
    let (one, two) = (hub(size)?, hub(size)?);
    for hub in [&one, &two] {
        hub.fault(cdn(), Fault::FlipByte(BLOCK + 1));
    }
    let scratch = Scratch::new(one.endpoint())?;
    let daemon = scratch.daemon().await?;
    let args = ["org/m", "--endpoint", one.endpoint(), "--endpoint", two.endpoint()];
    let id = scratch.submit(&args).await?;
    scratch.hfctl(["wait", &id]).await?.exits(5)?;
    let job = scratch.show(&id).await?;
    assert_eq!(job["failure"]["kind"], "integrity", "{job}");
    // What its hints tell to do can be pasted.
    let shown = scratch.hfctl(["show", &id, "--files", "--json"]).await?.json()?;
    for failure in [&job["failure"], &shown["files"][0]["failure"]] {
        let hint = failure["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(&format!("`hfctl retry {id}`")), "{shown:#}");
    }
    daemon.stop().await?;
    check::sound(&scratch, &[&one, &two])?;
    let entries = tree::entries(&scratch.cache())?;
    assert!(!entries.keys().any(|path| path.ends_with(FILE)), "{entries:#?}");
    let sent = one.journal().bytes_sent_for(FILE) + two.journal().bytes_sent_for(FILE);
    assert!(sent <= 4 * size, "{} MiB for {} MiB", sent / MIB, size / MIB);
    Ok(())
}
