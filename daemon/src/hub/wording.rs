//! The sentences that users read, one for each way to fail. Decisions are made in `classify.rs`.

use url::Url;

use super::classify::{Situation, situation};
use super::error::{HubError, RedirectFault};
use super::refusal::{Asked, Refusal};
use super::transport::NetworkFault;
use crate::model::{Failure, FailureKind, RepoKind};

/// Words an error for the user, as the failure of a job: when it is permanent, or when the caller gives up trying.
pub fn failure(error: &HubError) -> Failure {
    let bad_endpoint = |hint: &str| Failure::new(FailureKind::BadEndpoint, error.to_string(), hint);
    let unreachable = |hint: &str| Failure::new(FailureKind::EndpointUnreachable, error.to_string(), hint);
    match error {
        HubError::Refused(refusal) => refused(refusal),
        HubError::LinkRefused { .. } => {
            bad_endpoint("try again later or use another endpoint; something on the way may block")
        }
        HubError::Transport { fault, via, .. } => unreachable(&transport_hint(*fault, via.is_some())),
        HubError::TimedOut { .. } | HubError::Stalled { .. } => {
            unreachable("the network is slow or cut; try another endpoint")
        }
        HubError::Truncated { .. } => {
            unreachable("something on the way cuts connections; try another endpoint or a proxy")
        }
        HubError::RangeIgnored { .. }
        | HubError::WrongRange { .. }
        | HubError::Encoded { .. }
        | HubError::ListingLoop { .. }
        | HubError::ListingIncomplete { .. }
        | HubError::BadAnswer { .. }
        | HubError::TooLarge { .. } => bad_endpoint("use another endpoint"),
        HubError::Redirect {
            why: RedirectFault::Address(_),
            ..
        } => bad_endpoint("use another endpoint; if that network is meant, list it in `routing.allow_networks`"),
        HubError::Redirect { .. } => bad_endpoint("use another endpoint"),
        HubError::Rejected { .. } => {
            unreachable("change `routing.rules` and run `hfctl daemon reload`, or use another endpoint")
        }
        HubError::AddressNotAllowed { .. } => {
            bad_endpoint("use another endpoint; if that network is meant, list it in `routing.allow_networks`")
        }
        HubError::NotTheFile { .. } => bad_endpoint(
            "a login page or filter may stand in the way; open the address in a browser, or use another endpoint",
        ),
        HubError::ChangedUnderneath { .. } => {
            bad_endpoint("a mirror may be out of date; submit again, or use another endpoint")
        }
        HubError::ListingLimit { .. } => Failure::new(
            FailureKind::InvalidArgument,
            error.to_string(),
            "repositories of that many files cannot be downloaded yet",
        ),
        HubError::NoTrustAnchors { .. } => unreachable("install the package ca-certificates"),
        HubError::Client { .. } | HubError::BadRange { .. } => Failure::new(
            FailureKind::Internal,
            error.to_string(),
            "this is a bug; please report it",
        ),
        HubError::Proxy(_) => Failure::new(FailureKind::InvalidArgument, error.to_string(), "correct the variable"),
    }
}

fn transport_hint(fault: NetworkFault, by_proxy: bool) -> String {
    let text = match fault {
        NetworkFault::Dns => "check the name of the endpoint and the name server",
        NetworkFault::Certificate => {
            "a filter that opens TLS needs its CA installed, or named by SSL_CERT_FILE; else use another endpoint"
        }
        NetworkFault::CertificateTime => {
            "compare the clock of this machine with a watch; if it is right, use another endpoint until its owner renews it"
        }
        NetworkFault::ProxyAuth => {
            "give the proxy's user and password: `password_file` of its [[proxies]], or in the address of the variable"
        }
        NetworkFault::Proxy => "check the proxy settings",
        NetworkFault::Refused | NetworkFault::Unreachable | NetworkFault::Timeout if by_proxy => {
            "check that the proxy runs and is reachable"
        }
        NetworkFault::Refused
        | NetworkFault::Unreachable
        | NetworkFault::Timeout
        | NetworkFault::Reset
        | NetworkFault::Tls
        | NetworkFault::Protocol => "check the network, or use another endpoint",
    };
    text.to_owned()
}

