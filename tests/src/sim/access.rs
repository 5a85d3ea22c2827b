//! Who is asking, and what they may have; and the Hub's vocabulary of refusals.

use std::collections::BTreeMap;

use serde_json::json;

use super::repo::{Gated, Repo};
use super::wire::{Headers, Response};

/// A user's token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Name of the user.
    pub user: String,
    /// `read`, `write` or `fineGrained`.
    pub role: String,
    /// False: expired or revoked, refused everywhere.
    pub valid: bool,
    /// False: a fine-grained token without the right to read file contents.
    pub may_read: bool,
    /// When it ends, as whoami tells.
    pub expires_at: Option<String>,
}

impl Token {
    /// A valid read token.
    pub fn read(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            role: "read".to_owned(),
            valid: true,
            may_read: true,
            expires_at: None,
        }
    }

    /// A valid one that ends then.
    pub fn until(user: &str, expires_at: &str) -> Self {
        Self {
            expires_at: Some(expires_at.to_owned()),
            ..Self::read(user)
        }
    }

    /// One that was valid once.
    pub fn revoked(user: &str) -> Self {
        Self {
            valid: false,
            ..Self::read(user)
        }
    }

    /// A fine-grained one that lacks the scope to read contents.
    pub fn without_scope(user: &str) -> Self {
        Self {
            role: "fineGrained".to_owned(),
            may_read: false,
            ..Self::read(user)
        }
    }
}

/// Tokens by their secret text.
pub(crate) type Tokens = BTreeMap<String, Token>;

/// Who a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Anonymous,
    Invalid,
    User(Token),
}

impl Caller {
    pub(crate) fn of(headers: &Headers, tokens: &Tokens) -> Self {
        match headers.bearer() {
            None => Self::Anonymous,
            Some(secret) => match tokens.get(secret) {
                Some(token) if token.valid => Self::User(token.clone()),
                _ => Self::Invalid,
            },
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::User(token) => Some(&token.user),
            Self::Anonymous | Self::Invalid => None,
        }
    }

    pub(crate) fn sees(&self, repo: &Repo) -> bool {
        repo.readers
            .as_ref()
            .is_none_or(|readers| self.name().is_some_and(|name| readers.contains(name)))
    }

    /// Whether file contents may be given.
    pub(crate) fn check_contents(&self, repo: &Repo) -> Result<(), Refusal> {
        if let Self::User(token) = self
            && !token.may_read
        {
            return Err(Refusal::Scope);
        }
        let what = format!("{} {}", repo.kind.word(), repo.id);
        match (repo.gated, self.name()) {
            (Gated::No, _) => Ok(()),
            (_, Some(name)) if repo.accepted.contains(name) => Ok(()),
            (_, Some(_)) => Err(Refusal::GatedNotGranted {
                what,
                page: repo.web_path(),
            }),
            (_, None) => Err(Refusal::GatedAnonymous { what }),
        }
    }

    /// The refusal for a repository that is not there or must not be seen.
    pub(crate) fn no_repo(&self) -> Refusal {
        match self {
            Self::User(_) => Refusal::RepoNotFound,
            Self::Anonymous | Self::Invalid => Refusal::LoginNeeded,
        }
    }
}

/// Every way in which the Hub says no.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// Missing or private repository, no token: 401 without a code.
    LoginNeeded,
    BadToken,
    RepoNotFound,
    GatedAnonymous {
        what: String,
    },
    GatedNotGranted {
        what: String,
        page: String,
    },
    RevisionNotFound {
        revision: String,
    },
    /// `Entry not found` on resolve; the listing has a text of its own.
    EntryNotFound {
        commit: String,
        text: Option<String>,
    },
    Disabled {
        anonymous: bool,
    },
    Scope,
    BadRequest(String),
    NoSuchRoute,
    /// The simulated Hub itself failed.
    Internal(String),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl Refusal {
    /// The answer; `api` says whether errors come as JSON even where resolve gives plain text.
    pub(crate) fn response(&self, api: bool) -> Response {
        let (status, code, text) = match self {
            Self::LoginNeeded => (401, None, "Invalid username or password.".to_owned()),
            Self::BadToken => (401, None, "Invalid credentials in Authorization header".to_owned()),
            Self::RepoNotFound => (404, Some("RepoNotFound"), "Repository not found".to_owned()),
            Self::GatedAnonymous { what } => (
                401,
                Some("GatedRepo"),
                format!(
                    "Access to {what} is restricted. You must have access to it and be authenticated to access it. \
                     Please log in."
                ),
            ),
            Self::GatedNotGranted { what, page } => (
                403,
                Some("GatedRepo"),
                format!(
                    "Access to {what} is restricted and you are not in the authorized list. \
                     Visit https://huggingface.co/{page} to ask for access."
                ),
            ),
            Self::RevisionNotFound { revision } => {
                (404, Some("RevisionNotFound"), format!("Invalid rev id: {revision}"))
            }
            Self::EntryNotFound { text, .. } => (
                404,
                Some("EntryNotFound"),
                text.clone().unwrap_or_else(|| "Entry not found".to_owned()),
            ),
            Self::Disabled { anonymous } => (
                if *anonymous { 401 } else { 403 },
                None,
                "Access to this resource is disabled.".to_owned(),
            ),
            Self::Scope => {
                let text = "Forbidden: this token lacks the permission to read contents of this repository.";
                (403, None, text.to_owned())
            }
            Self::BadRequest(text) => (400, None, text.clone()),
            Self::NoSuchRoute => (
                404,
                None,
                "Sorry, we can't find the page you are looking for.".to_owned(),
            ),
            Self::Internal(text) => (500, None, format!("simulated hub: {text}")),
        };
        let as_json = api || matches!(self, Self::LoginNeeded | Self::BadToken | Self::RepoNotFound);
        let mut response = if as_json {
            let body = json!({ "error": text }).to_string();
            Response::new(status)
                .with("Content-Type", "application/json; charset=utf-8")
                .with_body(body)
        } else {
            Response::text(status, text.clone())
        };
        // A quoted header value must not carry what a URL may: line ends, bytes beyond ASCII.
        let header_text: String = text
            .chars()
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .collect();
        response.headers.set("X-Error-Message", header_text);
        if let Some(code) = code {
            response.headers.set("X-Error-Code", code);
        }
        if let Self::EntryNotFound { commit, .. } = self {
            response.headers.set("X-Repo-Commit", commit.clone());
            response.headers.set("ETag", "W/\"f-Mjg5Zjk0MzYtNDA0\"");
        }
        if status == 401 {
            let challenge = "Bearer realm=\"Authentication required\", charset=\"UTF-8\"";
            response.headers.set("WWW-Authenticate", challenge);
        }
        response
    }
}
