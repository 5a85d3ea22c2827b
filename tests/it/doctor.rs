//! `hfctl doctor` against trouble that is really there: each kind is made, found, told with what to do, and gone again.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::Context as _;
use hfetch_tests::{
    check,
    harness::{PATIENCE, Ran, Scratch},
    python,
    sim::{Host, RepoBuilder, SimHub, Token},
};
use serde_json::Value;
use tokio::process::Command;

/// Makes a small file system with few inodes where the cache is, uses nearly all of them up, and becomes the daemon.
const FEW_INODES: &str = "mkdir -p \"$CACHE\" && mount -t tmpfs -o size=16m,nr_inodes=2000 none \"$CACHE\" && \
     i=0 && while [ $i -lt 1990 ]; do : > \"$CACHE/$i\"; i=$((i+1)); done && exec \"$0\" \"$@\"";

fn hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(RepoBuilder::model("org/open").plain("config.json", b"{}".to_vec()))
        .token("hf_alice", "alice")
        .start()
}

/// What the doctor says, and its exit code.
struct Report {
    code: i32,
    json: Value,
}

impl Report {
    fn of(ran: &Ran) -> anyhow::Result<Self> {
        let json: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
        let findings = json["findings"].as_array().context("findings")?;
        for finding in findings {
            let told = finding["status"] == "ok" || finding["hint"].is_string();
            assert!(told, "nothing to do about {finding}");
        }
        let broken = findings.iter().filter(|finding| finding["status"] == "broken").count();
        assert_eq!(ran.code, i32::from(broken > 0), "{json:#}");
        Ok(Self { code: ran.code, json })
    }

    /// The finding of a check that is worst.
    fn worst(&self, check: &str) -> &Value {
        let rank = |finding: &&Value| {
            ["ok", "warning", "broken"]
                .iter()
                .position(|status| finding["status"] == *status)
        };
        let findings = self.json["findings"].as_array().into_iter().flatten();
        let of_check = findings.filter(|finding| finding["check"] == check);
        of_check.max_by_key(rank).unwrap_or(&Value::Null)
    }

    /// Fails unless the worst finding of a check has this status, and names these words in its sentence or its hint.
    fn says(&self, check: &str, status: &str, words: &[&str]) {
        let finding = self.worst(check);
        assert_eq!(finding["status"], status, "{check}: {:#}", self.json);
        for word in words {
            assert!(finding.to_string().contains(word), "no {word:?} in {finding:#}");
        }
    }
}

async fn examine(scratch: &Scratch, env: &[(&str, &str)]) -> anyhow::Result<Report> {
    Report::of(&scratch.hfctl_with(["doctor", "--json"], env).await?)
}

#[tokio::test]
async fn a_clock_that_is_wrong() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    for (ahead, status) in [
        (0, "ok"),
        (120, "warning"),
        (-120, "warning"),
        (7200, "broken"),
        (-7200, "broken"),
        (0, "ok"),
    ] {
        hub.switch(|switches| switches.clock_ahead_secs = ahead);
        let report = examine(&scratch, &[]).await?;
        let words: &[&str] = if status == "ok" {
            &[]
        } else {
            &["differ by", "timedatectl"]
        };
        report.says("clock", status, words);
    }
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn a_hub_that_is_down_and_nothing_below_to_see() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    examine(&scratch, &[]).await?.says("endpoint", "ok", &[]);
    hub.take_down(Host::Hub).await;
    let report = examine(&scratch, &[]).await?;
    report.says("endpoint", "broken", &["network", "[[endpoints]]"]);
    // It names no list that is not there.
    assert!(
        report.worst("route").is_null() && !report.json.to_string().contains("below"),
        "{:#}",
        report.json
    );
    // Beside one that answers it is something to know, and no end.
    let other = self::hub()?;
    let config = format!(
        "[[endpoints]]\nurl = \"{}\"\ntoken = \"own\"\n[[endpoints]]\nurl = \"{}\"\n",
        hub.endpoint(),
        other.endpoint()
    );
    daemon.stop().await?;
    let scratch = Scratch::new("")?.config(&config)?;
    let daemon = scratch.daemon().await?;
    let report = examine(&scratch, &[]).await?;
    report.says("endpoint", "warning", &[]);
    assert_eq!(report.code, 0);
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn ways_that_do_not_lead_there() -> anyhow::Result<()> {
    let hub = hub()?;
    let proxy = "[[proxies]]\nname = \"gone\"\nurl = \"http://127.0.0.1:9\"\n[routing]\n";
    let check = async |rule: &str, words: &[&str]| {
        let scratch = Scratch::new(hub.endpoint())?.config(&format!("{proxy}rules = [\"{rule}\"]\n"))?;
        let daemon = scratch.daemon().await?;
        let report = examine(&scratch, &[]).await?;
        report.says("proxy", "broken", &["gone", "[[proxies]]"]);
        report.says("endpoint", "broken", words);
        daemon.stop().await?;
        anyhow::Ok(())
    };
    check("MATCH,gone", &["by DIRECT", "routing.rules"]).await?;
    check("MATCH,REJECT", &["MATCH,REJECT", "routing.rules"]).await?;
    hub.take_down(Host::Hub).await;
    check("MATCH,gone", &["routes below", "[[endpoints]]"]).await
}

