//! Bodies that end early, never end, or go on too long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::script::{Reply, Script, script};
use super::{endpoint, hub, target, tiny};
use crate::hub::{Body, HubError, Ledger, NetworkFault, Opened, RetryReason, Verdict, classify};
use crate::model::{ByteRange, RepoKind};

const RANGE: ByteRange = ByteRange { start: 2, end: 6 };
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

fn partial(headers: &[(&str, &str)], body: &str) -> Reply {
    let mut all = vec![("content-range", "bytes 2-5/10")];
    all.extend_from_slice(headers);
    Reply::new(206, &all, body)
}

async fn open(server: &Script) -> Result<Opened, HubError> {
    let (endpoint, file) = (endpoint(&server.base), target(10));
    hub().open(&endpoint, None, &file, RANGE, None).await
}

async fn until_error(body: &mut Body) -> (Vec<u8>, Option<HubError>) {
    let mut bytes = Vec::new();
    loop {
        match body.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(error)),
        }
    }
}

fn reason(error: &HubError) -> RetryReason {
    match classify(error) {
        Verdict::Retry { wait: None, reason } => reason,
        other => panic!("{error}: {other:?}"),
    }
}

#[tokio::test]
async fn cut_bodies_are_told() {
    let announced = ("content-length", "4");
    for (reply, expected) in [
        (partial(&[announced], "23").then_close(), "23"),
        (partial(&[announced], "").then_close(), ""),
        (partial(&[("content-length", "2")], "23"), "23"),
        (partial(&[CHUNKED], "2\r\n23\r\n0\r\n\r\n"), "23"),
        (partial(&[CHUNKED], "2\r\n23\r\n").then_close(), "23"),
        (partial(&[CHUNKED], "4\r\n23").then_close(), "23"),
    ] {
        let server = script(vec![reply]).await;
        let (bytes, error) = until_error(&mut open(&server).await.unwrap().body).await;
        assert_eq!(bytes, expected.as_bytes());
        let error = error.unwrap();
        let counted = bytes.len() as u64;
        assert!(
            matches!(error, HubError::Truncated { got, wanted: 4, .. } if got == counted),
            "{error:?}"
        );
        assert_eq!(reason(&error), RetryReason::Truncated);
    }
}

#[tokio::test]
async fn broken_connections_are_faults_of_the_network() {
    let reset = RetryReason::Network(NetworkFault::Reset);
    let server = script(vec![partial(&[("content-length", "4")], "23").then_reset()]).await;
    let error = match open(&server).await {
        Ok(mut opened) => until_error(&mut opened.body).await.1.unwrap(),
        Err(error) => error,
    };
    assert_eq!(reason(&error), reset, "{error:?}");
    for reply in [Reply::raw("").then_reset(), Reply::raw(""), Reply::raw("HTTP/1.1 206")] {
        let server = script(vec![reply]).await;
        let error = open(&server).await.unwrap_err();
        assert_eq!(reason(&error), reset, "{error:?}");
    }
    let server = script(vec![Reply::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n")]).await;
    let error = open(&server).await.unwrap_err();
    let protocol = RetryReason::Network(NetworkFault::Protocol);
    assert_eq!(reason(&error), protocol, "{error:?}");
}

#[tokio::test]
async fn surplus_is_cut_and_counted() {
    for reply in [
        partial(&[], "2345 and more"),
        partial(&[CHUNKED], "9\r\n2345 more\r\n0\r\n\r\n"),
        partial(&[CHUNKED], "4\r\n2345\r\n4\r\nmore\r\n0\r\n\r\n"),
    ] {
        let server = script(vec![reply]).await;
        let mut opened = open(&server).await.unwrap();
        let (bytes, error) = until_error(&mut opened.body).await;
        assert!(bytes == b"2345" && error.is_none(), "{error:?}");
        assert!(opened.body.surplus());
    }
}

/// All bytes are there, only the end of the chunked body is missing: that is good enough.
#[tokio::test]
async fn a_missing_end_does_no_harm() {
    let server = script(vec![partial(&[CHUNKED], "4\r\n2345\r\n").then_hang()]).await;
    let mut opened = open(&server).await.unwrap();
    assert_eq!(opened.body.chunk().await.unwrap().unwrap(), "2345");
    tokio::time::pause();
    assert!(opened.body.chunk().await.unwrap().is_none());
    assert!(!opened.body.surplus());
}

#[tokio::test]
async fn a_stall_in_the_middle() {
    let server = script(vec![partial(&[("content-length", "4")], "23").then_hang()]).await;
    let mut opened = open(&server).await.unwrap();
    assert_eq!(opened.body.chunk().await.unwrap().unwrap(), "23");
    // Nothing more will come, so the stopped clock jumps to the limit.
    tokio::time::pause();
    let before = Instant::now();
    let error = opened.body.chunk().await.unwrap_err();
    let limit = Duration::from_secs(30);
    assert!(
        matches!(error, HubError::Stalled { got: 2, after, .. } if after == limit),
        "{error:?}"
    );
    assert_eq!(before.elapsed().as_secs(), limit.as_secs());
    assert_eq!(reason(&error), RetryReason::Stalled);
}

#[tokio::test]
async fn a_stall_before_the_first_byte() {
    for reply in [Reply::raw(""), Reply::raw("HTTP/1.1 206 Partial\r\ncontent-")] {
        let server = script(vec![reply.then_hang()]).await;
        let (result, ()) = tokio::join!(open(&server), async {
            server.received(1).await;
            tokio::time::pause();
        });
        let error = result.unwrap_err();
        let limit = Duration::from_secs(30);
        assert!(
            matches!(error, HubError::Stalled { got: 0, after, .. } if after == limit),
            "{error:?}"
        );
        assert_eq!(reason(&error), RetryReason::Stalled);
        tokio::time::resume();
    }
}

/// Headers are a sign of life; the body has the limit again.
#[tokio::test]
async fn a_stall_after_the_headers() {
    let server = script(vec![partial(&[("content-length", "4")], "").then_hang()]).await;
    let mut opened = open(&server).await.unwrap();
    tokio::time::pause();
    let error = opened.body.chunk().await.unwrap_err();
    assert!(matches!(error, HubError::Stalled { got: 0, .. }), "{error:?}");
}

/// A connection that closes without an answer says nothing about the server: it is asked once more, and that is counted.
#[tokio::test]
async fn who_is_asked_twice_is_counted_twice() {
    let info = || Reply::json(format!("{{\"id\":\"org/tiny\",\"sha\":\"{}\"}}", "1".repeat(40)));
    for (replies, asked) in [(vec![info()], 1), (vec![Reply::raw("").then_reset(), info()], 2)] {
        let server = script(replies).await;
        let ledger = Arc::new(Ledger::default());
        let endpoint = endpoint(&server.base).counted(ledger.clone());
        let there = hub().exists(&endpoint, None, RepoKind::Model, &tiny()).await;
        assert!(there.unwrap().is_some());
        assert_eq!(server.lines().len(), asked);
        let counted: u64 = ledger.read().iter().map(|one| one.spent.requests).sum();
        assert_eq!(counted, asked as u64);
    }
}
