//! The token over every kind of redirect: code, scheme, host, port, userinfo, number of hops, and the way back. It is sent to
//! its origin alone, and never again once a redirect has led away.

use tokio::net::TcpListener;

use super::script::{Reply, Script, script_on};
use super::{endpoint, hub, tiny, token};
use crate::hub::{Hub, HubError};
use crate::model::{RepoKind, Revision};

/// Where the last redirect leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Home,
    HomeUnderAnotherName,
    OtherPort,
    OtherHost,
    OtherHostAndPort,
    TlsAtHome,
    TlsElsewhere,
    UserAtHome,
    PasswordAtHome,
    UserElsewhere,
}

const TARGETS: [Target; 10] = [
    Target::Home,
    Target::HomeUnderAnotherName,
    Target::OtherPort,
    Target::OtherHost,
    Target::OtherHostAndPort,
    Target::TlsAtHome,
    Target::TlsElsewhere,
    Target::UserAtHome,
    Target::PasswordAtHome,
    Target::UserElsewhere,
];

#[derive(Debug, Clone, Copy)]
struct Case {
    code: u16,
    /// Redirects at home, the one that leads to the target included.
    hops: usize,
    target: Target,
    /// The target leads back home.
    back: bool,
}

/// Two sockets of one port on two addresses; the first is home.
async fn same_port() -> [TcpListener; 2] {
    loop {
        let home = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = home.local_addr().unwrap().port();
        if let Ok(other) = TcpListener::bind(("127.0.0.2", port)).await {
            return [home, other];
        }
    }
}

fn description() -> Reply {
    Reply::json(format!("{{\"id\":\"org/tiny\",\"sha\":\"{}\"}}", "1".repeat(40)))
}

fn tokens_in(place: &Script) -> usize {
    let requests = place.requests();
    let with_token = requests.iter().filter(|request| request.has_token()).count();
    // Nor anywhere else in what came.
    assert_eq!(place.count_of("hf_topsecret"), with_token);
    with_token
}

/// Plays one case and gives what was wrong with it.
async fn play(hub: &Hub, case: Case) {
    let Case {
        code,
        hops,
        target,
        back,
    } = case;
    let [home, twin] = same_port().await;
    let home_at = home.local_addr().unwrap();
    let (twin_at, port) = (twin.local_addr().unwrap(), home_at.port());
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let (elsewhere_at, far_at) = (elsewhere.local_addr().unwrap(), far.local_addr().unwrap());
    let location = match target {
        Target::Home => format!("http://{home_at}/end"),
        Target::HomeUnderAnotherName => format!("http://localhost:{port}/end"),
        Target::OtherPort => format!("http://{elsewhere_at}/end"),
        Target::OtherHost => format!("http://{twin_at}/end"),
        Target::OtherHostAndPort => format!("http://{far_at}/end"),
        Target::TlsAtHome => format!("https://{home_at}/end"),
        Target::TlsElsewhere => format!("https://{far_at}/end"),
        Target::UserAtHome => format!("http://user@{home_at}/end"),
        Target::PasswordAtHome => format!("http://user:pass@{home_at}/end"),
        Target::UserElsewhere => format!("http://user@{far_at}/end"),
    };
    // What the target says, and what home says when it is asked again.
    let last = if back {
        Reply::to(code, &format!("http://{home_at}/back"))
    } else {
        description()
    };
    let mut at_home: Vec<Reply> = (1..hops).map(|hop| Reply::to(code, &format!("/{hop}"))).collect();
    at_home.push(Reply::to(code, &location));
    let lands_at_home = matches!(target, Target::Home | Target::HomeUnderAnotherName);
    at_home.extend(lands_at_home.then(|| last.clone()));
    at_home.extend(back.then(description));
    let home = script_on(home, at_home);
    let others = [twin, elsewhere, far].map(|listener| script_on(listener, vec![last.clone()]));
    let (endpoint, token) = (endpoint(&home.base), token());
    let asked = hub
        .info(&endpoint, Some(&token), RepoKind::Model, &tiny(), &Revision::main())
        .await;
    let asked_elsewhere: usize = others.iter().map(|other| other.requests().len()).sum();
    let stays = target == Target::Home;
    let after = usize::from(lands_at_home) + usize::from(back);
    match target {
        Target::UserAtHome | Target::PasswordAtHome | Target::UserElsewhere => {
            assert!(matches!(asked, Err(HubError::Redirect { .. })), "{case:?} {asked:?}");
            assert_eq!((asked_elsewhere, home.requests().len()), (0, hops), "{case:?}");
        }
        Target::TlsAtHome | Target::TlsElsewhere => {
            // Nobody speaks TLS there: all that comes are the first bytes of a handshake.
            assert!(asked.is_err(), "{case:?}");
            assert_eq!((asked_elsewhere, home.requests().len()), (0, hops), "{case:?}");
        }
        Target::Home
        | Target::HomeUnderAnotherName
        | Target::OtherPort
        | Target::OtherHost
        | Target::OtherHostAndPort => {
            assert!(asked.is_ok(), "{case:?} {asked:?}");
            assert_eq!(asked_elsewhere, usize::from(!lands_at_home), "{case:?}");
            assert_eq!(home.requests().len(), hops + after, "{case:?}");
        }
    }
    let expected = if stays { hops + after } else { hops };
    assert_eq!(tokens_in(&home), expected, "{case:?}");
    for other in &others {
        assert_eq!(tokens_in(other), 0, "{case:?}");
    }
}

#[tokio::test]
async fn the_token_is_sent_to_its_origin_alone() {
    let hub = hub();
    let mut cases = 0;
    for code in [301, 302, 303, 307, 308] {
        for hops in 1..=5 {
            for target in TARGETS {
                for back in [false, true] {
                    let case = Case {
                        code,
                        hops,
                        target,
                        back,
                    };
                    play(&hub, case).await;
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 500);
}
