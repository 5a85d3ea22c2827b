//! Where redirects are followed to, and that the token never leaves its origin.

use tokio::net::TcpListener;

use super::script::{Reply, Script, script, script_at, script_on};
use super::{SHA256, endpoint, hub, target, tiny, token};
use crate::hub::{HubError, RedirectFault, RepoInfo};
use crate::model::{ByteRange, RepoKind, Revision};

const CODES: [u16; 5] = [301, 302, 303, 307, 308];

fn description() -> Reply {
    Reply::json(format!("{{\"id\":\"org/tiny\",\"sha\":\"{}\"}}", "1".repeat(40)))
}

async fn ask(base: &str) -> Result<RepoInfo, HubError> {
    let (endpoint, token) = (endpoint(base), token());
    hub()
        .info(&endpoint, Some(&token), RepoKind::Model, &tiny(), &Revision::main())
        .await
}

fn fault(result: Result<RepoInfo, HubError>) -> RedirectFault {
    match result {
        Err(HubError::Redirect { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// Every code, every kind of other origin: followed, without the token. The endpoint's own origin keeps it.
#[tokio::test]
async fn the_token_stays_at_home() {
    for code in CODES {
        for (address, name) in [
            ("127.0.0.1", None),
            ("127.0.0.2", None),
            ("127.0.0.1", Some("localhost")),
        ] {
            let other = script_at(address, vec![description()]).await;
            let location = match name {
                Some(name) => other.base.replace(address, name),
                None => other.base.clone(),
            };
            let home = script(vec![Reply::to(code, "/moved?x=%2F"), Reply::to(code, &location)]).await;
            ask(&home.base).await.unwrap();
            assert!(home.requests().iter().all(|request| request.has_token()));
            assert_eq!(home.lines()[1], "GET /moved?x=%2F");
            assert_eq!(other.requests().len(), 1, "{code} {location}");
            assert!(!other.saw_token(), "{code} {location}");
        }
    }
}

/// Once away from home, the token is not attached again, also not at home.
#[tokio::test]
async fn the_token_does_not_come_back() {
    for code in CODES {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let back = format!("http://{}/stolen", listener.local_addr().unwrap());
        let other = script(vec![Reply::to(code, &back)]).await;
        let home = script_on(listener, vec![Reply::to(code, &other.base), description()]);
        ask(&home.base).await.unwrap();
        let with_token: Vec<bool> = home.requests().iter().map(|request| request.has_token()).collect();
        assert_eq!(with_token, [true, false]);
        assert!(!other.saw_token());
    }
}

/// Another scheme is another origin. Nobody speaks TLS there, so all that comes are bytes of a handshake.
#[tokio::test]
async fn https_on_the_same_host_gets_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secure = format!("https://{}/", listener.local_addr().unwrap());
    let home = script(vec![Reply::to(302, &secure)]).await;
    let hears = async {
        use tokio::io::AsyncReadExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 512];
        let length = stream.read(&mut hello).await.unwrap();
        drop(stream);
        assert!(!String::from_utf8_lossy(&hello[..length]).contains("topsecret"));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = ask(&home.base) => assert!(result.is_err()),
        () = hears => {}
    }
}

#[tokio::test]
async fn refused_targets_are_never_asked() {
    for code in CODES {
        let other = script(vec![description()]).await;
        let host = other.base.strip_prefix("http://").unwrap().to_owned();
        let user = format!("http://user@{host}/");
        let both = format!("http://user:pass@{host}/");
        let address = |host: &str| RedirectFault::Address(host.to_owned());
        let targets = [
            (user.as_str(), RedirectFault::Userinfo),
            (both.as_str(), RedirectFault::Userinfo),
            ("ftp://127.0.0.1/x", RedirectFault::Scheme("ftp".to_owned())),
            ("file:///etc/passwd", RedirectFault::Scheme("file".to_owned())),
            ("http://[::bad/", RedirectFault::Unreadable),
            ("http://169.254.169.254/latest", address("169.254.169.254")),
            ("http://10.0.0.1:8080/", address("10.0.0.1:8080")),
        ];
        for (location, expected) in targets {
            let home = script(vec![Reply::to(code, location)]).await;
            assert_eq!(fault(ask(&home.base).await), expected, "{code} {location}");
            assert_eq!(home.requests().len(), 1);
        }
        assert!(other.requests().is_empty() && !other.saw_token());
        let home = script(vec![Reply::new(code, &[], "")]).await;
        assert_eq!(fault(ask(&home.base).await), RedirectFault::NoLocation);
    }
}

#[tokio::test]
async fn ten_hops_and_no_more() {
    let hops = |count: usize| {
        (1..=count)
            .map(|hop| Reply::to(307, &format!("/{hop}")))
            .collect::<Vec<_>>()
    };
    let mut ten = hops(10);
    ten.push(description());
    let home = script(ten).await;
    ask(&home.base).await.unwrap();
    assert_eq!(home.requests().len(), 11);
    let home = script(hops(11)).await;
    assert_eq!(fault(ask(&home.base).await), RedirectFault::TooMany(10));
    let circle = ["/a", "/b", "/a"].map(|location| Reply::to(302, location));
    let home = script(circle.to_vec()).await;
    assert_eq!(fault(ask(&home.base).await), RedirectFault::Loop);
    assert_eq!(home.requests().len(), 3);
}

/// A small file: relative redirect to the cache route, its odd query untouched, the token kept.
#[tokio::test]
async fn the_cache_route_gets_its_query_byte_for_byte() {
    let ones = "1".repeat(40);
    let route = format!(
        "/api/resolve-cache/models/org/tiny/{ones}/a%20b/model.bin\
         ?%2Forg%2Ftiny%2Fresolve%2Fmain%2Fmodel.bin=&etag=%22{SHA256}%22"
    );
    let partial = Reply::new(206, &[("content-range", "bytes 0-3/4")], "data");
    let server = script(vec![Reply::to(307, &route), partial]).await;
    let (hub, endpoint, token, file) = (hub(), endpoint(&server.base), token(), target(4));
    hub.open(&endpoint, Some(&token), &file, ByteRange::new(0, 4), None)
        .await
        .unwrap();
    assert_eq!(
        server.lines(),
        [
            format!("GET /org/tiny/resolve/{ones}/a%20b/model.bin"),
            format!("GET {route}")
        ]
    );
    assert!(server.requests().iter().all(|request| request.has_token()));
}

/// The same rules for bytes: mirror to hub to store; later ranges go straight to the store, never with the token.
#[tokio::test]
async fn stores_of_bytes_see_no_token() {
    for code in CODES {
        let partial = Reply::new(206, &[("content-range", "bytes 0-3/4")], "data");
        let store = script_at("127.0.0.2", vec![partial]).await;
        let path = "/xet/abc?Expires=1790000000&Signature=a~b-c__&x=%2B+%27";
        let signed = format!("{}{path}", store.base);
        let official = script_at("127.0.0.3", vec![Reply::to(code, &signed)]).await;
        let mirror: Script = script(vec![Reply::to(code, &official.base)]).await;
        let (hub, endpoint, token, file) = (hub(), endpoint(&mirror.base), token(), target(4));
        let range = ByteRange::new(0, 4);
        let opened = hub.open(&endpoint, Some(&token), &file, range, None).await.unwrap();
        assert_eq!(opened.link.url.reveal().as_str(), signed);
        assert!(mirror.saw_token() && !official.saw_token() && !store.saw_token());
        let request = &store.requests()[0];
        assert_eq!(request.line(), format!("GET {path}"));
        assert_eq!(request.header("range"), Some("bytes=0-3"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("referer"), None);
        let again = hub.open(&endpoint, Some(&token), &file, range, Some(&opened.link));
        assert!(again.await.is_err(), "the script is over");
        assert_eq!(store.requests().len(), 2);
        assert!(!store.saw_token() && mirror.requests().len() == 1);
    }
}
