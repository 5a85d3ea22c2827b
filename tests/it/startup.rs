//! Starting and stopping: who may, how fast, and with what left behind.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use anyhow::Context as _;
use hfetch_tests::{
    CANARY, check,
    harness::{Scratch, cpu_seconds, programs},
    sim::{RepoBuilder, SimHub},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// A stop takes no longer, whatever is under way.
const AT_LAST: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_second_daemon_is_told_who_is_first() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let first = scratch.daemon().await?;
    let mut second = scratch.command(programs().join("hfetchd"));
    let output = second.arg("--state-dir").arg(scratch.state()).output().await?;
    assert_eq!(output.status.code(), Some(75));
    let text = String::from_utf8(output.stderr)?;
    assert!(text.contains(&format!("pid {}", first.pid())), "{text}");
    // The first one did not notice.
    scratch.hfctl(["list"]).await?.ok()?;
    first.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_a_killed_daemon_leaves_is_no_obstacle() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let daemon = scratch.daemon().await?;
    let mode = fs::metadata(scratch.socket())?.permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    daemon.kill().await?;
    assert!(scratch.socket().exists(), "a killed daemon cannot tidy up");
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["daemon", "status"]).await?.ok()?;
    daemon.stop().await?;
    assert!(!scratch.socket().exists(), "a stopped one does");
    Ok(())
}

/// A daemon that nobody waits for, ended with its owner.
struct Started(Pid);

impl Started {
    async fn by_hfctl(scratch: &Scratch) -> anyhow::Result<Self> {
        let state = scratch.state();
        let args = ["daemon", "start", "--json", "--state-dir"].map(AsRef::as_ref);
        let started = scratch
            .hfctl(args.into_iter().chain([state.as_os_str()]))
            .await?
            .json()?;
        let pid = started["pid"]
            .as_i64()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(Self(pid.with_context(|| format!("no pid in {started}"))?))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        kill_process(self.0, Signal::KILL).ok();
    }
}

/// While the killed one is not gone yet, it accepts still.
#[tokio::test]
async fn a_killed_daemon_is_started_again_at_once() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded("model.safetensors", 64 << 20, 3))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let gate = hub.hold_bodies("model.safetensors", 32 << 20);
    let daemon = Started::by_hfctl(&scratch).await?;
    let id = scratch.submit(&["org/m"]).await?;
    gate.reached().await;
    drop(daemon);
    let daemon = Started::by_hfctl(&scratch).await?;
    drop(daemon);
    let last = Started::by_hfctl(&scratch).await?;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    scratch.hfctl(["daemon", "stop"]).await?.ok()?;
    // Its number may be another's now.
    std::mem::forget(last);
    check::tidied(&scratch, &[&hub])
}

