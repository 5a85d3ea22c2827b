//! The metadata API, access, and the words of refusal.

use hfetch_tests::sim::{Host, Kind, RepoBuilder, SimHub, Storage, StoredFile};

use super::client::{follow, get, get_as, get_url, request};
use super::files::tiny;

const SHA: &str = "1111111111111111111111111111111111111111";

#[tokio::test]
async fn info_names_the_commit() {
    let hub = SimHub::builder().repo(tiny()).start().expect("starts");
    for path in [
        "/api/models/org/tiny",
        "/api/models/org/tiny/revision/main",
        "/api/models/org/tiny/revision/1111111",
    ] {
        let info = get(&hub, path).await.json();
        assert_eq!(
            (info["sha"].as_str(), info["id"].as_str()),
            (Some(SHA), Some("org/tiny")),
            "{path}"
        );
        assert_eq!(info["siblings"].as_array().map(Vec::len), Some(3));
    }
    let blobs = get(&hub, "/api/models/org/tiny?blobs=True").await.json();
    let model = &blobs["siblings"][2];
    assert_eq!(
        (model["lfs"]["pointerSize"].as_u64(), model["size"].as_u64()),
        (Some(131), Some(200_000))
    );
    assert!(
        model["lfs"]["sha256"]
            .as_str()
            .is_some_and(|hash| hash.starts_with("e26ebbd9"))
    );
    let narrow = get(&hub, "/api/models/org/tiny?expand[]=usedStorage").await.json();
    assert_eq!(
        (narrow["usedStorage"].as_u64(), narrow["sha"].as_str()),
        (Some(200_006), None)
    );
    let unknown = get(&hub, "/api/models/org/tiny/revision/nope").await;
    assert_eq!(
        (unknown.status, unknown.header("x-error-code")),
        (404, Some("RevisionNotFound"))
    );
    assert_eq!(unknown.json()["error"], "Invalid rev id: nope");
    assert_eq!(get(&hub, "/api/models/org%2Ftiny").await.status, 400);
    assert_eq!(get(&hub, "/api/agent-harnesses").await.status, 404);
    hub.switch(|switches| switches.siblings_limit = Some(1));
    assert_eq!(
        get(&hub, "/api/models/org/tiny").await.json()["siblings"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

fn wide() -> RepoBuilder {
    let mut repo = RepoBuilder::dataset("org/wide");
    for number in 0..25 {
        repo = repo
            .file(&format!("data/train/{number:03}.txt"), "x")
            .file(&format!("top{number:03}.txt"), "y");
    }
    repo
}

#[tokio::test]
async fn the_tree_comes_in_pages() {
    let hub = SimHub::builder().repo(wide()).start().expect("starts");
    hub.switch(|switches| switches.page_size = 10);
    let mut url = format!(
        "{}/api/datasets/org/wide/tree/main?recursive=true&expand=false",
        hub.endpoint()
    );
    let mut paths = Vec::new();
    loop {
        let page = get_url(&hub, &url, &[]).await;
        let entries = page.json();
        paths.extend(
            entries
                .as_array()
                .expect("list")
                .iter()
                .map(|entry| entry["path"].as_str().expect("path").to_owned()),
        );
        let Some(link) = page.header("link") else { break };
        assert!(
            link.starts_with(&format!("<{}/api/", hub.endpoint())) && link.ends_with("; rel=\"next\""),
            "{link}"
        );
        assert!(link.contains("recursive=true&expand=false&cursor="), "{link}");
        link[1..link.find('>').expect("end")].clone_into(&mut url);
    }
    assert_eq!(paths.len(), 52, "50 files and 2 folders");
    assert_eq!(&paths[..2], ["data", "data/train"], "folders first");
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 52);

    hub.switch(|switches| {
        switches.ignore_cursor = true;
        switches.next_link_origin = Some("https://huggingface.co".to_owned());
    });
    let first = get(&hub, "/api/datasets/org/wide/tree/main?recursive=true").await;
    let link = first.header("link").expect("link");
    let next = link
        .strip_prefix("<https://huggingface.co")
        .and_then(|rest| rest.split('>').next())
        .expect("other host");
    let second = get(&hub, next).await;
    assert_eq!(
        (second.body == first.body, second.header("link")),
        (true, Some(link)),
        "the same page for ever"
    );
}

#[tokio::test]
async fn folders_paths_refs_and_sizes() {
    let hub = SimHub::builder()
        .repo(wide().tag("v1").pull_request(1))
        .start()
        .expect("starts");
    let level = get(&hub, "/api/datasets/org/wide/tree/main").await.json();
    assert_eq!(level.as_array().map(Vec::len), Some(26));
    for form in ["data%2Ftrain", "data/train"] {
        let folder = get(
            &hub,
            &format!("/api/datasets/org/wide/tree/refs%2Fpr%2F1/{form}?expand=true"),
        )
        .await
        .json();
        assert_eq!(folder.as_array().map(Vec::len), Some(25));
        assert!(folder[0]["lastCommit"]["id"].is_string());
    }
    let unknown = get(&hub, "/api/datasets/org/wide/tree/main/nope").await;
    assert_eq!(
        (unknown.status, unknown.header("x-error-code")),
        (404, Some("EntryNotFound"))
    );
    assert_eq!(unknown.json()["error"], "nope does not exist on \"main\"");

    let path = "/api/datasets/org/wide/paths-info/main";
    let form = "paths=top001.txt&paths=data%2Ftrain&paths=no%2Fsuch&expand=False";
    let by_form = request(&hub, Host::Hub, "POST", path, &[], form).await.json();
    let json = r#"{"paths":["top001.txt","data/train","no/such"],"expand":false}"#;
    let by_json = request(
        &hub,
        Host::Hub,
        "POST",
        path,
        &[("Content-Type", "application/json")],
        json,
    )
    .await
    .json();
    assert_eq!((by_form.as_array().map(Vec::len), &by_form), (Some(2), &by_json));

    let refs = get(&hub, "/api/datasets/org/wide/refs?include_prs=1").await.json();
    assert_eq!(refs["pullRequests"][0]["ref"], "refs/pr/1");
    assert_eq!(
        (refs["branches"][0]["name"].as_str(), refs["tags"][0]["name"].as_str()),
        (Some("main"), Some("v1"))
    );
    assert!(
        get(&hub, "/api/datasets/org/wide/refs")
            .await
            .json()
            .get("pullRequests")
            .is_none()
    );
    assert_eq!(
        get(&hub, "/api/datasets/org/wide/treesize/main/").await.json()["size"],
        50
    );
    assert_eq!(
        get(&hub, "/api/datasets/org/wide/treesize/main/data").await.json()["size"],
        25
    );
    let commits = get(&hub, "/api/datasets/org/wide/commits/main").await;
    assert_eq!(
        (commits.header("x-total-count"), commits.json()[0]["title"].as_str()),
        (Some("1"), Some("Upload files"))
    );
}

#[tokio::test]
async fn a_push_moves_the_branch_and_keeps_the_commit() {
    let hub = SimHub::builder().repo(tiny()).start().expect("starts");
    let content = std::sync::Arc::new(hfetch_tests::sim::Content::memory("newer\n"));
    let sha = hub.change_repo(Kind::Model, "org/tiny", |repo| {
        repo.push("main", "second", |files| {
            files.insert(
                "hello.txt".to_owned(),
                StoredFile {
                    content,
                    storage: Storage::Plain,
                },
            );
        })
    });
    let sha = sha.expect("there");
    assert_eq!(
        get(&hub, "/api/models/org/tiny").await.json()["sha"].as_str(),
        Some(sha.as_str())
    );
    assert_eq!(
        follow(&hub, "/org/tiny/resolve/main/hello.txt", &[]).await.text(),
        "newer\n"
    );
    assert_eq!(
        follow(&hub, &format!("/org/tiny/resolve/{SHA}/hello.txt"), &[])
            .await
            .text(),
        "hello\n"
    );
}

#[tokio::test]
async fn equal_builders_make_equal_commits() {
    let sha = |repo: RepoBuilder| repo.build().commit("main").expect("main").sha.clone();
    assert_eq!(sha(wide()), sha(wide()));
    assert_ne!(sha(wide()), sha(wide().file("more", "x")));
}

#[tokio::test]
async fn search_finds_and_sorts() {
    let hub = SimHub::builder()
        .repo(
            RepoBuilder::model("org/llama-small")
                .file("a", "1234")
                .popularity(5, 9, &["gguf"]),
        )
        .repo(
            RepoBuilder::model("other/Llama-big")
                .file("a", "1")
                .popularity(50, 1, &[]),
        )
        .repo(
            RepoBuilder::model("org/secret-llama")
                .file("a", "1")
                .private(&["alice"]),
        )
        .repo(RepoBuilder::dataset("org/llama-data").file("a", "1"))
        .token("hf_alice", "alice")
        .start()
        .expect("starts");
    let ids = async |query: &str| -> Vec<String> {
        let list = get(&hub, &format!("/api/models?{query}")).await.json();
        list.as_array()
            .expect("list")
            .iter()
            .map(|one| one["id"].as_str().expect("id").to_owned())
            .collect()
    };
    assert_eq!(
        ids("search=llama&sort=downloads&direction=-1").await,
        ["other/Llama-big", "org/llama-small"]
    );
    assert_eq!(
        ids("search=llama&sort=likes").await,
        ["org/llama-small", "other/Llama-big"]
    );
    assert_eq!(ids("author=org").await, ["org/llama-small"]);
    assert_eq!(ids("filter=gguf").await, ["org/llama-small"]);
    assert!(ids("search=nothing").await.is_empty());
    assert_eq!(
        get_as(&hub, "/api/models?search=secret", "hf_alice").await.json()[0]["id"],
        "org/secret-llama"
    );
    assert_eq!(
        get(&hub, "/api/datasets?search=llama").await.json()[0]["id"],
        "org/llama-data"
    );
    let sizes = get(&hub, "/api/models?search=small&expand[]=usedStorage&expand[]=downloads")
        .await
        .json();
    assert_eq!(
        (sizes[0]["usedStorage"].as_u64(), sizes[0]["downloads"].as_u64()),
        (Some(4), Some(5))
    );
    let page = get(&hub, "/api/models?search=llama&limit=1").await;
    assert!(page.header("link").is_some_and(|link| link.contains("cursor=")));
    assert!(page.json()[0].get("sha").is_none(), "only with full=true");
}
