//! The metadata API, access, and the words of refusal.

use hfetch_tests::sim::{Bucket, Gated, Host, Kind, RepoBuilder, SimHub, Storage, StoredFile, Token};

use super::client::{Answer, follow, get, get_url, get_with, head, request};
use super::files::tiny;

const SHA: &str = "1111111111111111111111111111111111111111";

fn as_user(secret: &str) -> [(&str, String); 1] {
    [("Authorization", format!("Bearer {secret}"))]
}

async fn get_as(hub: &SimHub, path: &str, secret: &str) -> Answer {
    let [(name, value)] = as_user(secret);
    get_with(hub, path, &[(name, &value)]).await
}

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

#[tokio::test]
async fn refusals_have_the_words_of_the_hub() {
    let hub = SimHub::builder()
        .repo(tiny())
        .repo(
            RepoBuilder::model("org/gated")
                .file("a.txt", "x")
                .gated(Gated::Auto, &["alice"]),
        )
        .repo(RepoBuilder::model("org/secret").file("a.txt", "x").private(&["alice"]))
        .repo(RepoBuilder::model("org/closed").file("a.txt", "x").disabled())
        .token("hf_alice", "alice")
        .token("hf_bob", "bob")
        .token_as("hf_old", Token::revoked("alice"))
        .token_as("hf_narrow", Token::without_scope("alice"))
        .start()
        .expect("starts");
    let gated_anonymous = "Access to model org/gated is restricted. You must have access to it and be authenticated to \
                           access it. Please log in.";
    let gated_bob = "Access to model org/gated is restricted and you are not in the authorized list. Visit \
                     https://huggingface.co/org/gated to ask for access.";
    let (no_login, bad_token) = (
        "Invalid username or password.",
        "Invalid credentials in Authorization header",
    );
    for (path, secret, status, code, message) in [
        ("/no/thing/resolve/main/a.txt", None, 401, None, no_login),
        ("/api/models/no/thing", None, 401, None, no_login),
        ("/api/models/org/secret", None, 401, None, no_login),
        (
            "/api/models/no/thing",
            Some("hf_bob"),
            404,
            Some("RepoNotFound"),
            "Repository not found",
        ),
        (
            "/org/secret/resolve/main/a.txt",
            Some("hf_bob"),
            404,
            Some("RepoNotFound"),
            "Repository not found",
        ),
        ("/org/tiny/resolve/main/hello.txt", Some("hf_old"), 401, None, bad_token),
        ("/api/models/org/tiny", Some("hf_wrong"), 401, None, bad_token),
        (
            "/org/gated/resolve/main/a.txt",
            None,
            401,
            Some("GatedRepo"),
            gated_anonymous,
        ),
        (
            "/org/gated/resolve/main/a.txt",
            Some("hf_bob"),
            403,
            Some("GatedRepo"),
            gated_bob,
        ),
        (
            "/api/models/org/gated/auth-check",
            Some("hf_bob"),
            403,
            Some("GatedRepo"),
            gated_bob,
        ),
        (
            "/org/tiny/resolve/nope/hello.txt",
            None,
            404,
            Some("RevisionNotFound"),
            "Invalid rev id: nope",
        ),
        (
            "/org/tiny/resolve/main/nope.txt",
            None,
            404,
            Some("EntryNotFound"),
            "Entry not found",
        ),
        (
            "/org/closed/resolve/main/a.txt",
            Some("hf_bob"),
            403,
            None,
            "Access to this resource is disabled.",
        ),
        (
            "/org/closed/resolve/main/a.txt",
            None,
            401,
            None,
            "Access to this resource is disabled.",
        ),
        ("/api/whoami-v2", None, 401, None, no_login),
    ] {
        let answer = match secret {
            Some(secret) => get_as(&hub, path, secret).await,
            None => get(&hub, path).await,
        };
        assert_eq!(
            (answer.status, answer.header("x-error-code")),
            (status, code),
            "{path} {secret:?}"
        );
        assert_eq!(answer.header("x-error-message"), Some(message), "{path} {secret:?}");
        assert_eq!(
            answer.header("www-authenticate").is_some(),
            status == 401,
            "{path} {secret:?}"
        );
    }
    let missing = head(&hub, "/org/tiny/resolve/main/nope.txt").await;
    assert_eq!(
        (missing.header("x-repo-commit"), missing.header("content-length")),
        (Some(SHA), Some("15"))
    );
    assert_eq!(
        get(&hub, "/api/models/org/gated/tree/main").await.status,
        200,
        "listings of gated ones are public"
    );
    assert_eq!(
        get_as(&hub, "/org/gated/resolve/main/a.txt", "hf_alice").await.status,
        307
    );
    assert_eq!(
        get_as(&hub, "/org/gated/resolve/main/a.txt", "hf_narrow").await.status,
        403
    );
    assert_eq!(
        get_as(&hub, "/api/models/org/gated/auth-check", "hf_alice")
            .await
            .status,
        200
    );
    assert_eq!(get_as(&hub, "/api/whoami-v2", "hf_alice").await.json()["name"], "alice");
    hub.switch(|switches| switches.code_on_401 = true);
    assert_eq!(
        get(&hub, "/api/models/no/thing").await.header("x-error-code"),
        Some("RepoNotFound")
    );
}

#[tokio::test]
async fn former_ids_lead_on() {
    let hub = SimHub::builder()
        .repo(tiny().former_id("tiny").former_id("old/tiny"))
        .start()
        .expect("starts");
    for id in ["tiny", "old/tiny", "Org/Tiny"] {
        let info = get(&hub, &format!("/api/models/{id}/revision/main?blobs=true")).await;
        assert_eq!(
            (info.status, info.location()),
            (307, "/api/models/org/tiny/revision/main?blobs=true"),
            "{id}"
        );
        let file = head(&hub, &format!("/{id}/resolve/main/hello.txt")).await;
        assert_eq!(
            (file.status, file.location()),
            (307, "/org/tiny/resolve/main/hello.txt"),
            "{id}"
        );
    }
}

#[tokio::test]
async fn quotas_are_counted_in_windows() {
    let hub = SimHub::builder()
        .repo(tiny())
        .token("hf_alice", "alice")
        .quota(Bucket::Api, 2)
        .quota(Bucket::Resolvers, 1)
        .start()
        .expect("starts");
    let path = "/api/models/org/tiny";
    let first = get(&hub, path).await;
    assert!(
        first
            .header("ratelimit")
            .is_some_and(|left| left.starts_with("\"api\";r=1;t=")),
        "{first:?}"
    );
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"fixed window\";\"api\";q=2;w=300")
    );
    assert_eq!(get(&hub, path).await.status, 200);
    let refused = get(&hub, path).await;
    assert!(refused.status == 429 && refused.header("ratelimit").is_some_and(|left| left.contains("r=0")));
    assert_eq!(
        get_as(&hub, path, "hf_alice").await.status,
        200,
        "counted for each caller"
    );
    assert_eq!(
        follow(&hub, "/org/tiny/resolve/main/hello.txt", &[]).await.status,
        200,
        "one resolve, one cache hop"
    );
    assert_eq!(get(&hub, "/org/tiny/resolve/main/hello.txt").await.status, 429);
    hub.renew_quotas();
    assert_eq!(get(&hub, path).await.status, 200);
}
