//! README.md tells the truth: every command in it is run, every table is compared with the sources.

mod document;
mod shell;
mod world;

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use futures_util::future::join_all;
use hfetch_tests::{
    harness::programs,
    python::{Python, skip},
};

use self::{
    document::{Block, Section, sections, text},
    world::World,
};

/// What a reader may be told to run, and the test runs.
const KNOWN: [&str; 11] = [
    "hfctl",
    "hfetchd",
    "sim-hub",
    "jq",
    "ls",
    "echo",
    "head",
    "base64",
    "printf",
    "sha256sum",
    "cut",
];
/// What the test may leave out: it would build, install, or test itself.
const SKIPPABLE: [&str; 7] = ["cargo", "sudo", "systemctl", "apt", "install", "loginctl", "bash"];

#[tokio::test]
async fn every_command_runs() {
    let readme = sections(&text());
    let outcomes = join_all(readme.iter().map(section)).await;
    let failed: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.err().map(|error| format!("{error:#}")))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

async fn section(section: &Section) -> anyhow::Result<()> {
    let mut world = None;
    for block in &section.blocks {
        let place = || format!("README.md:{} ({})", block.line, section.title);
        run(&mut world, block).await.with_context(place)?;
    }
    match world {
        Some(world) => world.close().await.context(section.title.clone()),
        None => Ok(()),
    }
}

async fn run(world: &mut Option<World>, block: &Block) -> anyhow::Result<()> {
    match block.mark.kind.as_str() {
        "skip" => return skipped(block),
        "run" | "table" | "config" | "keys of a job" => {}
        other => bail!("an unknown kind of mark: {other}"),
    }
    for detail in &block.mark.details {
        let known = ["exit", "until", "needs", "no daemon", "slow hub", "fast hub", "own hub"];
        ensure!(
            known.iter().any(|word| detail.starts_with(word)),
            "an unknown detail of a mark: {detail}"
        );
    }
    let first = world.is_none();
    let world = match world {
        Some(world) => world,
        None => world.insert(World::new()?),
    };
    if first && block.mark.after("no daemon").is_none() {
        world.sh("hfctl daemon start").await?.ok()?;
    }
    for (word, slow) in [("slow hub", true), ("fast hub", false)] {
        if block.mark.after(word).is_some() {
            world.slow(slow);
        }
    }
    if block.mark.after("own hub").is_some() {
        world.own_port()?;
    }
    match block.language.as_str() {
        "python" => python(world, block).await,
        "toml" => Ok(std::fs::write(world.path("hfetch.toml"), block.lines.join("\n"))?),
        "text" => keys_of_a_job(world, block).await,
        _ => commands(world, block).await,
    }
}

/// Only what cannot be run here may be left out, and with a reason.
fn skipped(block: &Block) -> anyhow::Result<()> {
    ensure!(!block.mark.details.is_empty(), "left out without a reason");
    for step in block.steps() {
        for program in shell::programs(&step.command) {
            ensure!(
                SKIPPABLE.contains(&program.as_str()),
                "`{program}` must be run, not left out"
            );
        }
    }
    Ok(())
}

async fn commands(world: &mut World, block: &Block) -> anyhow::Result<()> {
    if block.mark.after("needs").is_some_and(|program| !is_installed(program)) {
        return Ok(());
    }
    let steps = block.steps();
    for (number, step) in steps.iter().enumerate() {
        let place = || format!("README.md:{}: {}", step.line, step.command);
        for program in shell::programs(&step.command) {
            ensure!(
                KNOWN.contains(&program.as_str()),
                "{}: the test does not know `{program}`",
                place()
            );
        }
        // The code that is told is that of the last command.
        let exit = block.mark.after("exit").filter(|_| number + 1 == steps.len());
        let exit = exit.map_or(Ok(0), str::parse).with_context(place)?;
        match block.mark.after("until") {
            Some(text) => world.until(step, text.trim_matches('"')).await.with_context(place)?,
            None => world.step(step, exit).await.with_context(place)?,
        }
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        skip(&format!("no {program}"));
    }
    found
}

async fn python(world: &World, block: &Block) -> anyhow::Result<()> {
    let modules = block
        .mark
        .after("needs")
        .context("a mark says which modules it needs")?;
    let Some(python) = Python::with(modules).await else {
        return Ok(());
    };
    let environment = world.environment();
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let printed = python.run(&block.lines.join("\n"), &[], &environment).await?;
    ensure!(!printed.trim().is_empty(), "it prints nothing");
    Ok(())
}

