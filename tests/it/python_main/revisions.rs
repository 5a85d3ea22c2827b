//! Branch, tag, commit, pull request: each is found again under the name it was asked for by.

use anyhow::Context as _;
use hfetch_tests::python::Python;
use hfetch_tests::sim::{Kind, RepoBuilder, SimHub};
use serde_json::json;

use super::{MIB, OFFLINE, ONLINE, User, fetched_since, hashes};

#[tokio::test]
async fn every_revision_is_found_offline() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let repo = RepoBuilder::model("org/history")
        .file("config.json", "{\"version\": 1}")
        .seeded("model.safetensors", 2 * MIB, 1)
        .commit("first")
        .tag("v1.0")
        .file("config.json", "{\"version\": 2}")
        .commit("second")
        .file("notes.md", "later")
        .commit("third")
        .branch("feature/x y")
        .file("config.json", "{\"version\": 3}")
        .commit_aside("refs/pr/1", "from a fork");
    let hub = SimHub::builder().repo(repo).start()?;
    let repo = hub.repo(Kind::Model, "org/history").context("there")?;
    let second = repo.commits[1].sha.clone();
    let user = User::new(python, &hub)?;
    let daemon = user.scratch.daemon().await?;
    let revisions = ["v1.0", &second, "refs/pr/1", "feature/x y"];
    for revision in revisions {
        let id = user
            .hfctl(&["submit", "org/history", "--revision", revision, "--wait"])
            .await?;
        let id = id.lines().next().context("an id")?;
        let job = user.job(id).await?;
        let commit = repo.commit(revision).context("known")?;
        assert_eq!(job["commit"], commit.sha.as_str(), "{revision}");
        let wanted = json!({ "repo_id": "org/history", "revision": revision });
        let (path, files) = user.snapshot(wanted, OFFLINE).await?;
        assert_eq!(job["path"], path.as_str(), "{revision}");
        assert_eq!(files, hashes(commit)?, "{revision}");
    }
    assert_eq!(
        hub.journal().duplicate_bytes("model.safetensors"),
        0,
        "one blob for all"
    );
    user.expect_tidy_cache(&["v1.0", "refs/pr/1", "feature/x y"]).await?;

    let asked = hub.journal().len();
    for revision in revisions {
        let arguments = ["download", "org/history", "--revision", revision];
        user.hf(&arguments, ONLINE).await?.ok()?;
    }
    assert_eq!(
        fetched_since(&hub, asked),
        Vec::<String>::new(),
        "Python finds all of it"
    );
    // Nobody asked for main, and half an answer would be wrong.
    let main = user
        .steps(
            json!([{ "call": "snapshot_download", "args": { "repo_id": "org/history" } }]),
            OFFLINE,
        )
        .await?;
    assert_eq!(main[0]["error"], "LocalEntryNotFoundError", "{}", main[0]);
    user.hfctl(&["submit", "org/history", "--wait"]).await?;
    let (_, files) = user.snapshot(json!({ "repo_id": "org/history" }), OFFLINE).await?;
    assert_eq!(files, hashes(repo.commit("main").context("main")?)?);
    user.expect_tidy_cache(&["main"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}
