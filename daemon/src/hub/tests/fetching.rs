//! Ranges of files: what is accepted, what is refused, and what it is called.

use std::error::Error;

use tokio::net::TcpListener;

use super::script::{Reply, Script, script, script_at};
use super::{SHA256, endpoint, hub, target, token};
use crate::hub::{Blame, Body, Changed, HubError, Opened, Verdict, classify, failure};
use crate::model::{ByteRange, FailureKind};

async fn open(server: &Script, size: u64, range: ByteRange) -> Result<Opened, HubError> {
    let (endpoint, token, file) = (endpoint(&server.base), token(), target(size));
    hub().open(&endpoint, Some(&token), &file, range, None).await
}

async fn drain(body: &mut Body) -> Result<Vec<u8>, HubError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// One reply to bytes 2..6 of ten: a range that does not begin at 0.
async fn answer(reply: Reply) -> Result<Vec<u8>, HubError> {
    let server = script(vec![reply]).await;
    drain(&mut open(&server, 10, ByteRange::new(2, 6)).await?.body).await
}

/// One reply to all ten bytes.
async fn answer_from_start(reply: Reply) -> Result<Vec<u8>, HubError> {
    let server = script(vec![reply]).await;
    drain(&mut open(&server, 10, ByteRange::new(0, 10)).await?.body).await
}

fn blame(result: Result<Vec<u8>, HubError>) -> Blame {
    let error = result.unwrap_err();
    match classify(&error) {
        Verdict::EndpointAtFault(blame) => blame,
        other => panic!("{error}: {other:?}"),
    }
}