#[tokio::test]
async fn no_inodes_left() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[storage]\nmin_free = 0\n")?;
    let daemon = scratch.daemon().await?;
    let report = examine(&scratch, &[]).await?;
    assert!(report.worst("inodes").is_null(), "{:#}", report.json);
    daemon.stop().await?;
    let Some(scratch) = with_few_inodes(scratch).await? else {
        return Ok(());
    };
    let daemon = scratch.daemon().await?;
    let report = examine(&scratch, &[]).await?;
    report.says("inodes", "broken", &["of 2000 inodes", "small files"]);
    report.says("disk", "ok", &[]);
    daemon.stop().await?;
    Ok(())
}

/// The daemon will see a cache with ten inodes left; `None` where that cannot be had.
pub(crate) async fn with_few_inodes(scratch: Scratch) -> anyhow::Result<Option<Scratch>> {
    with_disk(scratch, FEW_INODES).await
}

/// The daemon will see a file system of its own at `$CACHE`, as a script mounts it; `None` where that cannot be had.
pub(crate) async fn with_disk(scratch: Scratch, script: &str) -> anyhow::Result<Option<Scratch>> {
    let cache = scratch.cache().display().to_string();
    let scratch = scratch.env("CACHE", &cache);
    let namespace: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["unshare", "--mount", "sh", "-c"],
        false => &["unshare", "--mount", "--user", "--map-root-user", "sh", "-c"],
    };
    let possible = Command::new(namespace[0])
        .args(&namespace[1..])
        .arg("mount -t tmpfs none /mnt")
        .output();
    let possible = tokio::time::timeout(PATIENCE, possible).await?;
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        python::skip(&format!("no file systems of its own: {possible:?}"));
        return Ok(None);
    }
    Ok(Some(scratch.daemon_within(&[namespace, &[script]].concat())))
}

/// The daemon runs as an ordinary user, for root may write everywhere.
#[tokio::test]
async fn a_cache_that_is_somebody_elses() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        python::skip("giving folders away needs root");
        return Ok(());
    }
    let hub = hub()?;
    let scratch =
        Scratch::new(hub.endpoint())?.daemon_within(&["setpriv", "--reuid=1500", "--regid=1500", "--clear-groups"]);
    let (cache, repo) = (scratch.cache(), scratch.cache().join("models--org--open"));
    let own = |path: &std::path::Path, uid: u32| std::os::unix::fs::chown(path, Some(uid), Some(uid));
    fs::create_dir_all(repo.join("blobs"))?;
    fs::create_dir_all(scratch.state())?;
    fs::set_permissions(scratch.path(""), fs::Permissions::from_mode(0o755))?;
    for path in [&scratch.path(""), &scratch.state(), &cache, &repo, &repo.join("blobs")] {
        own(path, 1500)?;
    }
    let daemon = scratch.daemon().await?;
    examine(&scratch, &[]).await?.says("folder", "ok", &["can be written"]);
    // A Python client of root's has been there.
    own(&repo.join("blobs"), 0)?;
    examine(&scratch, &[])
        .await?
        .says("folder", "warning", &["models--org--open/blobs", "chown"]);
    own(&repo, 0)?;
    examine(&scratch, &[])
        .await?
        .says("folder", "warning", &["1 more folders"]);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o555))?;
    examine(&scratch, &[])
        .await?
        .says("folder", "broken", &["may not write", "storage.cache"]);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755))?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn shell_and_daemon_that_mean_different_things() -> anyhow::Result<()> {
    let (hub, other) = (hub()?, hub()?);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let report = examine(&scratch, &[]).await?;
    assert!(
        report.worst("hf_endpoint").is_null() && report.worst("cache").is_null(),
        "{:#}",
        report.json
    );
    let elsewhere = scratch.path("elsewhere").display().to_string();
    let env = [("HF_ENDPOINT", other.endpoint()), ("HF_HUB_CACHE", &elsewhere)];
    let report = examine(&scratch, &env).await?;
    report.says(
        "hf_endpoint",
        "warning",
        &[other.endpoint(), hub.endpoint(), "[[endpoints]]"],
    );
    report.says("cache", "warning", &[&elsewhere, "storage.cache"]);
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn tokens_that_end_or_have_ended() -> anyhow::Result<()> {
    let hub = hub()?;
    let soon = jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_hours(30))?
        .to_string();
    let later = jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_hours(24 * 60))?
        .to_string();
    hub.put_token("hf_soon", Token::until("alice", &soon));
    hub.put_token("hf_later", Token::until("alice", &later));
    hub.put_token("hf_revoked", Token::revoked("alice"));
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let page = format!("{}/settings/tokens", hub.endpoint());
    for (token, status, words) in [
        ("", "ok", &["anonymous"][..]),
        ("hf_later", "ok", &["alice"]),
        ("hf_soon", "warning", &["alice", "ends at", &page, "hfctl login"]),
        ("hf_revoked", "broken", &["does not accept", &page]),
    ] {
        let report = examine(&scratch, &[("HF_TOKEN", token)]).await?;
        report.says("token", status, words);
    }
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn scripts_that_ask_the_hub_whatever_the_variable_says() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::dataset("org/data").file(
            "data.py",
            "URL = 'https://huggingface.co/datasets/org/data/resolve/main/a'\n",
        ))
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    assert!(examine(&scratch, &[]).await?.worst("script").is_null());
    scratch.hfctl(["download", "org/data", "--dataset"]).await?.ok()?;
    let report = examine(&scratch, &[]).await?;
    report.says("script", "warning", &["datasets--org--data", "data.py", "HF_ENDPOINT"]);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
