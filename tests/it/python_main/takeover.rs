//! A cache that Python filled: hfetch verifies it, fetches nothing that is right and everything that is wrong.

use std::fs::{File, FileTimes, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use hfetch_tests::python::Python;
use hfetch_tests::sim::{Kind, RepoBuilder, SimHub, Storage};
use serde_json::json;

use super::{MIB, OFFLINE, ONLINE, User, fetched_since, hashes};

/// Turns one bit in the middle of a file and leaves size and time of change as they were.
pub(super) fn turn_a_bit(path: &Path) -> anyhow::Result<()> {
    let file: File = OpenOptions::new().read(true).write(true).open(path)?;
    let before = file.metadata()?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, before.len() / 2)?;
    file.write_all_at(&[byte[0] ^ 1], before.len() / 2)?;
    file.set_times(FileTimes::new().set_modified(before.modified()?))?;
    let after = file.metadata()?;
    ensure!((before.len(), before.modified()?) == (after.len(), after.modified()?));
    Ok(())
}

fn repo() -> RepoBuilder {
    RepoBuilder::model("org/cached")
        .file("config.json", "{\"hidden_size\": 8}")
        .file("1_Pooling/config.json", "{}")
        .file("empty.txt", "")
        .seeded("model.safetensors", 3 * MIB, 1)
        .seeded_as("vocab/big.txt", 200_000, 2, Storage::Plain)
}

/// The blob that a file of the snapshot leads to.
fn blob(snapshot: &str, file: &str) -> anyhow::Result<PathBuf> {
    std::fs::canonicalize(Path::new(snapshot).join(file)).with_context(|| format!("no blob of {file}"))
}

#[tokio::test]
async fn a_cache_of_python_is_taken_over_and_bad_bytes_are_replaced() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let hub = SimHub::builder().repo(repo()).start()?;
    let expected = hub.repo(Kind::Model, "org/cached").context("there")?;
    let expected = hashes(expected.commit("main").context("main")?)?;
    let user = User::new(python, &hub)?;
    let wanted = json!({ "repo_id": "org/cached" });
    let (path, _) = user.snapshot(wanted.clone(), ONLINE).await?;
    let daemon = user.scratch.daemon().await?;
    let submit = ["submit", "org/cached", "--wait"];

    let asked = hub.journal().len();
    let id = user.hfctl(&submit).await?;
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new());
    let job = user.job(id.lines().next().context("an id")?).await?;
    assert_eq!(job["path"], path.as_str());
    user.expect_tidy_cache(&["org/cached"]).await?;

    // By now the daemon has vouched for these very files. Python would trust the names for ever.
    let bad = [blob(&path, "model.safetensors")?, blob(&path, "vocab/big.txt")?];
    for blob in &bad {
        turn_a_bit(blob)?;
    }
    let asked = hub.journal().len();
    user.hf(&["download", "org/cached"], ONLINE).await?.ok()?;
    assert_eq!(
        fetched_since(&hub, asked),
        Vec::<String>::new(),
        "Python notices nothing"
    );
    let id = user.hfctl(&submit).await?;
    let job = user.job(id.lines().next().context("an id")?).await?;
    assert_eq!(job["state"], "done", "{job}");
    let fetched = fetched_since(&hub, asked).join("\n");
    assert!(
        fetched.contains("model.safetensors") && fetched.contains("vocab/big.txt"),
        "{fetched}"
    );
    assert!(
        !fetched.contains("config.json") && !fetched.contains("empty.txt"),
        "{fetched}"
    );
    assert_eq!([blob(&path, "model.safetensors")?, blob(&path, "vocab/big.txt")?], bad);
    let (_, files) = user.snapshot(wanted, OFFLINE).await?;
    assert_eq!(files, expected);
    user.expect_tidy_cache(&["org/cached"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}

#[tokio::test]
async fn what_is_missing_in_a_cache_of_python_is_added() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let hub = SimHub::builder().repo(repo()).start()?;
    let user = User::new(python, &hub)?;
    // One file, and a mark that the Hub has no such other one, which would hide it.
    user.hf(&["download", "org/cached", "model.safetensors"], ONLINE)
        .await?
        .ok()?;
    let repo = hub.repo(Kind::Model, "org/cached").context("there")?;
    let commit = repo.commit("main").context("main")?;
    let mark = format!("models--org--cached/.no_exist/{}/config.json", commit.sha);
    let mark = user.scratch.cache().join(mark);
    std::fs::create_dir_all(mark.parent().context("a folder")?)?;
    std::fs::write(&mark, "")?;

    let daemon = user.scratch.daemon().await?;
    let asked = hub.journal().len();
    user.hfctl(&["submit", "org/cached", "--wait"]).await?;
    let fetched = fetched_since(&hub, asked).join("\n");
    assert!(
        !fetched.contains("model.safetensors") && fetched.contains("vocab/big.txt"),
        "{fetched}"
    );
    assert!(!mark.exists());
    let steps = json!([{
        "call": "try_to_load_from_cache",
        "args": { "repo_id": "org/cached", "filename": "config.json" },
    }]);
    let found = user.steps(steps, OFFLINE).await?;
    assert!(
        found[0]["ok"]
            .as_str()
            .is_some_and(|path| path.ends_with("/config.json")),
        "{}",
        found[0]
    );
    let (_, files) = user.snapshot(json!({ "repo_id": "org/cached" }), OFFLINE).await?;
    assert_eq!(files, hashes(commit)?);
    user.expect_tidy_cache(&["org/cached"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}
