//! The table of errors: every status with every code, and the sentences that users read.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use url::Url;

use super::{endpoint, hub, tiny, token};
use crate::hub::{About, Asked, Blame, HubError, Refusal, RetryReason, Verdict, classify, failure};
use crate::model::{FailureKind as Kind, RepoKind};

struct Case {
    status: u16,
    headers: Vec<(&'static str, String)>,
    token: bool,
    asked: Asked,
}

fn case(status: u16) -> Case {
    Case {
        status,
        headers: Vec::new(),
        token: false,
        asked: Asked::Revision("main".to_owned()),
    }
}

impl Case {
    fn code(self, code: &str) -> Self {
        self.header("x-error-code", code)
    }

    fn says(self, message: &str) -> Self {
        self.header("x-error-message", message)
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn with_token(mut self) -> Self {
        self.token = true;
        self
    }

    fn about_file(mut self) -> Self {
        self.asked = Asked::File("a.bin".to_owned());
        self
    }

    fn error(self) -> HubError {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(*name, value.parse().unwrap());
        }
        let url = Url::parse("https://mirror.example/x?Signature=secret").unwrap();
        let pages = Url::parse("https://hub.example:8443/hf/").unwrap();
        let endpoint = endpoint("https://mirror.example").with_pages(pages);
        let about = About::new(&endpoint, RepoKind::Model, &tiny(), self.asked);
        let token = token();
        let sent = self.token.then_some(&token);
        let status = StatusCode::from_u16(self.status).unwrap();
        HubError::Refused(Box::new(Refusal::read(&url, status, &headers, b"", about, sent)))
    }

    fn verdict(self) -> Verdict {
        classify(&self.error())
    }

