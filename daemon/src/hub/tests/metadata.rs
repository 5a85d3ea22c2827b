//! Descriptions, existence, branches, accounts, search.

use super::script::{Reply, Script, script};
use super::{endpoint, hub, tiny, token};
use crate::hub::{Blame, HubError, NetworkFault, RepoInfo, RepoSummary, RetryReason, Verdict, classify};
use crate::model::{FailureKind, RepoId, RepoKind, Revision};

async fn info(server: &Script, revision: &str) -> Result<RepoInfo, HubError> {
    let (endpoint, revision) = (endpoint(&server.base), Revision::parse(revision).unwrap());
    hub().info(&endpoint, None, RepoKind::Dataset, &tiny(), &revision).await
}

#[tokio::test]
async fn a_revision_becomes_a_commit() {
    let ones = "1".repeat(40);
    let full = format!(
        "{{\"_id\":\"6\",\"id\":\"Org/Tiny\",\"sha\":\"{ones}\",\"private\":true,\"gated\":\"manual\",\
         \"disabled\":true,\"usedStorage\":200420,\"siblings\":[{{\"rfilename\":\"x\"}}],\"cardData\":null}}"
    );
    let bare = format!("{{\"sha\":\"{ones}\",\"gated\":null}}");
    let renamed = "/api/datasets/Org/Tiny/revision/refs%2Fpr%2F1";
    let server = script(vec![
        Reply::to(307, renamed),
        Reply::new(200, &[("RateLimit", "\"api\";r=499;t=212")], full),
        Reply::json(bare),
    ])
    .await;
    let told = info(&server, "refs/pr/1").await.unwrap();
    assert!(told.gated && told.private && told.disabled);
    assert_eq!(told.used_storage, Some(200_420));
    assert_eq!(told.canonical_id, "Org/Tiny");
    assert_eq!(told.rate.unwrap().remaining, 499);
    assert_eq!(
        server.lines(),
        [
            "GET /api/datasets/org/tiny/revision/refs%2Fpr%2F1".to_owned(),
            format!("GET {renamed}")
        ]
    );
    let told = info(&server, "main").await.unwrap();
    assert!(!told.gated && !told.private && !told.disabled && told.used_storage.is_none());
    assert_eq!(told.canonical_id, "org/tiny");
}

