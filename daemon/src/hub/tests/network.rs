//! Faults below HTTP, and proxies.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::script::{Reply, script};
use super::{endpoint, tiny, token};
use crate::hub::transport::fault_of;
use crate::hub::{
    Blame, Hub, HubError, HubOptions, NetworkFault, ProxyRules, RepoInfo, RouteTable, Verdict, classify, failure,
};
use crate::model::{FailureKind, RepoKind, Revision};

async fn ask(base: &str, proxy: Option<&str>) -> Result<RepoInfo, HubError> {
    let mut options = HubOptions::direct("hfetch/test");
    let lookup = |name: &str| proxy.filter(|_| name == "all_proxy").map(str::to_owned);
    options.routes = RouteTable::environment(ProxyRules::from_lookup(lookup).unwrap());
    let (hub, endpoint, token) = (Hub::new(options).unwrap(), endpoint(base), token());
    hub.info(&endpoint, Some(&token), RepoKind::Model, &tiny(), &Revision::main())
        .await
}

/// The fault of one call; `None` on a machine without CA certificates, which speaks no TLS at all.
async fn fault(base: &str, proxy: Option<&str>) -> Option<NetworkFault> {
    let error = ask(base, proxy).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    match error {
        HubError::Transport { fault, .. } => Some(fault),
        HubError::NoTrustAnchors { .. } => {
            let must_not = std::env::var_os("HFETCH_NO_SKIP").is_some_and(|value| value == "1");
            assert!(!must_not, "must not be skipped: no CA certificates");
            None
        }
        other => panic!("{other:?}"),
    }
}

async fn dead_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn faults_are_told_apart() {
    assert_eq!(fault(&dead_port().await, None).await, Some(NetworkFault::Refused));
    // An empty label is refused by the resolver itself, without any network.
    assert_eq!(fault("http://a..invalid", None).await, Some(NetworkFault::Dns));
    let reset = script(vec![Reply::raw("").then_reset(); 2]).await;
    assert_eq!(fault(&reset.base, None).await, Some(NetworkFault::Reset));
    assert_eq!(reset.lines().len(), 2);
}

/// A server or a proxy that closes a connection without saying so: what was asked just then is asked once more.
#[tokio::test]
async fn a_connection_that_closes_meanwhile_costs_no_answer() {
    let body = format!("{{\"sha\":\"{}\"}}", "1".repeat(40));
    let answers = [Reply::json(&body), Reply::raw(""), Reply::json(&body)];
    let server = script(answers.to_vec()).await;
    let (hub, endpoint) = (
        Hub::new(HubOptions::direct("hfetch/test")).unwrap(),
        endpoint(&server.base),
    );
    for _ in 0..2 {
        hub.info(&endpoint, None, RepoKind::Model, &tiny(), &Revision::main())
            .await
            .unwrap();
    }
    assert_eq!((server.lines().len(), server.connections()), (3, 2));

    let server = script([Reply::json(&body), Reply::raw(""), Reply::json(&body)].to_vec()).await;
    let endpoint = self::endpoint(&server.base);
    for _ in 0..2 {
        let hops = hub
            .trace_info(&endpoint, None, RepoKind::Model, &tiny(), &Revision::main())
            .await;
        assert_eq!(hops[0].error, None);
    }
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn a_server_without_tls_is_a_fault_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        fault = fault(&base, None) => assert!(matches!(fault, Some(NetworkFault::Tls) | None), "{fault:?}"),
        () = answer => {}
    }
}

#[derive(Debug)]
struct Layer(&'static str, Option<Box<dyn Error + 'static>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref()
    }
}

#[test]
fn chains_are_read_to_their_end() {
    let check = |inner: Layer, expected| {
        let middle = Layer("client error (Connect)", Some(Box::new(inner)));
        let chain = Layer("error sending request", Some(Box::new(middle)));
        assert_eq!(fault_of(&chain), expected, "{chain:?}");
    };
    let io = |kind: io::ErrorKind| Layer("tcp connect error", Some(Box::new(io::Error::from(kind))));
    check(
        Layer("invalid peer certificate: Expired", None),
        NetworkFault::CertificateTime,
    );
    check(
        Layer("invalid peer certificate: UnknownIssuer", None),
        NetworkFault::Certificate,
    );
    check(Layer("received fatal alert: HandshakeFailure", None), NetworkFault::Tls);
    check(Layer("tls handshake eof", None), NetworkFault::Tls);
    check(Layer("dns error", None), NetworkFault::Dns);
    check(
        Layer("tunnel error: proxy authorization required", None),
        NetworkFault::ProxyAuth,
    );
    check(Layer("tunnel error: unsuccessful", None), NetworkFault::Proxy);
    check(io(io::ErrorKind::ConnectionRefused), NetworkFault::Refused);
    check(io(io::ErrorKind::HostUnreachable), NetworkFault::Unreachable);
    check(io(io::ErrorKind::NetworkUnreachable), NetworkFault::Unreachable);
    check(io(io::ErrorKind::TimedOut), NetworkFault::Timeout);
    check(io(io::ErrorKind::ConnectionReset), NetworkFault::Reset);
    check(io(io::ErrorKind::BrokenPipe), NetworkFault::Reset);
    check(io(io::ErrorKind::UnexpectedEof), NetworkFault::Reset);
    check(io(io::ErrorKind::OutOfMemory), NetworkFault::Protocol);
    check(Layer("something new", None), NetworkFault::Protocol);
}

