//! Each fault does what its name says, and only to the requests that its rule means.

use std::io::ErrorKind;
use std::time::Duration;

use hfetch_tests::sim::{Ending, Fault, Host, Matcher, RepoBuilder, Rule, SimHub, Switches};

use super::client::{Answer, follow, get, get_url, get_with, head, request};

const SIZE: u64 = 400_000;
const MODEL: &str = "/org/m/resolve/main/model.bin";

fn hub() -> SimHub {
    let repo = RepoBuilder::model("org/m")
        .seeded("model.bin", SIZE, 11)
        .file("config.json", "{\"a\":1}");
    SimHub::builder().repo(repo).start().expect("starts")
}

fn expected(offset: u64, length: u64) -> Vec<u8> {
    hfetch_tests::sim::Content::seeded(11, SIZE)
        .read(offset, length)
        .expect("seeded")
}

/// GETs `bytes=1000-1999` of the model through the CDN while one fault is in force there.
async fn ranged_under(fault: Fault) -> Answer {
    let hub = hub();
    hub.fault(Matcher::any().host(Host::Cdn), fault);
    let answer = follow(&hub, MODEL, &[("Range", "bytes=1000-1999")]).await;
    hub.assert_clean();
    answer
}

#[tokio::test]
async fn a_reset_is_a_real_reset() {
    let hub = hub();
    hub.fault(Matcher::any().file("*.bin").host(Host::Cdn), Fault::ResetAfter(100_000));
    let answer = follow(&hub, MODEL, &[]).await;
    assert_eq!(answer.error, Some(ErrorKind::ConnectionReset));
    assert_eq!(answer.body, expected(0, 100_000), "what came before is right");
    let record = hub.journal().filter(|record| record.host == Host::Cdn).remove(0);
    assert_eq!(
        (record.ending, record.sent, record.body_bytes),
        (Ending::Reset, 0..100_000, 100_000)
    );
    assert_eq!(record.faults, ["ResetAfter(100000)"]);
}

#[tokio::test]
async fn a_cut_is_an_early_end() {
    let answer = ranged_under(Fault::CutAfter(10)).await;
    assert_eq!((answer.status, answer.error), (206, Some(ErrorKind::UnexpectedEof)));
    assert_eq!(answer.body, expected(1000, 10));
    assert_eq!(
        ranged_under(Fault::CutBeforeHead).await.error,
        Some(ErrorKind::UnexpectedEof)
    );
    assert_eq!(
        ranged_under(Fault::ResetBeforeHead).await.error,
        Some(ErrorKind::ConnectionReset)
    );
    let short = ranged_under(Fault::ShortChunked(10)).await;
    assert_eq!(
        (short.error, short.body.len(), short.header("content-length")),
        (None, 10, None)
    );
}

#[tokio::test]
async fn stalls_last_until_the_peer_gives_up() {
    for (fault, bytes) in [(Fault::StallBeforeHead, 0), (Fault::StallAfter(5000), 5000)] {
        let hub = hub();
        hub.fault(Matcher::any().host(Host::Cdn), fault);
        let location = head(&hub, MODEL).await.location().to_owned();
        let transfer = get_url(&hub, &location, &[]);
        let stalled = hub.journal().wait_for("the stall", |journal| {
            let at_cdn = journal.filter(|record| record.host == Host::Cdn);
            at_cdn.first().is_some_and(|record| record.body_bytes == bytes)
        });
        tokio::select! {
            answer = transfer => panic!("not stalled: {}", answer.status),
            () = stalled => {}
        }
        let closed = |record: &hfetch_tests::sim::Record| record.ending == Ending::PeerClosed;
        hub.journal()
            .wait_for("the end", |journal| journal.count(closed) == 1)
            .await;
    }
}

#[tokio::test]
async fn answers_that_lie_about_ranges() {
    let whole = ranged_under(Fault::IgnoreRange).await;
    assert_eq!(
        (whole.status, whole.body.len() as u64, whole.header("content-range")),
        (200, SIZE, None)
    );
    let bare = ranged_under(Fault::NoContentRange).await;
    assert_eq!((bare.status, bare.header("content-range")), (206, None));
    assert_eq!(bare.body, expected(1000, 1000));
    let other = ranged_under(Fault::OtherRange(-500)).await;
    assert_eq!(other.header("content-range"), Some("bytes 500-1499/400000"));
    assert_eq!(other.body, expected(500, 1000));
    let shifted = ranged_under(Fault::ShiftedBytes(7)).await;
    assert_eq!(shifted.header("content-range"), Some("bytes 1000-1999/400000"));
    assert_eq!(shifted.body, expected(1007, 1000));
    assert_eq!(
        ranged_under(Fault::WrongTotal(5)).await.header("content-range"),
        Some("bytes 1000-1999/5")
    );
    let long = ranged_under(Fault::Overlong(50)).await;
    assert_eq!(
        (long.header("content-range"), long.body.len()),
        (Some("bytes 1000-1999/400000"), 1050)
    );
    let multipart = ranged_under(Fault::Multipart).await;
    assert!(
        multipart
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("multipart/byteranges"))
    );
    assert!(multipart.text().contains("Content-Range: bytes 1000-1999/400000"));
}