async fn keys_of_a_job(world: &World, block: &Block) -> anyhow::Result<()> {
    let id = world.sh("hfctl submit gpt2").await?.ok()?;
    let job = world.sh(&format!("hfctl show --json {}", id.trim())).await?.json()?;
    let actual: BTreeSet<&str> = job
        .as_object()
        .context("an object")?
        .keys()
        .map(String::as_str)
        .collect();
    let told = block.lines.join(" ");
    let told = told.replace("failure{kind message hint}", "failure");
    let told = told.replace("routes{host way rule requests bytes}", "routes");
    let told: BTreeSet<&str> = told.split_whitespace().collect();
    ensure!(told == actual, "told {told:?}, but a job has {actual:?}");
    Ok(())
}

/// Runs hfctl without a daemon.
fn help(words: &[&str]) -> String {
    let output = std::process::Command::new(programs().join("hfctl"))
        .args(words)
        .arg("--help")
        .output();
    let output = output.expect("hfctl runs");
    assert!(output.status.success(), "hfctl {words:?} --help");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands that a help text lists.
fn commands_in(help: &str) -> Vec<String> {
    let list = help
        .split("Commands:\n")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").next())
        .unwrap_or_default();
    let names = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_examples_and_is_told() {
    let readme = text();
    let top = commands_in(&help(&[]));
    assert!(top.len() > 10, "{top:?}");
    for command in &top {
        assert!(
            readme.contains(&format!("`hfctl {command}")),
            "README.md does not tell of `hfctl {command}`"
        );
        let own = help(&[command]);
        assert!(own.contains("Examples:"), "hfctl {command} --help has no examples");
        for below in commands_in(&own) {
            assert!(
                readme.contains(&below),
                "README.md does not tell of `hfctl {command} {below}`"
            );
            assert!(
                help(&[command, &below]).contains("Examples:"),
                "hfctl {command} {below} --help has no examples"
            );
        }
    }
}

#[test]
fn commands_in_the_text_exist() {
    let readme = text();
    let known = commands_in(&help(&[]));
    for code in readme.split('`').skip(1).step_by(2) {
        if let Some(command) = code
            .strip_prefix("hfctl ")
            .and_then(|rest| rest.split([' ', '\n']).next())
        {
            let is_option = command.starts_with('-');
            assert!(
                is_option || known.iter().any(|name| name == command),
                "`{code}`: there is no such command"
            );
        }
    }
}

/// The words between quotes in a source file, after a marker on the same line.
fn words(source: &str, marker: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(source);
    let source = std::fs::read_to_string(path).expect("a source file");
    let lines = source.lines().filter_map(|line| line.split_once(marker));
    lines
        .filter_map(|(_, rest)| Some(rest.strip_prefix('"')?.split('"').next()?.to_owned()))
        .collect()
}

#[test]
fn every_failure_and_every_hold_has_a_remedy() {
    let readme = text();
    let kinds = words("daemon/src/model/failure.rs", " => ");
    let reasons = words("daemon/src/model/job.rs", " => ");
    assert!(kinds.len() >= 15 && reasons.len() >= 13, "{kinds:?} {reasons:?}");
    for word in kinds {
        assert!(
            readme.contains(&format!("\n| `{word}` | ")),
            "README.md has no row for the failure `{word}`"
        );
    }
    for word in reasons {
        assert!(readme.contains(&word), "README.md does not tell of `{word}`");
    }
}

/// Every key of the configuration has a row that says when it counts.
#[test]
fn every_key_of_the_configuration_is_told() {
    let readme = text();
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .map(|line| line.split(" | ").map(str::trim).collect())
        .collect();
    let mut keys = 0;
    for (list, expected) in [
        ("    live(", "yes |"),
        ("    at_start(", "restart |"),
        ("    not_yet(", "later |"),
        ("    not_yet_at_start(", "later |"),
    ] {
        for key in words("daemon/src/config/keys.rs", list) {
            keys += 1;
            let cell = format!("| `{key}`");
            let row = rows.iter().find(|row| row[0] == cell);
            let told = row.and_then(|row| row.last());
            assert_eq!(told, Some(&expected), "README.md on `{key}`");
        }
    }
    assert!(keys >= 41, "{keys}");
}

#[test]
fn every_exit_code_is_told() {
    let readme = text();
    for code in [0, 1, 2, 3, 4, 5, 6, 130] {
        assert!(readme.contains(&format!("\n| {code} | ")), "hfctl's exit code {code}");
    }
    for code in [0, 64, 70, 75, 78] {
        assert!(readme.contains(&format!("| | {code} | ")), "hfetchd's exit code {code}");
    }
}
