//! A server's no, read from its headers and the beginning of its body.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::endpoint::{Endpoint, host_of};
use super::{ratelimit, scrub};
use crate::model::{RepoId, RepoKind, Token};

/// The Hub's own word for what is wrong. It counts more than the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorCode {
    /// No such revision.
    RevisionNotFound,
    /// No such file or folder.
    EntryNotFound,
    /// Closed until terms are accepted.
    GatedRepo,
    /// No such repository, as far as this caller may know.
    RepoNotFound,
    /// Any other word, cut.
    Other(String),
}

impl ErrorCode {
    fn parse(text: &str) -> Self {
        match text {
            "RevisionNotFound" => Self::RevisionNotFound,
            "EntryNotFound" => Self::EntryNotFound,
            "GatedRepo" => Self::GatedRepo,
            "RepoNotFound" => Self::RepoNotFound,
            other => Self::Other(scrub::text(other, None)),
        }
    }
}

/// What the refused request was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Name of the endpoint.
    pub endpoint: String,
    /// Where people find the pages that hints name.
    pub pages: Url,
    /// The repository, when one was meant.
    pub repo: Option<(RepoKind, RepoId)>,
    /// What of it.
    pub asked: Asked,
}

/// What of a repository or endpoint was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The repository itself.
    Repository,
    /// A revision of it.
    Revision(String),
    /// A file of it.
    File(String),
    /// Who the token belongs to.
    Account,
    /// A search.
    Search,
}

impl About {
    pub(super) fn new(endpoint: &Endpoint, kind: RepoKind, repo_id: &RepoId, asked: Asked) -> Self {
        Self {
            endpoint: endpoint.told(),
            pages: endpoint.pages().clone(),
            repo: Some((kind, repo_id.clone())),
            asked,
        }
    }

    pub(super) fn of_endpoint(endpoint: &Endpoint, asked: Asked) -> Self {
        Self {
            endpoint: endpoint.told(),
            pages: endpoint.pages().clone(),
            repo: None,
            asked,
        }
    }
}

/// A server's no.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Who said it: a host, perhaps with a port.
    pub host: String,
    /// The status.
    pub status: u16,
    /// The Hub's word for it.
    pub code: Option<ErrorCode>,
    /// The Hub's sentence, at most 256 bytes, scrubbed; may be empty.
    pub message: String,
    /// Quote it when asking the Hub's people.
    pub request_id: Option<String>,
    /// How long to wait before trying again, when the server says.
    pub wait: Option<Duration>,
    /// A token went with the refused request.
    pub token_sent: bool,
    /// The body is a web page: rather something on the way than the Hub.
    pub is_page: bool,
    /// What was asked.
    pub about: About,
}

impl Refusal {
    /// Reads an answer; `body` is its beginning.
    pub(super) fn read(
        url: &Url,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        about: About,
        token: Option<&Token>,
    ) -> Self {
        let said = |name: &str| {
            headers
                .get(name)
                .map(|value| scrub::bytes(value.as_bytes(), token))
                .filter(|text| !text.is_empty())
        };
        let is_page = content_type(headers).starts_with("text/html");
        let message = said("x-error-message")
            .or_else(|| body_message(body, token))
            .unwrap_or_else(|| {
                if is_page {
                    String::new()
                } else {
                    scrub::bytes(body, token)
                }
            });
        Self {
            host: host_of(url),
            status: status.as_u16(),
            code: headers
                .get("x-error-code")
                .and_then(|code| code.to_str().ok())
                .map(|code| ErrorCode::parse(code.trim())),
            message,
            request_id: ["x-request-id", "x-amzn-trace-id", "x-amz-cf-id"]
                .into_iter()
                .find_map(said),
            wait: ratelimit::wait(headers, Timestamp::now()),
            token_sent: token.is_some(),
            is_page,
            about,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}", self.host, self.status)?;
        match &self.code {
            Some(ErrorCode::Other(code)) => write!(f, " {code}")?,
            Some(code) => write!(f, " {code:?}")?,
            None => {}
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

/// The content type in lower case, empty when there is none.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// The sentence in a JSON body, in any of the forms seen.
fn body_message(body: &[u8], token: Option<&Token>) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = value
        .get("error")
        .or_else(|| value.get("message"))
        .or_else(|| value.get("errors")?.get(0)?.get("message"))?
        .as_str()?;
    Some(scrub::text(text, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)], body: &str) -> Refusal {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let endpoint = Endpoint::parse("e", "https://h").unwrap();
        let token = Token::new("hf_secret").unwrap();
        let url = Url::parse("https://h/x?Signature=secret").unwrap();
        let about = About::of_endpoint(&endpoint, Asked::Search);
        Refusal::read(
            &url,
            StatusCode::FORBIDDEN,
            &headers,
            body.as_bytes(),
            about,
            Some(&token),
        )
    }

    #[test]
    fn messages_in_every_form() {
        let check = |pairs, body, expected| assert_eq!(read(pairs, body).message, expected, "{body}");
        check(&[("x-error-message", "header")], "{\"error\":\"body\"}", "header");
        check(&[], "{\"error\":\"text\"}", "text");
        check(&[], "{\"error\":\"text\",\"error_description\":\"more\"}", "text");
        check(&[], "{\"errors\":[{\"message\":\"text\"}]}", "text");
        check(&[], "{\"message\":\"text\"}", "text");
        check(&[], "Entry not found", "Entry not found");
        check(
            &[("content-type", "text/html; charset=utf-8")],
            "<html>blocked</html>",
            "",
        );
        check(&[], "", "");
        check(&[], "bad hf_secret\n in https://h/?x=y", "bad *** in https://h/?…");
    }

    #[test]
    fn shows_who_what_and_the_request() {
        let refusal = read(
            &[
                ("x-error-code", "GatedRepo"),
                ("x-request-id", "Root=1"),
                ("x-error-message", "closed"),
            ],
            "",
        );
        assert_eq!(refusal.to_string(), "h answered 403 GatedRepo: closed (request Root=1)");
    }
}
