//! Resolve in both shapes, ranges, names, and the vectors of the reference.

use hfetch_tests::sim::{Ending, Host, LinkedShape, PlainShape, RepoBuilder, SimHub, quote_path};

use super::client::{follow, get, get_url, get_with, head, request};

const SHA: &str = "1111111111111111111111111111111111111111";
const SHA256: &str = "e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332";
const POINTER: &str = "ce4d6976e6d936539306326057908f7ee096467f";

pub(crate) fn tiny() -> RepoBuilder {
    RepoBuilder::model("org/tiny")
        .file("hello.txt", &b"hello\n"[..])
        .file("empty.txt", &b""[..])
        .file("model.safetensors", [1, 2, 3, 4].repeat(50_000))
        .commit_as("first", SHA)
}

fn hub() -> SimHub {
    SimHub::builder().repo(tiny()).start().expect("starts")
}

#[tokio::test]
async fn a_plain_file_takes_two_hops_within_the_hub() {
    let hub = hub();
    let first = head(&hub, "/org/tiny/resolve/main/hello.txt").await;
    assert_eq!(first.status, 307);
    assert_eq!(
        first.header("x-linked-etag"),
        Some("\"ce013625030ba8dba906f756967f9e9ca394464a\"")
    );
    assert_eq!(first.header("x-repo-commit"), Some(SHA));
    assert_eq!((first.header("etag"), first.header("x-linked-size")), (None, None));
    assert_ne!(
        first.header("content-length"),
        Some("6"),
        "the length of the redirect's own body"
    );
    let location = first.location().to_owned();
    assert_eq!(
        location,
        format!(
            "/api/resolve-cache/models/org/tiny/{SHA}/hello.txt?%2Forg%2Ftiny%2Fresolve%2Fmain%2Fhello.txt=\
             &etag=%22ce013625030ba8dba906f756967f9e9ca394464a%22"
        )
    );
    let second = get(&hub, &location).await;
    assert_eq!((second.status, second.text().as_str()), (200, "hello\n"));
    assert_eq!(
        second.header("etag"),
        Some("\"ce013625030ba8dba906f756967f9e9ca394464a\"")
    );
    assert_eq!(second.header("x-repo-commit"), Some(SHA));
    assert_eq!(
        get(&hub, "/api/resolve-cache/models/org/tiny/main/hello.txt")
            .await
            .status,
        400
    );
    let foreign = format!("/api/resolve-cache/models/org/tiny/{}/hello.txt", "2".repeat(40));
    assert_eq!(get(&hub, &foreign).await.status, 404);
    hub.assert_clean();
}

#[tokio::test]
async fn a_linked_file_leads_to_the_cdn() {
    let hub = hub();
    let first = head(&hub, "/org/tiny/resolve/main/model.safetensors").await;
    assert_eq!(first.status, 302);
    assert_eq!(first.header("x-linked-etag"), Some(format!("\"{SHA256}\"").as_str()));
    assert_eq!(first.header("x-linked-size"), Some("200000"));
    assert_ne!(first.header("content-length"), Some("200000"));
    assert!(first.location().starts_with(hub.cdn_endpoint()), "{first:?}");
    assert!(
        first.location().contains("Expires=") && first.location().contains("Signature="),
        "{first:?}"
    );
    let whole = get_url(&hub, first.location(), &[]).await;
    assert_eq!((whole.status, whole.body.len()), (200, 200_000));
    assert_ne!(
        whole.header("etag"),
        Some(format!("\"{SHA256}\"").as_str()),
        "the CDN names content otherwise"
    );
    let part = get_url(&hub, first.location(), &[("Range", "bytes=5-9")]).await;
    assert_eq!((part.status, part.body), (206, vec![2, 3, 4, 1, 2]));
    assert_eq!(hub.journal().bytes_sent_for("model.safetensors"), 200_005);
    assert_eq!(hub.journal().duplicate_bytes("model.safetensors"), 5);
    hub.assert_clean();
}

