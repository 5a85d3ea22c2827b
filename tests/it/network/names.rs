//! Names that are not resolved, lead to dead addresses, or lead where they must not; and addresses at which nothing answers.

use std::{fs, net::SocketAddr, time::Duration};

use hfetch_tests::{
    CANARY, check,
    dns::{Answer, NameServer},
    harness::{Scratch, eventually},
    own_network::{self, black_hole, ip},
    sim::{Fault, Host, Matcher, RepoBuilder, SimHub, Token},
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{FILE, PUBLIC, SIZE, again, held_for, repo};

/// What stands for the dead one of two public addresses.
const OTHER: &str = "203.0.113.6";
/// And one more, for what is known of the other one counts for every name.
const THIRD: &str = "203.0.113.7";
/// An address of a known neighbour that is not there.
const HOLE: &str = "198.51.100.99";
const HOLE_V6: &str = "2001:db8:100::99";
const HUB: &str = "hub.test";
const CDN: &str = "cdn.test";

/// A Hub with names, at the public address.
fn named() -> anyhow::Result<SimHub> {
    named_with(repo())
}

fn named_with(repo: RepoBuilder) -> anyhow::Result<SimHub> {
    for address in [PUBLIC, OTHER] {
        ip(&format!("addr add {address}/32 dev lo"))?;
    }
    let at: SocketAddr = format!("{PUBLIC}:0").parse()?;
    SimHub::builder()
        .hub_address(at)
        .cdn_address(at)
        .names(HUB, CDN)
        .repo(repo)
        .token_as(CANARY, Token::read("alice"))
        .start()
}

#[test]
fn a_name_that_is_not_resolved_is_told_and_tried_again() -> anyhow::Result<()> {
    own_network::run(
        "network::names::a_name_that_is_not_resolved_is_told_and_tried_again",
        async {
            let (hub, names) = (named()?, NameServer::start().await?);
            names.lead(CDN, &[PUBLIC])?;
            for answer in [Answer::NoSuchName, Answer::Failure, Answer::Silence] {
                let before = hub.journal().len();
                names.set(HUB, answer);
                let scratch = Scratch::new(hub.endpoint())?;
                let daemon = scratch.daemon().await?;
                let id = scratch.submit(&["org/m"]).await?;
                held_for(&scratch, &id, &[HUB, "(DNS)", "next attempt"]).await?;
                assert_eq!(hub.journal().len(), before);
                names.lead(HUB, &[PUBLIC])?;
                scratch.wait_done(&[&id]).await?;
                daemon.stop().await?;
                check::tidied(&scratch, &[&hub])?;
            }
            Ok(())
        },
    )
}

#[test]
fn while_a_name_is_not_resolved_another_endpoint_serves() -> anyhow::Result<()> {
    own_network::run(
        "network::names::while_a_name_is_not_resolved_another_endpoint_serves",
        async {
            let (hub, names) = (named()?, NameServer::start().await?);
            let second = SimHub::builder().repo(repo()).start()?;
            names.set(HUB, Answer::NoSuchName);
            let scratch = Scratch::new("")?;
            let daemon = scratch.daemon().await?;
            let both = ["org/m", "--endpoint", hub.endpoint(), "--endpoint", second.endpoint()];
            let id = scratch.submit(&both).await?;
            scratch.wait_done(&[&id]).await?;
            daemon.stop().await?;
            assert!(names.asked(HUB) > 0 && hub.journal().is_empty());
            assert_eq!(second.journal().bytes_sent_for(FILE), SIZE + again(&second));
            check::finished(&scratch, &[&hub, &second])
        },
    )
}

/// A socket that takes no connection and refuses none: its queue is full.
async fn full(at: SocketAddr) -> anyhow::Result<(TcpListener, TcpStream)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(at)?;
    let listener = socket.listen(0)?;
    let waits = TcpStream::connect(at).await?;
    Ok((listener, waits))
}

