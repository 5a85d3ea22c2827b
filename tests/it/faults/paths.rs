//! Names in a repository that lead out of its folder.

use std::{fs, path::PathBuf};

use hfetch_tests::{
    check,
    sim::{RepoBuilder, SimHub},
    tree::beside_the_daemon,
};

use super::{at_once, failed, repo};

async fn refused(build: impl FnOnce(RepoBuilder) -> RepoBuilder) -> anyhow::Result<()> {
    let hub = SimHub::builder().repo(build(repo())).start()?;
    for local in [false, true] {
        let scratch = super::resigning(hub.endpoint())?;
        let folder = scratch.path("there");
        fs::create_dir(&folder)?;
        let daemon = scratch.daemon().await?;
        let before = beside_the_daemon(&scratch)?;
        let mut args = vec!["org/m"];
        if local {
            args.extend(["--local-dir", folder.to_str().unwrap_or_default()]);
        }
        let job = failed(&scratch, &args).await?;
        anyhow::ensure!(job["failure"]["kind"] == "unsafe_path", "{job}");
        daemon.stop().await?;
        let repo = scratch.cache().join("models--org--m");
        let allowed = |path: &PathBuf| match local {
            true => path.starts_with(&folder),
            false => {
                path.starts_with(&repo) || *path == scratch.cache() || path.starts_with(scratch.cache().join(".locks"))
            }
        };
        let elsewhere: Vec<_> = beside_the_daemon(&scratch)?
            .into_keys()
            .filter(|path| !before.contains_key(path) && !allowed(path))
            .collect();
        anyhow::ensure!(elsewhere.is_empty(), "written: {elsewhere:?}");
        check::sound(&scratch, &[&hub])?;
        anyhow::ensure!(
            hub.journal().body_bytes(hfetch_tests::sim::Host::Cdn) == 0,
            "bytes were fetched"
        );
    }
    Ok(())
}

async fn named(name: String) -> anyhow::Result<()> {
    refused(|repo| repo.plain(&name, b"boo".to_vec())).await
}

#[tokio::test]
async fn names_that_lead_out() {
    let names = [
        "../x",
        "../../../../../../../../tmp/hfetch-evil",
        "a/../../x",
        "a/..",
        "..",
        "/tmp/hfetch-evil",
        "/etc/hfetch-evil",
        "C:\\x",
        "a\\..\\x",
        "a//x",
        "./x",
        "a/./x",
        "nul\0byte",
        "line\nbreak",
    ];
    at_once(names.map(|name| (name, named(name.to_owned())))).await;
    assert!(!PathBuf::from("/tmp/hfetch-evil").exists());
}

#[tokio::test]
async fn names_that_no_file_can_have() {
    at_once([
        ("300 bytes", named("n".repeat(300))),
        ("300 bytes below", named(format!("a/{}", "n".repeat(300)))),
    ])
    .await;
}

#[tokio::test]
async fn names_of_our_own() {
    let names = [".cache/huggingface/x", ".cache/huggingface/download/x.metadata"];
    at_once(names.map(|name| (name, named(name.to_owned())))).await;
}

#[tokio::test]
async fn a_file_that_is_a_folder_too() {
    let both = |repo: RepoBuilder| repo.plain("both", b"file".to_vec()).plain("both/x", b"below".to_vec());
    at_once([("both", refused(both))]).await;
}
