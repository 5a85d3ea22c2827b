//! `--local-dir`: Python trusts what hfetch put there, and the other way round.

use anyhow::Context as _;
use hfetch_tests::python::Python;
use hfetch_tests::sim::{Kind, RepoBuilder, SimHub, Storage, StoredFile};
use serde_json::json;

use super::model::{MINILM, python_and_minilm};
use super::{MIB, OFFLINE, ONLINE, User, fetched_since, hashes, hashes_below};

#[tokio::test]
async fn python_fetches_nothing_into_a_local_dir_of_ours() -> anyhow::Result<()> {
    let Some((python, source)) = python_and_minilm().await? else {
        return Ok(());
    };
    let hub = SimHub::builder()
        .repo(RepoBuilder::model(MINILM).folder(&source)?)
        .start()?;
    let user = User::new(python, &hub)?;
    let folder = user.scratch.path("models/minilm");
    let place = folder.to_str().context("UTF-8")?;
    let submit = [MINILM, "--local-dir", place];
    let job = user
        .submit_and_kill_twice(&hub, &submit, "model.safetensors", 25 * MIB)
        .await?;
    assert_eq!(job["path"], place);
    let source = hashes_below(&source)?;
    assert_eq!(hashes_below(&folder)?, source);

    let asked = hub.journal().len();
    let again = ["download", MINILM, "--local-dir", place];
    let told = user.hf(&again, ONLINE).await?.ok()?;
    assert!(told.contains(place), "{told}");
    assert!(hub.journal().len() > asked, "the Hub was asked");
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new(), "and gave no file");
    let (path, files) = user
        .snapshot(json!({ "repo_id": MINILM, "local_dir": place }), OFFLINE)
        .await?;
    assert_eq!((path.as_str(), &files), (place, &source));
    let verify = ["cache", "verify", MINILM, "--local-dir", place];
    user.hf(&[&verify[..], &["--fail-on-extra-files"]].concat(), ONLINE)
        .await?
        .ok()?;

    // A commit that changes one file: what hfetch wrote of the others still holds.
    push(&hub, MINILM, "config.json", b"{\"changed\": 1}")?;
    let asked = hub.journal().len();
    user.hf(&again, ONLINE).await?.ok()?;
    let fetched = fetched_since(&hub, asked);
    assert!(fetched.iter().all(|line| line.contains("config.json")), "{fetched:#?}");
    assert!(!fetched.is_empty());

    // And now hfetch over what Python wrote.
    let daemon = user.scratch.daemon().await?;
    let asked = hub.journal().len();
    user.hfctl(&["submit", MINILM, "--local-dir", place, "--wait"]).await?;
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new());
    daemon.stop().await?;
    let head = hub.repo(Kind::Model, MINILM).context("there")?;
    assert_eq!(hashes_below(&folder)?, hashes(head.commit("main").context("there")?)?);
    hub.assert_clean();
    Ok(())
}

#[tokio::test]
async fn a_local_dir_of_python_is_taken_over() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let repo = RepoBuilder::model("org/local")
        .file("config.json", "{}")
        .file("sub dir/vocab #1.txt", "a\nb\n")
        .file("empty.txt", "")
        .seeded("weights/model.safetensors", 3 * MIB, 5);
    let hub = SimHub::builder().repo(repo).start()?;
    let user = User::new(python, &hub)?;
    let folder = user.scratch.path("local");
    let place = folder.to_str().context("UTF-8")?;
    user.hf(&["download", "org/local", "--local-dir", place], ONLINE)
        .await?
        .ok()?;
    let daemon = user.scratch.daemon().await?;
    let submit = ["submit", "org/local", "--local-dir", place, "--wait"];
    let asked = hub.journal().len();
    user.hfctl(&submit).await?;
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new());

    // A file that the user touched, and one whose bytes went bad without a change of size.
    let expected = hashes_below(&folder)?;
    std::fs::write(folder.join("config.json"), "[]")?;
    super::takeover::turn_a_bit(&folder.join("weights/model.safetensors"))?;
    let asked = hub.journal().len();
    user.hfctl(&submit).await?;
    assert_eq!(hashes_below(&folder)?, expected);
    let fetched = fetched_since(&hub, asked).join("\n");
    assert!(
        fetched.contains("config.json") && fetched.contains("model.safetensors"),
        "{fetched}"
    );
    assert!(!fetched.contains("vocab") && !fetched.contains("empty"), "{fetched}");
    let asked = hub.journal().len();
    user.hf(&["download", "org/local", "--local-dir", place], ONLINE)
        .await?
        .ok()?;
    assert_eq!(fetched_since(&hub, asked), Vec::<String>::new());
    daemon.stop().await?;
    hub.assert_clean();
    Ok(())
}

fn push(hub: &SimHub, repo: &str, path: &str, bytes: &'static [u8]) -> anyhow::Result<()> {
    let file = StoredFile {
        content: hfetch_tests::sim::Content::memory(bytes).into(),
        storage: Storage::Plain,
    };
    hub.change_repo(Kind::Model, repo, |repo| {
        repo.push("main", "change", |files| drop(files.insert(path.to_owned(), file)));
    })
}
