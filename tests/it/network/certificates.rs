//! Certificates that are not to be trusted, and handshakes that do not end: nothing is asked, no token is sent, the reason is
//! told, and another endpoint serves.

use std::fs;

use hfetch_tests::{
    CANARY, check,
    harness::Scratch,
    sim::{Authority, Flaw, Host, Identity, SimHub, Token},
};
use tokio::net::TcpListener;

use super::{FILE, SIZE, again, held_for, repo, trusting};

const HERE: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

fn hub(identity: &Identity, cdn: &Identity) -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(repo())
        .tls(identity, cdn)
        .token_as(CANARY, Token::read("alice"))
        .start()
}

fn token_file(scratch: &Scratch) -> anyhow::Result<String> {
    let file = scratch.path("token");
    fs::write(&file, CANARY)?;
    Ok(file.display().to_string())
}

/// Certificates that nobody should trust, and what is told of each.
fn bad(authority: &Authority) -> anyhow::Result<Vec<(Identity, &'static str)>> {
    Ok(vec![
        (
            authority.flawed(&HERE, Flaw::Expired)?,
            "is the clock of this machine right?",
        ),
        (
            authority.flawed(&HERE, Flaw::NotYet)?,
            "is the clock of this machine right?",
        ),
        (
            authority.identity(&["hub.example"])?,
            "the certificate is not to be trusted",
        ),
        (
            Authority::new()?.identity(&HERE)?,
            "the certificate is not to be trusted",
        ),
        (
            authority.flawed(&HERE, Flaw::SelfSigned)?,
            "the certificate is not to be trusted",
        ),
    ])
}

#[tokio::test]
async fn a_bad_certificate_is_told_and_gets_no_request() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    for (identity, words) in bad(&authority)? {
        let hub = hub(&identity, &identity)?;
        let scratch = trusting(hub.endpoint(), &authority)?;
        let daemon = scratch.daemon().await?;
        let id = scratch
            .submit(&["org/m", "--token-file", &token_file(&scratch)?])
            .await?;
        held_for(&scratch, &id, &[words]).await?;
        assert!(hub.journal().is_empty(), "{}", hub.journal().text());
        assert!(hub.journal().failed_handshakes() > 0);
        // A good one is taken at the next attempt.
        for host in [Host::Hub, Host::Cdn] {
            hub.set_identity(host, &authority.identity(&HERE)?);
        }
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_certificate_of_one_endpoint_or_of_its_store_leaves_the_job_to_another() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let good = authority.identity(&HERE)?;
    let bad = Authority::new()?.identity(&HERE)?;
    for first in [hub(&bad, &bad)?, hub(&good, &bad)?] {
        let second = hub(&good, &good)?;
        let scratch = trusting(first.endpoint(), &authority)?;
        let daemon = scratch.daemon().await?;
        let both = ["org/m", "--endpoint", first.endpoint(), "--endpoint", second.endpoint()];
        let id = scratch.submit(&both).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        assert_eq!(second.journal().bytes_sent_for(FILE), SIZE + again(&second));
        assert_eq!(first.journal().body_bytes(Host::Cdn), 0);
        check::finished(&scratch, &[&first, &second])?;
    }
    Ok(())
}

/// Half a handshake is no reason to wait for ever, nor to give up.
#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("https://{}", silent.local_addr()?);
    let taken = async {
        let mut held = Vec::new();
        loop {
            held.push(silent.accept().await);
        }
    };
    let good = authority.identity(&HERE)?;
    let hub = hub(&good, &good)?;
    let scratch = trusting(&endpoint, &authority)?;
    let daemon = scratch.daemon().await?;
    let test = async {
        let id = scratch.submit(&["org/m"]).await?;
        held_for(&scratch, &id, &["no connection in time", "next attempt"]).await?;
        scratch.hfctl(["cancel", &id]).await?.ok()?;
        let both = ["org/m", "--endpoint", &endpoint, "--endpoint", hub.endpoint()];
        let id = scratch.submit(&both).await?;
        scratch.wait_done(&[&id]).await
    };
    tokio::select! {
        done = test => done?,
        () = taken => {}
    }
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

/// A peer that hangs up in the handshake is tried again.
#[tokio::test]
async fn a_handshake_that_is_cut_is_told_and_tried_again() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("https://{}", listener.local_addr()?);
    let scratch = trusting(&endpoint, &authority)?;
    let daemon = scratch.daemon().await?;
    let hanging_up = async {
        loop {
            // Some bytes of the greeting, and no answer.
            if let Ok((stream, _)) = listener.accept().await {
                stream.readable().await.ok();
            }
        }
    };
    let test = async {
        let id = scratch.submit(&["org/m"]).await?;
        held_for(&scratch, &id, &["127.0.0.1", "next attempt"]).await?;
        scratch.hfctl(["cancel", &id]).await?.ok()
    };
    tokio::select! {
        done = test => drop(done?),
        () = hanging_up => {}
    }
    daemon.stop().await?;
    check::sound(&scratch, &[])
}
