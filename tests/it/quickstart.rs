//! `cargo quickstart` without cargo: the program that it runs, once to its end and once interrupted.

use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use hfetch_tests::{
    harness::{eventually, programs},
    sim::{RepoBuilder, SimHub},
    tree,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Building is cargo's part; without `CARGO` the programs beside this one are taken.
fn quickstart(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(programs().join("quickstart"));
    command
        .args(["--cache-dir", "hub", "--state-dir", "."])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TMPDIR", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(Duration::from_secs(100), child.wait_with_output()).await;
    let Output { status, stdout, stderr } = output.expect("it ends").expect("it ran");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Processes with something of a folder in their arguments, and what lies in it besides the downloads.
fn left_behind(home: &Path) -> Vec<String> {
    let folder = home.display().to_string();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&folder) {
            left.push(command);
        }
    }
    let entries = std::fs::read_dir(home).expect("the folder").filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // The state of what did not succeed stays on purpose.
    left.extend(names.filter(|name| name != "hub" && name != "quickstart-state"));
    left
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("hf-").tempdir().expect("a folder")
}

#[tokio::test]
async fn shows_a_kill_and_leaves_verified_files() {
    let home = folder();
    let child = quickstart(home.path(), &[]).spawn().expect("it starts");
    let (code, stdout, stderr) = ended(child).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(!stdout.contains('\x1b'), "a pipe gets plain lines: {stdout}");
    for part in [
        "$ hfctl submit demo/tiny-bert",
        "$ kill -9 ",
        "the kill cost",
        "  ok    sha256 ",
        "  0 bytes of files",
    ] {
        assert!(stdout.contains(part), "no `{part}` in:\n{stdout}{stderr}");
    }
    let hub = home.path().join("hub");
    assert_eq!(tree::faults(&hub).expect("readable"), Vec::<String>::new());
    assert!(
        stdout.contains(&format!("  {}/models--demo--tiny-bert/snapshots/", hub.display())),
        "{stdout}"
    );
    assert_eq!(left_behind(home.path()), Vec::<String>::new());
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_running() {
    let home = folder();
    let child = quickstart(home.path(), &[]).spawn().expect("it starts");
    let partials = home.path().join("hub/models--demo--tiny-bert/.hfetch");
    let begun = eventually("a download", async || {
        if partials.is_dir() {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    });
    begun.await.expect("it downloads");
    let pid = i32::try_from(child.id().expect("it runs")).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::INT).expect("it runs");
    let (code, stdout, stderr) = ended(child).await;
    assert_eq!(code, Some(130), "{stdout}{stderr}");
    assert_eq!(left_behind(home.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_repository_of_a_hub_or_a_failure() {
    let repo = RepoBuilder::model("org/m")
        .seeded("model.bin", 3_000_000, 1)
        .file("notes.txt", "n");
    let hub = SimHub::builder().repo(repo).start().expect("it starts");
    let home = folder();
    let run = async |arguments: &[&str]| {
        let mut command = quickstart(home.path(), arguments);
        ended(command.env("HF_ENDPOINT", hub.endpoint()).spawn().expect("it starts")).await
    };
    let (code, stdout, stderr) = run(&["org/m", "--include", "*.bin"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.contains("model.bin") && !stdout.contains("notes.txt"),
        "{stdout}"
    );
    let (code, stdout, stderr) = run(&["org/none"]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(
        stderr.contains("org/none") && stderr.contains("does not exist"),
        "{stderr}"
    );
    assert_eq!(left_behind(home.path()), Vec::<String>::new());
    hub.assert_clean();
}