#[tokio::test]
async fn status_names_the_files_of_the_last_reload() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let daemon = scratch.daemon().await?;
    let files = async || -> anyhow::Result<serde_json::Value> {
        let status = scratch.hfctl(["daemon", "status", "--json"]).await?.json()?;
        Ok(status["config_files"].clone())
    };
    assert_eq!(files().await?, serde_json::json!([]));
    let folder = scratch.path("home/.config/hfetch");
    fs::create_dir_all(&folder)?;
    let file = folder.join("config.toml");
    fs::write(&file, "[transfer]\nconnections = 4\n")?;
    assert_eq!(files().await?, serde_json::json!([]), "it is not read yet");
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    assert_eq!(files().await?, serde_json::json!([file]));
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn files_that_are_not_what_is_in_force_are_told_by_status_and_doctor() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/m").plain("config.json", b"{}".to_vec()))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nconnections = 4\n")?;
    let daemon = scratch.daemon().await?;
    let file = scratch.path("hfetch.toml");
    let good = fs::read_to_string(&file)?;
    let status = async || scratch.hfctl(["daemon", "status", "--json"]).await?.json();
    let doctor = async || scratch.hfctl(["doctor"]).await;
    let first = status().await?;
    assert_eq!(first["config_mistakes"], serde_json::json!([]), "{first}");
    assert_eq!(first["config_not_loaded"], serde_json::json!([]), "{first}");
    assert_eq!(first["config_changed"], false, "{first}");
    let ran = doctor().await?;
    assert!(!ran.stdout.contains("in force, which"), "{}", ran.stdout);
    ran.ok()?;

    // Changed, and nobody has read it.
    fs::write(&file, good.replace("connections = 4", "connections = 5"))?;
    let told = status().await?;
    assert_eq!(
        told["config_not_loaded"],
        serde_json::json!(["transfer.connections"]),
        "{told}"
    );
    assert_eq!(told["config_changed"], true, "{told}");
    let ran = doctor().await?;
    assert!(
        ran.stdout.contains("in force, which") && ran.stdout.contains(": transfer.connections"),
        "{}",
        ran.stdout
    );
    assert!(ran.ok()?.contains("hfctl daemon reload"));

    // Wrong: also before anybody reloads, and after a reload that was refused.
    fs::write(&file, good.replace("connections = 4", "connections = 0"))?;
    for reload in [false, true] {
        if reload {
            scratch.hfctl(["daemon", "reload"]).await?.exits(1)?;
        }
        let told = status().await?;
        let mistake = told["config_mistakes"][0].as_str().unwrap_or_default();
        assert!(mistake.contains("transfer.connections"), "{told}");
        assert_eq!(told["config_read_at"], first["config_read_at"], "{told}");
        let ran = scratch.hfctl(["daemon", "status"]).await?;
        assert!(ran.stdout.contains("the files have mistakes now"), "{}", ran.stdout);
        assert!(ran.stderr.contains("would not start again"), "{}", ran.stderr);
        let ran = doctor().await?;
        for words in ["broken", "transfer.connections", "is in force", "--check-config"] {
            assert!(ran.stdout.contains(words), "no {words:?} in {}", ran.stdout);
        }
        ran.exits(1)?;
    }

    // Right again.
    fs::write(&file, good.replace("connections = 4", "connections = 6"))?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    let told = status().await?;
    assert_eq!(told["config_not_loaded"], serde_json::json!([]), "{told}");
    assert_ne!(told["config_read_at"], first["config_read_at"], "{told}");
    doctor().await?.ok()?;

    // Read, and left for a restart.
    fs::write(&file, format!("{good}max_connections = 32\n"))?;
    scratch.hfctl(["daemon", "reload"]).await?.ok()?;
    let told = status().await?;
    let waits = serde_json::json!(["transfer.max_connections"]);
    assert_eq!(told["config_not_loaded"], waits, "{told}");
    assert!(doctor().await?.ok()?.contains("hfctl daemon restart"));
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_restart_that_cannot_succeed_stops_nothing() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let daemon = scratch.daemon().await?;
    let (state, bad) = (scratch.state(), scratch.path("bad.toml"));
    fs::write(&bad, "[transfer]\nmax_worker = 3\n")?;
    let args = [
        "daemon".as_ref(),
        "restart".as_ref(),
        "--state-dir".as_ref(),
        state.as_os_str(),
        "--config".as_ref(),
        bad.as_os_str(),
    ];
    let ran = scratch.hfctl(args).await?;
    assert!(ran.stderr.contains("max_workers"), "{}", ran.stderr);
    ran.exits(1)?;
    let status = scratch.hfctl(["daemon", "status", "--json"]).await?.json()?;
    assert_eq!(status["pid"], daemon.pid(), "{status}");
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn nobody_answers_means_exit_3() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let ran = scratch.hfctl(["list"]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("daemon start"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn sigterm_under_load_is_quick_and_sighup_is_no_end() -> anyhow::Result<()> {
    let files = (0..16).fold(RepoBuilder::model("org/many"), |repo, index| {
        repo.seeded(&format!("model-{index}.safetensors"), 64 * MIB, index)
    });
    let hub = SimHub::builder().repo(files).start()?;
    // So slow each that the daemon opens more and more of them.
    hub.pace().set_per_connection(Some(8 * MIB));
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/many", "-x", "8", "-j", "8"]).await?;
    hub.journal()
        .wait_for("load", |journal| journal.open_exchanges().len() > 8)
        .await;
    daemon.signal(Signal::HUP)?;
    scratch.hfctl(["list"]).await?.ok()?;
    let took = daemon.stop().await?;
    println!("stopped under load within {} ms", took.as_millis());
    assert!(took < AT_LAST, "{took:?}");
    // Slower than the daemon can read: what fills the sockets of one that is behind comes twice when others help.
    hub.pace().set_per_connection(Some(3 * MIB));
    let daemon = scratch.daemon().await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_queue_of_a_hundred_thousand_is_ready_at_once() -> anyhow::Result<()> {
    const JOBS: usize = 100_000;
    // An endpoint where nobody answers: the jobs stay.
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let daemon = scratch.daemon().await?;
    scratch.submit(&["org/first"]).await?;
    daemon.stop().await?;
    // As many submits would take minutes; the rows are what counts here.
    {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test fills the queue from outside, while no daemon runs"
        )]
        let db = rusqlite::Connection::open(scratch.state().join("jobs.db"))?;
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO jobs (id, uid, user, repo_id, kind, revision, selection, destination, path, endpoints, priority, \
             force_download, state, created_at) \
             SELECT printf('%010d', i), uid, user, 'org/n' || i, kind, revision, selection, destination, path, endpoints, \
             priority, force_download, 'queued', created_at FROM jobs, n WHERE jobs.repo_id = 'org/first'",
            [JOBS],
        )?;
    }
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["daemon", "status", "--json"]).await?.json()?;
    // Of work, not of the clock on the wall: others use the machine, too.
    let took = cpu_seconds(daemon.pid())?;
    println!("ready with {JOBS} queued jobs after {took} s of work");
    assert!(took < 2.0, "{took} s");
    // A page, and a page behind it.
    let page = scratch.hfctl(["list", "--json", "--page-size", "500"]).await?.json()?;
    assert_eq!(page["jobs"].as_array().map(Vec::len), Some(500));
    let token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
    let next = scratch
        .hfctl(["list", "--json", "--page-size", "500", "--page-token", &token])
        .await?
        .json()?;
    assert_ne!(page["jobs"][0]["id"], next["jobs"][0]["id"]);
    daemon.stop().await?;
    check::sound(&scratch, &[])
}

