//! Why a job failed: data of the job, shown to users and stored.

use std::fmt;

use super::JobId;

/// Stable kinds; the words are what JSON and the wire have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the words say it; the text for users is made where the failure is decided"
)]
pub enum FailureKind {
    NotFound,
    Gated,
    Unauthorized,
    RevisionNotFound,
    EntryNotFound,
    Disabled,
    RateLimited,
    DiskFull,
    DiskError,
    Integrity,
    EndpointUnreachable,
    BadEndpoint,
    UnsafePath,
    InvalidArgument,
    Internal,
}

impl FailureKind {
    /// All kinds, for the store and for tests.
    pub const ALL: [Self; 15] = [
        Self::NotFound,
        Self::Gated,
        Self::Unauthorized,
        Self::RevisionNotFound,
        Self::EntryNotFound,
        Self::Disabled,
        Self::RateLimited,
        Self::DiskFull,
        Self::DiskError,
        Self::Integrity,
        Self::EndpointUnreachable,
        Self::BadEndpoint,
        Self::UnsafePath,
        Self::InvalidArgument,
        Self::Internal,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Gated => "gated",
            Self::Unauthorized => "unauthorized",
            Self::RevisionNotFound => "revision_not_found",
            Self::EntryNotFound => "entry_not_found",
            Self::Disabled => "disabled",
            Self::RateLimited => "rate_limited",
            Self::DiskFull => "disk_full",
            Self::DiskError => "disk_error",
            Self::Integrity => "integrity",
            Self::EndpointUnreachable => "endpoint_unreachable",
            Self::BadEndpoint => "bad_endpoint",
            Self::UnsafePath => "unsafe_path",
            Self::InvalidArgument => "invalid_argument",
            Self::Internal => "internal",
        }
    }

    /// Reads the stable word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// What happened and why; no secret, no signed address.
    pub message: String,
    /// What to do, one sentence; may be empty.
    pub hint: String,
}

impl Failure {
    /// Puts one together.
    pub fn new(kind: FailureKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// How hints name the command that tries again: without an id, as nobody knows one where they are written.
const RETRY: &str = "`hfctl retry`";

/// A text whose commands can be pasted by who looks at this job.
pub fn naming(text: &str, job: impl fmt::Display) -> String {
    text.replace(RETRY, &format!("`hfctl retry {job}`"))
}

impl Failure {
    /// The hint for who looks at a job: its commands can be pasted.
    pub fn hint_for(&self, job: &JobId) -> String {
        naming(&self.hint, job)
    }

    /// The hint for who asked something and has no job.
    pub fn hint_alone(&self) -> String {
        let hint = self.hint.replace(&format!("{RETRY} tries again"), "try again");
        hint.replace(&format!("run {RETRY}"), "try again")
            .replace(RETRY, "try again")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

#[test]
fn commands_of_hints_can_be_pasted() {
    let failure = Failure::new(
        FailureKind::Gated,
        "it is gated",
        "accept its terms, then run `hfctl retry`",
    );
    let job = JobId::parse("5d2k8q0x1a").expect("an id");
    assert_eq!(
        failure.hint_for(&job),
        "accept its terms, then run `hfctl retry 5d2k8q0x1a`"
    );
    assert_eq!(failure.hint_alone(), "accept its terms, then try again");
    for (hint, alone) in [
        (
            "look at the log; `hfctl retry` tries again",
            "look at the log; try again",
        ),
        (
            "try another endpoint, or `hfctl retry` later",
            "try another endpoint, or try again later",
        ),
    ] {
        let failure = Failure::new(FailureKind::Internal, "", hint);
        assert_eq!(failure.hint_alone(), alone);
    }
}
