//! What the packages are made of; `.ci/packages` installs them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use hfetch_tests::harness::Scratch;
use toml::{Table, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| name.to_owned())
}

/// The files of a package: from where (below the root of the repository), to where, mode.
fn assets(kind: &str) -> anyhow::Result<BTreeSet<(String, String, String)>> {
    let manifest: Table = read("daemon/Cargo.toml")?.parse()?;
    let metadata = &manifest["package"]["metadata"][kind];
    let assets = metadata["assets"].as_array().context("assets")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let each = assets.iter().map(|asset| match asset {
        // cargo-deb counts from the package.
        Value::Array(fields) => {
            let from = text(fields.first());
            let from = match from.strip_prefix("../") {
                Some(outside) => outside.to_owned(),
                None if from.starts_with("target/") => from,
                None => format!("daemon/{from}"),
            };
            (from, format!("/{}", text(fields.get(1))), text(fields.get(2)))
        }
        // cargo-generate-rpm counts from the workspace.
        other => (
            text(other.get("source")),
            text(other.get("dest")),
            text(other.get("mode")),
        ),
    });
    Ok(each.collect())
}

#[test]
fn both_packages_have_the_same_files() -> anyhow::Result<()> {
    let (deb, rpm) = (assets("deb")?, assets("generate-rpm")?);
    let of_debian = |to: &str| {
        ["/copyright", "/lintian/overrides/hfetch"]
            .iter()
            .any(|end| to.ends_with(end))
    };
    let deb_alone: Vec<_> = deb.difference(&rpm).filter(|(_, to, _)| !of_debian(to)).collect();
    // Debian's packages name the licence in their file of copyrights.
    let of_rpm = |to: &str| to == "/usr/share/licenses/hfetch/LICENSE";
    let rpm_alone: Vec<_> = rpm.difference(&deb).filter(|(_, to, _)| !of_rpm(to)).collect();
    // The two systems look for zsh's completions in different folders.
    for alone in [&deb_alone, &rpm_alone] {
        ensure!(
            alone.len() == 1 && alone[0].1.starts_with("/usr/share/zsh/"),
            "{deb_alone:?} and {rpm_alone:?}"
        );
    }
    for (from, to, _) in &deb {
        ensure!(
            from.starts_with("target/release/") || root().join(from).is_file(),
            "{from} for {to}"
        );
    }
    for folder in ["systemd", "systemd/user"] {
        for entry in fs::read_dir(root().join(folder))? {
            let name = format!("{folder}/{}", entry?.file_name().to_string_lossy());
            let shipped = deb.iter().any(|(from, ..)| *from == name);
            ensure!(shipped || root().join(&name).is_dir(), "{name} is in no package");
        }
    }
    Ok(())
}

#[test]
fn versions_are_the_same() -> anyhow::Result<()> {
    let changelog = read("daemon/dist/changelog")?;
    let first = format!("hfetch ({}-1) ", env!("CARGO_PKG_VERSION"));
    ensure!(changelog.starts_with(&first), "{changelog}");
    Ok(())
}

#[tokio::test]
async fn the_manual_and_the_example_are_hfetchds() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let program = hfetch_tests::harness::programs().join("hfetchd");
    let help = scratch.command(&program).arg("--help").output().await?;
    let help = String::from_utf8(help.stdout)?;
    let options: BTreeSet<&str> = help
        .split_whitespace()
        .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
        .filter(|word| word.starts_with("--"))
        .collect();
    ensure!(options.contains("--check-config"), "{help}");
    let manual = read("daemon/dist/hfetchd.8")?.replace('\\', "");
    for option in options {
        ensure!(manual.contains(option), "hfetchd(8) tells nothing of {option}");
    }

    // With every mark taken away.
    let example = read("daemon/dist/config.toml")?;
    let lines = example.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if key.starts_with('[') || key.contains(" = ") => key,
        _ => line,
    });
    let all: Vec<&str> = lines.collect();
    ensure!(all.iter().filter(|line| line.contains(" = ")).count() > 8, "{example}");
    let path = scratch.path("example.toml");
    fs::write(&path, all.join("\n"))?;
    let mut check = scratch.command(&program);
    let checked = check.arg("--config").arg(&path).arg("--check-config").output().await?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    Ok(())
}
