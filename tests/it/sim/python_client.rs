//! The proof that the simulation is faithful: the real Python client works against it and raises the right errors.

use std::path::Path;

use hfetch_tests::python::Python;
use hfetch_tests::sim::{Gated, Host, PlainShape, RepoBuilder, SimHub, Storage, Switches, Token, sha256_hex};
use serde_json::{Value, json};

const STEPS: &str = include_str!("../../data/python/steps.py");
const AWKWARD: [&str; 9] = [
    "a b/c#d?e&f=g+h%i~j@k:l,é[1](2)'",
    ".hidden/x.y",
    "deep/er/and/deeper/still/file.txt",
    "100%.txt",
    "a+b.txt",
    "q?.txt",
    "ü/日本.txt",
    "brackets[1].bin",
    "empty file.txt",
];

/// Runs steps in one Python process; one result a step.
async fn run(python: &Python, hub: &SimHub, home: &Path, steps: Value, more: &[(&str, &str)]) -> Vec<Value> {
    let home = home.to_str().expect("UTF-8");
    let mut environment = vec![
        ("HOME", home),
        ("HF_HOME", home),
        ("HF_ENDPOINT", hub.endpoint()),
        ("HF_HUB_DISABLE_XET", "1"),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("HF_HUB_DISABLE_UPDATE_CHECK", "1"),
    ];
    environment.extend_from_slice(more);
    let printed = python
        .run(STEPS, &[&steps.to_string()], &environment)
        .await
        .expect("python runs");
    serde_json::from_str(printed.lines().last().unwrap_or_default()).expect("a JSON list")
}

fn awkward() -> RepoBuilder {
    let mut repo = RepoBuilder::dataset("org/names");
    for name in AWKWARD {
        let content = if name.starts_with("empty") { "" } else { name };
        repo = repo.file(name, content.to_owned());
    }
    repo
}

fn files(result: &Value) -> &serde_json::Map<String, Value> {
    result["ok"]["files"]
        .as_object()
        .unwrap_or_else(|| panic!("not a snapshot: {result}"))
}

#[tokio::test]
async fn downloads_every_kind_of_file_and_reads_them_offline() {
    let Some(python) = Python::with_huggingface_hub().await else {
        return;
    };
    let home = tempfile::tempdir().expect("folder");
    let mut many = RepoBuilder::model("org/many").seeded("model.safetensors", 12_000_000, 9);
    for number in 0..25 {
        many = many.file(
            &format!("part{}/file{number:02}.txt", number % 3),
            format!("file {number}"),
        );
    }
    let many = many
        .commit("first")
        .tag("v1")
        .file("later.txt", "later")
        .commit("second")
        .branch("dev");
    let many = many
        .seeded_as("pr.txt", 3000, 4, Storage::Plain)
        .commit_aside("refs/pr/7", "from a fork");
    let hub = SimHub::builder().repo(many).repo(awkward()).start().expect("starts");
    hub.switch(|switches| {
        switches.page_size = 10;
        switches.honour_gzip = true;
    });
    let steps = json!([
        { "call": "snapshot_download", "args": { "repo_id": "org/many" } },
        { "call": "snapshot_download", "args": { "repo_id": "org/many", "revision": "v1" } },
        { "call": "snapshot_download", "args": { "repo_id": "org/many", "revision": "refs/pr/7" } },
        { "call": "snapshot_download", "args": { "repo_id": "org/names", "repo_type": "dataset" } },
        { "call": "hf_hub_download", "args": { "repo_id": "org/many", "filename": "part1/file01.txt" } },
        { "call": "api.list_repo_refs", "args": { "repo_id": "org/many", "include_pull_requests": true } },
        { "call": "api.get_paths_info", "args": { "repo_id": "org/many", "paths": ["later.txt", "part1", "nope"] } },
        { "call": "api.list_models", "args": { "search": "many", "full": true } },
    ]);
    let results = run(&python, &hub, home.path(), steps, &[]).await;
    assert_eq!(files(&results[0]).len(), 27, "{}", results[0]);
    assert_eq!(files(&results[1]).len(), 26);
    assert_eq!(files(&results[2]).len(), 28);
    let expected = hub.repo(hfetch_tests::sim::Kind::Model, "org/many").expect("there");
    let model = &expected.commit("main").expect("main").files["model.safetensors"];
    assert_eq!(
        files(&results[0])["model.safetensors"],
        model.content.sha256().expect("hash")
    );
    for name in AWKWARD {
        let content = if name.starts_with("empty") { "" } else { name };
        assert_eq!(files(&results[3])[name], sha256_hex(content.as_bytes()), "{name}");
    }
    assert!(
        results[4]["ok"]
            .as_str()
            .is_some_and(|path| path.ends_with("part1/file01.txt")),
        "{}",
        results[4]
    );
    assert!(
        results[5]["ok"]["pull_requests"]
            .as_str()
            .is_some_and(|list| list.contains("refs/pr/7")),
        "{}",
        results[5]
    );
    assert_eq!(results[6]["ok"].as_array().map(Vec::len), Some(2), "{}", results[6]);
    assert_eq!(results[7]["ok"][0]["id"], "org/many", "{}", results[7]);
    let pages = hub.journal().count(|record| record.path.contains("/tree/"));
    assert!(pages >= 4 * 3, "several pages of each tree were asked for: {pages}");
    hub.assert_clean();

    let asked = hub.journal().len();
    let offline = json!([
        { "call": "snapshot_download", "args": { "repo_id": "org/many" } },
        { "call": "snapshot_download", "args": { "repo_id": "org/names", "repo_type": "dataset" } },
    ]);
    let results_offline = run(&python, &hub, home.path(), offline, &[("HF_HUB_OFFLINE", "1")]).await;
    assert_eq!(files(&results_offline[0]), files(&results[0]));
    assert_eq!(files(&results_offline[1]), files(&results[3]));
    assert_eq!(hub.journal().len(), asked, "offline asks nothing");
}

