//! The tiny model is a real one: the libraries of its users load it from a cache that the Python client filled.

use hfetch_tests::python::Python;
use hfetch_tests::sim::{RepoBuilder, SimHub, write_tiny_model};
use serde_json::Value;

const LOAD: &str = include_str!("../../data/python/load.py");
const FETCH: &str = "import huggingface_hub as h; print(h.snapshot_download('hfetch/tiny-bert'))";

#[tokio::test]
async fn loads_with_the_libraries_of_its_users() {
    let Some(python) = Python::with("huggingface_hub, safetensors.numpy, tokenizers, numpy").await else {
        return;
    };
    let home = tempfile::tempdir().expect("folder");
    let source = home.path().join("source");
    write_tiny_model(&source, 1).expect("written");
    let repo = RepoBuilder::model("hfetch/tiny-bert")
        .folder(&source)
        .expect("readable");
    let hub = SimHub::builder().repo(repo).start().expect("starts");
    let home = home.path().to_str().expect("UTF-8");
    let environment = [
        ("HF_HOME", home),
        ("HF_ENDPOINT", hub.endpoint()),
        ("HF_HUB_DISABLE_XET", "1"),
    ];
    let folder = python.run(FETCH, &[], &environment).await.expect("downloads");
    let printed = python.run(LOAD, &[folder.trim()], &environment).await.expect("loads");
    let seen: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(seen["vocabulary"][0], seen["vocabulary"][1], "{seen}");
    assert_eq!(
        (&seen["vocabulary"][0], &seen["hidden"][0]),
        (&seen["vocabulary"][2], &seen["hidden"][1]),
        "{seen}"
    );
    assert_eq!(seen["tensors"], 3 + 2 + 6 * 16 + 2, "{seen}");
    let tokens: Vec<&str> = seen["tokens"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        tokens,
        [
            "[CLS]", "download", "##ing", "the", "weight", "##s", ",", "resume", "##d", "!", "[SEP]"
        ]
    );
    assert!(
        seen["spread"]
            .as_f64()
            .is_some_and(|spread| (0.019..0.021).contains(&spread)),
        "{seen}"
    );
    let size = hub.journal().bytes_sent_for("model.safetensors");
    assert!((30_000_000..60_000_000).contains(&size), "{size} bytes");
    hub.assert_clean();
}
