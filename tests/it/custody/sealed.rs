//! Tokens at rest, sealed with a key that the service manager hands out.

use std::{fs, path::PathBuf};

use hfetch_tests::{check, harness::Scratch};

use super::{CANARY, gated_hub, holding, typed};

const NOWHERE: [PathBuf; 0] = [];

/// A folder of credentials, as `$CREDENTIALS_DIRECTORY` names one.
fn credentials(scratch: &Scratch, name: &str, key: &[u8]) -> anyhow::Result<String> {
    let folder = scratch.path(name);
    fs::create_dir(&folder)?;
    fs::write(folder.join("token-key"), key)?;
    Ok(folder.display().to_string())
}

#[tokio::test]
async fn with_a_key_no_file_tells_a_token_and_without_it_everybody_hears_why() -> anyhow::Result<()> {
    let hub = gated_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let key = credentials(&scratch, "key", &[7; 32])?;
    let other = credentials(&scratch, "other", &[8; 32])?;
    let with = |folder: &str| [("CREDENTIALS_DIRECTORY", folder.to_owned())];
    let start = async |folder: &str| {
        let env = with(folder);
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        scratch.daemon_with(&env).await
    };
    // In the clear, as long as there is no key.
    let daemon = scratch.daemon().await?;
    typed(&scratch, &["login"], CANARY).await?.ok()?;
    assert_eq!(holding(&scratch.path(""), CANARY)?.len(), 1);
    daemon.stop().await?;
    // The first start with one seals what is there.
    let daemon = start(&key).await?;
    assert_eq!(holding(&scratch.path(""), CANARY)?, NOWHERE);
    let well = scratch.hfctl(["doctor", "--json"]).await?.json()?;
    assert_eq!(finding(&well, "tokens")["status"], "ok", "{well:#}");
    scratch.hfctl(["whoami"]).await?.ok()?;
    scratch.hfctl(["download", "org/gated", "config.json"]).await?.ok()?;
    // What comes later, too: a job's own, and a new login.
    let env = [("HF_TOKEN", CANARY)];
    scratch.hfctl_with(["download", "org/gated"], &env).await?.ok()?;
    typed(&scratch, &["login"], CANARY).await?.ok()?;
    assert_eq!(holding(&scratch.path(""), CANARY)?, NOWHERE);
    daemon.stop().await?;
    // Without the key, or with another: nothing is lost, and it is said where it matters.
    for (folder, word) in [("", "given no key"), (other.as_str(), "another key")] {
        let daemon = match folder {
            "" => scratch.daemon().await?,
            folder => start(folder).await?,
        };
        assert!(scratch.log().contains(word), "{}", scratch.log());
        let report = scratch.hfctl(["doctor", "--json"]).await?;
        assert_eq!(report.code, 1, "{}", report.stdout);
        let report: serde_json::Value = serde_json::from_str(&report.stdout)?;
        let told = finding(&report, "tokens");
        assert_eq!(told["status"], "broken", "{report:#}");
        assert!(
            told["message"].to_string().contains(word) && told["hint"].to_string().contains("token-key"),
            "{told}"
        );
        for args in [&["whoami"][..], &["login"]] {
            let ran = typed(&scratch, args, CANARY).await?;
            assert_eq!(ran.code, 1, "{args:?} {}", ran.stderr);
            assert!(
                ran.stderr.contains(word) && !ran.stderr.contains(CANARY),
                "{args:?} {}",
                ran.stderr
            );
        }
        let ran = scratch.hfctl(["submit", "org/gated", "config.json"]).await?;
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
        daemon.stop().await?;
    }
    let daemon = start(&key).await?;
    scratch.hfctl(["whoami"]).await?.ok()?;
    daemon.stop().await?;
    assert_eq!(holding(&scratch.path(""), CANARY)?, NOWHERE);
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn a_key_that_is_none_stops_the_start() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let folder = credentials(&scratch, "short", b"too short")?;
    let started = scratch.daemon_with(&[("CREDENTIALS_DIRECTORY", &folder)]).await;
    let told = started.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(
        told.contains("78") && told.contains("9 bytes") && told.contains("32"),
        "{told}"
    );
    Ok(())
}

fn finding(report: &serde_json::Value, check: &str) -> serde_json::Value {
    let findings = report["findings"].as_array().into_iter().flatten();
    let found = findings.into_iter().find(|finding| finding["check"] == check);
    found.cloned().unwrap_or_default()
}
