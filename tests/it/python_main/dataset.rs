//! A data set of nested folders, read back with the libraries of its users.

use hfetch_tests::python::Python;
use hfetch_tests::sim::{RepoBuilder, SimHub};
use serde_json::json;

use super::{MIB, OFFLINE, ONLINE, User, fetched_since, hashes_below};

const MAKE: &str = include_str!("../../data/python/make_dataset.py");
const READ: &str = include_str!("../../data/python/read_dataset.py");

#[tokio::test]
async fn a_data_set_survives_two_kills_and_is_read_offline() -> anyhow::Result<()> {
    let Some(python) = Python::with("huggingface_hub, numpy, pyarrow.parquet").await else {
        return Ok(());
    };
    let made = tempfile::tempdir()?;
    let source = made.path().join("letters");
    let folder = source.display().to_string();
    let written = python.run(MAKE, &[&folder], &[]).await?;
    let hub = SimHub::builder()
        .repo(RepoBuilder::dataset("org/letters").folder(&source)?)
        .start()?;
    let user = User::new(python, &hub)?;
    let big = "data/train/en/part-00001.parquet";
    let job = user
        .submit_and_kill_twice(&hub, &["datasets/org/letters"], big, MIB)
        .await?;
    assert_eq!(job["repo_type"], "dataset");
    let asked = hub.journal().len();

    let wanted = json!({ "repo_id": "org/letters", "repo_type": "dataset" });
    let (path, files) = user.snapshot(wanted, OFFLINE).await?;
    assert_eq!(job["path"], path.as_str());
    assert_eq!(files, hashes_below(&source)?);
    user.expect_tidy_cache(&["org/letters"]).await?;
    let read = user
        .python
        .output(READ, &[&path], user.environment(OFFLINE))
        .await?
        .ok()?;
    assert_eq!(read, written, "rows and sums as written");
    assert_eq!(hub.journal().len(), asked, "nobody asked the Hub");

    let verify = ["cache", "verify", "org/letters", "--repo-type", "dataset"];
    let options = ["--fail-on-missing-files", "--fail-on-extra-files"];
    user.hf(&[&verify[..], &options[..]].concat(), ONLINE).await?.ok()?;
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new());
    hub.assert_clean();
    Ok(())
}
