//! The binary without a daemon: exit codes and streams.

use std::path::Path;
use std::process::{Command, Output};

/// Runs hfctl in a world where no daemon and no token exist.
fn hfctl(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hfctl"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .current_dir(home)
        .output()
        .expect("hfctl runs")
}

fn check(args: &[&str], exit: i32, stderr_has: &str) {
    let home = tempfile::tempdir().expect("a directory");
    let output = hfctl(home.path(), args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {stderr}");
    assert!(stderr.contains(stderr_has), "{args:?}: {stderr}");
    assert!(
        output.stdout.is_empty() || exit == 0,
        "{args:?}: an error leaves stdout empty"
    );
}

#[test]
fn no_daemon_is_exit_3_with_the_tried_address_and_the_remedy() {
    let gone = ["--address", "unix:/nonexistent/hfetchd.sock"];
    let commands: [&[&str]; 8] = [
        &["list"],
        &["submit", "org/x"],
        &["download", "org/x", "config.json"],
        &["watch", "--json"],
        &["wait", "5d2k8q0x1a"],
        &["cancel", "--all"],
        &["alias", "list"],
        &["daemon", "status"],
    ];
    for command in commands {
        check(&[command, &gone].concat(), 3, "unix:/nonexistent/hfetchd.sock");
    }
    check(&[&["list"][..], &gone].concat(), 3, "hfctl daemon start");
}

#[test]
fn the_default_addresses_are_named() {
    check(&["list"], 3, "run/hfetch/hfetchd.sock");
    check(&["list"], 3, "unix:/run/hfetch/hfetchd.sock");
}

#[test]
fn stopping_what_does_not_run_is_done() {
    check(
        &["daemon", "stop", "--address", "unix:/nonexistent/hfetchd.sock"],
        0,
        "does not run",
    );
}

#[test]
fn usage_errors_are_exit_2() {
    check(&["submit"], 2, "NAME");
    check(&["submit", "--include", "*.json", "org/x"], 2, "write NAME before");
    check(
        &["submit", "org/x", "--token-file", "a", "--token", "hf_secret"],
        2,
        "give one of them",
    );
    check(&["list", "--address", "nonsense"], 2, "unix:PATH");
    check(&["list", "--address", "http://host:7850"], 2, "https://");
    check(&["list", "--address", "https://host:7850/x"], 2, "https://HOST:PORT");
}

#[test]
fn help_version_completions_and_manual_need_no_daemon() {
    let home = tempfile::tempdir().expect("a directory");
    for args in [
        &["--help"][..],
        &["--version"],
        &["submit", "--help"],
        &["completions", "bash"],
        &["man"],
    ] {
        let output = hfctl(home.path(), args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    let output = hfctl(home.path(), &["man", "--dir", "pages"]);
    assert!(output.status.success() && home.path().join("pages/hfctl-submit.1").is_file());
}

#[test]
fn the_token_never_shows() {
    let home = tempfile::tempdir().expect("a directory");
    let output = hfctl(home.path(), &["submit", "org/x", "--token", "hf_secret_value"]);
    let text = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&text).contains("hf_secret_value"));
    assert!(String::from_utf8_lossy(&text).contains("process list"));
}