/// A data set that is asked for as a model does not exist either.
fn kind_hint(refusal: &Refusal) -> &'static str {
    match refusal.about.repo {
        Some((RepoKind::Model, _)) => " (a data set is submitted with --dataset)",
        _ => "",
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let it = subject(refusal);
    let endpoint = &refusal.about.endpoint;
    let host = &refusal.host;
    let said = if refusal.message.is_empty() {
        String::new()
    } else {
        format!(": {}", refusal.message)
    };
    let new = |kind, message: String, hint: String| Failure::new(kind, message, hint);
    match situation(refusal) {
        Situation::NotFound if refusal.token_sent => new(
            FailureKind::NotFound,
            format!("{it} does not exist, or is private and not for this token"),
            format!(
                "check the spelling{}, and that your token may read it",
                kind_hint(refusal)
            ),
        ),
        Situation::NotFound => new(
            FailureKind::NotFound,
            format!("{it} does not exist, or is private"),
            format!(
                "check the spelling{}; if it is private, set HF_TOKEN (or `hf auth login`) and run `hfctl retry`",
                kind_hint(refusal)
            ),
        ),
        Situation::BadToken => new(
            FailureKind::Unauthorized,
            format!("{endpoint} does not accept the token{said}"),
            format!(
                "it may be expired or revoked: make a new one at {}, set HF_TOKEN and run `hfctl retry`",
                tokens_page(&refusal.about.pages)
            ),
        ),
        Situation::NotLoggedIn => new(
            FailureKind::Unauthorized,
            format!("{endpoint} wants a token{said}"),
            "set HF_TOKEN (or `hf auth login`), then run `hfctl retry`".to_owned(),
        ),
        Situation::Forbidden if refusal.token_sent => new(
            FailureKind::Unauthorized,
            format!("the token may not read {it}{said}"),
            format!(
                "give it the permission at {}, or log in with another one",
                tokens_page(&refusal.about.pages)
            ),
        ),
        Situation::Forbidden => new(
            FailureKind::Unauthorized,
            format!("{host} refuses access to {it}{said}"),
            "set HF_TOKEN and run `hfctl retry`, or use another endpoint".to_owned(),
        ),
        Situation::Gated if refusal.token_sent => new(
            FailureKind::Gated,
            format!("{it} is gated and your account has no access{said}"),
            format!(
                "ask for access at {}; the job starts by itself once it is granted",
                page(refusal)
            ),
        ),
        Situation::Gated => new(
            FailureKind::Gated,
            format!("{it} is gated{said}"),
            format!(
                "accept its terms at {}, then set HF_TOKEN and run `hfctl retry`",
                page(refusal)
            ),
        ),
        Situation::RevisionNotFound => new(
            FailureKind::RevisionNotFound,
            match &refusal.about.asked {
                Asked::Revision(revision) => format!("{it} has no revision {revision}"),
                Asked::Repository | Asked::File(_) | Asked::Account | Asked::Search => {
                    format!("{it} no longer has the revision{said}")
                }
            },
            format!("see its branches and tags at {}", page(refusal)),
        ),
        Situation::EntryNotFound => new(
            FailureKind::EntryNotFound,
            match &refusal.about.asked {
                Asked::File(path) => format!("{it} has no file {path}"),
                Asked::Repository | Asked::Revision(_) | Asked::Account | Asked::Search => {
                    format!("{it} has no such file{said}")
                }
            },
            "list its files with `--dry-run`".to_owned(),
        ),
        Situation::Disabled => new(
            FailureKind::Disabled,
            format!("{it} is disabled{said}"),
            "it cannot be downloaded; ask its owner".to_owned(),
        ),
        Situation::BadRequest => new(
            FailureKind::InvalidArgument,
            format!(
                "{host} does not take the request for {it} (status {}){said}",
                refusal.status
            ),
            "check the name and the revision".to_owned(),
        ),
        Situation::ProxyAuth => new(
            FailureKind::EndpointUnreachable,
            format!("a proxy on the way to {host} wants credentials"),
            transport_hint(NetworkFault::ProxyAuth, true),
        ),
        Situation::RateLimited => new(
            FailureKind::RateLimited,
            format!("{endpoint} asks for fewer requests{said}"),
            if refusal.token_sent {
                "try again later"
            } else {
                "submit with HF_TOKEN set for a higher limit"
            }
            .to_owned(),
        ),
        Situation::Busy => new(
            FailureKind::EndpointUnreachable,
            refusal.to_string(),
            "try again later or use another endpoint".to_owned(),
        ),
        Situation::Blocked => new(
            FailureKind::BadEndpoint,
            format!("{host} answered {} with a web page", refusal.status),
            "a filter or login page may stand in the way; open the address in a browser".to_owned(),
        ),
        Situation::RangeRefused | Situation::Unsupported => new(
            FailureKind::BadEndpoint,
            refusal.to_string(),
            "use another endpoint".to_owned(),
        ),
    }
}

/// `model org/name on hf-mirror`.
fn subject(refusal: &Refusal) -> String {
    let endpoint = &refusal.about.endpoint;
    match &refusal.about.repo {
        Some((kind, repo_id)) => format!("{kind} {repo_id} on {endpoint}"),
        None => match refusal.about.asked {
            Asked::Search => format!("the search on {endpoint}"),
            Asked::Account | Asked::Repository | Asked::Revision(_) | Asked::File(_) => endpoint.clone(),
        },
    }
}

/// Where people make tokens, and change what they may do.
pub fn tokens_page(pages: &Url) -> String {
    format!("{}/settings/tokens", pages.as_str().trim_end_matches('/'))
}

/// The page of the repository, where terms are accepted: at the origin, also for what came through a mirror.
fn page(refusal: &Refusal) -> String {
    let (prefix, id) = match &refusal.about.repo {
        Some((kind @ (RepoKind::Model | RepoKind::Dataset | RepoKind::Space), repo_id)) => {
            (kind.web_prefix(), repo_id.as_str())
        }
        None => ("", ""),
    };
    format!("{}/{prefix}{id}", refusal.about.pages.as_str().trim_end_matches('/'))
}
