//! What can go wrong in one call. No variant holds a token, a query string or more than 256 bytes of a remote's text.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::proxy::BadProxy;
use super::refusal::Refusal;
use super::transport::NetworkFault;
use crate::model::ByteRange;

/// Why a call gave no answer. [`classify`](super::classify()) says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A server said no, in the words of the Hub or with a bare status.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The place where the bytes lie no longer takes its address.
    #[error("{host} refused a signed address {} s old with status {status}: {code_from_body}", link_age.as_secs())]
    LinkRefused {
        /// Where the bytes lie.
        host: String,
        /// Status of the answer.
        status: u16,
        /// The code in an XML body, else the beginning of the body.
        code_from_body: String,
        /// Time since the address was obtained; a young one was refused for another reason than its age.
        link_age: Duration,
    },
    /// The connection could not be made or broke.
    #[error("{host}{}: {fault}{}", through(via), unless_said(*fault, detail))]
    Transport {
        /// The host meant.
        host: String,
        /// The proxy on the way.
        via: Option<String>,
        /// What broke.
        fault: NetworkFault,
        /// What the library says last, scrubbed.
        detail: String,
    },
    /// A whole request took too long.
    #[error("{host} gave no complete answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The host asked.
        host: String,
        /// The limit.
        after: Duration,
    },
    /// No byte came for too long.
    #[error("{host} sent nothing for {} s after {got} bytes", after.as_secs_f32())]
    Stalled {
        /// Where the bytes lie.
        host: String,
        /// Bytes that came before.
        got: u64,
        /// The limit.
        after: Duration,
    },
    /// The body ended early.
    #[error("{host} ended the transfer after {got} of {wanted} bytes")]
    Truncated {
        /// Where the bytes lie.
        host: String,
        /// Bytes that came.
        got: u64,
        /// Bytes asked for.
        wanted: u64,
    },
    /// A range that does not begin at 0 was answered with the whole file.
    #[error("{host} ignored the request for bytes {range}")]
    RangeIgnored {
        /// Where the bytes lie.
        host: String,
        /// What was asked.
        range: ByteRange,
    },
    /// The answer is for other bytes than those asked for.
    #[error("{host} was asked for bytes {asked} of {size} and answered `{answered}`")]
    WrongRange {
        /// Where the bytes lie.
        host: String,
        /// What was asked.
        asked: ByteRange,
        /// Size of the file.
        size: u64,
        /// The `Content-Range`, or what stands in its place.
        answered: String,
    },
    /// The body is compressed, so offsets mean nothing.
    #[error("{host} compressed the answer ({encoding}) though none was asked for")]
    Encoded {
        /// Where the bytes lie.
        host: String,
        /// The `Content-Encoding`.
        encoding: String,
    },
    /// Something else than the file: a web page, a multipart body, a body of another length.
    #[error("{host} sent something else than the file: {why}")]
    NotTheFile {
        /// Where the bytes lie.
        host: String,
        /// What gives it away.
        why: String,
    },
    /// A header names another file than the one planned.
    #[error("{host} now says {what} {actual}, planned was {expected}")]
    ChangedUnderneath {
        /// Who says it.
        host: String,
        /// What differs.
        what: Changed,
        /// The planned value.
        expected: String,
        /// The value of the answer.
        actual: String,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects {why}")]
    Redirect {
        /// Who redirects.
        host: String,
        /// Why it is not followed.
        why: RedirectFault,
    },
    /// The rules allow no way to the host.
    #[error("{host} is not to be reached: {by}")]
    Rejected {
        /// The host meant.
        host: String,
        /// The rule.
        by: String,
    },
    /// A name that somebody else chose leads into the internal network (`address_not_allowed`).
    #[error("{host} was named by a server outside and leads to {address} in the internal network")]
    AddressNotAllowed {
        /// The name.
        host: String,
        /// What it resolves to.
        address: IpAddr,
    },
    /// The listing does not come to an end.
    #[error("{host} repeats itself on page {page} of a listing: {why}")]
    ListingLoop {
        /// Who lists.
        host: String,
        /// Page, counted from 1.
        page: usize,
        /// What was seen twice.
        why: &'static str,
    },
    /// More entries than we are ready to hold.
    #[error("the repository holds more than {limit} files and folders")]
    ListingLimit {
        /// The limit.
        limit: usize,
    },
    /// The listing cannot be trusted to be complete.
    #[error("{host} cannot list the repository: {why}")]
    ListingIncomplete {
        /// Who lists.
        host: String,
        /// What is missing.
        why: &'static str,
    },
    /// An answer that cannot be read.
    #[error("{host} sent {what} that cannot be read{}", because(detail))]
    BadAnswer {
        /// Who sent it.
        host: String,
        /// What was expected.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// An answer larger than we are ready to hold.
    #[error("{host} sent more than {limit} bytes where a page of JSON was expected")]
    TooLarge {
        /// Who sent it.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The machine has no CA certificates, so no https server can be trusted.
    #[error("no CA certificates are installed, so {host} cannot be trusted")]
    NoTrustAnchors {
        /// The host meant.
        host: String,
        /// What the library says.
        #[source]
        source: Box<reqwest::Error>,
    },
    /// The HTTP client could not be built.
    #[error("the HTTP client cannot be set up")]
    Client {
        /// What the library says.
        #[source]
        source: Box<reqwest::Error>,
    },
    /// A proxy setting that cannot be used.
    #[error(transparent)]
    Proxy(#[from] BadProxy),
    /// The caller asked for an empty range or one beyond the file.
    #[error("bytes {range} of a file of {size} bytes were asked for")]
    BadRange {
        /// What was asked.
        range: ByteRange,
        /// Size of the file.
        size: u64,
    },
}

/// What differs from the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The size of the content.
    Size,
    /// Its hash.
    Digest,
    /// The commit that the answer is for.
    Commit,
    /// The validator of a place that was read from before.
    Validator,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "size",
            Self::Digest => "hash",
            Self::Commit => "commit",
            Self::Validator => "validator",
        })
    }
}

/// Why a redirect is not followed. The text goes on after "redirects".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// No `Location`.
    #[error("without saying where")]
    NoLocation,
    /// A `Location` that is no address.
    #[error("to an address that cannot be read")]
    Unreadable,
    /// Neither http nor https.
    #[error("to the scheme `{0}`")]
    Scheme(String),
    /// From https to http.
    #[error("from https to http")]
    Downgrade,
    /// With a user name or password in it.
    #[error("to an address with a user name")]
    Userinfo,
    /// To an address that a server outside has no business to name.
    #[error("into the internal network ({0})")]
    Address(String),
    /// Back to an address that was asked already.
    #[error("in a circle")]
    Loop,
    /// Too often.
    #[error("more than {0} times")]
    TooMany(usize),
}

fn through(via: &Option<String>) -> String {
    via.as_ref()
        .map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"))
}

/// The library's words, unless the fault says the same.
fn unless_said(fault: NetworkFault, detail: &str) -> String {
    use NetworkFault as Fault;
    match fault {
        Fault::Refused | Fault::Unreachable | Fault::Reset => String::new(),
        Fault::Dns
        | Fault::Timeout
        | Fault::Tls
        | Fault::Certificate
        | Fault::CertificateTime
        | Fault::Proxy
        | Fault::ProxyAuth
        | Fault::Protocol => because(detail),
    }
}

fn because(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}
