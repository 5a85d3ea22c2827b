//! Listings: complete, or an error.

use super::script::{Reply, Script, script, script_at};
use super::{commit, endpoint, hub, tiny, token};
use crate::hub::{Blame, HubError, Listing, ListingSource, MAX_ENTRIES, Verdict, classify};
use crate::model::{Digest, RepoKind};

const NEXT: &str = "/api/models/org/tiny/tree/x?cursor=A";
const OTHER: &str = "/api/models/org/tiny/tree/x?cursor=B";

fn file(path: &str) -> String {
    let oid = "a".repeat(40);
    format!("{{\"type\":\"file\",\"oid\":\"{oid}\",\"size\":1,\"path\":\"{path}\"}}")
}

fn page(entries: &[String]) -> Reply {
    Reply::json(format!("[{}]", entries.join(",")))
}

fn page_before(entries: &[String], next: &str) -> Reply {
    let link = format!("<{next}>; rel=\"next\"");
    Reply::new(200, &[("Link", &link)], format!("[{}]", entries.join(",")))
}

async fn list_at(base: &str) -> Result<Listing, HubError> {
    let (endpoint, token) = (endpoint(base), token());
    hub()
        .manifest(&endpoint, Some(&token), RepoKind::Model, &tiny(), &commit())
        .await
}

async fn list(server: &Script) -> Result<Listing, HubError> {
    list_at(&server.base).await
}

async fn blame(replies: Vec<Reply>) -> Blame {
    let error = list(&script(replies).await).await.unwrap_err();
    match classify(&error) {
        Verdict::EndpointAtFault(blame) => blame,
        other => panic!("{error}: {other:?}"),
    }
}

#[tokio::test]
async fn pages_are_followed_on_the_endpoint() {
    let tree = "/api/models/org/tiny/tree/x?recursive=true&cursor=";
    let link = |cursor: &str| format!("https://huggingface.co{tree}{cursor}");
    let folder = "{\"type\":\"directory\",\"oid\":\"d\",\"size\":0,\"path\":\"sub dir\"}".to_owned();
    let server = script(vec![
        page_before(&[folder], &link("AAA%3D%2B")),
        page_before(&[file("z"), file("sub dir/é")], &link("BBB")),
        page(&[file("b")]),
    ])
    .await;
    let listing = list_at(&format!("{}/hf", server.base)).await.unwrap();
    let entries = &listing.manifest.entries;
    let paths: Vec<&str> = entries.iter().map(|entry| &*entry.path).collect();
    assert_eq!(paths, ["b", "sub dir/é", "z"]);
    assert_eq!(listing.complete_source, ListingSource::Tree);
    let ones = "1".repeat(40);
    assert_eq!(
        server.lines(),
        [
            format!("GET /hf/api/models/org/tiny/tree/{ones}?recursive=true&expand=false"),
            format!("GET /hf{tree}AAA%3D%2B"),
            format!("GET /hf{tree}BBB"),
        ]
    );
    assert!(server.requests().iter().all(|request| request.has_token()));
}

#[tokio::test]
async fn entries_are_read_whole() {
    let sha256 = "e".repeat(64);
    let lfs = |xet: &str, path: &str| {
        format!(
            "{{\"type\":\"file\",\"oid\":\"p\",\"size\":131,\"path\":\"{path}\",\
             \"lfs\":{{\"oid\":\"{sha256}\",\"size\":200000,\"pointerSize\":131}},\"xetHash\":\"{xet}\"}}"
        )
    };
    let (plain, masked) = (lfs(&"f".repeat(64), "a"), lfs(&"*".repeat(64), "b"));
    let server = script(vec![page(&[plain, masked, file("../../etc/passwd")])]).await;
    let entries = list(&server).await.unwrap().manifest.entries;
    // Hostile names are handed on as they are: whoever writes checks them.
    assert_eq!(&*entries[0].path, "../../etc/passwd");
    assert_eq!(
        (entries[0].size, entries[0].digest),
        (1, Digest::parse(&"a".repeat(40)))
    );
    assert_eq!(entries[1].size, 200_000);
    assert_eq!(entries[1].digest, Digest::parse(&sha256));
    assert!(entries[1].xet_hash.is_some() && !entries[1].xet_hash_masked);
    assert!(entries[2].xet_hash.is_none() && entries[2].xet_hash_masked);
    let empty = script(vec![page(&[])]).await;
    assert!(list(&empty).await.unwrap().manifest.entries.is_empty());
}

#[tokio::test]
async fn endless_listings_end() {
    let (a, b, c) = ([file("a")], [file("b")], [file("c")]);
    let both = [file("a"), file("b")];
    for script in [
        // A mirror that ignores the cursor: the first page again, with the same link.
        vec![page_before(&both, NEXT), page_before(&both, NEXT)],
        // The same link with other paths.
        vec![page_before(&a, NEXT), page_before(&b, NEXT)],
        // A circle of two.
        vec![page_before(&a, NEXT), page_before(&b, OTHER), page_before(&c, NEXT)],
        // Nothing new, but another link.
        vec![page_before(&a, NEXT), page_before(&[], OTHER)],
        // A path twice, on one page or on two.
        vec![page(&[file("a"), file("a")])],
        vec![page_before(&a, NEXT), page(&a)],
    ] {
        assert_eq!(blame(script).await, Blame::ListingLoop);
    }
}