/// One question, whatever the answer's words; who does not know it has said nothing.
#[tokio::test]
async fn may_the_files_be_read() {
    let code = |status, code: &str| Reply::new(status, &[("X-Error-Code", code)], "");
    let page = Reply::new(200, &[("Content-Type", "text/html")], "<html>log in</html>");
    let server = script(vec![
        Reply::json("{}"),
        Reply::new(404, &[], "Sorry"),
        page,
        code(403, "GatedRepo"),
        code(404, "RepoNotFound"),
        Reply::new(401, &[], ""),
        Reply::new(500, &[], ""),
    ])
    .await;
    let ask = async || {
        let (endpoint, token) = (endpoint(&server.base), token());
        let asked = hub().may_read(&endpoint, Some(&token), RepoKind::Model, &tiny()).await;
        asked.map_err(|error| classify(&error))
    };
    assert_eq!(ask().await, Ok(true));
    assert_eq!(ask().await, Ok(false));
    assert_eq!(ask().await, Ok(false));
    for kind in [FailureKind::Gated, FailureKind::NotFound, FailureKind::NotFound] {
        match ask().await {
            Err(Verdict::Permanent(failure)) => assert_eq!(failure.kind, kind),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(ask().await, Err(Verdict::Retry { .. })));
    assert_eq!(server.lines()[0], "GET /api/models/org/tiny/auth-check");
    assert_eq!(server.count_of("hf_topsecret"), 7);
}

#[tokio::test]
async fn answers_without_a_commit_are_no_answers() {
    for body in ["{}", "{\"sha\":\"main\"}", "{\"sha\":null}", "[]", "<html>", ""] {
        let server = script(vec![Reply::json(body)]).await;
        let error = info(&server, "main").await.unwrap_err();
        let expected = Verdict::EndpointAtFault(Blame::BadAnswer);
        assert_eq!(classify(&error), expected, "{error}");
    }
}

#[tokio::test]
async fn a_slow_answer_has_a_limit() {
    for reply in [Reply::raw(""), Reply::new(200, &[("content-length", "9")], "{")] {
        let server = script(vec![reply.then_hang()]).await;
        let (result, ()) = tokio::join!(info(&server, "main"), async {
            server.received(1).await;
            tokio::time::pause();
        });
        let error = result.unwrap_err();
        assert!(matches!(error, HubError::TimedOut { .. }), "{error:?}");
        let reason = RetryReason::Network(NetworkFault::Timeout);
        assert_eq!(classify(&error), Verdict::Retry { wait: None, reason });
        tokio::time::resume();
    }
}

#[tokio::test]
async fn existence_is_yes_or_no_or_unknown() {
    let gpt2 = RepoId::parse("gpt2").unwrap();
    let ask = async |reply: Reply| {
        let server = script(vec![reply]).await;
        let endpoint = endpoint(&server.base);
        let answer = hub().exists(&endpoint, None, RepoKind::Model, &gpt2).await;
        assert_eq!(server.lines(), ["GET /api/models/gpt2"]);
        answer.map(|info| info.map(|info| info.canonical_id))
    };
    let sha = "1".repeat(40);
    let yes = Reply::json(format!("{{\"id\":\"openai-community/gpt2\",\"sha\":\"{sha}\"}}"));
    assert_eq!(ask(yes).await.unwrap().as_deref(), Some("openai-community/gpt2"));
    let anonymous = [("X-Error-Message", "Invalid username or password.")];
    let repo = [("X-Error-Code", "RepoNotFound")];
    for no in [
        Reply::new(401, &anonymous, "{\"error\":\"Invalid username or password.\"}"),
        Reply::new(404, &repo, ""),
        Reply::new(401, &repo, ""),
        Reply::new(404, &[], ""),
    ] {
        assert!(ask(no).await.unwrap().is_none());
    }
    let bad_token = [("X-Error-Message", "Invalid credentials in Authorization header")];
    for unknown in [
        Reply::new(401, &bad_token, ""),
        Reply::new(503, &[], ""),
        Reply::new(429, &[], ""),
    ] {
        assert!(ask(unknown).await.is_err());
    }
}

#[tokio::test]
async fn branches_and_tags() {
    let (ones, twos) = ("1".repeat(40), "2".repeat(40));
    let body = format!(
        "{{\"branches\":[{{\"name\":\"main\",\"ref\":\"refs/heads/main\",\"targetCommit\":\"{ones}\"}}],\
         \"tags\":[{{\"name\":\"v1.0\",\"ref\":\"refs/tags/v1.0\",\"targetCommit\":\"{twos}\"}}],\
         \"pullRequests\":[{{\"name\":\"1\",\"ref\":\"refs/pr/1\",\"targetCommit\":\"{twos}\"}}]}}"
    );
    let bad = "{\"branches\":[{\"name\":\"main\",\"ref\":\"refs/heads/main\",\"targetCommit\":\"\"}]}";
    let server = script(vec![Reply::json(body), Reply::json(bad)]).await;
    let (hub, endpoint, tiny) = (hub(), endpoint(&server.base), tiny());
    let ask = async || hub.refs(&endpoint, None, RepoKind::Model, &tiny).await;
    let refs = ask().await.unwrap();
    assert_eq!(refs.branches[0].name, "main");
    assert_eq!(refs.branches[0].commit.as_str(), ones);
    assert_eq!(refs.tags[0].full_name, "refs/tags/v1.0");
    assert_eq!((refs.pull_requests.len(), refs.converts.len()), (1, 0));
    assert_eq!(server.lines(), ["GET /api/models/org/tiny/refs?include_prs=1"]);
    assert!(matches!(ask().await, Err(HubError::BadAnswer { .. })));
}

#[tokio::test]
async fn accounts() {
    let body = "{\"type\":\"user\",\"name\":\"alice\",\"orgs\":[{\"type\":\"org\",\"name\":\"acme\"}],\
                \"auth\":{\"type\":\"access_token\",\
                \"accessToken\":{\"displayName\":\"laptop\",\"role\":\"read\",\"fineGrained\":{\"canReadGatedRepos\":true,\
                \"global\":[],\"scoped\":[{\"entity\":{\"type\":\"user\",\"name\":\"alice\"},\
                \"permissions\":[\"repo.content.read\"]}]}},\"expiresAt\":\"2027-01-31T00:00:00.000Z\"}}";
    let refused = Reply::new(401, &[], "{\"error\":\"Invalid username or password.\"}");
    let replies = vec![
        Reply::json(body),
        Reply::json("{\"name\":\"bot\"}"),
        refused.clone(),
        refused,
    ];
    let server = script(replies).await;
    let (hub, endpoint, token) = (hub(), endpoint(&server.base), token());
    let alice = hub.whoami(&endpoint, Some(&token)).await.unwrap();
    assert_eq!((alice.name.as_str(), alice.orgs[0].as_str()), ("alice", "acme"));
    assert_eq!(alice.token_name.as_deref(), Some("laptop"));
    assert_eq!(alice.role.as_deref(), Some("read"));
    assert_eq!(
        alice.expires_at.map(|time| time.to_string()).as_deref(),
        Some("2027-01-31T00:00:00Z")
    );
    assert_eq!(
        alice.scopes,
        ["user alice: repo.content.read", "gated repositories: read"]
    );
    let sent = server.requests()[0].header("authorization").map(str::to_owned);
    assert_eq!(sent.as_deref(), Some("Bearer hf_topsecret"));
    assert!(hub.whoami(&endpoint, Some(&token)).await.unwrap().role.is_none());
    for (credential, expected) in [(Some(&token), "does not accept the token"), (None, "wants a token")] {
        let error = hub.whoami(&endpoint, credential).await.unwrap_err();
        let Verdict::Permanent(failure) = classify(&error) else {
            panic!("{error}");
        };
        assert_eq!(failure.kind, FailureKind::Unauthorized);
        assert!(failure.hint.contains("HF_TOKEN"), "{failure:?}");
        assert!(failure.message.contains(expected), "{failure:?}");
    }
}

#[tokio::test]
async fn searches() {
    let body = "[{\"_id\":\"6\",\"id\":\"org/tiny\",\"likes\":6,\"downloads\":12345,\"usedStorage\":200420,\
                \"gated\":\"auto\",\"pipeline_tag\":\"text-generation\"},\
                {\"id\":\"no/such/id\"},{\"id\":\"gpt2\"},{\"id\":\"x\"}]";
    let server = script(vec![
        Reply::json(body),
        Reply::new(400, &[], "{\"error\":\"bad expand\"}"),
        Reply::json("[]"),
        Reply::json("[]"),
    ])
    .await;
    let (hub, endpoint) = (hub(), endpoint(&server.base));
    let search = async |kind, words: &str| hub.search(&endpoint, None, kind, words, 2).await.unwrap();
    let hits = search(RepoKind::Model, "tiny & co").await;
    assert_eq!(
        hits[0],
        RepoSummary {
            repo_id: tiny(),
            kind: RepoKind::Model,
            bytes: Some(200_420),
            downloads: 12345,
            likes: 6,
            gated: true,
            task: Some("text-generation".to_owned()),
        }
    );
    assert_eq!((hits.len(), hits[1].repo_id.as_str()), (2, "gpt2"));
    assert_eq!((hits[1].bytes, hits[1].gated), (None, false));
    assert!(search(RepoKind::Dataset, "x").await.is_empty());
    assert!(search(RepoKind::Space, "x").await.is_empty());
    let lines = server.lines();
    assert_eq!(
        lines[0],
        "GET /api/models?search=tiny%20%26%20co&sort=downloads&limit=2&expand[]=usedStorage\
         &expand[]=downloads&expand[]=likes&expand[]=gated&expand[]=pipeline_tag"
    );
    assert_eq!(lines[2], "GET /api/datasets?search=x&sort=downloads&limit=2");
    let spaces = "GET /api/spaces?search=x&sort=likes&limit=2&expand[]=usedStorage&expand[]=likes";
    assert_eq!(lines[3], spaces);
}
