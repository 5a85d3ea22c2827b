//! HTTP/2 where the server has it: small files share one warm connection; large ones have connections of their own.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Authority, Host, PlainShape, RepoBuilder, SimHub, Storage},
};

use super::{FILE, MIB, trusting};

const SMALL_FILES: usize = 300;

/// A Hub with many small files and a large one, and its owner's authority.
fn hub(http2: bool) -> anyhow::Result<(SimHub, Authority)> {
    let authority = Authority::new()?;
    let identity = authority.identity(&["127.0.0.1", "127.0.0.2"])?;
    let identity = if http2 { identity.with_http2() } else { identity };
    let repo = RepoBuilder::model("org/many").seeded_as(FILE, 64 * MIB, 5, Storage::Linked);
    let repo = (0..SMALL_FILES).fold(repo, |repo, number| {
        repo.seeded(&format!("data/{number}.json"), 2000 + number as u64, number as u64)
    });
    let hub = SimHub::builder().repo(repo).tls(&identity, &identity).start()?;
    hub.switch(|switches| switches.plain = PlainShape::Direct);
    Ok((hub, authority))
}

async fn downloaded(hub: &SimHub, authority: &Authority, more: &[&str]) -> anyhow::Result<Scratch> {
    let scratch = trusting(hub.endpoint(), authority)?;
    let daemon = scratch.daemon().await?;
    let args: Vec<&str> = std::iter::once("org/many").chain(more.iter().copied()).collect();
    let id = scratch.submit(&args).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[hub])?;
    Ok(scratch)
}

#[tokio::test]
async fn small_files_share_a_connection_and_cost_one_request_each() -> anyhow::Result<()> {
    let (hub, authority) = hub(true)?;
    downloaded(&hub, &authority, &["--include", "*.json"]).await?;
    let journal = hub.journal();
    let of_files = journal.filter(|record| record.file.is_some());
    assert_eq!(of_files.len(), SMALL_FILES, "{}", journal.text());
    assert!(of_files.iter().all(|record| record.method == "GET"));
    // The listing came over it too. Two that began at the same moment may each have made one.
    assert!(journal.connections(Host::Hub) <= 2, "{}", journal.text());
    Ok(())
}

/// The same without it: as many connections as files at a time, and no more requests.
#[tokio::test]
async fn without_it_small_files_cost_one_request_each_too() -> anyhow::Result<()> {
    let (hub, authority) = hub(false)?;
    downloaded(&hub, &authority, &["--include", "*.json"]).await?;
    let journal = hub.journal();
    assert_eq!(
        journal.count(|record| record.file.is_some()),
        SMALL_FILES,
        "{}",
        journal.text()
    );
    assert!(journal.connections(Host::Hub) <= 40, "{}", journal.text());
    Ok(())
}

#[tokio::test]
async fn large_files_have_connections_of_their_own() -> anyhow::Result<()> {
    let (hub, authority) = hub(true)?;
    // Each connection brings so much, so more of them bring more.
    hub.pace().set_per_connection(Some(8 * MIB));
    downloaded(&hub, &authority, &["--include", FILE]).await?;
    let journal = hub.journal();
    let parts = journal.filter(|record| record.host == Host::Cdn && record.file.as_deref() == Some(FILE));
    assert!(journal.connections(Host::Cdn) >= 2, "{}", journal.text());
    // Never two parts at a time on one connection, as HTTP/2 would have them.
    for (at, part) in parts.iter().enumerate() {
        let overlap = parts[at + 1..]
            .iter()
            .any(|other| other.connection == part.connection && Some(other.started) < part.ended);
        assert!(!overlap, "{}", journal.text());
    }
    Ok(())
}
