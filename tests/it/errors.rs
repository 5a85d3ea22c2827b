//! Every way in which the Hub says no: what the user reads, which exit code, what `show --json` tells.

use hfetch_tests::{
    check,
    harness::Scratch,
    sim::{Gated, RepoBuilder, SimHub, Token},
};

/// A Hub on which everything that can be refused is refused.
fn hub() -> anyhow::Result<SimHub> {
    let small = |id: &str| RepoBuilder::model(id).file("config.json", "{}");
    SimHub::builder()
        .repo(small("org/tiny"))
        .repo(small("org/gated").gated(Gated::Auto, &["alice"]))
        .repo(small("org/secret").private(&["alice"]))
        .repo(small("org/closed").disabled())
        .token("hf_alice", "alice")
        .token("hf_bob", "bob")
        .token_as("hf_old", Token::revoked("alice"))
        .token_as("hf_narrow", Token::without_scope("alice"))
        .start()
}

/// Token, arguments of `hfctl download`, failure kind, what must be read.
type Row = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    (
        "",
        &["no/thing"],
        "not_found",
        &["model no/thing", "does not exist, or is private", "HF_TOKEN"],
    ),
    (
        "hf_bob",
        &["no/thing"],
        "not_found",
        &["does not exist, or is private and not for this token"],
    ),
    (
        "",
        &["org/secret"],
        "not_found",
        &["does not exist, or is private", "HF_TOKEN"],
    ),
    (
        "hf_bob",
        &["org/secret"],
        "not_found",
        &["private and not for this token", "your token may read it"],
    ),
    (
        "hf_old",
        &["org/tiny"],
        "unauthorized",
        &["does not accept the token", "expired or revoked", "settings/tokens"],
    ),
    (
        "hf_wrong",
        &["org/secret"],
        "unauthorized",
        &["does not accept the token"],
    ),
    (
        "",
        &["org/gated"],
        "gated",
        &["is gated", "accept its terms at", "org/gated", "HF_TOKEN"],
    ),
    (
        "hf_narrow",
        &["org/tiny"],
        "unauthorized",
        &["may not read", "give it the permission", "settings/tokens"],
    ),
    ("", &["org/closed"], "disabled", &["is disabled", "ask its owner"]),
    ("hf_bob", &["org/closed"], "disabled", &["is disabled"]),
    (
        "",
        &["org/tiny", "--revision", "nope"],
        "revision_not_found",
        &["has no revision nope", "branches and tags"],
    ),
    (
        "",
        &["org/tiny", "--revision", "0123456789012345678901234567890123456789"],
        "revision_not_found",
        &["has no revision 0123456789"],
    ),
    (
        "",
        &["org/tiny", "confg.json"],
        "entry_not_found",
        &["`confg.json`", "did you mean `config.json`?"],
    ),
    ("", &["no/thing", "--dataset"], "not_found", &["dataset no/thing"]),
];

#[tokio::test]
async fn a_user_reads_what_happened_and_what_to_do() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    for (token, args, kind, words) in ROWS {
        let env = [("HF_TOKEN", *token)];
        let env: &[_] = if token.is_empty() { &[] } else { &env };
        let ran = scratch.hfctl_with(["download"].iter().chain(args.iter()), env).await?;
        let what = format!("{token} {args:?}: exit {}\n{}", ran.code, ran.stderr);
        assert_eq!(ran.code, 5, "{what}");
        assert!(ran.stdout.is_empty(), "{what}\n{}", ran.stdout);
        for word in *words {
            assert!(ran.stderr.contains(word), "no {word:?} in {what}");
        }
        let newest = scratch.hfctl(["list", "--json", "-n", "1"]).await?.json()?;
        let failure = &newest["jobs"][0]["failure"];
        assert_eq!(failure["kind"], *kind, "{what}");
        // What `--json` tells is what was printed.
        for key in ["message", "hint"] {
            let text = failure[key].as_str().unwrap_or_default();
            assert!(
                !text.is_empty() && ran.stderr.contains(text),
                "{key} {text:?} is not in {what}"
            );
        }
    }
    check::finished(&scratch, &[&hub])?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn calls_that_cannot_work_say_so_at_once() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    for (args, code, words) in [
        (&["submit"][..], 2, &["NAME"][..]),
        (&["submit", "org/tiny", "--no-such-flag"], 2, &["--no-such-flag"]),
        (&["submit", "a/b/c/d"], 2, &["a/b/c/d"]),
        (
            &["submit", "org/tiny", "--local-dir", "/x", "--cache-dir", "/y"],
            2,
            &["--cache-dir"],
        ),
        (&["submit", "org/tiny", "--by", "soonish"], 2, &["soonish"]),
        (
            &["submit", "org/tiny", "--by", "2020-01-02T03:04:05Z"],
            2,
            &["--by", "2020-01-02"],
        ),
        (&["top"], 2, &["terminal", "hfctl list"]),
        (&["show", "zzzzzzzzzz"], 4, &["zzzzzzzzzz"]),
        (&["cancel", "zzzzzzzzzz"], 4, &["zzzzzzzzzz"]),
        (&["submit", "tini"], 4, &["tini"]),
        (
            &["endpoint", "probe", "--repo", "org/none"],
            4,
            &["no endpoint lists org/none"],
        ),
    ] {
        let ran = scratch.hfctl(args).await?;
        let what = format!("{args:?}: exit {}\n{}", ran.code, ran.stderr);
        assert_eq!(ran.code, code, "{what}");
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in {what}");
        }
    }
    // A bare name that the Hub does not know: what is near, with the command to take it.
    let ran = scratch.hfctl(["submit", "tin"]).await?;
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("hfctl submit org/tiny"), "{}", ran.stderr);
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_waited_for_with_a_reason() -> anyhow::Result<()> {
    let hub = hub()?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    hub.take_down(hfetch_tests::sim::Host::Hub).await;
    let id = scratch.submit(&["org/tiny"]).await?;
    let job = scratch.until(&id, "held (endpoint)").await?;
    let detail = job["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("refused") && detail.contains("127.0.0.1"), "{detail}");
    hub.bring_up(hfetch_tests::sim::Host::Hub)?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}
