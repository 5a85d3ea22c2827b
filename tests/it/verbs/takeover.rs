//! Two jobs want one file: the one that can do better goes on with it, from where the other one was.

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Host, RepoBuilder, SimHub},
};

use super::{BIG, BIG_SIZE, MIB, big_hub, in_the_middle, in_the_middle_with};

/// Waits until a job tells this.
async fn tells(scratch: &Scratch, id: &str, words: &str) -> anyhow::Result<()> {
    eventually("the words of a job", async || {
        let job = scratch.show(id).await.map_err(|error| error.to_string())?;
        match job["detail"].as_str().is_some_and(|detail| detail.contains(words)) {
            true => Ok(()),
            false => Err(job.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn a_job_without_a_limit_takes_the_file_from_one_with() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // At this rate it would take two days.
    let slow = scratch.submit(&["org/big", "--limit", "1KiB/s"]).await?;
    tells(&scratch, &slow, "downloading").await?;
    let quick = scratch.submit(&["org/big"]).await?;
    scratch.wait_done(&[&quick, &slow]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn small_files_are_left_to_it_as_well() -> anyhow::Result<()> {
    let repo = (0..40).fold(RepoBuilder::model("org/small"), |repo, number| {
        repo.seeded(&format!("f{number}.json"), 500 << 10, number)
    });
    let hub = SimHub::builder().repo(repo).start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // At this rate they would take five hours.
    let slow = scratch.submit(&["org/small", "--limit", "1KiB/s"]).await?;
    tells(&scratch, &slow, "downloading").await?;
    let quick = scratch.submit(&["org/small"]).await?;
    scratch.wait_done(&[&quick, &slow]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn a_forced_download_takes_nothing_over() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (first, gate) = in_the_middle_with(&hub, &scratch, &["--priority", "low"]).await?;
    let second = ["org/big", "--priority", "high", "--force-download"];
    let second = scratch.submit(&second).await?;
    tells(&scratch, &second, &format!("waiting for job {first}")).await?;
    gate.release();
    scratch.wait_done(&[&first, &second]).await?;
    let sent = hub.journal().bytes_sent_for(BIG);
    let again = sent.saturating_sub(2 * BIG_SIZE);
    assert!(
        sent >= 2 * BIG_SIZE && again <= 8 * MIB,
        "{sent}\n{}",
        hub.journal().text()
    );
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn the_job_that_its_user_prefers_takes_the_file() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    // It moves all the time: of a file that stands still the newer job would take over.
    hub.pace().set_total(Some(MIB));
    let first = scratch.submit(&["org/big", "--priority", "low"]).await?;
    tells(&scratch, &first, "downloading").await?;
    let second = scratch.submit(&["org/big", "--priority", "low"]).await?;
    tells(&scratch, &second, &format!("waiting for job {first}")).await?;
    scratch.hfctl(["set", &second, "--priority", "high"]).await?.ok()?;
    tells(&scratch, &first, &format!("waiting for job {second}")).await?;
    // And back: what was fetched is nobody's loss.
    scratch.hfctl(["set", &first, "--priority", "high"]).await?.ok()?;
    scratch.hfctl(["set", &second, "--priority", "normal"]).await?.ok()?;
    tells(&scratch, &second, &format!("waiting for job {first}")).await?;
    hub.pace().set_total(None);
    scratch.wait_done(&[&first, &second]).await?;
    daemon.stop().await?;
    let again = hub.journal().bytes_sent_for(BIG) - BIG_SIZE;
    assert!(again <= 8 * MIB, "{} MiB again\n{}", again / MIB, hub.journal().text());
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn one_that_does_not_move_gives_way_to_a_newer_try() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let (first, gate) = in_the_middle(&hub, &scratch).await?;
    hub.take_down(Host::Cdn).await;
    gate.release();
    scratch.until(&first, "held (endpoint)").await?;
    let second = scratch.submit(&["org/big"]).await?;
    tells(&scratch, &first, &format!("job {second} fetches {BIG}: ")).await?;
    // Both are shown as what they are.
    for id in [&first, &second] {
        scratch.until(id, "held (endpoint)").await?;
    }
    // A user's word counts, whichever of the two it is about.
    scratch.hfctl(["retry", &first]).await?.ok()?;
    tells(&scratch, &second, &format!("job {first} fetches {BIG}: ")).await?;
    hub.bring_up(Host::Cdn)?;
    scratch.hfctl(["retry", "--all"]).await?.ok()?;
    scratch.wait_done(&[&first, &second]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn all_that_are_tried_again_wait_for_the_world_not_for_a_time() -> anyhow::Result<()> {
    let hub = big_hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    hub.take_down(Host::Hub).await;
    let daemon = scratch.daemon().await?;
    let args = ["submit", "--json", "org/big", "--at", "+5h"];
    let later = scratch.hfctl(args).await?.json()?;
    assert_eq!(
        (&later["state"], &later["reason"]),
        (&"held".into(), &"window".into()),
        "{later}"
    );
    let stuck = scratch.submit(&["org/big"]).await?;
    scratch.until(&stuck, "held (endpoint)").await?;
    let tried = scratch.hfctl(["retry", "--all", "--json"]).await?.json()?;
    let ids: Vec<_> = tried
        .as_array()
        .into_iter()
        .flatten()
        .map(|job| job["id"].clone())
        .collect();
    assert_eq!(ids, [stuck], "{tried}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}
