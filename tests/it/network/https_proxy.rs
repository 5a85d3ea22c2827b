//! A proxy that is spoken to over TLS: its certificate is looked at before it hears a password or an address.

use std::collections::BTreeMap;

use hfetch_tests::{
    check,
    proxies::{RealProxy, TlsFront, login_file, sent},
    sim::{Authority, Host, SimHub},
};

use super::{SIZE, again, held_for, repo, trusting};

#[tokio::test]
async fn a_proxy_that_speaks_tls_is_trusted_by_its_certificate_alone() -> anyhow::Result<()> {
    let Some(http) = RealProxy::http(31).await? else {
        return Ok(());
    };
    let authority = Authority::new()?;
    let good = authority.identity(&["localhost"])?;
    let bad = Authority::new()?.identity(&["localhost"])?;
    // Of plain hosts it is asked for whole addresses, to TLS hosts it makes tunnels.
    let here = authority.identity(&["127.0.0.1", "127.0.0.2"])?;
    let plain = SimHub::builder().repo(repo()).start()?;
    let encrypted = SimHub::builder().tls(&here, &here).repo(repo()).start()?;
    for hub in [&plain, &encrypted] {
        for (identity, works) in [(&bad, false), (&good, true)] {
            let front = TlsFront::before(&http, identity).await?;
            let scratch = trusting(hub.endpoint(), &authority)?;
            let login = login_file(&scratch)?;
            let scratch = scratch.config(&format!(
                "[[proxies]]\nname = \"safe\"\nurl = \"{}\"\npassword_file = \"{login}\"\n\
                 [routing]\nrules = [\"MATCH,safe\"]\n",
                front.url
            ))?;
            let daemon = scratch.daemon().await?;
            let id = scratch.submit(&["org/m"]).await?;
            if works {
                scratch.wait_done(&[&id]).await?;
                let expected = BTreeMap::from([(http.peer.to_string(), SIZE + again(hub))]);
                assert_eq!(sent(hub, Host::Cdn), expected, "{}", hub.journal().text());
                check::tidied(&scratch, &[hub])?;
            } else {
                held_for(&scratch, &id, &["certificate"]).await?;
                assert!(hub.journal().is_empty(), "{}", hub.journal().text());
                scratch.hfctl(["cancel", &id]).await?.ok()?;
            }
            daemon.stop().await?;
        }
    }
    Ok(())
}
