//! The program's outside that needs no daemon: arguments, exit codes.

use std::process::{Command, Output};

fn hfetchd(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hfetchd"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn version_and_help_succeed() {
    let version = hfetchd(&["--version"], &[]);
    assert!(version.status.success());
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("hfetchd {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = hfetchd(&["--help"], &[]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "--config",
        "--state-dir",
        "--socket",
        "--check-config",
        "--print-config",
        "--log-format",
    ] {
        assert!(text.contains(flag), "{flag} is not in\n{text}");
    }
}

#[test]
fn wrong_usage_exits_64() {
    let wrong = hfetchd(&["--no-such-flag"], &[]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("--no-such-flag"));
}