#[tokio::test]
async fn raises_the_errors_that_the_hub_raises() {
    let Some(python) = Python::with_huggingface_hub().await else {
        return;
    };
    let home = tempfile::tempdir().expect("folder");
    let small = |id: &str| {
        RepoBuilder::model(id)
            .file("config.json", "{}")
            .seeded("model.bin", 5000, 1)
    };
    let hub = SimHub::builder()
        .repo(small("org/open").former_id("oldname").former_id("old-org/old-name"))
        .repo(small("org/gated").gated(Gated::Manual, &["alice"]))
        .repo(small("org/secret").private(&["alice"]))
        .repo(small("org/closed").disabled())
        .token("hf_alice", "alice")
        .token("hf_bob", "bob")
        .token_as("hf_old", Token::revoked("alice"))
        .start()
        .expect("starts");
    let snapshot = |repo: &str, token: Value| {
        json!({
            "call": "snapshot_download", "args": { "repo_id": repo, "token": token },
        })
    };
    let file = |repo: &str, name: &str, revision: &str| {
        json!({
            "call": "hf_hub_download",
            "args": { "repo_id": repo, "filename": name, "revision": revision, "token": false },
        })
    };
    let expectations = [
        (snapshot("org/open", json!(false)), ""),
        (snapshot("oldname", json!(false)), ""),
        (snapshot("old-org/old-name", json!(false)), ""),
        (snapshot("Org/Open", json!(false)), ""),
        (snapshot("org/gated", json!(false)), "GatedRepoError"),
        (snapshot("org/gated", json!("hf_bob")), "GatedRepoError"),
        (snapshot("org/gated", json!("hf_alice")), ""),
        // Over plain http the Python client does not know the 401 for what it is: its pattern wants `https://`.
        (snapshot("org/secret", json!(false)), "HfHubHTTPError"),
        (snapshot("org/secret", json!("hf_bob")), "RepositoryNotFoundError"),
        (snapshot("org/secret", json!("hf_alice")), ""),
        (snapshot("org/nothing", json!(false)), "HfHubHTTPError"),
        (snapshot("org/nothing", json!("hf_alice")), "RepositoryNotFoundError"),
        (
            json!({ "call": "model_info", "args": { "repo_id": "org/open", "token": "hf_old" } }),
            "HfHubHTTPError",
        ),
        (file("org/open", "nope.txt", "main"), "EntryNotFoundError"),
        (file("org/open", "config.json", "nope"), "RevisionNotFoundError"),
        (file("org/closed", "config.json", "main"), "DisabledRepoError"),
        (json!({ "call": "whoami", "args": { "token": "hf_alice" } }), ""),
        (
            json!({ "call": "auth_check", "args": { "repo_id": "org/gated", "token": "hf_bob" } }),
            "GatedRepoError",
        ),
    ];
    let steps = Value::Array(expectations.iter().map(|(step, _)| step.clone()).collect());
    let results = run(&python, &hub, home.path(), steps, &[]).await;
    for ((step, expected), result) in expectations.iter().zip(&results) {
        let error = result["error"].as_str().unwrap_or_default();
        let fits = error == *expected || (*expected == "EntryNotFoundError" && error == "RemoteEntryNotFoundError");
        assert!(fits, "{step}\nexpected {expected:?}, got {result}");
    }
    assert!(hub.journal().authorizations(Host::Cdn).is_empty());
    hub.assert_clean();
}

#[tokio::test]
async fn downloads_through_an_olah_and_in_the_old_shape() {
    let Some(python) = Python::with_huggingface_hub().await else {
        return;
    };
    let repo = RepoBuilder::model("org/m")
        .file("config.json", "{\"a\":1}")
        .seeded("model.bin", 100_000, 1);
    let olah = SimHub::builder()
        .repo(repo.clone())
        .switches(Switches::olah())
        .start()
        .expect("starts");
    let old = Switches {
        plain: PlainShape::Direct,
        ..Switches::default()
    };
    let old = SimHub::builder().repo(repo).switches(old).start().expect("starts");
    for hub in [&olah, &old] {
        let home = tempfile::tempdir().expect("folder");
        let steps = json!([{ "call": "snapshot_download", "args": { "repo_id": "org/m" } }]);
        let results = run(&python, hub, home.path(), steps, &[]).await;
        assert_eq!(files(&results[0]).len(), 2, "{}", results[0]);
        hub.assert_clean();
    }
}