#[tokio::test]
async fn bodies_that_are_not_the_file() {
    let mut flipped = expected(1000, 1000);
    flipped[500] ^= 1;
    assert_eq!(ranged_under(Fault::FlipByte(1500)).await.body, flipped);
    assert_eq!(
        ranged_under(Fault::FlipByte(5)).await.body,
        expected(1000, 1000),
        "outside of the range"
    );
    let html = ranged_under(Fault::Html).await;
    assert_eq!(
        (html.status, html.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let packed = ranged_under(Fault::Gzip).await;
    assert_eq!((packed.status, packed.header("content-encoding")), (206, Some("gzip")));
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn etags_and_headers() {
    let hub = hub();
    let good = head(&hub, MODEL)
        .await
        .header("x-linked-etag")
        .expect("etag")
        .to_owned();
    let bare = good.trim_matches('"').to_owned();
    for (fault, wanted) in [
        (Fault::WeakEtag, format!("W/{good}")),
        (Fault::GzipEtag, format!("\"{bare}-gzip\"")),
        (Fault::BareEtag, bare.clone()),
        (Fault::ChangedEtag("0".repeat(64)), format!("\"{}\"", "0".repeat(64))),
    ] {
        hub.faults().clear();
        hub.fault(Matcher::any(), fault);
        assert_eq!(head(&hub, MODEL).await.header("x-linked-etag"), Some(wanted.as_str()));
    }
    for name in ["X-Repo-Commit", "X-Linked-Size", "X-Linked-ETag", "Content-Length"] {
        hub.faults().clear();
        hub.fault(Matcher::any(), Fault::DropHeader(name.to_owned()));
        assert_eq!(head(&hub, MODEL).await.header(name), None, "{name}");
    }
    hub.faults().clear();
    hub.fault(Matcher::any(), Fault::DropHeader("Content-Length".to_owned()));
    assert_eq!(
        follow(&hub, MODEL, &[]).await.body,
        expected(0, SIZE),
        "a GET without a length is chunked"
    );
}

#[tokio::test]
async fn statuses_with_and_without_advice() {
    let hub = hub();
    for (fault, status, name, wanted) in [
        (
            Fault::too_many_ratelimit(55),
            429,
            "RateLimit",
            Some("\"resolvers\";r=0;t=55"),
        ),
        (Fault::too_many_seconds(7), 429, "Retry-After", Some("7")),
        (Fault::too_many_bare(), 429, "Retry-After", None),
        (Fault::status(503), 503, "Retry-After", None),
        (Fault::access_denied(), 403, "Content-Type", Some("application/xml")),
    ] {
        hub.faults().clear();
        hub.fault(Matcher::any(), fault);
        let answer = get(&hub, MODEL).await;
        assert_eq!((answer.status, answer.header(name)), (status, wanted));
    }
    hub.faults().clear();
    hub.fault(Matcher::any(), Fault::too_many_date(30));
    let answer = get(&hub, MODEL).await;
    assert!(
        answer.header("retry-after").is_some_and(|date| date.ends_with(" GMT")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn rules_count_and_choose() {
    let hub = hub();
    let statuses = async |count: usize| {
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(get(&hub, "/api/models/org/m").await.status);
        }
        found
    };
    let api = || Matcher::any().path("/api/*").method("GET");
    hub.faults().add(Rule::new(api(), Fault::status(500)).first(2));
    assert_eq!(statuses(4).await, [500, 500, 200, 200]);
    hub.faults().clear();
    hub.faults().add(Rule::new(api(), Fault::status(500)).nth(3));
    assert_eq!(statuses(4).await, [200, 200, 500, 200]);
    hub.faults().clear();
    hub.faults().add(Rule::new(api(), Fault::status(500)).skip(1));
    assert_eq!(statuses(3).await, [200, 500, 500]);
    hub.faults().clear();
    hub.faults()
        .add(Rule::new(Matcher::any().method("POST"), Fault::status(500)));
    hub.faults()
        .add(Rule::new(Matcher::any().ranged(true), Fault::status(500)));
    hub.faults()
        .add(Rule::new(Matcher::any().host(Host::Cdn), Fault::status(500)));
    hub.faults()
        .add(Rule::new(Matcher::any().file("*.json"), Fault::status(500)));
    assert_eq!(statuses(1).await, [200]);
    assert_eq!(get(&hub, "/org/m/resolve/main/config.json").await.status, 500);
    assert_eq!(get_with(&hub, MODEL, &[("Range", "bytes=0-1")]).await.status, 500);
    hub.faults().clear();
    hub.faults().add(Rule::new(api(), Fault::status(500)).chance(0.5, 1));
    let drawn = statuses(40).await;
    hub.faults().clear();
    hub.faults().add(Rule::new(api(), Fault::status(500)).chance(0.5, 1));
    assert_eq!(statuses(40).await, drawn, "the same seed draws the same");
    let struck = drawn.iter().filter(|status| **status == 500).count();
    assert!((8..32).contains(&struck), "{struck} of 40");
}

#[tokio::test]
async fn redirects_of_all_kinds() {
    let hub = hub();
    hub.fault(
        Matcher::any().path("*config.json").host(Host::Hub),
        Fault::RedirectChain(3),
    );
    let chained = follow(&hub, "/org/m/resolve/main/config.json", &[]).await;
    assert_eq!((chained.status, chained.text().as_str()), (200, "{\"a\":1}"));
    hub.faults().clear();
    hub.fault(Matcher::any(), Fault::RedirectLoop);
    assert_eq!(follow(&hub, "/org/m/resolve/main/config.json", &[]).await.status, 307);
    hub.faults().clear();
    let other = self::hub();
    hub.fault(Matcher::any(), Fault::RedirectTo(308, other.endpoint().to_owned()));
    let moved = get(&hub, MODEL).await;
    assert_eq!(
        (moved.status, moved.location()),
        (308, format!("{}{MODEL}", other.endpoint()).as_str())
    );
    hub.faults().clear();
    hub.fault(Matcher::any(), Fault::Redirect(302, "file:///etc/passwd".to_owned()));
    assert_eq!(get(&hub, MODEL).await.location(), "file:///etc/passwd");
}

#[tokio::test]
async fn one_request_can_meet_an_olah() {
    let hub = hub();
    hub.faults()
        .add(Rule::new(Matcher::any(), Fault::quirk(|switches| *switches = Switches::olah())).once());
    assert_eq!(get(&hub, MODEL).await.status, 200);
    assert_eq!(get(&hub, MODEL).await.status, 302);
}

#[tokio::test]
async fn a_drip_comes_in_drops_and_a_delay_before_all() {
    let hub = hub();
    hub.fault(
        Matcher::any().host(Host::Cdn),
        Fault::Drip(100, Duration::from_millis(5)),
    );
    hub.fault(Matcher::any().host(Host::Cdn), Fault::Delay(Duration::from_millis(30)));
    let answer = follow(&hub, MODEL, &[("Range", "bytes=0-999")]).await;
    assert_eq!(answer.body, expected(0, 1000));
    let record = hub.journal().filter(|record| record.host == Host::Cdn).remove(0);
    let took = record.ended.expect("ended") - record.started;
    assert!(took >= Duration::from_millis(30 + 9 * 5), "{took:?}");
}

#[tokio::test]
async fn too_many_at_one_time_are_refused() {
    let hub = hub();
    hub.switch(|switches| switches.cdn_concurrency = Some(1));
    let gate = hub.hold_bodies("model.bin", 10);
    let location = head(&hub, MODEL).await.location().to_owned();
    let held = get_url(&hub, &location, &[]);
    let second = async {
        gate.reached().await;
        let refused = get_url(&hub, &location, &[]).await;
        gate.release();
        refused
    };
    let (held, refused) = tokio::join!(held, second);
    assert_eq!((held.body.len() as u64, refused.status), (SIZE, 503));
    assert_eq!(
        get_url(&hub, &location, &[]).await.status,
        200,
        "the place is free again"
    );
}

#[tokio::test]
async fn a_malformed_request_is_refused() {
    let hub = hub();
    let answer = request(&hub, Host::Hub, "GET  x", "/", &[], "").await;
    assert_eq!(answer.status, 400);
}