    fn kind(self) -> Kind {
        match self.verdict() {
            Verdict::Permanent(failure) => failure.kind,
            other => panic!("{other:?}"),
        }
    }
}

/// The code wins over the status; without one, or with one that we do not know, the status decides.
#[test]
fn every_status_with_every_code() {
    for status in 400..=599 {
        for (code, kind) in [
            ("RevisionNotFound", Kind::RevisionNotFound),
            ("EntryNotFound", Kind::EntryNotFound),
            ("GatedRepo", Kind::Gated),
            ("RepoNotFound", Kind::NotFound),
        ] {
            assert_eq!(case(status).code(code).kind(), kind, "{status} {code}");
            let with_token = case(status).code(code).with_token();
            assert_eq!(with_token.kind(), kind, "{status} {code}");
        }
        let disabled = case(status).says("Access to this resource is disabled.");
        assert_eq!(disabled.kind(), Kind::Disabled, "{status}");
        let unknown = case(status).code("ProxyTimeout").verdict();
        match (status, case(status).verdict()) {
            (400 | 414 | 422, Verdict::Permanent(failure)) => assert_eq!(failure.kind, Kind::InvalidArgument),
            (401 | 404 | 410, Verdict::Permanent(failure)) => assert_eq!(failure.kind, Kind::NotFound),
            (403, Verdict::Permanent(failure)) => assert_eq!(failure.kind, Kind::Unauthorized),
            (407, Verdict::Permanent(failure)) => assert_eq!(failure.kind, Kind::EndpointUnreachable),
            (451, Verdict::Permanent(failure)) => assert_eq!(failure.kind, Kind::Disabled),
            (416, verdict) => assert_eq!(verdict, Verdict::EndpointAtFault(Blame::WrongRange)),
            (429, Verdict::Retry { wait: None, reason }) => assert_eq!(reason, RetryReason::RateLimited),
            (501 | 505, verdict) => assert_eq!(verdict, Verdict::EndpointAtFault(Blame::BadAnswer)),
            (408 | 425 | 500..=599, Verdict::Retry { wait: None, reason }) => {
                assert_eq!(reason, RetryReason::Server, "{status}");
                assert_eq!(unknown, Verdict::Retry { wait: None, reason }, "{status}");
            }
            (402..=499, verdict) => assert_eq!(verdict, Verdict::EndpointAtFault(Blame::BadAnswer), "{status}"),
            (status, verdict) => panic!("{status}: {verdict:?}"),
        }
    }
}

#[test]
fn the_rows_of_the_hub() {
    let check = |case: Case, kind, message: &str, hint: &str| {
        let error = case.error();
        let Verdict::Permanent(told) = classify(&error) else {
            panic!("{error}");
        };
        assert_eq!(told.kind, kind, "{told:?}");
        assert!(told.message.contains(message), "{told:?} lacks `{message}`");
        assert!(told.hint.contains(hint), "{told:?} lacks `{hint}`");
        assert_eq!(told, failure(&error));
    };
    let missing = "model org/tiny on mirror does not exist, or is private";
    let anonymous = || case(401).says("Invalid username or password.");
    check(anonymous(), Kind::NotFound, missing, "HF_TOKEN");
    check(anonymous().about_file(), Kind::NotFound, missing, "HF_TOKEN");
    let hidden = case(404).code("RepoNotFound").with_token();
    check(hidden, Kind::NotFound, "not for this token", "your token may read it");

    let bad_token = || {
        case(401)
            .says("Invalid credentials in Authorization header")
            .with_token()
    };
    let (not_accepted, tokens) = (
        "does not accept the token",
        "https://hub.example:8443/hf/settings/tokens",
    );
    check(bad_token(), Kind::Unauthorized, not_accepted, tokens);
    check(bad_token(), Kind::Unauthorized, not_accepted, "HF_TOKEN");
    let scope = case(403).says("needs read scope").with_token();
    check(scope, Kind::Unauthorized, "needs read scope", tokens);
    check(case(403), Kind::Unauthorized, "refuses access", "HF_TOKEN");

    let page = "https://hub.example:8443/hf/org/tiny";
    let gated = |status| case(status).code("GatedRepo");
    let log_in = gated(401).says("Please log in.");
    check(log_in, Kind::Gated, "is gated: Please log in.", "HF_TOKEN");
    check(gated(401), Kind::Gated, "is gated", page);
    let visit = "Access is restricted. Visit https://huggingface.co/org/tiny to ask for access.";
    check(gated(403).says(visit).with_token(), Kind::Gated, visit, page);

    let no_revision = case(404).code("RevisionNotFound").says("Invalid rev id: main");
    check(no_revision, Kind::RevisionNotFound, "no revision main", page);
    let gone = case(404).code("RevisionNotFound").about_file();
    check(gone, Kind::RevisionNotFound, "no longer", page);
    let no_file = "no file a.bin";
    let no_entry = case(404).code("EntryNotFound").about_file();
    check(no_entry, Kind::EntryNotFound, no_file, "--dry-run");
    check(case(404).about_file(), Kind::EntryNotFound, no_file, "--dry-run");

    let disabled = case(403).says("Access to this resource is disabled.");
    check(disabled, Kind::Disabled, "is disabled", "owner");
    let bad = case(400).says("bad request");
    check(bad, Kind::InvalidArgument, "bad request", "check the name");
}

#[test]
fn waits_are_handed_on() {
    let check = |case: Case, expected: Option<u64>| match case.verdict() {
        Verdict::Retry { wait, .. } => assert_eq!(wait, expected.map(Duration::from_secs)),
        other => panic!("{other:?}"),
    };
    check(case(429).header("ratelimit", "\"api\";r=0;t=55"), Some(56));
    check(case(429).header("retry-after", "7"), Some(8));
    check(case(503).header("retry-after", "120"), Some(121));
    check(case(429), None);
    assert_eq!(failure(&case(429).error()).kind, Kind::RateLimited);
}

#[test]
fn a_block_page_is_not_the_hub() {
    let page = || case(403).header("content-type", "text/html");
    assert_eq!(page().verdict(), Verdict::EndpointAtFault(Blame::Blocked));
    assert_eq!(page().code("GatedRepo").kind(), Kind::Gated);
}

#[test]
fn nothing_secret_is_shown() {
    let said = "token hf_topsecret may not read https://cdn/x?Signature=secret";
    let error = case(403).says(said).with_token().error();
    let shown = format!("{error} {error:?} {:?} {:?}", classify(&error), hub());
    assert!(!shown.contains("topsecret") && !shown.contains("Signature"), "{shown}");
}
