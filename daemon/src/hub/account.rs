//! Whose token it is, and which branches and tags a repository has.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Credential;
use super::client::Hub;
use super::endpoint::{Endpoint, host_of};
use super::error::HubError;
use super::refusal::{About, Asked};
use super::scrub;
use crate::model::{CommitHash, RepoId, RepoKind};

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name of the user or organisation.
    pub name: String,
    /// What the user called the token.
    pub token_name: Option<String>,
    /// `read`, `write` or `fineGrained`.
    pub role: Option<String>,
    /// Organisations of the user.
    pub orgs: Vec<String>,
    /// When the token ends; `None` when it does not, or the Hub does not tell.
    pub expires_at: Option<Timestamp>,
    /// What a fine-grained token may do, one line each: `org ann-labs: repo.content.read`.
    pub scopes: Vec<String>,
}

/// A branch, tag or pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRef {
    /// The short name: `main`, `v1.0`, `1`.
    pub name: String,
    /// The full name: `refs/heads/main`.
    pub full_name: String,
    /// The commit that it points to.
    pub commit: CommitHash,
}

/// All that can be named as a revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refs {
    /// Branches.
    pub branches: Vec<GitRef>,
    /// Tags.
    pub tags: Vec<GitRef>,
    /// Generated data sets.
    pub converts: Vec<GitRef>,
    /// Pull requests.
    pub pull_requests: Vec<GitRef>,
}

#[derive(Deserialize)]
struct WhoamiWire {
    name: String,
    #[serde(default)]
    orgs: Vec<OrgWire>,
    auth: Option<AuthWire>,
}

#[derive(Deserialize)]
struct OrgWire {
    name: Option<String>,
}

#[derive(Deserialize)]
struct AuthWire {
    #[serde(rename = "accessToken")]
    access_token: Option<AccessTokenWire>,
    #[serde(default, rename = "expiresAt")]
    expires_at: Value,
}

#[derive(Deserialize)]
struct AccessTokenWire {
    #[serde(rename = "displayName")]
    display_name: Option<String>,
    role: Option<String>,
    #[serde(default, rename = "expiresAt")]
    expires_at: Value,
    #[serde(rename = "fineGrained")]
    fine_grained: Option<FineGrainedWire>,
}

/// What is not as expected here is left out: it is for people to read.
#[derive(Deserialize)]
struct FineGrainedWire {
    #[serde(default)]
    global: Vec<Value>,
    #[serde(default)]
    scoped: Vec<ScopeWire>,
    #[serde(default, rename = "canReadGatedRepos")]
    can_read_gated: Value,
}

#[derive(Deserialize)]
struct ScopeWire {
    #[serde(default)]
    entity: Value,
    #[serde(default)]
    permissions: Vec<Value>,
}

impl FineGrainedWire {
    fn lines(&self) -> Vec<String> {
        let words = |values: &[Value]| values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        let mut lines = Vec::new();
        if !self.global.is_empty() {
            lines.push(format!("everywhere: {}", words(&self.global)));
        }
        for scope in &self.scoped {
            let (kind, name) = (text(&scope.entity, "type"), text(&scope.entity, "name"));
            lines.push(format!("{kind} {name}: {}", words(&scope.permissions)));
        }
        if self.can_read_gated.as_bool() == Some(true) {
            lines.push("gated repositories: read".to_owned());
        }
        lines
    }
}

#[derive(Deserialize)]
struct RefsWire {
    #[serde(default)]
    branches: Vec<RefWire>,
    #[serde(default)]
    tags: Vec<RefWire>,
    #[serde(default)]
    converts: Vec<RefWire>,
    #[serde(default, rename = "pullRequests")]
    pull_requests: Vec<RefWire>,
}

#[derive(Deserialize)]
struct RefWire {
    name: String,
    #[serde(rename = "ref")]
    full_name: String,
    #[serde(rename = "targetCommit")]
    target_commit: String,
}

impl Hub {
    /// Asks whose token it is. Heavily limited by the server: ask once at login, not per job.
    ///
    /// # Errors
    /// When there is no answer, above all when the token is not valid.
    pub async fn whoami(&self, endpoint: &Endpoint, token: Credential<'_>) -> Result<Account, HubError> {
        let about = About::of_endpoint(endpoint, Asked::Account);
        let url = endpoint.whoami_url();
        let answer = self
            .json::<WhoamiWire>(endpoint, token, url, &about, "an account")
            .await?;
        let show = |text: String| scrub::text(&text, token);
        let auth = answer.value.auth;
        let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let access_token = auth.as_ref().and_then(|auth| auth.access_token.as_ref());
        let expires_at = access_token
            .and_then(|wire| time(&wire.expires_at))
            .or_else(|| auth.as_ref().and_then(|auth| time(&auth.expires_at)));
        let fine_grained = access_token.and_then(|wire| wire.fine_grained.as_ref());
        let scopes = fine_grained.map(FineGrainedWire::lines).unwrap_or_default();
        let (token_name, role) =
            access_token.map_or((None, None), |wire| (wire.display_name.clone(), wire.role.clone()));
        Ok(Account {
            name: show(answer.value.name),
            token_name: token_name.map(show),
            role: role.map(show),
            orgs: answer
                .value
                .orgs
                .into_iter()
                .filter_map(|org| org.name)
                .map(show)
                .collect(),
            expires_at,
            scopes: scopes.into_iter().map(show).collect(),
        })
    }

    /// Lists branches, tags, generated data sets and pull requests.
    ///
    /// # Errors
    /// When there is no answer, or one that names something else than commits.
    pub async fn refs(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
    ) -> Result<Refs, HubError> {
        let about = About::new(endpoint, kind, repo_id, Asked::Repository);
        let url = endpoint.refs_url(kind, repo_id);
        let answer = self
            .json::<RefsWire>(endpoint, token, url, &about, "a list of branches")
            .await?;
        let host = host_of(&answer.url);
        let read = |wires: Vec<RefWire>| {
            wires
                .into_iter()
                .map(|wire| wire.check(&host))
                .collect::<Result<Vec<_>, _>>()
        };
        let wire = answer.value;
        Ok(Refs {
            branches: read(wire.branches)?,
            tags: read(wire.tags)?,
            converts: read(wire.converts)?,
            pull_requests: read(wire.pull_requests)?,
        })
    }
}

impl RefWire {
    fn check(self, host: &str) -> Result<GitRef, HubError> {
        let commit = CommitHash::parse(&self.target_commit).ok_or_else(|| HubError::BadAnswer {
            host: host.to_owned(),
            what: "a list of branches",
            detail: format!("`{}` points to no commit", scrub::text(&self.name, None)),
        })?;
        Ok(GitRef {
            name: scrub::text(&self.name, None),
            full_name: scrub::text(&self.full_name, None),
            commit,
        })
    }
}
