//! What users are told of endpoints that refuse one repository, do not know it, or are away.

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Gated, Host, RepoBuilder, SimHub},
};

#[tokio::test]
async fn a_refusal_about_one_repository_is_no_judgement_on_the_endpoint() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/open").seeded("config.json", 700, 1))
        .repo(
            RepoBuilder::model("org/gated")
                .seeded("model.bin", 1 << 20, 2)
                .gated(Gated::Auto, &["alice"]),
        )
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let probe = async |repo: &str| scratch.hfctl(["endpoint", "probe", "--repo", repo, "--json"]).await;
    let state = async || -> anyhow::Result<serde_json::Value> {
        Ok(scratch.hfctl(["endpoint", "list", "--json"]).await?.json()?[0]["state"].clone())
    };
    let said: serde_json::Value = serde_json::from_str(&probe("org/gated").await?.exits(1)?)?;
    assert_eq!(said["endpoints"][0]["fault"], "refused", "{said}");
    assert_eq!(state().await?, "unknown");
    probe("org/open").await?.ok()?;
    assert_eq!(state().await?, "good");
    probe("org/gated").await?.exits(1)?;
    assert_eq!(state().await?, "good");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn what_the_origin_does_not_know_is_not_found_whoever_else_is_away() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/open").seeded("config.json", 700, 1))
        .start()?;
    let toml = format!(
        "[[endpoints]]\nurl = '{}'\ntoken = 'own'\n[[endpoints]]\nname = 'dead'\nurl = 'http://127.0.0.1:9'\n",
        hub.endpoint()
    );
    let scratch = Scratch::new("")?.config(&toml)?;
    let daemon = scratch.daemon().await?;
    let ran = scratch.hfctl(["endpoint", "probe", "--repo", "org/none"]).await?;
    assert!(!ran.stderr.contains("check the network"), "{}", ran.stderr);
    ran.exits(4)?;
    // Without the origin's word nobody knows.
    hub.take_down(Host::Hub).await;
    scratch
        .hfctl(["endpoint", "probe", "--repo", "org/none"])
        .await?
        .exits(1)?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_dead_endpoint_is_told_of_what_is_on_the_disk() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/open")
                .seeded("config.json", 700, 1)
                .seeded("model.bin", 1 << 20, 2),
        )
        .start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let path = scratch.hfctl(["download", "org/open"]).await?.ok()?;
    let path = path.trim();
    let told = format!("all of main as it was at the last look is on the disk: {path}");
    let says = async |id: &str, is_told: bool| {
        eventually("why it waits", async || {
            let job = scratch.show(id).await.map_err(|error| error.to_string())?;
            let detail = job["detail"].as_str().unwrap_or_default();
            match detail.contains("next attempt") && detail.contains(&told) == is_told {
                true => Ok(()),
                false => Err(job.to_string()),
            }
        })
        .await
    };
    let dead = ["--endpoint", "http://127.0.0.1:9"];
    let again = scratch.submit(&["org/open", dead[0], dead[1]]).await?;
    says(&again, true).await?;
    // Another revision is another wish.
    let other = scratch
        .submit(&["org/open", "--revision", "other", dead[0], dead[1]])
        .await?;
    says(&other, false).await?;
    scratch.hfctl(["cancel", &again, &other]).await?.ok()?;
    // Nobody is sent to what is not there any more.
    std::fs::remove_file(std::path::Path::new(path).join("model.bin"))?;
    let third = scratch.submit(&["org/open", dead[0], dead[1]]).await?;
    says(&third, false).await?;
    scratch.hfctl(["cancel", &third]).await?.ok()?;
    daemon.stop().await?;
    Ok(())
}
