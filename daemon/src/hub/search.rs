//! Finds repositories by words.

use serde::Deserialize;
use serde_json::Value;

use super::client::Hub;
use super::endpoint::Endpoint;
use super::error::HubError;
use super::info::is_gated;
use super::refusal::{About, Asked};
use super::{Credential, quote, scrub};
use crate::model::{RepoId, RepoKind};

/// One hit of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoSummary {
    /// The repository.
    pub repo_id: RepoId,
    /// Its kind.
    pub kind: RepoKind,
    /// Bytes of all revisions together, when told.
    pub bytes: Option<u64>,
    /// Downloads of late.
    pub downloads: u64,
    /// Likes.
    pub likes: u64,
    /// Closed until terms are accepted.
    pub gated: bool,
    /// What it is for, such as `text-generation`; models only.
    pub task: Option<String>,
}

#[derive(Deserialize)]
struct Wire {
    id: String,
    #[serde(rename = "usedStorage")]
    used_storage: Option<u64>,
    downloads: Option<u64>,
    likes: Option<u64>,
    #[serde(default)]
    gated: Value,
    pipeline_tag: Option<String>,
}

impl Hub {
    /// The best known repositories whose id holds the words, at most `limit`, best first.
    ///
    /// # Errors
    /// When there is no answer. No hit is an empty list.
    pub async fn search(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        words: &str,
        limit: usize,
    ) -> Result<Vec<RepoSummary>, HubError> {
        let about = About::of_endpoint(endpoint, Asked::Search);
        let ask = async |query: String| {
            let url = endpoint.search_url(kind, &query);
            self.json::<Vec<Wire>>(endpoint, token, url, &about, "a list of repositories")
                .await
        };
        let answer = match ask(query(kind, words, limit, true)).await {
            // Mirrors and older servers do not know every field.
            Err(HubError::Refused(refusal)) if refusal.status == 400 => ask(query(kind, words, limit, false)).await?,
            other => other?,
        };
        // A hit that is no id of ours cannot be asked for, so it is no hit.
        let hits = answer.value.into_iter().filter_map(|wire| summary(kind, wire));
        Ok(hits.take(limit).collect())
    }
}

/// `expand[]` names every field wanted and excludes `full`; each kind knows other fields and other orders.
fn query(kind: RepoKind, words: &str, limit: usize, expand: bool) -> String {
    let (sort, fields): (&str, &[&str]) = match kind {
        RepoKind::Model => (
            "downloads",
            &["usedStorage", "downloads", "likes", "gated", "pipeline_tag"],
        ),
        RepoKind::Dataset => ("downloads", &["usedStorage", "downloads", "likes", "gated"]),
        RepoKind::Space => ("likes", &["usedStorage", "likes"]),
    };
    let mut query = format!("search={}&sort={sort}&limit={limit}", quote::segment(words));
    if expand {
        for field in fields {
            query.push_str("&expand[]=");
            query.push_str(field);
        }
    }
    query
}

fn summary(kind: RepoKind, wire: Wire) -> Option<RepoSummary> {
    Some(RepoSummary {
        repo_id: RepoId::parse(&wire.id).ok()?,
        kind,
        bytes: wire.used_storage,
        downloads: wire.downloads.unwrap_or(0),
        likes: wire.likes.unwrap_or(0),
        gated: is_gated(&wire.gated),
        task: wire.pipeline_tag.map(|task| scrub::text(&task, None)),
    })
}
