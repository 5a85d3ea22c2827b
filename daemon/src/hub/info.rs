//! What a repository is at a revision. The one thing that matters is the commit.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::classify::{Situation, situation};
use super::client::Hub;
use super::endpoint::{Endpoint, host_of};
use super::error::HubError;
use super::ratelimit::RateState;
use super::refusal::{About, Asked, content_type};
use super::request::{Answer, Call, Landed, read_away, refused};
use super::{Credential, scrub};
use crate::model::{CommitHash, RepoId, RepoKind, Revision};

/// A repository at a revision.
#[derive(Debug, Clone)]
pub struct RepoInfo {
    /// The full commit that the revision means.
    pub commit: CommitHash,
    /// Its files are closed until terms are accepted; the listing is open all the same.
    pub gated: bool,
    /// Only some may see it.
    pub private: bool,
    /// The Hub has closed it.
    pub disabled: bool,
    /// Bytes of all revisions together, when told.
    pub used_storage: Option<u64>,
    /// The id as the server spells it: legacy ids and renamed repositories have another one. Never a cache folder.
    pub canonical_id: String,
    /// What the endpoint said about its quota.
    pub rate: Option<RateState>,
}

#[derive(Deserialize)]
struct Wire {
    id: Option<String>,
    sha: Option<String>,
    #[serde(default)]
    gated: Value,
    private: Option<bool>,
    disabled: Option<bool>,
    #[serde(rename = "usedStorage")]
    used_storage: Option<u64>,
}

impl Hub {
    /// Asks which commit a revision means, and how the repository stands.
    ///
    /// # Errors
    /// When there is no answer, or one without a commit.
    pub async fn info(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
        revision: &Revision,
    ) -> Result<RepoInfo, HubError> {
        let url = endpoint.info_url(kind, repo_id, Some(revision));
        let about = About::new(endpoint, kind, repo_id, Asked::Revision(revision.to_string()));
        let answer = self.json(endpoint, token, url, &about, "a description").await?;
        read(answer, repo_id)
    }

    /// Whether a repository exists as far as this caller may know, at its default branch.
    ///
    /// # Errors
    /// When there is no answer; a no is an answer. An anonymous caller gets the same no for private repositories.
    pub async fn exists(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
    ) -> Result<Option<RepoInfo>, HubError> {
        let url = endpoint.info_url(kind, repo_id, None);
        let about = About::new(endpoint, kind, repo_id, Asked::Repository);
        match self.json(endpoint, token, url, &about, "a description").await {
            Ok(answer) => read(answer, repo_id).map(Some),
            Err(HubError::Refused(refusal)) if situation(&refusal) == Situation::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Hub {
    /// Whether the caller may read the files of a repository: one question, for which no file need be known. `false`: the
    /// endpoint does not know the question, as mirrors may not.
    ///
    /// # Errors
    /// When there is no answer; a no is an error with the endpoint's reason.
    pub async fn may_read(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
    ) -> Result<bool, HubError> {
        let url = endpoint.auth_check_url(kind, repo_id);
        let about = About::new(endpoint, kind, repo_id, Asked::Repository);
        let limit = self.options().metadata_timeout;
        let call = Call::metadata(endpoint, token);
        let landed = self.follow(&call, url, limit, |_, _| Ok(())).await?;
        let (status, headers) = (landed.response.status(), landed.response.headers());
        let is_page = content_type(headers).starts_with("text/html");
        let has_code = headers.contains_key("x-error-code");
        match status {
            _ if status.is_success() => {
                let Landed { response, taken, .. } = landed;
                read_away(response, &taken).await;
                Ok(!is_page)
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if !has_code => {
                Ok(false)
            }
            _ => Err(refused(landed, about).await),
        }
    }
}

fn read(answer: Answer<Wire>, asked: &RepoId) -> Result<RepoInfo, HubError> {
    let Answer { value, url, headers } = answer;
    let sha = value.sha.unwrap_or_default();
    let commit = CommitHash::parse(&sha).ok_or_else(|| HubError::BadAnswer {
        host: host_of(&url),
        what: "a description",
        detail: format!("`sha` is no commit: `{}`", scrub::text(&sha, None)),
    })?;
    Ok(RepoInfo {
        commit,
        gated: is_gated(&value.gated),
        private: value.private.unwrap_or(false),
        disabled: value.disabled.unwrap_or(false),
        used_storage: value.used_storage,
        canonical_id: value.id.map_or_else(|| asked.to_string(), |id| scrub::text(&id, None)),
        rate: RateState::read(&headers),
    })
}

/// `false`, `"auto"` or `"manual"`; missing or null counts as open.
pub(super) fn is_gated(value: &Value) -> bool {
    match value {
        Value::Bool(gated) => *gated,
        Value::String(mode) => !mode.is_empty() && mode != "false",
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}