#[tokio::test]
async fn a_newer_database_is_refused_by_name() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    scratch.daemon().await?.stop().await?;
    {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test plays a newer program, while no daemon runs"
        )]
        let db = rusqlite::Connection::open(scratch.state().join("jobs.db"))?;
        db.pragma_update(None, "user_version", 99)?;
    }
    let mut command = scratch.command(programs().join("hfetchd"));
    let output = command
        .arg("--state-dir")
        .arg(scratch.state())
        .stdout(Stdio::null())
        .output()
        .await?;
    assert_eq!(output.status.code(), Some(70));
    let text = String::from_utf8(output.stderr)?;
    assert!(text.contains("99") && text.contains("knows up to "), "{text}");
    Ok(())
}

/// Each line of a structured log is one object for programs: when, how bad, what, of which job, and never a token.
#[tokio::test]
async fn a_structured_log_is_json_line_by_line() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/small")
                .seeded("config.json", 700, 1)
                .private(&["ann"]),
        )
        .token(CANARY, "ann")
        .start()?;
    let config = "[log]\nformat = \"json\"\nfilter = \"warn,hfetchd=debug\"\n";
    let scratch = Scratch::new(hub.endpoint())?.config(config)?;
    let daemon = scratch.daemon().await?;
    let args = ["submit", "org/small", "--wait", "--json"];
    let job = scratch.hfctl_with(args, &[("HF_TOKEN", CANARY)]).await?.json()?;
    daemon.stop().await?;
    let log = scratch.log();
    let mut of_job = 0;
    for line in log.lines() {
        let told: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let when: jiff::Timestamp = told["timestamp"].as_str().context("a time")?.parse()?;
        assert!(when.as_second() > 0, "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&told["level"].as_str().unwrap_or_default()));
        assert!(told["fields"]["message"].is_string(), "{line}");
        of_job += usize::from(told["fields"]["job"] == job["id"]);
    }
    assert!(of_job >= 2, "{log}");
    assert!(!log.contains(CANARY));
    check::finished(&scratch, &[&hub])
}
