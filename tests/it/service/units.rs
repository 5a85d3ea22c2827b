//! What stands in `systemd/`, checked by systemd's own tools without a running systemd.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context as _, ensure};
use hfetch_tests::{
    harness::{Scratch, programs},
    python,
};

/// Highest exposure of `systemd-analyze security`, in tenths.
const EXPOSURE: &str = "20";

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// Runs a tool of systemd; `None`, and a visible line, when this machine has none.
async fn run(scratch: &Scratch, tool: &str, args: &[&str]) -> anyhow::Result<Option<Output>> {
    let output = scratch
        .command(tool)
        .args(args)
        .env("XDG_RUNTIME_DIR", scratch.path(""))
        .output()
        .await;
    match output {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            python::skip(&format!("{tool} is not installed"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

/// Copies units to where their programs are of this build: a missing program would be an error.
fn copies(scratch: &Scratch, from: &Path, to: &str) -> anyhow::Result<Vec<String>> {
    let folder = scratch.path(to);
    fs::create_dir_all(&folder)?;
    let mut copies = Vec::new();
    for name in ["hfetchd.service", "hfetchd.socket"] {
        let text = fs::read_to_string(from.join(name)).with_context(|| format!("{}/{name}", from.display()))?;
        let text = text.replace("/usr/bin/hf", &programs().join("hf").display().to_string());
        fs::write(folder.join(name), text)?;
        copies.push(folder.join(name).display().to_string());
    }
    Ok(copies)
}

#[tokio::test]
async fn systemd_understands_every_line() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    for (whose, from) in [("--system", units()), ("--user", units().join("user"))] {
        let copies = copies(&scratch, &from, whose)?;
        let args: Vec<&str> = [whose, "verify", "--man=no"]
            .into_iter()
            .chain(copies.iter().map(String::as_str))
            .collect();
        let Some(output) = run(&scratch, "systemd-analyze", &args).await? else {
            return Ok(());
        };
        // An unknown key is a warning, and the exit code stays 0.
        let text = said(&output);
        ensure!(output.status.success() && text.is_empty(), "{whose}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_systemd_does_not_know_would_be_seen() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let copies = copies(&scratch, &units(), "broken")?;
    let text = fs::read_to_string(&copies[0])?.replace("WatchdogSec=", "WatchdogSecs=");
    fs::write(&copies[0], text)?;
    if let Some(output) = run(&scratch, "systemd-analyze", &["verify", "--man=no", &copies[0]]).await? {
        assert!(said(&output).contains("WatchdogSecs"), "{}", said(&output));
    }
    Ok(())
}

/// The line for who wants tokens sealed is right, too, and names the credential that the daemon looks for.
#[tokio::test]
async fn the_key_of_the_token_store_can_be_given() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let copies = copies(&scratch, &units(), "sealed")?;
    let text = fs::read_to_string(&copies[0])?;
    let line = "LoadCredentialEncrypted=token-key:/etc/credstore.encrypted/hfetch.token-key";
    ensure!(text.contains(&format!("\n#{line}\n")), "the line is not there");
    fs::write(&copies[0], text.replace(&format!("#{line}"), line))?;
    let args: Vec<&str> = ["--system", "verify", "--man=no"]
        .into_iter()
        .chain(copies.iter().map(String::as_str))
        .collect();
    if let Some(output) = run(&scratch, "systemd-analyze", &args).await? {
        let text = said(&output);
        ensure!(output.status.success() && text.is_empty(), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn the_sandbox_is_tight() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let unit = units().join("hfetchd.service").display().to_string();
    let threshold = format!("--threshold={EXPOSURE}");
    let args = ["security", "--offline=true", &threshold, &unit];
    if let Some(output) = run(&scratch, "systemd-analyze", &args).await? {
        ensure!(output.status.success(), "{}", said(&output));
        let text = said(&output);
        println!("{}", text.lines().last().unwrap_or_default());
    }
    Ok(())
}

/// Three lines that look like improvements and break the daemon.
#[test]
fn traps_stay_avoided() -> anyhow::Result<()> {
    let unit = fs::read_to_string(units().join("hfetchd.service"))?;
    let set = |key: &str| unit.lines().any(|line| line.starts_with(&format!("{key}=")));
    assert!(!set("PrivateUsers"), "every caller would be uid 65534");
    assert!(!set("DynamicUser"), "files would belong to a uid without a name");
    assert!(!set("ProcSubset"), "the id of the boot would be hidden");
    Ok(())
}

#[tokio::test]
async fn users_and_folders_are_made() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    if !rustix::process::geteuid().is_root() {
        python::skip("making users in a root tree needs root");
        return Ok(());
    }
    let root = scratch.path("root");
    for folder in ["usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "etc"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let root_arg = format!("--root={}", root.display());
    for (tool, file, extra) in [
        ("systemd-sysusers", "sysusers", None),
        ("systemd-tmpfiles", "tmpfiles", Some("--create")),
    ] {
        let to = root.join(format!("usr/lib/{file}.d/hfetch.conf"));
        fs::copy(units().join(format!("hfetch.{file}.conf")), to)?;
        let args: Vec<&str> = [root_arg.as_str()]
            .into_iter()
            .chain(extra)
            .chain(["hfetch.conf"])
            .collect();
        let Some(output) = run(&scratch, tool, &args).await? else {
            return Ok(());
        };
        ensure!(output.status.success(), "{tool}: {}", said(&output));
    }
    let groups = fs::read_to_string(root.join("etc/group"))?;
    for group in ["hfetch:", "hfetch-admin:"] {
        assert!(groups.lines().any(|line| line.starts_with(group)), "{groups}");
    }
    let mode = |path: &str| fs::metadata(root.join(path)).map(|meta| meta.permissions().mode() & 0o7777);
    assert_eq!(mode("etc/hfetch/credentials")?, 0o700);
    assert_eq!(mode("var/cache/hfetch/hub")?, 0o2775);
    Ok(())
}
