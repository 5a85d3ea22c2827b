//! What is on disk: `hfctl cache`, and what Python makes of what is left.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::Context as _;
use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    python::Python,
    sim::{Content, Journal, Kind, RepoBuilder, SimHub, Storage, StoredFile},
};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const BIG: &str = "model.safetensors";
/// Repositories, revisions and warnings, as huggingface_hub sees them; and the files of `main`, offline.
const SCAN: &str = r#"
import json, sys
from huggingface_hub import scan_cache_dir, snapshot_download
seen = scan_cache_dir()
revisions = sorted(r.commit_hash for repo in seen.repos for r in repo.revisions)
path = snapshot_download("org/model", local_files_only=True)
print(json.dumps({"revisions": revisions, "size": seen.size_on_disk,
                  "warnings": [str(w) for w in seen.warnings], "path": path}))
"#;

fn hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(
            RepoBuilder::model("org/model")
                .seeded(BIG, 3 * MIB, 1)
                .file("config.json", "{}"),
        )
        .repo(
            RepoBuilder::dataset("org/data")
                .seeded("a.parquet", 2 * MIB, 2)
                .file("README.md", "# data"),
        )
        .start()
}

async fn list(scratch: &Scratch) -> anyhow::Result<Vec<Value>> {
    let repos = scratch.hfctl(["cache", "list", "--json"]).await?.json()?;
    Ok(repos.as_array().context("a list")?.clone())
}

fn commit_of(job: &Value) -> anyhow::Result<String> {
    Ok(job["commit"].as_str().context("a commit")?.to_owned())
}

/// Two revisions of the model, of which `main` means the second; `config.json` differs, the large file does not.
async fn two_revisions(hub: &SimHub, scratch: &Scratch) -> anyhow::Result<(String, String)> {
    let first = scratch
        .hfctl(["submit", "org/model", "--wait", "--json"])
        .await?
        .json()?;
    let file = StoredFile {
        content: Content::memory(b"{\"second\": true}".to_vec()).into(),
        storage: Storage::Plain,
    };
    hub.change_repo(Kind::Model, "org/model", |repo| {
        repo.push("main", "change", |files| {
            drop(files.insert("config.json".to_owned(), file))
        });
    })?;
    let second = scratch
        .hfctl(["submit", "org/model", "--wait", "--json"])
        .await?
        .json()?;
    Ok((commit_of(&first)?, commit_of(&second)?))
}

