//! Who may have what, in which words it is refused, and how much is too much.

use hfetch_tests::sim::{Bucket, Gated, RepoBuilder, SimHub, Token};

use super::client::{follow, get, get_as, head};
use super::files::tiny;

const SHA: &str = "1111111111111111111111111111111111111111";

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
