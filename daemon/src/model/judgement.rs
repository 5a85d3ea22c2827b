//! What was found out about an endpoint for one commit of one repository: whether it does its part, and what it is good for.

use jiff::Timestamp;

use super::{CommitHash, RepoId, RepoKind};

/// What an endpoint may be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JudgedRepo {
    /// Base address of the endpoint.
    pub endpoint: String,
    /// Whose token went with the questions; `None`: nobody's.
    pub account: Option<u32>,
    /// Kind of repository.
    pub kind: RepoKind,
    /// The repository.
    pub repo_id: RepoId,
    /// The commit that was compared.
    pub commit: CommitHash,
}

/// What is wrong with an endpoint, for one commit. The words are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointFault {
    /// No connection, or no answer in time.
    Unreachable,
    /// It asks for fewer requests.
    RateLimited,
    /// Its certificate is not to be trusted.
    Certificate,
    /// It wants a token, terms or another account.
    Refused,
    /// It knows no such repository.
    NoRepository,
    /// It does not have the commit, or answers for another one.
    OtherCommit,
    /// It lists a planned file with another size or hash.
    OtherContent,
    /// It does not list all planned files.
    MissingFiles,
    /// Its listing has no hashes.
    NoHashes,
    /// It has no listing that could be compared.
    NoListing,
    /// It answers ranges with whole files.
    NoRanges,
    /// It answers with other bytes than those asked for.
    WrongRange,
    /// It sends something else than the file: a web page, a compressed or shorter body.
    NotTheFile,
    /// It redirects to where we do not follow.
    BadRedirect,
    /// All it does is to send us to the origin.
    LeadsToOrigin,
    /// What it answers cannot be understood.
    BadAnswer,
}

impl EndpointFault {
    /// All faults.
    pub const ALL: [Self; 16] = [
        Self::Unreachable,
        Self::RateLimited,
        Self::Certificate,
        Self::Refused,
        Self::NoRepository,
        Self::OtherCommit,
        Self::OtherContent,
        Self::MissingFiles,
        Self::NoHashes,
        Self::NoListing,
        Self::NoRanges,
        Self::WrongRange,
        Self::NotTheFile,
        Self::BadRedirect,
        Self::LeadsToOrigin,
        Self::BadAnswer,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate_limited",
            Self::Certificate => "certificate",
            Self::Refused => "refused",
            Self::NoRepository => "no_repository",
            Self::OtherCommit => "other_commit",
            Self::OtherContent => "other_content",
            Self::MissingFiles => "missing_files",
            Self::NoHashes => "no_hashes",
            Self::NoListing => "no_listing",
            Self::NoRanges => "no_ranges",
            Self::WrongRange => "wrong_range",
            Self::NotTheFile => "not_the_file",
            Self::BadRedirect => "bad_redirect",
            Self::LeadsToOrigin => "leads_to_origin",
            Self::BadAnswer => "bad_answer",
        }
    }

    /// Reads the stable word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == text)
    }

    /// One sentence for those who may not see which repository it was found with.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "it does not answer",
            Self::RateLimited => "it asks for fewer requests",
            Self::Certificate => "its certificate is not to be trusted",
            Self::Refused => "it refuses access",
            Self::NoRepository => "it does not know the repository",
            Self::OtherCommit => "it has another commit",
            Self::OtherContent => "it lists other sizes or hashes than the plan",
            Self::MissingFiles => "its listing lacks planned files",
            Self::NoHashes => "its listing has no hashes",
            Self::NoListing => "it has no complete listing",
            Self::NoRanges => "it ignores ranges",
            Self::WrongRange => "it answers ranges with other bytes",
            Self::NotTheFile => "it sends something else than the file",
            Self::BadRedirect => "it redirects to where nobody should follow",
            Self::LeadsToOrigin => "it only redirects to the origin",
            Self::BadAnswer => "its answers cannot be understood",
        }
    }
}

/// Which bytes of a planned file an endpoint can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Serves {
    /// None.
    Nothing,
    /// The whole file only.
    WholeFiles,
    /// Any part of it.
    Parts,
}

impl Serves {
    /// All answers.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::WholeFiles, Self::Parts];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::WholeFiles => "whole_files",
            Self::Parts => "parts",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|serves| serves.as_str() == text)
    }
}

/// What was found, before anyone says how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong; `None` when nothing is.
    pub fault: Option<EndpointFault>,
    /// A sentence for people: what was found, with what.
    pub detail: String,
    /// Its listing is complete and has hashes.
    pub lists: bool,
    /// What it can be asked for.
    pub serves: Serves,
    /// Host where the bytes of a file really lie, with a port when it is unusual; empty when no file was tried.
    pub ends_at: String,
}

/// A finding, and for how long it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What was found.
    pub finding: Finding,
    /// When.
    pub at: Timestamp,
    /// From then on it is asked anew.
    pub until: Timestamp,
}

impl Finding {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.fault.is_none()
    }

    /// Whether bytes from there add up with those of others. One that leads to the origin has no bytes of its own.
    pub fn adds_bytes(&self) -> bool {
        self.serves != Serves::Nothing && self.fault != Some(EndpointFault::LeadsToOrigin)
    }
}

impl Judgement {
    /// Whether it is still believed.
    pub fn holds(&self, now: Timestamp) -> bool {
        // A clock that was set back must not keep it for ever.
        self.at <= now && now < self.until
    }
}
