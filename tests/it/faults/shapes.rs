//! Servers that answer in other forms: other etags, missing headers, mirrors, limits.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Fault, Host, Journal, Kind, LinkedShape, Matcher, PlainShape, Rule, SimHub, Switches},
};

use super::{
    Case, FILE, MIB, PLAIN, SIZE, all, at_once, cdn, complete, failed, hub, repo, resigning, resolve, scratch, strikes,
};

#[tokio::test]
async fn etags_and_missing_headers() {
    let always = |name, matcher, fault| Case::with(name, Rule::new(matcher, fault));
    let drop = |name: &str| Fault::DropHeader(name.to_owned());
    let changed = || Fault::ChangedEtag("0123456789abcdef0123456789abcdef".to_owned());
    all(vec![
        always("weak etags", Matcher::any(), Fault::WeakEtag),
        always("etags of a compressing proxy", Matcher::any(), Fault::GzipEtag),
        always("bare etags", Matcher::any(), Fault::BareEtag),
        Case::new("another etag for one part", cdn(), changed(), 2),
        Case::new("another etag for one address", resolve(), changed(), 1).costly(),
        always("no X-Repo-Commit", Matcher::any(), drop("X-Repo-Commit")),
        always("no X-Linked-Size", Matcher::any(), drop("X-Linked-Size")),
        always("no X-Linked-Etag", Matcher::any(), drop("X-Linked-Etag")),
        always("no ETag", Matcher::any(), drop("ETag")),
        always("no Accept-Ranges", Matcher::any(), drop("Accept-Ranges")),
        always("no Content-Length", Matcher::any(), drop("Content-Length")),
        always("no Content-Type", Matcher::any(), drop("Content-Type")),
        always("no Date", Matcher::any(), drop("Date")),
    ])
    .await;
}

#[tokio::test]
async fn another_version_for_ever_ends_with_its_name() -> anyhow::Result<()> {
    let etag = "0123456789abcdef".repeat(4);
    at_once([
        // Of the store, whose etags are its own affair, only the size tells.
        (
            "another size",
            another_version(cdn(), Fault::WrongTotal(SIZE + 1), "20971521"),
        ),
        (
            "another etag",
            another_version(resolve(), Fault::ChangedEtag(etag.clone()), &etag),
        ),
    ])
    .await;
    Ok(())
}

async fn another_version(matcher: Matcher, fault: Fault, word: &str) -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(matcher, fault);
    let scratch = resigning(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m"]).await?;
    let message = job["failure"]["message"].as_str().unwrap_or_default();
    for word in [word, "127.0.0."] {
        anyhow::ensure!(message.contains(word), "no {word} in {job}");
    }
    anyhow::ensure!(job["bytes_done"].as_u64() < Some(SIZE), "{job}");
    anyhow::ensure!(hub.journal().bytes_sent_for(FILE) > 0 || strikes(hub.journal()) > 0);
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

/// The commit is fixed when the job is planned: what is pushed meanwhile is another version.
#[tokio::test]
async fn a_branch_that_moves_under_a_job_changes_nothing() -> anyhow::Result<()> {
    let hub = hub()?;
    let before = hub.repo(Kind::Model, "org/m").expect("it is there");
    let gate = hub.hold_bodies(FILE, MIB);
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    gate.reached().await;
    hub.change_repo(Kind::Model, "org/m", |repo| {
        repo.push("main", "without a file", |files| drop(files.remove(PLAIN)));
    })?;
    gate.release();
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    let planned = &before.commit("main").expect("one").sha;
    assert_eq!(job["commit"], planned.as_str(), "{job}");
    daemon.stop().await?;
    hub.put_repo((*before).clone());
    complete(&scratch, &hub)?;
    check::finished(&scratch, &[&hub])
}

/// Downloads from a Hub with other behaviour.
async fn done_with(name: &str, switches: Switches, wanted: impl Fn(&Journal) -> bool) -> anyhow::Result<()> {
    let hub = SimHub::builder().repo(repo()).switches(switches).start()?;
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    anyhow::ensure!(
        wanted(hub.journal()),
        "{name}: not as expected\n{}",
        hub.journal().text()
    );
    Ok(())
}

#[tokio::test]
async fn mirrors() -> anyhow::Result<()> {
    let no_cdn = |journal: &Journal| journal.count(|record| record.host == Host::Cdn) == 0;
    done_with("olah", Switches::olah(), no_cdn).await?;
    let tree_less = Switches {
        has_tree: false,
        ..Switches::default()
    };
    done_with("no tree", tree_less, |_| true).await?;
    let own_xet = Switches {
        plain: PlainShape::Direct,
        linked: LinkedShape::RelativeXet,
        announce_xet: true,
        mask_xet: true,
        ..Switches::default()
    };
    done_with("a relative address", own_xet, no_cdn).await?;
    let compressing = Switches {
        honour_gzip: true,
        ..Switches::default()
    };
    done_with("gzip for who asks", compressing, |journal| {
        journal.count(|record| record.header("accept-encoding") != Some("identity")) == 0
    })
    .await
}

#[tokio::test]
async fn limits_of_the_server() -> anyhow::Result<()> {
    let ranged = Switches {
        refuse_unranged_above: Some(MIB),
        ..Switches::default()
    };
    done_with("ranges only", ranged, |journal| {
        journal.count(|record| record.status == 400) == 0
    })
    .await
}

#[tokio::test]
async fn many_files_at_a_server_that_takes_two_at_a_time() -> anyhow::Result<()> {
    let repo = (0..40).fold(repo(), |repo, number| {
        repo.seeded(&format!("part-{number}.bin"), 200_000, 100 + number)
    });
    let few = Switches {
        cdn_concurrency: Some(2),
        hub_concurrency: Some(2),
        ..Switches::default()
    };
    let hub = SimHub::builder().repo(repo).switches(few).start()?;
    hub.pace().set_latency(std::time::Duration::from_millis(10));
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-j", "16", "-x", "16"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    complete(&scratch, &hub)?;
    check::finished(&scratch, &[&hub])?;
    let refused = hub.journal().count(|record| record.status == 503);
    assert!(refused > 0 && refused < 400, "{refused} refusals");
    Ok(())
}

#[tokio::test]
async fn files_of_extreme_sizes() -> anyhow::Result<()> {
    let repo = (0..2000).fold(
        repo()
            .plain("empty.txt", b"".to_vec())
            .linked("empty.bin", b"".to_vec()),
        |repo, number| repo.plain(&format!("data/{number:04}.json"), format!("{number}")),
    );
    let hub = SimHub::builder().repo(repo).start()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    assert_eq!(job["files_done"].to_string().trim_matches('"'), "2004", "{job}");
    let heads = hub.journal().count(|record| record.file.as_deref() == Some(PLAIN));
    assert!(heads <= 3, "one file, {heads} requests");
    Ok(())
}

#[tokio::test]
async fn a_selection_of_nothing_is_done_at_once() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "--include", "*.nothing"]).await?;
    scratch.wait_done(&[&id]).await?;
    let job = scratch.show(&id).await?;
    let total = job["files_total"].to_string();
    assert!(matches!(total.trim_matches('"'), "0" | "null"), "{job}");
    daemon.stop().await?;
    assert_eq!(hub.journal().body_bytes(Host::Cdn), 0);
    check::finished(&scratch, &[&hub])
}
