//! The one place that decides what an error means for the caller: try again, ask for a new address, blame the endpoint, or
//! tell the user.

use std::time::Duration;

use super::error::HubError;
use super::refusal::{Asked, ErrorCode, Refusal};
use super::transport::NetworkFault;
use super::wording;
use crate::model::Failure;

/// The Hub's sentence for a token that it does not know.
const BAD_TOKEN: &str = "Invalid credentials in Authorization header";
/// The Hub's sentence for a repository that it has closed.
const DISABLED: &str = "Access to this resource is disabled.";

/// What to do about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same again later may work.
    Retry {
        /// The server's own wish, when it has one.
        wait: Option<Duration>,
        /// Why it failed.
        reason: RetryReason,
    },
    /// Resolve the file again. An address refused when it was young was not refused for its age: stop after two new ones
    /// without a byte.
    FreshLink,
    /// Another endpoint may do; this one does not do its part.
    EndpointAtFault(Blame),
    /// No endpoint and no time will change it.
    Permanent(Failure),
}

/// Why something is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// Too many requests.
    RateLimited,
    /// Trouble of the server.
    Server,
    /// The connection.
    Network(NetworkFault),
    /// No byte for too long.
    Stalled,
    /// The body ended early.
    Truncated,
}

/// What an endpoint, or a place where it sends us, does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Answers a range with the whole file.
    RangeIgnored,
    /// Answers with other bytes than asked for.
    WrongRange,
    /// Compresses.
    Encoded,
    /// Sends something else than the file.
    NotTheFile,
    /// A listing without an end.
    ListingLoop,
    /// No listing that can be trusted.
    ListingIncomplete,
    /// Has another version than the one planned.
    ChangedUnderneath,
    /// A certificate that is not to be trusted.
    Certificate,
    /// Our machine trusts nobody: no CA certificates.
    NoTrustAnchors,
    /// A redirect that is not followed.
    Redirect,
    /// Our own rules allow no way to it.
    Rejected,
    /// A web page in place of an answer: something on the way blocks.
    Blocked,
    /// Does not have what the protocol asks for, or answers nonsense.
    BadAnswer,
}

/// What a refusal means. The code counts more than the status: mirrors mix the statuses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Situation {
    RevisionNotFound,
    EntryNotFound,
    Gated,
    Disabled,
    /// Not there, or not for this caller.
    NotFound,
    BadToken,
    NotLoggedIn,
    Forbidden,
    Blocked,
    BadRequest,
    ProxyAuth,
    RateLimited,
    Busy,
    RangeRefused,
    Unsupported,
}