#[tokio::test]
async fn a_range_is_exactly_that() {
    let ones = "1".repeat(40);
    let headers = [
        ("Content-Range", "bytes 2-5/10"),
        ("RateLimit", "\"resolvers\";r=2997;t=258"),
        ("X-Repo-Commit", &ones),
    ];
    let server = script(vec![Reply::new(206, &headers, "2345")]).await;
    let mut opened = open(&server, 10, ByteRange::new(2, 6)).await.unwrap();
    assert_eq!(opened.rate.map(|rate| rate.remaining), Some(2997));
    assert!(!opened.ranges_ignored);
    assert_eq!(drain(&mut opened.body).await.unwrap(), b"2345");
    assert!(opened.body.chunk().await.unwrap().is_none());
    assert!(!opened.body.surplus());
    let request = &server.requests()[0];
    assert_eq!(request.header("range"), Some("bytes=2-5"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("user-agent"), Some("hfetch/test"));
}

#[tokio::test]
async fn empty_and_foreign_ranges_need_no_server() {
    for range in [ByteRange::new(0, 0), ByteRange::new(5, 5), ByteRange::new(0, 11)] {
        let server = script(vec![]).await;
        let opened = open(&server, 10, range).await;
        assert!(matches!(opened, Err(HubError::BadRange { .. })));
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn wrong_ranges_are_refused() {
    for range in [
        "bytes 0-3/10",
        "bytes 2-6/10",
        "bytes 2-4/10",
        "bytes 2-5/11",
        "bytes 2-5/*",
        "bytes */10",
        "2-5/10",
        "bytes 2-5",
        "rubbish",
    ] {
        let reply = Reply::new(206, &[("content-range", range)], "2345");
        assert_eq!(blame(answer(reply).await), Blame::WrongRange, "{range}");
    }
    assert_eq!(blame(answer(Reply::new(206, &[], "2345")).await), Blame::WrongRange);
    let kind = ("content-type", "multipart/byteranges; boundary=x");
    let multipart = Reply::new(206, &[kind, ("content-range", "bytes 2-5/10")], "2345");
    assert_eq!(blame(answer(multipart).await), Blame::WrongRange);
    let unsatisfied = |range| Reply::new(416, &[("content-range", range)], "");
    assert_eq!(blame(answer(unsatisfied("bytes */10")).await), Blame::WrongRange);
    assert_eq!(blame(answer(Reply::new(416, &[], "")).await), Blame::WrongRange);
    let other_size = answer(unsatisfied("bytes */1")).await.unwrap_err();
    let is_size =
        |error: &HubError| matches!(error, HubError::ChangedUnderneath { what, .. } if *what == Changed::Size);
    assert!(is_size(&other_size), "{other_size}");
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let reply = |encoding| {
        let headers = [("content-encoding", encoding), ("content-range", "bytes 2-5/10")];
        Reply::new(206, &headers, "2345")
    };
    for encoding in ["gzip", "br", "identity, gzip"] {
        assert_eq!(blame(answer(reply(encoding)).await), Blame::Encoded, "{encoding}");
    }
    assert_eq!(answer(reply("Identity")).await.unwrap(), b"2345");
}

#[tokio::test]
async fn a_whole_file_serves_the_first_range_only() {
    let whole = Reply::new(200, &[], "0123456789");
    assert_eq!(blame(answer(whole.clone()).await), Blame::RangeIgnored);
    let chunked = ("transfer-encoding", "chunked");
    let chunked = Reply::new(200, &[chunked], "a\r\n0123456789\r\n0\r\n\r\n");
    for reply in [whole, chunked] {
        for (range, expected) in [
            (ByteRange::new(0, 4), &b"0123"[..]),
            (ByteRange::new(0, 10), b"0123456789"),
        ] {
            let server = script(vec![reply.clone()]).await;
            let mut opened = open(&server, 10, range).await.unwrap();
            assert!(opened.ranges_ignored);
            assert_eq!(drain(&mut opened.body).await.unwrap(), expected);
            assert!(!opened.body.surplus());
        }
    }
}

#[tokio::test]
async fn other_things_than_the_file_are_refused() {
    let html = ("content-type", "text/html; charset=utf-8");
    let chunked = ("transfer-encoding", "chunked");
    let multipart = ("content-type", "multipart/byteranges; boundary=x");
    for reply in [
        Reply::new(200, &[html], "<html>please log in</html>"),
        Reply::new(200, &[html, chunked], "3\r\n<ht\r\n0\r\n\r\n"),
        Reply::new(200, &[], "short"),
        Reply::new(200, &[], "much too long"),
        Reply::new(200, &[multipart], "0123456789"),
    ] {
        assert_eq!(blame(answer_from_start(reply).await), Blame::NotTheFile);
    }
    // A page of the right length may be the file: the hash decides.
    let page = Reply::new(200, &[html], "0123456789");
    assert_eq!(answer_from_start(page).await.unwrap(), b"0123456789");
    for status in [201, 203, 204, 300, 304] {
        let odd = Reply::new(status, &[], "");
        assert_eq!(blame(answer_from_start(odd).await), Blame::BadAnswer, "{status}");
    }
}

#[tokio::test]
async fn claims_of_the_hub_are_compared() {
    let other_hash = "0".repeat(64);
    let (quoted, ones, twos) = (format!("W/\"{SHA256}-gzip\""), "1".repeat(40), "2".repeat(40));
    let check = async |header: (&str, &str), expected: Option<Changed>| {
        // On the redirect, whose own length says nothing, and on the answer itself.
        let partial = Reply::new(206, &[("content-range", "bytes 2-5/10")], "2345");
        let store = script_at("127.0.0.2", vec![partial]).await;
        let redirect = Reply::new(302, &[header, ("location", &store.base)], "abc");
        let direct = Reply::new(206, &[header, ("content-range", "bytes 2-5/10")], "2345");
        for reply in [redirect, direct] {
            match (answer(reply).await, expected) {
                (Ok(bytes), None) => assert_eq!(bytes, b"2345"),
                (Err(HubError::ChangedUnderneath { what, .. }), Some(expected)) => assert_eq!(what, expected),
                (other, _) => panic!("{header:?}: {other:?}"),
            }
        }
        let followed = usize::from(expected.is_none());
        assert_eq!(store.requests().len(), followed, "refused before it is followed");
    };
    check(("X-Linked-Size", "10"), None).await;
    check(("X-Linked-Size", "11"), Some(Changed::Size)).await;
    check(("X-Linked-Size", "ten"), Some(Changed::Size)).await;
    check(("X-Linked-ETag", &quoted), None).await;
    check(("X-Linked-ETag", &other_hash), Some(Changed::Digest)).await;
    check(("X-Linked-ETag", &twos), Some(Changed::Digest)).await;
    check(("X-Linked-ETag", "\"opaque\""), None).await;
    check(("X-Repo-Commit", &ones), None).await;
    check(("X-Repo-Commit", &twos), Some(Changed::Commit)).await;
    check(("X-Repo-Commit", "main"), None).await;
    // What a store says in `ETag` is its own affair.
    check(("ETag", &other_hash), None).await;
}

#[tokio::test]
async fn a_place_on_the_endpoint_keeps_its_validator() {
    let reply = |range: &str, etag: &str| {
        let headers = [("content-range", range), ("etag", etag)];
        Reply::new(206, &headers, "ab")
    };
    let server = script(vec![
        reply("bytes 0-1/10", "\"one\""),
        reply("bytes 2-3/10", "W/\"one\""),
        reply("bytes 4-5/10", "\"two\""),
    ])
    .await;
    let (hub, endpoint, file) = (hub(), endpoint(&server.base), target(10));
    let first = hub.open(&endpoint, None, &file, ByteRange::new(0, 2), None);
    let link = first.await.unwrap().link;
    let again = async |range| hub.open(&endpoint, None, &file, range, Some(&link)).await;
    again(ByteRange::new(2, 4)).await.unwrap();
    let changed = again(ByteRange::new(4, 6)).await.unwrap_err();
    let is_validator = matches!(changed, HubError::ChangedUnderneath { what, .. } if what == Changed::Validator);
    assert!(is_validator, "{changed}");
}

#[tokio::test]
async fn refused_addresses_ask_for_new_ones() {
    let xml = "<?xml version=\"1.0\"?>\n\
               <Error><Code>AccessDenied</Code><Message>Request has\u{7} expired</Message></Error>";
    let denied = Some("AccessDenied: Request has expired");
    let plain = "Auth failed: invalid range for https://cdn/x?Signature=abc";
    let failed = Some("Auth failed: invalid range for https://cdn/x?…");
    for (status, body, expected) in [
        (403, xml, denied),
        (401, xml, denied),
        (410, xml, denied),
        (404, xml, denied),
        (400, xml, denied),
        (403, plain, failed),
        (403, "", Some("")),
        (400, plain, None),
        (429, xml, None),
        (503, xml, None),
    ] {
        let store = script_at("127.0.0.2", vec![Reply::new(status, &[], body)]).await;
        let signed = format!("{}/x?Expires=1&Signature=secret", store.base);
        let server = script(vec![Reply::to(302, &signed)]).await;
        let error = open(&server, 10, ByteRange::new(2, 6)).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains("Signature"), "{shown}");
        match (&error, expected) {
            (HubError::LinkRefused { code_from_body, .. }, Some(code)) => {
                assert_eq!(code_from_body, code);
                assert_eq!(classify(&error), Verdict::FreshLink);
            }
            (HubError::Refused(_), None) => {}
            (other, _) => panic!("{status}: {other:?}"),
        }
    }
}

/// On the way to the place where the bytes lie, a no is the Hub's own, whichever of its hosts says it.
#[tokio::test]
async fn a_no_of_the_hub_is_not_a_refused_address() {
    let code = |code| [("x-error-code", code)];
    for (status, headers, kind) in [
        (401, &code("GatedRepo")[..], FailureKind::Gated),
        (403, &code("GatedRepo"), FailureKind::Gated),
        (404, &code("EntryNotFound"), FailureKind::EntryNotFound),
        (404, &code("RevisionNotFound"), FailureKind::RevisionNotFound),
        (403, &code("Other"), FailureKind::Unauthorized),
    ] {
        let no = Reply::new(status, headers, "no");
        let official = script_at("127.0.0.2", vec![no.clone()]).await;
        for reply in [no, Reply::to(308, &official.base)] {
            let server = script(vec![reply]).await;
            let error = open(&server, 10, ByteRange::new(2, 6)).await.unwrap_err();
            match classify(&error) {
                Verdict::Permanent(failure) => assert_eq!(failure.kind, kind, "{failure:?}"),
                other => panic!("{status} {headers:?}: {other:?}"),
            }
        }
        assert_eq!(official.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_dead_store_does_not_show_the_signed_address() {
    let dead = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let signed = format!("http://{}/x?Signature=secret", dead.local_addr().unwrap());
    drop(dead);
    let server = script(vec![Reply::to(302, &signed)]).await;
    let error = open(&server, 10, ByteRange::new(2, 6)).await.unwrap_err();
    assert!(matches!(error, HubError::Transport { .. }), "{error:?}");
    let mut shown = format!("{error} {error:?} {:?}", failure(&error));
    let mut cause = error.source();
    while let Some(inner) = cause {
        shown.push_str(&format!(" {inner}"));
        cause = inner.source();
    }
    assert!(!shown.contains("secret") && !shown.contains("Signature"), "{shown}");
}

/// An address found earlier may have run out on the endpoint itself, too; only resolving anew tells the real reason.
#[tokio::test]
async fn an_old_place_on_the_endpoint_is_asked_for_anew() {
    let server = script(vec![
        Reply::to(302, "/xet-bridge-us/org/tiny/abc"),
        Reply::new(206, &[("content-range", "bytes 0-1/10")], "01"),
        Reply::new(404, &[("x-error-code", "RepoNotFound")], ""),
    ])
    .await;
    let (hub, endpoint, file) = (hub(), endpoint(&server.base), target(10));
    let range = ByteRange::new(0, 2);
    let first = hub.open(&endpoint, None, &file, range, None).await.unwrap();
    let again = hub.open(&endpoint, None, &file, range, Some(&first.link)).await;
    assert!(matches!(again, Err(HubError::LinkRefused { status: 404, .. })));
    assert_eq!(server.lines()[2], "GET /xet-bridge-us/org/tiny/abc");
}
