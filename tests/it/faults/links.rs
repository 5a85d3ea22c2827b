//! Signed addresses that end, and redirects that lead elsewhere.

use std::{fs, time::Duration};

use hfetch_tests::{
    CANARY, check,
    sim::{Fault, Host, Matcher, Rule, SimHub, Token},
};

use tokio::net::{TcpListener, TcpStream};

use super::{
    Case, FILE, MIB, all, at_once, cdn, complete, failed, hub, listing, repo, resigning, resolve, scratch, strikes,
};

#[tokio::test]
async fn addresses_that_live_for_a_second_are_asked_for_again() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.switch(|switches| switches.link_life = Duration::from_secs(1));
    // A cut comes after more than a second: the rest is asked for when the address is old.
    hub.pace().set_total(Some(3 * MIB));
    hub.faults().add(Rule::new(cdn(), Fault::CutAfter(4 * MIB)).first(3));
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "1"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    let asked = hub
        .journal()
        .count(|record| record.host == Host::Hub && record.file.as_deref() == Some(FILE));
    assert!((4..40).contains(&asked), "{asked}\n{}", hub.journal().text());
    check::kept(hub.journal(), FILE)
}

#[tokio::test]
async fn withdrawn_addresses_are_asked_for_again() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.faults().add(Rule::new(cdn(), Fault::ResetAfter(MIB)).first(5));
    let gate = hub.hold_bodies(FILE, 3 * MIB);
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    gate.reached().await;
    hub.expire_links();
    gate.release();
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    complete(&scratch, &hub)?;
    assert!(
        hub.journal().count(|record| record.status == 403) > 0,
        "{}",
        hub.journal().text()
    );
    Ok(())
}

