//! Links that go and come back, and an address that is gone while its sockets stay.

use std::net::SocketAddr;

use hfetch_tests::{
    check,
    dns::NameServer,
    harness::{Scratch, eventually},
    own_network::{self, ip},
    sim::SimHub,
};

use super::{FILE, MIB, PUBLIC, SIZE, again, repo};

const FLAPS: u64 = 4;
/// Bytes that may come again for each loss: what the server's system takes of it for a connection that is dead already.
const FOR_A_LOSS: u64 = 256 << 10;

/// Waits until some watcher of the job reads that it waits, or that bytes stand still.
async fn noticed(scratch: &Scratch, id: &str) -> anyhow::Result<()> {
    eventually("a lost link that is noticed", async || {
        let job = scratch.show(id).await.map_err(|error| error.to_string())?;
        match job["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("next attempt"))
        {
            true => Ok(()),
            false => Err(job.to_string()),
        }
    })
    .await
}

#[test]
fn a_link_that_goes_and_comes_costs_little_each_time() -> anyhow::Result<()> {
    own_network::run(
        "network::links::a_link_that_goes_and_comes_costs_little_each_time",
        async {
            let hub = SimHub::builder().repo(repo()).start()?;
            let gate = hub.hold_bodies(FILE, MIB);
            let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nstall_timeout = \"1s\"\n")?;
            let daemon = scratch.daemon().await?;
            let id = scratch.submit(&["org/m", "-x", "2"]).await?;
            for _ in 0..FLAPS {
                gate.reached().await;
                check::taken(&hub).await?;
                ip("link set lo down")?;
                noticed(&scratch, &id).await?;
                ip("link set lo up")?;
                gate.let_through(SIZE / FLAPS);
            }
            gate.release();
            scratch.wait_done(&[&id]).await?;
            let again = again(&hub);
            assert!(again <= FLAPS * FOR_A_LOSS, "{again}\n{}", hub.journal().text());
            daemon.stop().await?;
            // Nothing of the lost connections is left.
            hub.journal()
                .wait_for("an end of all", |journal| journal.open_exchanges().is_empty())
                .await;
            check::finished(&scratch, &[&hub])
        },
    )
}

/// As when a VPN is switched: the old address is gone, nobody says so to the sockets, and the names lead elsewhere.
#[test]
fn sockets_of_an_address_that_is_gone_are_left_for_the_new_one() -> anyhow::Result<()> {
    own_network::run(
        "network::links::sockets_of_an_address_that_is_gone_are_left_for_the_new_one",
        async {
            let old = "203.0.113.9";
            for address in [PUBLIC, old] {
                ip(&format!("addr add {address}/32 dev lo"))?;
            }
            let names = NameServer::start().await?;
            let everywhere: SocketAddr = "0.0.0.0:0".parse()?;
            let hub = SimHub::builder()
                .hub_address(everywhere)
                .cdn_address(everywhere)
                .names("hub.test", "cdn.test")
                .repo(repo())
                .start()?;
            for name in ["hub.test", "cdn.test"] {
                names.lead(name, &[old])?;
            }
            let gate = hub.hold_bodies(FILE, 3 * MIB);
            let scratch = Scratch::new(hub.endpoint())?.config("[transfer]\nstall_timeout = \"1s\"\n")?;
            let daemon = scratch.daemon().await?;
            let id = scratch.submit(&["org/m", "-x", "2"]).await?;
            gate.reached().await;
            check::taken(&hub).await?;
            ip(&format!("addr del {old}/32 dev lo"))?;
            for name in ["hub.test", "cdn.test"] {
                names.lead(name, &[PUBLIC])?;
            }
            gate.release();
            scratch.wait_done(&[&id]).await?;
            daemon.stop().await?;
            let again = again(&hub);
            assert!(again <= 4 * FOR_A_LOSS, "{again}\n{}", hub.journal().text());
            check::finished(&scratch, &[&hub])
        },
    )
}

/// A link that loses every packet that is too much for it: senders learn its rate by losses.
#[test]
fn a_link_that_loses_what_is_too_much_brings_all() -> anyhow::Result<()> {
    own_network::run("network::links::a_link_that_loses_what_is_too_much_brings_all", async {
        let hub = SimHub::builder().repo(repo()).start()?;
        let scratch = Scratch::new(hub.endpoint())?;
        let daemon = scratch.daemon().await?;
        own_network::drop_above(20)?;
        let id = scratch.submit(&["org/m", "-x", "4"]).await?;
        scratch.wait_done(&[&id]).await?;
        daemon.stop().await?;
        assert!(own_network::counted("TCPLostRetransmit")? + own_network::counted("TCPFastRetrans")? > 0);
        let again = again(&hub);
        assert!(again <= SIZE / 4, "{again}\n{}", hub.journal().text());
        check::finished(&scratch, &[&hub])
    })
}