/// Decides.
pub fn classify(error: &HubError) -> Verdict {
    let permanent = || Verdict::Permanent(wording::failure(error));
    let retry = |reason| Verdict::Retry { wait: None, reason };
    match error {
        HubError::Refused(refusal) => match situation(refusal) {
            Situation::RateLimited => Verdict::Retry {
                wait: refusal.wait,
                reason: RetryReason::RateLimited,
            },
            Situation::Busy => Verdict::Retry {
                wait: refusal.wait,
                reason: RetryReason::Server,
            },
            Situation::Blocked => Verdict::EndpointAtFault(Blame::Blocked),
            Situation::RangeRefused => Verdict::EndpointAtFault(Blame::WrongRange),
            Situation::Unsupported => Verdict::EndpointAtFault(Blame::BadAnswer),
            Situation::RevisionNotFound
            | Situation::EntryNotFound
            | Situation::Gated
            | Situation::Disabled
            | Situation::NotFound
            | Situation::BadToken
            | Situation::NotLoggedIn
            | Situation::Forbidden
            | Situation::BadRequest
            | Situation::ProxyAuth => permanent(),
        },
        HubError::LinkRefused { .. } => Verdict::FreshLink,
        HubError::Transport { fault, .. } => match fault {
            NetworkFault::Certificate | NetworkFault::CertificateTime => Verdict::EndpointAtFault(Blame::Certificate),
            NetworkFault::ProxyAuth => permanent(),
            NetworkFault::Dns
            | NetworkFault::Refused
            | NetworkFault::Unreachable
            | NetworkFault::Timeout
            | NetworkFault::Reset
            | NetworkFault::Tls
            | NetworkFault::Proxy
            | NetworkFault::Protocol => retry(RetryReason::Network(*fault)),
        },
        HubError::TimedOut { .. } => retry(RetryReason::Network(NetworkFault::Timeout)),
        HubError::Stalled { .. } => retry(RetryReason::Stalled),
        HubError::Truncated { .. } => retry(RetryReason::Truncated),
        HubError::RangeIgnored { .. } => Verdict::EndpointAtFault(Blame::RangeIgnored),
        HubError::WrongRange { .. } => Verdict::EndpointAtFault(Blame::WrongRange),
        HubError::Encoded { .. } => Verdict::EndpointAtFault(Blame::Encoded),
        HubError::NotTheFile { .. } => Verdict::EndpointAtFault(Blame::NotTheFile),
        HubError::ChangedUnderneath { .. } => Verdict::EndpointAtFault(Blame::ChangedUnderneath),
        HubError::Redirect { .. } | HubError::AddressNotAllowed { .. } => Verdict::EndpointAtFault(Blame::Redirect),
        HubError::Rejected { .. } => Verdict::EndpointAtFault(Blame::Rejected),
        HubError::ListingLoop { .. } => Verdict::EndpointAtFault(Blame::ListingLoop),
        HubError::ListingIncomplete { .. } => Verdict::EndpointAtFault(Blame::ListingIncomplete),
        HubError::BadAnswer { .. } | HubError::TooLarge { .. } => Verdict::EndpointAtFault(Blame::BadAnswer),
        HubError::NoTrustAnchors { .. } => Verdict::EndpointAtFault(Blame::NoTrustAnchors),
        HubError::ListingLimit { .. } | HubError::Client { .. } | HubError::Proxy(_) | HubError::BadRange { .. } => {
            permanent()
        }
    }
}

/// Sorts a refusal, in the order of the Python client.
pub(super) fn situation(refusal: &Refusal) -> Situation {
    match &refusal.code {
        Some(ErrorCode::RevisionNotFound) => return Situation::RevisionNotFound,
        Some(ErrorCode::EntryNotFound) => return Situation::EntryNotFound,
        Some(ErrorCode::GatedRepo) => return Situation::Gated,
        Some(ErrorCode::RepoNotFound | ErrorCode::Other(_)) | None => {}
    }
    if refusal.message == DISABLED {
        return Situation::Disabled;
    }
    if refusal.code == Some(ErrorCode::RepoNotFound) {
        return Situation::NotFound;
    }
    match refusal.status {
        401 => unauthorized(refusal),
        400 | 403 if refusal.is_page && refusal.code.is_none() => Situation::Blocked,
        400 | 414 | 422 => Situation::BadRequest,
        403 => Situation::Forbidden,
        404 | 410 => match refusal.about.asked {
            Asked::File(_) => Situation::EntryNotFound,
            Asked::Repository | Asked::Revision(_) => Situation::NotFound,
            Asked::Account | Asked::Search => Situation::Unsupported,
        },
        407 => Situation::ProxyAuth,
        416 => Situation::RangeRefused,
        429 => Situation::RateLimited,
        451 => Situation::Disabled,
        501 | 505 => Situation::Unsupported,
        408 | 425 | 500..=599 => Situation::Busy,
        _ => Situation::Unsupported,
    }
}

/// A bare 401 is what an anonymous caller gets for a repository that does not exist, and what a bad token gets for any.
fn unauthorized(refusal: &Refusal) -> Situation {
    if refusal.message.contains(BAD_TOKEN) {
        return Situation::BadToken;
    }
    match refusal.about.asked {
        Asked::Account if refusal.token_sent => Situation::BadToken,
        Asked::Account | Asked::Search => Situation::NotLoggedIn,
        Asked::Repository | Asked::Revision(_) | Asked::File(_) => Situation::NotFound,
    }
}
