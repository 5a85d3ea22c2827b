//! A token goes to one origin, and is nowhere else.

mod canary;
mod dumps;
mod sealed;

use std::{fs, process::Stdio};

use anyhow::Context as _;
use hfetch_tests::{
    CANARY, check,
    harness::{PATIENCE, Ran, Scratch, programs},
    secrets::holding,
    sim::{Gated, Host, Kind, RepoBuilder, SimHub, Token},
};

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

#[tokio::test]
async fn what_was_refused_is_tried_again_with_the_token_of_now() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut ids = Vec::new();
    for dir in ["one", "two", "three"] {
        let dir = scratch.path(dir).display().to_string();
        let id = scratch
            .submit(&["org/gated", "config.json", "--local-dir", &dir])
            .await?;
        assert_eq!(scratch.until(&id, "failed").await?["failure"]["kind"], "gated");
        ids.push(id);
    }
    // One that was left with the daemon in between.
    typed(&scratch, &["login"], CANARY).await?.ok()?;
    let anonymous = [("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
    scratch.hfctl_with(["retry", &ids[0]], &anonymous).await?.ok()?;
    scratch.hfctl(["wait", &ids[0]]).await?.exits(5)?;
    scratch.hfctl(["retry", &ids[0]]).await?.ok()?;
    scratch.wait_done(&[&ids[0]]).await?;
    scratch.hfctl(["logout"]).await?.ok()?;
    // One that the call brings, for all of them.
    scratch
        .hfctl_with(["retry", "--all"], &[("HF_TOKEN", CANARY)])
        .await?
        .ok()?;
    scratch.wait_done(&[&ids[1], &ids[2]]).await?;
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub])
}

#[tokio::test]
async fn a_job_without_access_waits_and_starts_by_itself_when_it_is_granted() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(small("org/gated").gated(Gated::Manual, &["alice"]))
        .repo(small("org/open"))
        .token("hf_alice", "alice")
        .token("hf_bob", "bob")
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let with = |token: &'static str| [("HF_TOKEN", token)];
    // What alice has fetched lies in the cache, and is not bob's for that.
    scratch
        .hfctl_with(["download", "org/gated"], &with("hf_alice"))
        .await?
        .ok()?;
    let ran = scratch.hfctl_with(["download", "org/gated"], &with("hf_bob")).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{}", ran.stderr);
    for words in [
        "waits for access",
        "has no access",
        "ask for access at",
        "/org/gated",
        "hfctl wait",
    ] {
        assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
    }
    let jobs = scratch.hfctl(["list", "--json"]).await?.json()?;
    let id = jobs["jobs"][0]["id"].as_str().unwrap_or_default().to_owned();
    let job = scratch.until(&id, "held (access)").await?;
    assert!(job["next_attempt_at"].is_string() && job["failure"].is_null(), "{job}");
    // It blocks nobody.
    scratch.hfctl(["download", "org/open"]).await?.ok()?;
    hub.change_repo(Kind::Model, "org/gated", |repo| repo.accepted.insert("bob".to_owned()))?;
    scratch.until(&id, "done").await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_login_serves_jobs_that_bring_no_token_and_never_comes_out_again() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let mut heard = String::new();
    assert_eq!(scratch.hfctl(["whoami"]).await?.code, 1);
    let ran = typed(&scratch, &["login"], "hf_wrong\n").await?;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("does not accept the token") && !ran.stderr.contains("hf_wrong"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        scratch.hfctl(["whoami"]).await?.code,
        1,
        "a token that is not accepted is not kept"
    );
    let steps: [(&[&str], &str, i32); 8] = [
        (&["login"], CANARY, 0),
        (&["whoami"], "", 0),
        (&["whoami", "--json"], "", 0),
        (&["download", "org/gated", "--json"], "", 0),
        (&["route", "explain", "org/gated", "--measure", "--json"], "", 0),
        (&["daemon", "status", "--json"], "", 0),
        (&["logout"], "", 0),
        (&["whoami"], "", 1),
    ];
    for (args, input, code) in steps {
        let ran = typed(&scratch, args, input).await?;
        assert_eq!(ran.code, code, "{args:?} {}", ran.stderr);
        heard.push_str(&ran.stdout);
        heard.push_str(&ran.stderr);
        if args == ["login"] {
            // The daemon has it, and only in its file.
            let found = holding(&scratch.path(""), CANARY)?;
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(scratch.state().join("tokens")), "{found:?}");
            for name in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{}/{name}", daemon.pid()))?;
                assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "/proc/PID/{name}");
            }
        }
    }
    assert!(
        heard.contains("alice") && !heard.contains(CANARY),
        "hfctl showed the token"
    );
    assert_eq!(
        holding(&scratch.path(""), CANARY)?,
        [] as [std::path::PathBuf; 0],
        "logged out"
    );
    daemon.stop().await?;
    assert!(hub.journal().authorizations(Host::Cdn).is_empty());
    check::tidied(&scratch, &[&hub])
}

/// A repository's endpoints of one job, in their order; the token must reach only those that the caller trusts.
#[tokio::test]
async fn an_endpoint_that_is_only_named_gets_no_token_and_is_no_origin() -> anyhow::Result<()> {
    let host = |repo| SimHub::builder().repo(repo).token("hf_alice", "alice").start();
    let (hub, mirror) = (host(small("org/open"))?, host(small("org/open"))?);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let token = ("HF_TOKEN", "hf_alice");
    let download = async |dir: &str, endpoints: &[&SimHub], own: &SimHub| {
        let mut args = vec!["download", "org/open", "--json", "--local-dir", dir];
        for one in endpoints {
            args.extend(["--endpoint", one.endpoint()]);
        }
        let ran = scratch
            .hfctl_with(args, &[token, ("HF_ENDPOINT", own.endpoint())])
            .await?;
        let heard = ran.stderr.clone();
        anyhow::Ok((ran.json()?["trust"].clone(), heard))
    };
    let dirs = ["one", "two", "three"].map(|name| scratch.path(name).display().to_string());
    let (trust, _) = download(&dirs[0], &[&mirror, &hub], &hub).await?;
    assert_eq!(trust, "origin", "the mirror stands first, and the Hub's word counts");
    let (trust, heard) = download(&dirs[1], &[&mirror], &hub).await?;
    assert_eq!(trust, "mirror");
    assert!(heard.contains("your token is not sent to"), "{heard}");
    assert_eq!(mirror.journal().authorizations(Host::Hub), [] as [&str; 0]);
    assert!(!hub.journal().authorizations(Host::Hub).is_empty());
    // Another HF_ENDPOINT than the daemon's is the caller's own choice.
    let (trust, heard) = download(&dirs[2], &[], &mirror).await?;
    assert_eq!(trust, "origin", "{heard}");
    assert!(!mirror.journal().authorizations(Host::Hub).is_empty());
    daemon.stop().await?;
    check::tidied(&scratch, &[&hub, &mirror])
}

fn small(id: &str) -> RepoBuilder {
    RepoBuilder::model(id).plain("config.json", b"{}".to_vec())
}

/// Runs hfctl with something on its standard input.
async fn typed(scratch: &Scratch, args: &[&str], input: &str) -> anyhow::Result<Ran> {
    use tokio::io::AsyncWriteExt as _;
    let mut command = scratch.command(programs().join("hfctl"));
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    Ok(tokio::time::timeout(PATIENCE, child.wait_with_output()).await??.into())
}