#[tokio::test]
async fn a_cdn_that_refuses_for_good_is_believed_soon() -> anyhow::Result<()> {
    let hub = hub()?;
    hub.fault(cdn(), Fault::access_denied());
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m", "-x", "1"]).await?;
    assert_eq!(job["failure"]["kind"], "bad_endpoint", "{job}");
    let message = job["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("AccessDenied"), "{message}");
    let journal = hub.journal();
    let refused = journal.count(|record| record.status == 403);
    let asked = journal.count(|record| record.host == Host::Hub && record.file.as_deref() == Some(FILE));
    assert!(
        refused <= 3 && asked <= 3,
        "{refused} refusals, {asked} addresses\n{}",
        journal.text()
    );
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

#[tokio::test]
async fn redirects_that_are_followed() {
    let dot = || Matcher::any().host(Host::Hub).file("*");
    all(vec![
        Case::new("a chain where it is asked", resolve(), Fault::RedirectChain(5), 6),
        Case::new("a chain of the listing", listing(), Fault::RedirectChain(3), 4),
        Case::new("a loop, once", resolve(), Fault::RedirectLoop, 3),
        Case::new(
            "a redirect without an end, once",
            dot(),
            Fault::Redirect(302, "https://[oops/".into()),
            2,
        ),
    ])
    .await;
}

/// A mirror that loses what signs an address: the store refuses, the Hub is asked for others, and the reason is told.
#[tokio::test]
async fn a_store_that_loses_the_query_is_no_store() -> anyhow::Result<()> {
    let hub = hub()?;
    let bare = format!("{}/{FILE}", hub.cdn_endpoint());
    hub.faults()
        .add(Rule::new(resolve(), Fault::Redirect(302, bare.clone())).once());
    let scratch = scratch(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m"]).await?;
    scratch.wait_done(&[&id]).await?;
    complete(&scratch, &hub)?;
    hub.fault(resolve(), Fault::Redirect(302, bare));
    let job = failed(&scratch, &["org/m", "--force-download"]).await?;
    assert_eq!(job["failure"]["kind"], "bad_endpoint", "{job}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])
}

/// Whether an address is too old is what the server says, not what two clocks do.
#[tokio::test]
async fn a_server_whose_clock_is_off_signs_addresses_all_the_same() -> anyhow::Result<()> {
    for ahead in [-86_400, 86_400] {
        let hub = hub()?;
        hub.switch(|switches| switches.clock_ahead_secs = ahead);
        hub.faults().add(Rule::new(cdn(), Fault::CutAfter(MIB)).first(6));
        let scratch = scratch(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let id = scratch.submit(&["org/m", "-x", "1"]).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        let journal = hub.journal();
        assert_eq!(journal.count(|record| record.status == 403), 0, "{}", journal.text());
        // Who goes by their own clock takes every address for too old, and asks for one for each part.
        let addresses = journal.requests_for(FILE);
        let addresses = addresses.iter().filter(|record| record.host == Host::Hub).count();
        assert!(addresses <= 2, "{addresses}\n{}", journal.text());
        check::finished(&scratch, &[&hub])?;
        complete(&scratch, &hub)?;
    }
    Ok(())
}

/// A Hub that wants a token.
fn private() -> anyhow::Result<SimHub> {
    SimHub::builder()
        .repo(repo().private(&["alice"]))
        .token_as(CANARY, Token::read("alice"))
        .start()
}

#[tokio::test]
async fn redirects_that_are_not_followed_are_told_and_get_no_token() -> anyhow::Result<()> {
    // Where some of them lead to, somebody would hear the token.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let to = |location: String| Fault::Redirect(302, location);
    let cases = [
        ("a loop", Fault::RedirectLoop),
        ("a way too long", Fault::RedirectChain(40)),
        ("a file", to("file:///etc/passwd".into())),
        ("another scheme", to(format!("ftp://127.0.0.1:{port}/x"))),
        ("credentials", to(format!("http://u:p@127.0.0.1:{port}/x"))),
        ("metadata", to("http://169.254.169.254/latest".into())),
        ("a private address", to("http://10.0.0.1/x".into())),
    ];
    at_once(cases.map(|(name, fault)| (name, not_followed(fault)))).await;
    // Nobody came: what comes now is first in the queue.
    let mine = TcpStream::connect(("127.0.0.1", port)).await?;
    assert_eq!(listener.accept().await?.1, mine.local_addr()?);
    Ok(())
}

async fn not_followed(fault: Fault) -> anyhow::Result<()> {
    let hub = private()?;
    hub.fault(resolve(), fault);
    let scratch = resigning(hub.endpoint())?;
    let token = scratch.path("token");
    fs::write(&token, CANARY)?;
    let daemon = scratch.daemon().await?;
    let job = failed(&scratch, &["org/m", "--token-file", token.to_str().unwrap_or_default()]).await?;
    let text = job["failure"].to_string();
    anyhow::ensure!(text.contains("redirect") && !text.contains("u:p"), "{text}");
    daemon.stop().await?;
    check::sound(&scratch, &[&hub])?;
    anyhow::ensure!(strikes(hub.journal()) < 120, "{}", hub.journal().text());
    Ok(())
}

#[tokio::test]
async fn a_hub_that_moved_is_followed_without_the_token() -> anyhow::Result<()> {
    // Everything, and only the files.
    for matcher in [Matcher::any(), resolve()] {
        // The other one must never see it.
        let (hub, other) = (private()?, hub()?);
        hub.fault(matcher, Fault::RedirectTo(308, other.endpoint().to_owned()));
        let scratch = scratch(hub.endpoint())?;
        let token = scratch.path("token");
        fs::write(&token, CANARY)?;
        let daemon = scratch.daemon().await?;
        let id = scratch
            .submit(&["org/m", "--token-file", token.to_str().unwrap_or_default()])
            .await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        check::finished(&scratch, &[&hub, &other])?;
        complete(&scratch, &other)?;
        assert!(
            !hub.journal().authorizations(Host::Hub).is_empty(),
            "the Hub saw the token"
        );
        for host in [Host::Hub, Host::Cdn] {
            assert_eq!(other.journal().authorizations(host), Vec::<String>::new(), "elsewhere");
        }
    }
    Ok(())
}