#[tokio::test]
async fn python_reads_what_a_prune_leaves() -> anyhow::Result<()> {
    let Some(python) = Python::with_huggingface_hub().await else {
        return Ok(());
    };
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (first, second) = two_revisions(&hub, &scratch).await?;
    let model = list(&scratch).await?.remove(0);
    assert_eq!(model["revisions"].as_array().map(Vec::len), Some(2), "{model}");
    assert_eq!(model["bytes"], 3 * MIB + 2 + 16, "the large file is shared: {model}");
    // It tells first, and removes when told to.
    let told = scratch.hfctl(["cache", "prune"]).await?.ok()?;
    assert!(
        told.contains("would remove") && told.contains(&first[..12]) && !told.contains(&second[..12]),
        "{told}"
    );
    let pruned = scratch.hfctl(["cache", "prune", "--yes", "--json"]).await?.json()?;
    assert_eq!(pruned[0]["revisions"], serde_json::json!([first]), "{pruned}");
    assert_eq!(
        (&pruned[0]["blobs_removed"], &pruned[0]["bytes_freed"]),
        (&1.into(), &2.into()),
        "{pruned}"
    );
    let cache = scratch.cache().display().to_string();
    let offline = [("HF_HUB_CACHE", cache.as_str()), ("HF_HUB_OFFLINE", "1")];
    let seen: Value = serde_json::from_str(&python.run(SCAN, &[], &offline).await?)?;
    assert_eq!(seen["revisions"], serde_json::json!([second]), "{seen}");
    assert_eq!(
        (&seen["warnings"], &seen["size"]),
        (&serde_json::json!([]), &(3 * MIB + 16).into()),
        "{seen}"
    );
    let path = std::path::Path::new(seen["path"].as_str().context("a path")?);
    assert_eq!(fs::read(path.join("config.json"))?, b"{\"second\": true}");
    assert_eq!(fs::metadata(path.join(BIG))?.len(), 3 * MIB);
    scratch.hfctl(["cache", "verify"]).await?.ok()?;
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

#[tokio::test]
async fn pins_jobs_and_open_files_keep_theirs() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (first, second) = two_revisions(&hub, &scratch).await?;
    scratch
        .hfctl(["cache", "pin", &format!("org/model@{}", &first[..8])])
        .await?
        .ok()?;
    let pruned = scratch.hfctl(["cache", "prune", "--yes"]).await?;
    assert!(
        pruned.stderr.contains("nothing to remove"),
        "{}{}",
        pruned.stdout,
        pruned.stderr
    );
    let kept = scratch
        .hfctl(["cache", "rm", "org/model", "--yes", "--json"])
        .await?
        .json()?;
    assert_eq!(kept[0]["revisions"], serde_json::json!([second]), "{kept}");
    assert_eq!(kept[0]["kept"][0]["why"], "it is pinned", "{kept}");
    scratch.hfctl(["cache", "unpin", "org/model"]).await?.ok()?;
    // A process that has mapped or opened a file keeps its revision.
    let snapshot = scratch.cache().join("models--org--model/snapshots").join(&first);
    let reader = fs::File::open(snapshot.join(BIG))?;
    let kept = scratch.hfctl(["cache", "rm", "org/model", "--yes"]).await?.ok()?;
    assert!(kept.contains("open") && snapshot.exists(), "{kept}");
    drop(reader);
    // So does a job that is not over, be it paused: of its revision there is a file already.
    scratch
        .hfctl(["download", "org/data", "README.md", "--dataset"])
        .await?
        .ok()?;
    let gate = hub.hold_bodies("a.parquet", 0);
    let job = scratch.submit(&["org/data", "--dataset"]).await?;
    gate.reached().await;
    scratch.hfctl(["pause", &job]).await?.ok()?;
    scratch.until(&job, "paused").await?;
    let kept = scratch.hfctl(["cache", "rm", "datasets/org/data", "--yes"]).await?;
    assert!(kept.stdout.contains("not over"), "{kept:?}");
    let data = scratch.cache().join("datasets--org--data/snapshots");
    assert_eq!(fs::read_dir(&data)?.count(), 1, "the revision is gone");
    gate.release();
    scratch.hfctl(["resume", &job]).await?.ok()?;
    scratch.wait_done(&[&job]).await?;
    scratch
        .hfctl(["cache", "rm", "org/model", "datasets/org/data", "--yes"])
        .await?
        .ok()?;
    assert!(list(&scratch).await?.is_empty());
    // And all of it can come again.
    scratch.hfctl(["download", "org/model"]).await?.ok()?;
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

#[tokio::test]
async fn what_changed_on_the_disk_is_told_and_fetched_again() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let path = scratch.hfctl(["download", "org/model"]).await?.ok()?;
    let blob = fs::canonicalize(std::path::Path::new(path.trim()).join(BIG))?;
    let mut bytes = fs::read(&blob)?;
    bytes[1_000_000] ^= 1;
    fs::remove_file(&blob)?;
    fs::write(&blob, &bytes)?;
    let ran = scratch.hfctl(["cache", "verify", "org/model"]).await?;
    assert!(
        ran.stdout.contains("wrong") && ran.stdout.contains(BIG),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    ran.exits(1)?;
    scratch.hfctl(["download", "org/model"]).await?.ok()?;
    eventually("a sound cache", async || {
        let ran = scratch
            .hfctl(["cache", "verify", "org/model"])
            .await
            .map_err(|error| error.to_string())?;
        if ran.code == 0 { Ok(()) } else { Err(ran.stdout) }
    })
    .await?;
    scratch.hfctl(["cache", "verify", "org/none"]).await?.exits(4)?;
    daemon.stop().await?;
    // What is wrong is kept for whoever wants to look at it.
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn what_another_repository_has_is_not_fetched() -> anyhow::Result<()> {
    let tune = |id: &str| RepoBuilder::model(id).seeded(BIG, 3 * MIB, 1);
    let hub = SimHub::builder()
        .repo(tune("org/base"))
        .repo(tune("org/tune").file("config.json", "{\"tune\": true}"))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // One connection: those that help each other bring some bytes twice.
    scratch.hfctl(["download", "org/base", "-x", "1"]).await?.ok()?;
    let came = hub.journal().bytes_sent_for(BIG);
    assert_eq!(came, 3 * MIB, "{}", hub.journal().text());
    let told = scratch
        .hfctl(["submit", "org/tune", "--dry-run", "--json"])
        .await?
        .json()?;
    assert_eq!(told["bytes_to_fetch"], 14, "{told:#}");
    // Nor does it need a yes.
    let tuned = scratch
        .hfctl(["submit", "org/tune", "--hold-above", "1MB", "--wait", "--json"])
        .await?
        .json()?;
    let plain = scratch.path("plain");
    let to = plain.to_string_lossy();
    scratch
        .hfctl(["download", "org/tune", "--local-dir", &to])
        .await?
        .ok()?;
    assert_eq!(hub.journal().bytes_sent_for(BIG), came, "{}", hub.journal().text());
    // In the cache it is the same file under two names, in a folder of one's own another one.
    let in_cache = fs::canonicalize(std::path::Path::new(tuned["path"].as_str().context("a path")?).join(BIG))?;
    let plain = plain.join(BIG);
    assert_eq!(fs::metadata(&in_cache)?.nlink(), 2);
    assert_eq!(fs::metadata(&plain)?.nlink(), 1);
    assert_eq!(fs::read(&plain)?, fs::read(&in_cache)?);
    // A name more in one repository is not one in several.
    let base = scratch.cache().join("models--org--base/blobs");
    let third = base.join("0".repeat(40));
    for has_third in [false, true] {
        if has_third {
            fs::hard_link(&in_cache, &third)?;
        }
        let listed = list(&scratch).await?;
        let of = |key: &str| {
            listed
                .iter()
                .map(|repo| repo[key].as_u64().unwrap_or(0))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("bytes"), [3 * MIB, 3 * MIB + 14], "{listed:#?}");
        assert_eq!(of("shared_bytes"), [0, 3 * MIB], "{listed:#?}");
    }
    fs::remove_file(&third)?;
    let said = scratch.hfctl(["cache", "list"]).await?.stderr;
    anyhow::ensure!(said.contains("2 repositories, 3.0 MiB (3.0 MiB of them"), "{said}");
    // What goes for one repository stays for the other, also for who reads it there meanwhile.
    let reader = fs::File::open(&in_cache)?;
    let removed = scratch.hfctl(["cache", "rm", "org/base", "--yes"]).await?.ok()?;
    assert_eq!(fs::metadata(&in_cache)?.nlink(), 1, "{removed}");
    drop(reader);
    scratch.hfctl(["cache", "verify", "org/tune"]).await?.ok()?;
    // And what is wrong there is not believed: it is fetched.
    let spoilt = fs::read(&in_cache)?.iter().map(|byte| !byte).collect::<Vec<_>>();
    fs::write(&in_cache, spoilt)?;
    scratch.hfctl(["download", "org/base", "-x", "1"]).await?.ok()?;
    assert_eq!(hub.journal().bytes_sent_for(BIG), 2 * came, "{}", hub.journal().text());
    daemon.stop().await?;
    // Its wrong twin waits for the next download of that repository.
    let faults = hfetch_tests::tree::faults(&scratch.cache())?;
    assert!(
        !faults.is_empty() && faults.iter().all(|fault| fault.contains("org--tune")),
        "{faults:#?}"
    );
    Ok(())
}

/// Another program writes into a blob: its names stay, one byte is another.
fn spoil(blob: &std::path::Path) -> anyhow::Result<()> {
    let mut bytes = fs::read(blob)?;
    bytes[7] ^= 1;
    Ok(fs::write(blob, bytes)?)
}

/// It is spoilt for all of them at a time.
#[tokio::test]
async fn of_a_wrong_file_that_repositories_share_all_are_told() -> anyhow::Result<()> {
    let repo = |id: &str| RepoBuilder::model(id).seeded(BIG, 3 * MIB, 1);
    let hub = SimHub::builder()
        .repo(repo("org/base"))
        .repo(repo("org/tune"))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["download", "org/base"]).await?.ok()?;
    let path = scratch.hfctl(["download", "org/tune"]).await?.ok()?;
    let blob = fs::canonicalize(std::path::Path::new(path.trim()).join(BIG))?;
    spoil(&blob)?;
    let said = scratch.hfctl(["download", "org/base"]).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    anyhow::ensure!(said.stderr.contains("it has other names"), "{}", said.stderr);
    let looked = scratch.hfctl(["cache", "verify"]).await?;
    assert_eq!(looked.code, 1, "{}", looked.stdout);
    anyhow::ensure!(looked.stdout.contains("org/tune"), "{}", looked.stdout);
    let said = scratch.hfctl(["download", "org/tune"]).await?;
    assert_eq!(said.code, 0, "{}", said.stderr);
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn what_came_is_not_given_up_for_a_wrong_file_elsewhere() -> anyhow::Result<()> {
    const TUNED: &str = "tuned.safetensors";
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/base").seeded(BIG, 12 * MIB, 1))
        .repo(RepoBuilder::model("org/tune").seeded(TUNED, 12 * MIB, 1))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let base = scratch
        .hfctl(["submit", "org/base", "--wait", "--json"])
        .await?
        .json()?;
    let blob = fs::canonicalize(std::path::Path::new(base["path"].as_str().context("a path")?).join(BIG))?;
    spoil(&blob)?;
    let gate = hub.hold_bodies(TUNED, 8 * MIB);
    let id = scratch.submit(&["org/tune", "-x", "1"]).await?;
    let held = |journal: &Journal| journal.bytes_sent_for(TUNED) >= 8 * MIB;
    hub.journal().wait_for("two thirds of it", held).await;
    check::taken(&hub).await?;
    daemon.stop().await?;
    let asked = hub.journal().len();
    gate.release();
    let daemon = scratch.daemon().await?;
    scratch.wait_done(&[&id]).await?;
    assert_eq!(check::sent_again(&hub, TUNED, asked), 0, "{}", hub.journal().text());
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_file_elsewhere_hides_no_right_one() -> anyhow::Result<()> {
    let repo = |id: &str| RepoBuilder::model(id).seeded(BIG, 3 * MIB, 1);
    let hub = SimHub::builder()
        .repo(repo("org/a"))
        .repo(repo("org/b"))
        .repo(repo("org/c"))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let download = async |id: &str, more: &[&str]| {
        let args = ["submit", id, "--wait", "--json"]
            .into_iter()
            .chain(more.iter().copied());
        let job = scratch.hfctl(args).await?.json()?;
        anyhow::Ok(fs::canonicalize(
            std::path::Path::new(job["path"].as_str().context("a path")?).join(BIG),
        )?)
    };
    let first = download("org/a", &[]).await?;
    // A file of its own, not another name of the first.
    let second = download("org/b", &["--force-download"]).await?;
    spoil(&first)?;
    let came = hub.journal().bytes_sent_for(BIG);
    let third = download("org/c", &[]).await?;
    assert_eq!(hub.journal().bytes_sent_for(BIG), came, "{}", hub.journal().text());
    assert_eq!(fs::metadata(&third)?.ino(), fs::metadata(&second)?.ino());
    daemon.stop().await?;
    Ok(())
}