#[tokio::test]
async fn ranges_at_the_cdn() {
    let hub = hub();
    let location = head(&hub, "/org/tiny/resolve/main/model.safetensors")
        .await
        .location()
        .to_owned();
    for (range, status, content_range, length) in [
        ("bytes=0-0", 206, Some("bytes 0-0/200000"), 1),
        ("bytes=199999-", 206, Some("bytes 199999-199999/200000"), 1),
        ("bytes=-3", 206, Some("bytes 199997-199999/200000"), 3),
        ("bytes=10-999999", 206, Some("bytes 10-199999/200000"), 199_990),
        ("bytes=200000-", 416, Some("bytes */200000"), 21),
        ("bytes=0-1,4-5", 200, None, 200_000),
    ] {
        let answer = get_url(&hub, &location, &[("Range", range)]).await;
        assert_eq!(
            (answer.status, answer.header("content-range")),
            (status, content_range),
            "{range}"
        );
        assert_eq!(answer.body.len(), length, "{range}");
    }
    let other = get_url(&hub, &location, &[("Range", "bytes=0-4"), ("If-Range", "\"older\"")]).await;
    assert_eq!(other.status, 200, "a changed validator gives the whole");
}

#[tokio::test]
async fn raw_gives_the_pointer_and_unchanged_gives_304() {
    let hub = hub();
    let pointer = get(&hub, "/org/tiny/raw/main/model.safetensors").await.text();
    assert_eq!(
        pointer,
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize 200000\n")
    );
    let etag = "\"ce013625030ba8dba906f756967f9e9ca394464a\"";
    let answer = get_with(&hub, "/org/tiny/resolve/main/hello.txt", &[("If-None-Match", etag)]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    let tree = get(&hub, "/api/models/org/tiny/tree/main").await.json();
    let model = tree
        .as_array()
        .expect("list")
        .iter()
        .find(|entry| entry["path"] == "model.safetensors");
    let model = model.expect("listed");
    assert_eq!(
        (model["oid"].as_str(), model["lfs"]["oid"].as_str()),
        (Some(POINTER), Some(SHA256))
    );
    assert_eq!(
        (model["size"].as_u64(), model["lfs"]["pointerSize"].as_u64()),
        (Some(200_000), Some(131))
    );
}

#[tokio::test]
async fn awkward_names_survive_quoting() {
    let names = [
        "a b/c#d?e&f=g+h%i~j@k:l,é[1](2)'",
        ".hidden/x.y",
        "deep/er/and/deeper/still/file.txt",
        "100%.txt",
        "a+b.txt",
        "q?.txt",
        "ü/日本.txt",
        "trailing dot.",
        "semi;colon",
        "back\\slash",
    ];
    let mut repo = RepoBuilder::dataset("org/names");
    for name in names {
        repo = repo.plain(name, name.to_owned());
    }
    let hub = SimHub::builder().repo(repo).start().expect("starts");
    assert_eq!(
        quote_path(names[0]),
        "a%20b/c%23d%3Fe%26f%3Dg%2Bh%25i~j%40k%3Al%2C%C3%A9%5B1%5D%282%29%27",
        "the worked example of the reference"
    );
    for name in names {
        let answer = follow(
            &hub,
            &format!("/datasets/org/names/resolve/main/{}", quote_path(name)),
            &[],
        )
        .await;
        assert_eq!((answer.status, answer.text().as_str()), (200, name));
    }
}

#[tokio::test]
async fn hostile_paths_can_be_listed() {
    let long = "x".repeat(5000);
    let names = [
        "../x",
        "/etc/passwd",
        "C:\\x",
        ".cache/huggingface/x",
        "nul\0byte",
        "Readme",
        "README",
        long.as_str(),
    ];
    let mut repo = RepoBuilder::model("org/evil");
    for name in names {
        repo = repo.plain(name, "evil");
    }
    let hub = SimHub::builder().repo(repo).start().expect("starts");
    let tree = get(&hub, "/api/models/org/evil/tree/main?recursive=true").await.json();
    for name in names {
        assert!(
            tree.as_array().expect("list").iter().any(|entry| entry["path"] == name),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_signed_url_is_checked_when_a_request_begins() {
    let hub = hub();
    let location = head(&hub, "/org/tiny/resolve/main/model.safetensors")
        .await
        .location()
        .to_owned();
    assert_eq!(get_url(&hub, &location, &[]).await.status, 200);
    let tampered = location.replace("Expires=", "Expires=9");
    assert_eq!(get_url(&hub, &tampered, &[]).await.status, 403);
    let (path, query) = location.split_once('?').expect("signed");
    let other_path = format!("{}?{query}", path.replace("/xet-bridge-us/", "/xet-bridge-us/0"));
    assert_eq!(get_url(&hub, &other_path, &[]).await.status, 403, "bound to the path");
    assert_eq!(get_url(&hub, path, &[]).await.status, 403, "no signature at all");

    let gate = hub.hold_bodies("model.safetensors", 1000);
    let running = get_url(&hub, &location, &[]);
    let expire = async {
        gate.reached().await;
        hub.expire_links();
        gate.release();
    };
    let (running, ()) = tokio::join!(running, expire);
    assert_eq!(running.body.len(), 200_000, "a running transfer is not cut");
    let refused = get_url(&hub, &location, &[]).await;
    assert_eq!(
        (refused.status, refused.header("content-type")),
        (403, Some("application/xml"))
    );
    assert!(refused.text().contains("<Code>AccessDenied</Code>"));
    assert_eq!(
        follow(&hub, "/org/tiny/resolve/main/model.safetensors", &[])
            .await
            .status,
        200,
        "a fresh link works"
    );

    hub.switch(|switches| switches.link_life = std::time::Duration::ZERO);
    assert_eq!(
        follow(&hub, "/org/tiny/resolve/main/model.safetensors", &[])
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn the_cdn_refuses_and_reports_a_credential() {
    let hub = hub();
    let location = head(&hub, "/org/tiny/resolve/main/model.safetensors")
        .await
        .location()
        .to_owned();
    let answer = get_url(&hub, &location, &[("Authorization", "Bearer hf_x")]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(hub.journal().authorizations(Host::Cdn), ["Bearer hf_x"]);
    assert_eq!(hub.journal().take_violations().len(), 1);
}

#[tokio::test]
async fn shapes_of_mirrors() {
    let hub = hub();
    hub.switch(|switches| {
        switches.plain = PlainShape::Direct;
        switches.linked = LinkedShape::Direct;
    });
    let direct = head(&hub, "/org/tiny/resolve/main/model.safetensors").await;
    assert_eq!((direct.status, direct.header("content-length")), (200, Some("200000")));
    assert_eq!(direct.header("etag"), Some(format!("\"{SHA256}\"").as_str()));
    assert_eq!(direct.header("x-linked-etag"), None);
    assert_eq!(get(&hub, "/org/tiny/resolve/main/hello.txt").await.text(), "hello\n");

    hub.switch(|switches| switches.linked = LinkedShape::RelativeXet);
    let relative = head(&hub, "/org/tiny/resolve/main/model.safetensors").await;
    assert!(relative.location().starts_with("/xet-bridge-us/"), "{relative:?}");
    let bytes = get(&hub, relative.location()).await;
    let etag = bytes.header("etag").expect("etag");
    assert_eq!(
        (etag.len(), bytes.body.len()),
        (64, 200_000),
        "the Xet hash, without quotes"
    );
    assert_ne!(etag, SHA256);
}

#[tokio::test]
async fn xet_is_announced_when_asked_for() {
    let hub = hub();
    assert_eq!(
        head(&hub, "/org/tiny/resolve/main/model.safetensors")
            .await
            .header("x-xet-hash"),
        None
    );
    hub.switch(|switches| switches.announce_xet = true);
    let answer = head(&hub, "/org/tiny/resolve/main/model.safetensors").await;
    assert_eq!(answer.header("x-xet-hash").map(str::len), Some(64));
    assert!(
        answer
            .header("link")
            .is_some_and(|link| link.contains("rel=\"xet-auth\""))
    );
    assert_eq!(
        get(&hub, &format!("/api/models/org/tiny/xet-read-token/{SHA}"))
            .await
            .status,
        404
    );
    hub.switch(|switches| switches.mask_xet = true);
    let tree = get(&hub, "/api/models/org/tiny/tree/main").await.text();
    assert!(tree.contains(&"*".repeat(64)));
}

#[tokio::test]
async fn gzip_when_allowed_ignores_the_range() {
    let hub = hub();
    hub.switch(|switches| switches.honour_gzip = true);
    let headers = [("Accept-Encoding", "gzip, deflate"), ("Range", "bytes=1-2")];
    let answer = follow(&hub, "/org/tiny/resolve/main/hello.txt", &headers).await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(answer.header("content-length"), None);
    assert!(answer.header("etag").is_some_and(|etag| etag.starts_with("W/")));
    let identity = [("Accept-Encoding", "identity"), ("Range", "bytes=1-2")];
    let answer = follow(&hub, "/org/tiny/resolve/main/hello.txt", &identity).await;
    assert_eq!((answer.status, answer.text().as_str()), (206, "el"));
}

#[tokio::test]
async fn a_giant_file_is_served_from_any_offset() {
    let size = 1_u64 << 40;
    let repo = RepoBuilder::model("org/giant").giant("giant.bin", size, 5, &"ab".repeat(32));
    let hub = SimHub::builder().repo(repo).start().expect("starts");
    hub.switch(|switches| switches.refuse_unranged_above = Some(1 << 38));
    let location = head(&hub, "/org/giant/resolve/main/giant.bin")
        .await
        .location()
        .to_owned();
    assert_eq!(get_url(&hub, &location, &[]).await.status, 400, "needs a range");
    let range = format!("bytes={}-", size - 100);
    let tail = get_url(&hub, &location, &[("Range", &range)]).await;
    assert_eq!((tail.status, tail.body.len()), (206, 100));
    let tree = get(&hub, "/api/models/org/giant/tree/main").await.json();
    assert_eq!(tree[0]["size"].as_u64(), Some(size));
}

#[tokio::test]
async fn a_peer_that_goes_away_is_noted() {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("o/m").seeded("m.bin", 64 << 20, 1))
        .start()
        .expect("starts");
    let gate = hub.hold_bodies("m.bin", 100_000);
    let location = head(&hub, "/o/m/resolve/main/m.bin").await.location().to_owned();
    let transfer = get_url(&hub, &location, &[]);
    tokio::select! {
        answer = transfer => panic!("not held: {}", answer.status),
        () = gate.reached() => {}
    }
    let ended = |ending: Ending| move |record: &hfetch_tests::sim::Record| record.ending == ending;
    hub.journal()
        .wait_for("the peer's end", |journal| {
            journal.count(ended(Ending::PeerClosed)) == 1
        })
        .await;
    assert_eq!(hub.journal().bytes_sent_for("m.bin"), 100_000, "the gate is exact");
    assert!(hub.journal().open_exchanges().is_empty());
}

#[tokio::test]
async fn an_endpoint_can_have_a_path_and_be_down_for_a_while() {
    let hub = SimHub::builder().repo(tiny()).base_path("/hf").start().expect("starts");
    assert!(hub.endpoint().ends_with("/hf"));
    let first = request(&hub, Host::Hub, "HEAD", "/hf/org/tiny/resolve/main/hello.txt", &[], "").await;
    assert!(first.location().starts_with("/hf/api/resolve-cache/"), "{first:?}");
    let location = first.location().to_owned();
    assert_eq!(
        request(&hub, Host::Hub, "GET", &location, &[], "").await.text(),
        "hello\n"
    );
    hub.take_down(Host::Hub).await;
    assert!(tokio::net::TcpStream::connect(hub.address(Host::Hub)).await.is_err());
    hub.bring_up(Host::Hub).expect("address is free");
    assert_eq!(
        request(&hub, Host::Hub, "GET", &location, &[], "").await.text(),
        "hello\n"
    );
    hub.stop().await.expect("clean");
}