#[test]
fn of_two_addresses_the_one_that_answers_is_used() -> anyhow::Result<()> {
    own_network::run("network::names::of_two_addresses_the_one_that_answers_is_used", async {
        let (hub, names) = (named()?, NameServer::start().await?);
        names.lead(HUB, &[OTHER, PUBLIC])?;
        // The Hub's other address refuses; the CDN's swallows what it is sent.
        ip(&format!("addr add {THIRD}/32 dev lo"))?;
        names.lead(CDN, &[THIRD, PUBLIC])?;
        let dead = full(SocketAddr::new(THIRD.parse()?, hub.address(Host::Cdn).port())).await?;
        let scratch = Scratch::new(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let id = scratch.submit(&["org/m", "-x", "2"]).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        drop(dead);
        assert!(
            own_network::counted("ListenDrops")? > 0,
            "the dead address was not tried"
        );
        assert_eq!(again(&hub), 0, "{}", hub.journal().text());
        check::finished(&scratch, &[&hub])
    })
}

#[test]
fn a_black_hole_of_ipv6_does_not_hold_ipv4() -> anyhow::Result<()> {
    own_network::run("network::names::a_black_hole_of_ipv6_does_not_hold_ipv4", async {
        let (hub, names) = (named()?, NameServer::start().await?);
        black_hole()?;
        for name in [HUB, CDN] {
            names.lead(name, &[HOLE_V6, PUBLIC])?;
        }
        let scratch = Scratch::new(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        let id = scratch.submit(&["org/m"]).await?;
        eventually("the question for the name", async || match names.asked(HUB) {
            0 => Err("nobody asked".to_owned()),
            _ => Ok(()),
        })
        .await?;
        let asked = tokio::time::Instant::now();
        hub.journal()
            .wait_for("the first request", |journal| !journal.is_empty())
            .await;
        // Half of the connect timeout is what a dead address costs when the other family is not tried beside it; a
        // third of a second is what it costs here.
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        check::finished(&scratch, &[&hub])
    })
}

/// An endpoint that swallows what it is sent, one that there is no way to, and one whose way is closed: each is told, and left.
#[test]
fn addresses_that_cannot_be_reached_are_told_and_left() -> anyhow::Result<()> {
    own_network::run(
        "network::names::addresses_that_cannot_be_reached_are_told_and_left",
        async {
            black_hole()?;
            ip("route add unreachable 192.0.2.1/32")?;
            let hub = SimHub::builder().repo(repo()).start()?;
            let scratch = Scratch::new("")?;
            let daemon = scratch.daemon().await?;
            let mut waiting = Vec::new();
            for (endpoint, words) in [
                (format!("http://{HOLE}"), "no connection in time"),
                ("http://192.0.2.1".to_owned(), "the network is unreachable"),
                ("http://192.0.2.2".to_owned(), "the network is unreachable"),
            ] {
                let id = scratch
                    .submit(&["org/m", "--local-dir", &endpoint[7..], "--endpoint", &endpoint])
                    .await?;
                waiting.push((id, words));
            }
            for (id, words) in &waiting {
                held_for(&scratch, id, &[words, "next attempt"]).await?;
                scratch.hfctl(["cancel", id]).await?.ok()?;
            }
            let hole = format!("http://{HOLE}");
            let both = ["org/m", "--endpoint", &hole, "--endpoint", hub.endpoint()];
            let id = scratch.submit(&both).await?;
            scratch.wait_done(&[&id]).await?;
            daemon.stop().await?;
            check::finished(&scratch, &[&hub])
        },
    )
}

#[test]
fn names_that_lead_into_our_network_are_refused_before_a_connection() -> anyhow::Result<()> {
    own_network::run(
        "network::names::names_that_lead_into_our_network_are_refused_before_a_connection",
        async {
            let hub = named_with(repo().private(&["alice"]))?;
            let names = NameServer::start().await?;
            names.lead(HUB, &[PUBLIC])?;
            let inside = TcpListener::bind("0.0.0.0:0").await?;
            let port = inside.local_addr()?.port();
            let evil = format!("http://evil.test:{port}/x");
            hub.fault(Matcher::any().host(Host::Hub).file(FILE), Fault::Redirect(302, evil));
            let scratch = Scratch::new(hub.endpoint())?;
            let token = scratch.path("token");
            fs::write(&token, CANARY)?;
            let token = token.display().to_string();
            let daemon = scratch.daemon().await?;
            for address in [
                "127.0.0.1",
                "169.254.169.254",
                "::ffff:127.0.0.1",
                "10.0.0.1",
                "fe80::1",
            ] {
                names.lead("evil.test", &[address])?;
                let id = scratch
                    .submit(&["org/m", "--force-download", "--token-file", &token])
                    .await?;
                let bare = address.trim_start_matches("::ffff:");
                held_for(&scratch, &id, &["evil.test", bare, "internal network"]).await?;
                scratch.hfctl(["cancel", &id]).await?.ok()?;
            }
            // Nothing came in meanwhile: what comes now is first in the queue.
            let mine = TcpStream::connect(("127.0.0.1", port)).await?;
            assert_eq!(inside.accept().await?.1, mine.local_addr()?);
            daemon.stop().await?;
            check::sound(&scratch, &[&hub])
        },
    )
}