#[test]
fn every_fault_has_a_verdict_and_a_sentence() {
    for fault in NetworkFault::ALL {
        let error = HubError::Transport {
            host: "h".to_owned(),
            via: Some("p:1".to_owned()),
            fault,
            detail: String::new(),
        };
        let verdict = classify(&error);
        match fault {
            NetworkFault::Certificate | NetworkFault::CertificateTime => {
                assert_eq!(verdict, Verdict::EndpointAtFault(Blame::Certificate))
            }
            NetworkFault::ProxyAuth => assert!(matches!(verdict, Verdict::Permanent(_)), "{verdict:?}"),
            NetworkFault::Dns
            | NetworkFault::Refused
            | NetworkFault::Unreachable
            | NetworkFault::Timeout
            | NetworkFault::Reset
            | NetworkFault::Tls
            | NetworkFault::Proxy
            | NetworkFault::Protocol => assert!(matches!(verdict, Verdict::Retry { wait: None, .. }), "{verdict:?}"),
        }
        let failure = failure(&error);
        assert_eq!(failure.kind, FailureKind::EndpointUnreachable);
        assert!(failure.message.starts_with("h through the proxy p:1: "), "{failure:?}");
        assert!(!failure.hint.is_empty());
    }
}

#[tokio::test]
async fn a_proxy_gets_the_whole_address_and_its_own_password() {
    let body = format!("{{\"sha\":\"{}\"}}", "1".repeat(40));
    let proxy = script(vec![Reply::json(body)]).await;
    let with_user = proxy.base.replace("http://", "http://user:secret@");
    ask("http://hub.example:8080", Some(&with_user)).await.unwrap();
    let request = &proxy.requests()[0];
    let whole = "GET http://hub.example:8080/api/models/org/tiny/revision/main";
    assert_eq!(request.line(), whole);
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(request.header("host"), Some("hub.example:8080"));
}

/// A captive portal in place of a proxy.
#[tokio::test]
async fn a_proxy_that_answers_a_tunnel_with_a_page_is_told() {
    let page = Reply::new(200, &[("content-type", "text/html")], "<html>Sign in</html>");
    let proxy = script(vec![page.then_close()]).await;
    if let Some(told) = fault("https://hub.example", Some(&proxy.base)).await {
        assert_eq!(told, NetworkFault::Tls);
        assert_eq!(proxy.lines(), ["CONNECT hub.example:443"]);
    }
    assert!(!proxy.saw_token());
}

/// What a connection showed when it was made is looked at again after some time.
#[tokio::test]
async fn connections_that_are_too_old_take_no_new_request() {
    let usual = HubOptions::direct("hfetch/test").pool_lifetime;
    assert!(usual <= Duration::from_secs(600), "{usual:?}");
    for (lifetime, connections) in [(usual, 1), (Duration::ZERO, 3)] {
        let body = format!("{{\"sha\":\"{}\"}}", "1".repeat(40));
        let server = script(vec![Reply::json(body); 3]).await;
        let mut options = HubOptions::direct("hfetch/test");
        options.pool_lifetime = lifetime;
        let (hub, endpoint) = (Hub::new(options).unwrap(), endpoint(&server.base));
        for _ in 0..3 {
            hub.info(&endpoint, None, RepoKind::Model, &tiny(), &Revision::main())
                .await
                .unwrap();
        }
        assert_eq!(server.connections(), connections, "{lifetime:?}");
    }
}

#[tokio::test]
async fn a_proxy_sees_a_tunnel_for_https_and_no_token() {
    for (status, expected) in [
        (407, NetworkFault::ProxyAuth),
        (403, NetworkFault::Proxy),
        (502, NetworkFault::Proxy),
    ] {
        let proxy = script(vec![Reply::new(status, &[], "").then_close()]).await;
        let with_user = proxy.base.replace("http://", "http://user:secret@");
        if let Some(told) = fault("https://hub.example", Some(&with_user)).await {
            assert_eq!(told, expected, "{status}");
            assert_eq!(proxy.lines(), ["CONNECT hub.example:443"]);
            assert!(proxy.requests()[0].header("proxy-authorization").is_some());
        }
        assert!(!proxy.saw_token());
    }
    let dead = dead_port().await;
    let told = fault("http://hub.example", Some(&dead)).await;
    assert_eq!(told, Some(NetworkFault::Refused));
}
