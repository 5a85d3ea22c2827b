//! A token goes to one origin, and is nowhere else.

use std::{fs, path::Path};

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Gated, Host, RepoBuilder, SimHub, Token},
};

const CANARY: &str = "hf_canaryCANARYcanary0123456789";

fn gated_hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(
            RepoBuilder::model("org/gated")
                .seeded("model.safetensors", 20 << 20, 3)
                .plain("config.json", b"{}".to_vec())
                .gated(Gated::Manual, &["alice"]),
        )
        .token_as(CANARY, Token::read("alice"))
        .start()
}

#[tokio::test]
async fn a_gated_repository_comes_with_the_callers_token_and_the_token_stays_home() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut heard = String::new();
    // A second run takes everything over, a third one by file.
    let token_file = scratch.path("token");
    fs::write(&token_file, CANARY)?;
    for args in [
        vec!["download", "org/gated"],
        vec!["download", "org/gated", "--json"],
        vec![
            "submit",
            "org/gated",
            "--wait",
            "--token-file",
            token_file.to_str().unwrap_or_default(),
        ],
        vec!["list", "--json"],
        vec!["daemon", "status", "--json"],
    ] {
        let ran = scratch.hfctl_with(&args, &[("HF_TOKEN", CANARY)]).await?;
        heard.push_str(&ran.stdout);
        heard.push_str(&ran.stderr);
        ran.ok()?;
    }
    fs::remove_file(&token_file)?;
    assert!(!heard.contains(CANARY), "hfctl showed the token");
    for name in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{}/{name}", daemon.pid()))?;
        assert!(
            !String::from_utf8_lossy(&bytes).contains(CANARY),
            "it is in /proc/PID/{name}"
        );
    }
    daemon.stop().await?;
    let journal = hub.journal();
    assert!(!journal.authorizations(Host::Hub).is_empty(), "the Hub saw it");
    assert!(journal.authorizations(Host::Cdn).is_empty(), "the CDN did");
    let found = holding(&scratch.path(""), CANARY)?;
    let allowed = scratch.state().join("tokens");
    let elsewhere: Vec<_> = found.iter().filter(|path| !path.starts_with(&allowed)).collect();
    assert!(elsewhere.is_empty(), "the token is in {elsewhere:?}");
    assert_eq!(found.len(), 1, "one file a user: {found:?}");
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn without_a_token_a_gated_repository_says_what_to_do() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let ran = scratch.hfctl(["download", "org/gated"]).await?;
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("gated"), "{}", ran.stderr);
    // With it, the same job works.
    let id = scratch.hfctl(["list", "--json"]).await?.json()?["jobs"][0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(scratch.show(&id).await?["failure"]["kind"], "gated");
    scratch
        .hfctl_with(["retry", &id], &[("HF_TOKEN", CANARY)])
        .await?
        .ok()?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

/// Files below a folder that hold a text.
fn holding(root: &Path, text: &str) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() {
                let bytes = fs::read(&path)?;
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path);
                }
            }
        }
    }
    Ok(found)
}
