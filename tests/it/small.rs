//! Many small files, and many jobs for the same ones: a request each, published in batches, killed in the middle.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{PlainShape, RepoBuilder, SimHub},
    tree,
};

const FILES: usize = 600;

fn repo(files: usize) -> RepoBuilder {
    (0..files).fold(RepoBuilder::model("org/small"), |repo, number| {
        // Some are empty, and some are equal: those are one content.
        let (size, seed) = match number % 10 {
            0 => (0, 0),
            1 => (700, 1),
            _ => (2000 + number as u64, number as u64),
        };
        repo.seeded(&format!("data/{}/{number}.json", number % 7), size, seed)
    })
}

fn hub(files: usize) -> anyhow::Result<SimHub> {
    let hub = SimHub::builder().repo(repo(files)).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    Ok(hub)
}

/// Requests for files.
fn asked(hub: &SimHub) -> usize {
    hub.journal().count(|record| record.file.is_some())
}

#[tokio::test]
async fn each_content_costs_one_request_and_what_is_there_none() -> anyhow::Result<()> {
    let hub = hub(FILES)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    scratch.hfctl(["download", "org/small", "--quiet"]).await?.ok()?;
    // A tenth is empty, and a tenth is one content.
    assert_eq!(asked(&hub), FILES - 2 * FILES / 10 + 1, "{}", hub.journal().text());
    assert_eq!(hub.journal().count(|record| record.method == "HEAD"), 0);
    let before = hub.journal().len();
    scratch.hfctl(["download", "org/small", "--quiet"]).await?.ok()?;
    // Which commit it is, and what is in it.
    assert_eq!(hub.journal().len() - before, 2, "{}", hub.journal().text());
    let listed = scratch.hfctl(["list", "--json"]).await?.json()?;
    let newest = &listed["jobs"][0];
    assert_eq!(newest["bytes_reused"], newest["bytes_total"], "{newest}");
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn kills_between_batches_leave_whole_files_and_cost_little() -> anyhow::Result<()> {
    let hub = hub(FILES)?;
    hub.pace().set_latency(std::time::Duration::from_millis(10));
    let scratch = Scratch::new(hub.endpoint())?;
    let mut daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/small"]).await?;
    let mut kills = 0;
    for requests in [40, 150, 260, 380] {
        hub.journal()
            .wait_for("the next kill", |_| asked(&hub) >= requests)
            .await;
        daemon.kill().await?;
        kills += 1;
        assert_eq!(
            tree::faults(&scratch.cache())?,
            Vec::<String>::new(),
            "after kill {kills}"
        );
        daemon = scratch.daemon().await?;
    }
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])?;
    let again = asked(&hub) - (FILES - 2 * FILES / 10 + 1);
    // What was in transfer, what had come since the last batch, and the batch that was under way.
    assert!(
        again <= kills * (32 + 2 * 64),
        "{again} files again after {kills} kills"
    );
    Ok(())
}

#[tokio::test]
async fn many_jobs_for_the_same_files_fetch_them_once() -> anyhow::Result<()> {
    const JOBS: usize = 100;
    let hub = hub(40)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let gate = hub.hold_answers(hfetch_tests::sim::Matcher::any().file("*.json"));
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        ids.push(scratch.submit(&["org/small"]).await?);
    }
    gate.reached().await;
    gate.release();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    scratch.wait_done(&ids).await?;
    // What was held while so many jobs came may have been given up, unanswered, and asked for again.
    let answered = hub.journal().count(|record| record.file.is_some() && record.status > 0);
    assert_eq!(answered, 40 - 2 * 4 + 1, "{}", hub.journal().text());
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
