//! `AUTO(...)` where one of the ways leads nowhere: nobody refuses, packets vanish. The other way brings all, over real proxies.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use hfetch_tests::{
    check,
    dns::NameServer,
    harness::Scratch,
    own_network::{self, black_hole},
    proxies::{RealProxy, configuration, login_file, sent},
    sim::{Host, SimHub},
};

use super::{FILE, SIZE, again, repo};

/// An address of a known neighbour that is not there.
const HOLE: &str = "198.51.100.99";
const CDN: (&str, &str) = ("cdn.test", "127.0.1.2");
/// Where the daemon asks for names; the proxies ask elsewhere.
const OWN_NAMES: [u8; 4] = [127, 0, 0, 2];

#[test]
fn a_way_into_a_black_hole_is_left_for_one_that_works() -> anyhow::Result<()> {
    own_network::run(
        "network::ways::a_way_into_a_black_hole_is_left_for_one_that_works",
        ways(),
    )
}

async fn ways() -> anyhow::Result<()> {
    let Some((http, socks)) = RealProxy::http(29).await?.zip(RealProxy::socks(30).await?) else {
        return Ok(());
    };
    black_hole()?;
    let (theirs, ours) = (
        NameServer::start().await?,
        NameServer::start_at(OWN_NAMES.into()).await?,
    );
    let direct = "127.0.0.1".to_owned();
    let (by_http, by_socks) = (http.peer.to_string(), socks.peer.to_string());
    for (rule, we_find, they_find, peer) in [
        // Directly nobody is reached, and a proxy reaches the host.
        ("AUTO(DIRECT,http)", HOLE, CDN.1, &by_http),
        ("AUTO(socks,DIRECT)", HOLE, CDN.1, &by_socks),
        // The proxy answers, and reaches nobody.
        ("AUTO(http,DIRECT)", CDN.1, HOLE, &direct),
        ("AUTO(DIRECT,socks)", CDN.1, HOLE, &direct),
    ] {
        let hub = SimHub::builder()
            .hub_address(SocketAddr::from(([127, 0, 1, 1], 0)))
            .cdn_address(SocketAddr::from(([127, 0, 1, 2], 0)))
            .names("hub.test", CDN.0)
            .repo(repo())
            .start()?;
        ours.lead("hub.test", &["127.0.1.1"])?;
        ours.lead(CDN.0, &[we_find])?;
        theirs.lead(CDN.0, &[they_find])?;
        let (we_asked, they_asked) = (ours.asked(CDN.0), theirs.asked(CDN.0));
        let scratch = Scratch::new(hub.endpoint())?;
        let login = login_file(&scratch)?;
        let rules = [format!("DOMAIN,{},{rule}", CDN.0), "MATCH,DIRECT".to_owned()];
        let resolv = scratch.path("resolv.conf");
        fs::write(&resolv, "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n")?;
        let mount = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", resolv.display());
        let scratch = scratch
            .config(&configuration(&http, &socks, &login, &rules))?
            .daemon_within(&["unshare", "--mount", "sh", "-c", &mount, "sh"]);
        let daemon = scratch.daemon().await?;
        let id = scratch.submit(&["org/m"]).await?;
        scratch.wait_done(&[&id]).await?;
        // The dead way was tried.
        let tried = match we_find {
            HOLE => ours.asked(CDN.0) > we_asked,
            _ => theirs.asked(CDN.0) > they_asked,
        };
        assert!(tried, "{rule}: the way into the hole was not tried");
        let expected = BTreeMap::from([(peer.clone(), SIZE + again(&hub))]);
        assert_eq!(sent(&hub, Host::Cdn), expected, "{rule}\n{}", hub.journal().text());
        let job = scratch.show(&id).await?;
        let told = job["routes"].as_array().into_iter().flatten();
        let of_cdn = told.filter(|route| route["host"].as_str().is_some_and(|host| host.starts_with(CDN.0)));
        let bytes: u64 = of_cdn.filter_map(|route| route["bytes"].as_u64()).sum();
        assert!(bytes >= SIZE, "{rule}: {job:#}");
        daemon.stop().await?;
        assert_eq!(hub.journal().bytes_sent_for(FILE), SIZE + again(&hub));
        check::tidied(&scratch, &[&hub])?;
    }
    Ok(())
}
