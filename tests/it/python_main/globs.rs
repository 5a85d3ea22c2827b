//! `--include` and `--exclude` choose what Python's patterns choose.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use hfetch_tests::python::Python;
use hfetch_tests::sim::{RepoBuilder, SimHub};
use serde_json::{Value, json};

use super::{ONLINE, User, hashes_below};

const FILES: [&str; 7] = [
    "config.json",
    "a.txt",
    "data/a.json",
    "data/b/c.json",
    ".gitattributes",
    "weird[1].bin",
    "Model.Safetensors",
];
const IN_DATA: &[&str] = &["data/a.json", "data/b/c.json"];
const JSON: &[&str] = &["config.json", "data/a.json", "data/b/c.json"];
/// All that a folder on disk can hold beside the folder `data`.
const ALL: &[&str] = &FILES;

struct Row {
    include: &'static [&'static str],
    exclude: &'static [&'static str],
    chosen: &'static [&'static str],
}

const fn include(include: &'static [&'static str], chosen: &'static [&'static str]) -> Row {
    Row {
        include,
        exclude: &[],
        chosen,
    }
}

const fn both(
    include: &'static [&'static str],
    exclude: &'static [&'static str],
    chosen: &'static [&'static str],
) -> Row {
    Row {
        include,
        exclude,
        chosen,
    }
}

/// The table, and below it what follows from the text around it.
const TABLE: &[Row] = &[
    include(&["*.json"], JSON),
    include(&["**/*.json"], IN_DATA),
    include(&["*/*.json"], IN_DATA),
    include(&["data/*.json"], IN_DATA),
    include(&["data/*"], IN_DATA),
    include(&["data/"], IN_DATA),
    include(&["data\\*.json"], IN_DATA),
    include(&["data"], &["data"]),
    include(&["*"], ALL),
    include(&["**"], ALL),
    include(&["?.txt"], &["a.txt"]),
    include(&["[ab].txt"], &["a.txt"]),
    include(&["[!a].txt"], &[]),
    include(&["weird[1].bin"], &[]),
    include(&["weird[[]1].bin"], &["weird[1].bin"]),
    include(&["*.safetensors"], &[]),
    include(&["*.{json,txt}"], &[]),
    include(&["./config.json"], &[]),
    include(&["/config.json"], &[]),
    include(&["!*.json"], &[]),
    include(&["config.json/"], &[]),
    include(&[""], &[]),
    both(&["*.json"], &["data/*"], &["config.json"]),
    include(&[], ALL),
    include(&["*.txt", "weird*"], &["a.txt", "weird[1].bin"]),
    include(&["weird[1.bin", "weird[", "weird[1].bin]"], &[]),
    include(&["a?txt", "data?a.json"], &["a.txt", "data/a.json"]),
    include(&["[]a].txt", "[z-a].txt"], &["a.txt"]),
    both(&[], &["*.json", "*.bin", ".*"], &["a.txt", "Model.Safetensors"]),
    both(&[], &["data/", "[!.]*.*"], &[".gitattributes"]),
    both(&["*.txt"], &["*"], &[]),
];

#[tokio::test]
async fn include_and_exclude_choose_what_python_chooses() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let mut folder = RepoBuilder::dataset("org/globs");
    for file in FILES {
        folder = folder.file(file, format!("this is {file}"));
    }
    // The table has a file `data` beside the folder of that name, which git could hold as little as a disk.
    let plain = RepoBuilder::dataset("org/data-file")
        .file("data", "this is data")
        .file("config.json", "{}");
    let hub = SimHub::builder().repo(folder).repo(plain).start()?;
    let user = User::new(python, &hub)?;
    let daemon = user.scratch.daemon().await?;
    let mut steps = Vec::new();
    for (number, row) in TABLE.iter().enumerate() {
        for repo in ["org/globs", "org/data-file"] {
            let ours = place(&user, "ours", number, repo);
            let ours = ours.to_str().context("UTF-8")?;
            user.hfctl(&arguments(repo, row, ours)).await?;
            steps.push(step(repo, row, &place(&user, "python", number, repo)));
        }
    }
    let results = user.steps(Value::Array(steps), ONLINE).await?;
    for (number, row) in TABLE.iter().enumerate() {
        let [globs, data] = [2 * number, 2 * number + 1].map(|index| &results[index]);
        for (repo, python) in [("org/globs", globs), ("org/data-file", data)] {
            let told = format!("{:?} without {:?} of {repo}", row.include, row.exclude);
            assert!(python["ok"].is_object(), "{told}: {python}");
            let [ours, theirs] = ["ours", "python"].map(|who| chosen(&place(&user, who, number, repo)));
            let (ours, theirs) = (ours?, theirs?);
            assert_eq!(ours, theirs, "hfctl (left) and Python: {told}");
            if repo == "org/globs" {
                let expected: BTreeSet<String> = row.chosen.iter().map(|&name| name.to_owned()).collect();
                let without_data = &expected - &BTreeSet::from(["data".to_owned()]);
                assert_eq!(ours, without_data, "{told}");
            } else {
                let expected = row.chosen.contains(&"data") || row.chosen == ALL;
                assert!(ours.contains("data") || !expected, "{told}: {ours:?}");
            }
        }
    }
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}

fn place(user: &User, who: &str, number: usize, repo: &str) -> std::path::PathBuf {
    user.scratch.path(&format!("{who}/{number}/{repo}"))
}

fn arguments<'a>(repo: &'a str, row: &Row, place: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["submit", repo, "--dataset", "--wait", "--local-dir", place];
    // Both habits: several values after one flag, and the flag repeated.
    if !row.include.is_empty() {
        arguments.push("--include");
        arguments.extend(row.include);
    }
    for pattern in row.exclude {
        arguments.extend(["--exclude", pattern]);
    }
    arguments
}

fn step(repo: &str, row: &Row, place: &Path) -> Value {
    let patterns = |patterns: &[&str]| (!patterns.is_empty()).then(|| json!(patterns));
    json!({
        "call": "snapshot_download",
        "args": {
            "repo_id": repo,
            "repo_type": "dataset",
            "local_dir": place,
            "allow_patterns": patterns(row.include),
            "ignore_patterns": patterns(row.exclude),
        },
    })
}

fn chosen(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    Ok(hashes_below(folder)?.into_keys().collect())
}
