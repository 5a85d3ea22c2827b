//! Gated and private repositories: who may have them is asked before a job is queued, and of the origin alone; the bytes may
//! come from elsewhere.

mod shared;
mod split;

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Gated, Host, Kind, Matcher, RepoBuilder, SimHub},
};

/// What is asked before a job is queued.
const QUESTION: &str = "*/auth-check";

fn small(id: &str) -> RepoBuilder {
    RepoBuilder::model(id).plain("config.json", b"{}".to_vec())
}

fn hub() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(small("org/gated").gated(Gated::Manual, &["alice"]))
        .repo(small("org/private").private(&["alice"]))
        .repo(small("org/open"))
        .repo(RepoBuilder::model("org/busy").seeded("model.safetensors", 4 << 20, 3))
        .token("hf_alice", "alice")
        .token("hf_bob", "bob")
        .start()
}

fn questions(hub: &SimHub) -> usize {
    hub.journal().count(|record| record.path.ends_with("/auth-check"))
}

/// No place is free, so the job itself has asked nobody: what its submit says, it has asked for.
#[tokio::test]
async fn a_submit_tells_at_once_that_access_is_missing() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nmax_active_jobs = 1\n")?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_bodies("model.safetensors", 1 << 20);
    let busy = scratch.submit(&["org/busy"]).await?;
    gate.reached().await;
    let submit = async |args: &[&str], token: &str| {
        let args = ["submit"].iter().chain(args);
        scratch.hfctl_with(args, &[("HF_TOKEN", token)]).await
    };
    let ran = submit(&["org/gated"], "hf_bob").await?;
    let (id, page) = (ran.stdout.trim().to_owned(), format!("{}/org/gated", hub.endpoint()));
    for words in ["waits for access", "has no access", &page, "by itself", "hfctl cancel"] {
        assert!(ran.stderr.contains(words), "no {words:?} in {}", ran.stderr);
    }
    ran.ok()?;
    let job = submit(&["org/gated", "--json"], "hf_bob").await?.json()?;
    assert_eq!(
        (&job["state"], &job["reason"]),
        (&"held".into(), &"access".into()),
        "{job:#}"
    );
    assert!(
        job["next_attempt_at"].is_string() && job["failure"].is_null(),
        "{job:#}"
    );
    assert!(
        job["detail"].as_str().is_some_and(|detail| detail.contains(&page)),
        "{job:#}"
    );
    let asked = hub.journal().filter(|record| record.path.contains("org/gated"));
    assert_eq!((asked.len(), questions(&hub)), (2, 2), "{}", hub.journal().text());
    // Who has access hears nothing, and is not asked about again.
    for _ in 0..2 {
        let job = submit(&["org/gated", "--json"], "hf_alice").await?.json()?;
        assert_eq!(job["state"], "queued", "{job:#}");
    }
    assert_eq!(questions(&hub), 3, "{}", hub.journal().text());
    // What cannot be seen may be misspelt or private: it is told, and the job will say the same.
    let ran = submit(&["org/private"], "hf_bob").await?;
    assert!(ran.stderr.contains("private and not for this token"), "{}", ran.stderr);
    let unseen = ran.ok()?.trim().to_owned();
    // It needs nobody's place to wait in, and none to end.
    hub.change_repo(Kind::Model, "org/gated", |repo| repo.accepted.insert("bob".to_owned()))?;
    gate.release();
    scratch.wait_done(&[&busy]).await?;
    scratch.until(&id, "done").await?;
    assert_eq!(scratch.until(&unseen, "failed").await?["failure"]["kind"], "not_found");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn a_hub_that_says_nothing_keeps_nobody_waiting() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(Matcher::any().path(QUESTION), Fault::StallBeforeHead);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let token = [("HF_TOKEN", "hf_bob")];
    // The question is never answered: that the submit is, shows that it did not wait.
    scratch.hfctl_with(["download", "org/open"], &token).await?.ok()?;
    let job = scratch
        .hfctl_with(["submit", "org/gated", "--json"], &token)
        .await?
        .json()?;
    assert_eq!(job["state"], "queued", "{job:#}");
    // Nor is it asked again at once. On a busy machine a minute may have passed, or the question was given up on its way.
    let asked = hub.journal().filter(|record| record.path.ends_with("/auth-check"));
    for pair in asked.windows(2) {
        let later = pair[1].started.saturating_sub(pair[0].started);
        assert!(later.as_secs() >= 55, "asked again at once\n{}", hub.journal().text());
    }
    // Then the job finds out by itself.
    scratch
        .until(job["id"].as_str().unwrap_or_default(), "held (access)")
        .await?;
    daemon.stop().await?;
    // Nobody is there at all.
    hub.take_down(Host::Hub).await;
    let daemon = scratch.daemon().await?;
    let job = scratch
        .hfctl_with(["submit", "org/busy", "--json"], &token)
        .await?
        .json()?;
    assert_eq!(job["state"], "queued", "{job:#}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

/// An endpoint that does not know the question has not said no.
#[tokio::test]
async fn who_does_not_know_the_question_has_not_answered_it() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(Matcher::any().path(QUESTION), Fault::status(404));
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let ran = scratch
        .hfctl_with(["download", "org/gated"], &[("HF_TOKEN", "hf_alice")])
        .await?;
    assert!(!ran.stderr.contains("does not exist"), "{}", ran.stderr);
    ran.ok()?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
