//! The program's outside that needs no daemon: arguments, exit codes, the configuration.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output},
};

fn hfetchd(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hfetchd"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .expect("hfetchd runs")
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

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A home with a config file in it, and the file's path.
fn home(config: &str) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/hfetch");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    std::fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (home, file)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn check_config_tells_every_mistake_at_once() {
    let (home, file) = home("[storage]\ncahce = '/x'\n[transfer]\nconnections = 'many'\nstall_timeout = \n");
    let env = [
        ("HOME", path(home.path())),
        ("HFETCH_EVENTS__KEEP", "7"),
        ("HFETCH_STORAGE_CACHE", "/x"),
    ];
    // Nothing else is done before the configuration is good.
    for args in [&["--check-config"] as &[&str], &["--print-config"], &[]] {
        let checked = hfetchd(args, &env);
        assert_eq!(checked.status.code(), Some(78), "{args:?}");
        assert!(checked.stdout.is_empty());
        let told = text(checked.stderr);
        let told = told.strip_prefix("hfetchd: ").unwrap_or(&told);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 5, "{told}");
        assert_eq!(
            lines[0],
            format!("{file}:2:1: storage.cahce: unknown key; did you mean `cache`?")
        );
        assert!(lines[1].starts_with(&format!("{file}:4:15: transfer.connections: ")));
        assert!(lines[2].starts_with(&format!("{file}:5:")), "{told}");
        assert!(lines[3].starts_with("HFETCH_EVENTS__KEEP: events.keep: "));
        assert!(lines[4].contains("HFETCH_STORAGE__CACHE"));
    }
    assert!(!home.path().join(".local").exists());
}

#[test]
fn check_config_is_content_with_nothing() {
    let home = tempfile::tempdir().unwrap();
    let checked = hfetchd(&["--check-config"], &[("HOME", path(home.path()))]);
    assert_eq!(text(checked.stderr), "the configuration is good\n");
    assert!(checked.status.success());
}

#[test]
fn files_named_on_the_command_line_replace_the_default_ones_and_must_be_there() {
    let (home, _) = home("nonsense = 1");
    let env = [("HOME", path(home.path()))];
    let (one, two, none) = (
        home.path().join("1.toml"),
        home.path().join("2.toml"),
        home.path().join("3.toml"),
    );
    std::fs::write(
        &one,
        "[transfer]\nconnections = 3\nmax_workers = 3\n[metrics]\nlisten = '127.0.0.1:9100'\n",
    )
    .unwrap();
    std::fs::write(&two, "[transfer]\nconnections = 4\n").unwrap();
    let printed = hfetchd(
        &["--print-config", "--config", path(&one), "--config", path(&two)],
        &env,
    );
    assert_eq!(text(printed.stderr), "");
    let shown = text(printed.stdout);
    for line in [
        format!("connections = 4 # {}:2", two.display()),
        format!("max_workers = 3 # {}:3", one.display()),
        format!("cache = \"{}/.cache/huggingface/hub\" # default", home.path().display()),
    ] {
        assert!(
            shown.lines().any(|printed| printed == line),
            "{line} is not in\n{shown}"
        );
    }
    let missing = hfetchd(&["--check-config", "--config", path(&none)], &env);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(missing.stderr).starts_with(&format!("{}: cannot be read: ", none.display())));
}

#[test]
fn what_is_printed_can_be_read_again() {
    let home = tempfile::tempdir().unwrap();
    let env = [
        ("HOME", path(home.path())),
        ("HF_ENDPOINT", "https://hf-mirror.com"),
        ("HFETCH_USERS__ANN__WEIGHT", "2"),
    ];
    let printed = hfetchd(&["--print-config", "--state-dir", "/nowhere"], &env);
    assert!(text(printed.stderr).contains("no token is sent there"));
    let shown = text(printed.stdout);
    assert!(
        shown.contains("# state: /nowhere\n# socket: /nowhere/hfetchd.sock\n"),
        "{shown}"
    );
    let file = home.path().join("printed.toml");
    std::fs::write(&file, &shown).unwrap();
    let again = hfetchd(&["--print-config", "--config", path(&file)], &env[..1]);
    assert!(again.status.success());
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(" # ").next().unwrap_or(line).to_owned())
            .collect()
    };
    assert_eq!(values(&text(again.stdout)), values(&shown));
}

#[test]
fn under_systemd_the_places_are_the_system_s() {
    let printed = hfetchd(&["--print-config"], &[("STATE_DIRECTORY", "/var/lib/hfetch:/x")]);
    if Path::new("/etc/hfetch").exists() {
        writeln!(std::io::stderr(), "SKIPPED: this machine has an /etc/hfetch of its own").unwrap();
        return;
    }
    let shown = text(printed.stdout);
    for line in [
        "# mode: system",
        "# state: /var/lib/hfetch",
        "# socket: /run/hfetch/hfetchd.sock",
        "cache = \"/var/cache/hfetch/hub\" # default",
        "min_free = \"20GiB\" # default",
        "max_queued = 1000 # default",
    ] {
        assert!(
            shown.lines().any(|printed| printed == line),
            "{line} is not in\n{shown}"
        );
    }
}

#[test]
fn bad_variables_that_are_no_keys_are_mistakes_too() {
    let home = tempfile::tempdir().unwrap();
    let env = [("HOME", path(home.path())), ("HF_ENDPOINT", "huggingface.co")];
    let checked = hfetchd(&["--check-config"], &env);
    assert_eq!(checked.status.code(), Some(78));
    assert!(text(checked.stderr).starts_with("HF_ENDPOINT: "));
}