#[tokio::test]
async fn links_that_lead_away_are_not_followed() {
    let other = script_at("127.0.0.2", vec![page(&[file("b")])]).await;
    let next = format!("{}/api/x", other.base);
    assert_eq!(blame(vec![page_before(&[file("a")], &next)]).await, Blame::BadAnswer);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_failed_page_is_a_failed_listing() {
    for reply in [
        Reply::new(500, &[], ""),
        Reply::new(404, &[], ""),
        Reply::new(429, &[], ""),
        Reply::raw(""),
        Reply::new(200, &[("content-length", "50")], "[").then_close(),
    ] {
        let server = script(vec![page_before(&[file("a")], NEXT), reply]).await;
        assert!(list(&server).await.is_err());
        assert!(!server.lines().iter().any(|line| line.contains("blobs")));
    }
    for rubbish in [
        "",
        "{}",
        "<html>",
        "[{\"type\":\"file\"}]",
        "[{\"type\":\"file\",\"path\":\"x\"}]",
        "[{\"type\":\"file\",\"path\":\"x\",\"size\":-1}]",
    ] {
        assert_eq!(blame(vec![Reply::json(rubbish)]).await, Blame::BadAnswer, "{rubbish}");
    }
    let other_commit = Reply::new(200, &[("x-repo-commit", &"2".repeat(40))], "[]");
    assert_eq!(blame(vec![other_commit]).await, Blame::ChangedUnderneath);
}

#[tokio::test]
async fn too_many_entries_say_so() {
    let entry = |n| format!("{{\"type\":\"directory\",\"path\":\"{n}\"}}");
    let entries: Vec<String> = (0..=MAX_ENTRIES).map(entry).collect();
    let error = list(&script(vec![page(&entries)]).await).await.unwrap_err();
    assert!(
        matches!(error, HubError::ListingLimit { limit: MAX_ENTRIES }),
        "{error}"
    );
    assert!(matches!(classify(&error), Verdict::Permanent(_)));
}

#[tokio::test]
async fn a_page_without_end_is_cut() {
    let body = vec![b' '; 65 << 20];
    let error = list(&script(vec![Reply::json(body)]).await).await.unwrap_err();
    assert!(matches!(error, HubError::TooLarge { .. }), "{error}");
}

fn siblings(rest: &str) -> Reply {
    let ones = "1".repeat(40);
    Reply::json(format!("{{\"sha\":\"{ones}\",\"siblings\":[{rest}]}}"))
}

#[tokio::test]
async fn without_a_tree_the_description_serves() {
    let (sha256, oid) = ("e".repeat(64), "c".repeat(40));
    let both = format!(
        "{{\"rfilename\":\"m.bin\",\"blobId\":\"p\",\"size\":200000,\
         \"lfs\":{{\"sha256\":\"{sha256}\",\"size\":200000}}}},\
         {{\"rfilename\":\"c.json\",\"blobId\":\"{oid}\",\"size\":4}}"
    );
    for (status, code) in [(404, "RepoNotFound"), (404, "x"), (501, "x"), (405, "x")] {
        let no_tree = Reply::new(status, &[("x-error-code", code)], "");
        let server = script(vec![no_tree, siblings(&both)]).await;
        let listing = list(&server).await.unwrap();
        assert_eq!(listing.complete_source, ListingSource::Siblings);
        let [config, model] = listing.manifest.entries.as_slice() else {
            panic!("two files");
        };
        assert_eq!((&*config.path, config.size), ("c.json", 4));
        let git = Digest::parse(&oid).unwrap();
        assert_eq!(
            (config.blob_id.map(Digest::GitSha1), config.digest),
            (Some(git), Some(git))
        );
        // The object id of a pointer is nothing that the content could hash to.
        assert_eq!((model.blob_id, model.digest), (None, Digest::parse(&sha256)));
        let ones = "1".repeat(40);
        let asked = format!("GET /api/models/org/tiny/revision/{ones}?blobs=true");
        assert_eq!(server.lines()[1], asked);
    }
}

#[tokio::test]
async fn a_description_that_may_be_cut_does_not() {
    let missing = || Reply::new(404, &[], "");
    let one = |name: usize| format!("{{\"rfilename\":\"{name}\",\"size\":1}}");
    let many: Vec<String> = (0..1000).map(one).collect();
    for answer in [
        siblings(&many.join(",")),
        siblings("{\"rfilename\":\"x\"}"),
        siblings(&format!("{},{}", one(1), one(1))),
        Reply::json("{}"),
    ] {
        assert_eq!(blame(vec![missing(), answer]).await, Blame::ListingIncomplete);
    }
    let moved = format!("{{\"sha\":\"{}\",\"siblings\":[]}}", "2".repeat(40));
    assert_eq!(
        blame(vec![missing(), Reply::json(moved)]).await,
        Blame::ChangedUnderneath
    );
}

#[tokio::test]
async fn a_missing_revision_is_no_missing_tree() {
    for code in ["RevisionNotFound", "EntryNotFound", "GatedRepo"] {
        let server = script(vec![Reply::new(404, &[("x-error-code", code)], "")]).await;
        assert!(matches!(list(&server).await, Err(HubError::Refused(_))));
        assert_eq!(server.requests().len(), 1, "{code}");
    }
    // Both refuse: the refusal of the tree is told.
    let not_found = Reply::new(404, &[("x-error-code", "RepoNotFound")], "");
    let server = script(vec![not_found, Reply::new(401, &[], "")]).await;
    let error = list(&server).await.unwrap_err();
    assert!(
        matches!(&error, HubError::Refused(refusal) if refusal.status == 404),
        "{error:?}"
    );
}
