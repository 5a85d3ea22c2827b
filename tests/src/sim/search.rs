//! Search, and how all lists are cut into pages.

use std::cmp::Reverse;
use std::ops::Range;

use serde_json::Value;

use super::access::{Caller, Refusal};
use super::api::{expanded, summary};
use super::digest::{cloudfront_base64, from_cloudfront_base64};
use super::repo::{Gated, Kind, Repo};
use super::wire::{Response, quote_segment};
use super::world::Context;

/// Search over one kind of repository.
pub(crate) fn search(context: &Context<'_>, kind: Kind) -> Result<Response, Refusal> {
    if !context.switches.has_search {
        return Err(Refusal::LoginNeeded);
    }
    if matches!(context.caller, Caller::Invalid) {
        return Err(Refusal::BadToken);
    }
    let value = |name: &str| context.request.query_value(name);
    let words = value("search").unwrap_or_default().to_lowercase();
    let author = value("author");
    let pairs = context.request.query_pairs();
    let filters = pairs
        .iter()
        .filter(|(key, _)| key == "filter")
        .flat_map(|(_, list)| list.split(','));
    let filters: Vec<&str> = filters.collect();
    let wanted = |repo: &Repo| {
        repo.kind == kind
            && context.caller.sees(repo)
            && words
                .split_whitespace()
                .all(|word| repo.id.to_lowercase().contains(word))
            && author
                .as_deref()
                .is_none_or(|author| repo.id.split('/').next() == Some(author))
            && filters.iter().all(|filter| repo.tags.iter().any(|tag| tag == filter))
            && value("gated").is_none_or(|gated| (gated == "true") == (repo.gated != Gated::No))
    };
    let mut found = context.world.repos(wanted);
    match value("sort").as_deref() {
        Some("likes") => found.sort_by_key(|repo| Reverse(repo.likes)),
        _ => found.sort_by_key(|repo| Reverse(repo.downloads)),
    }
    let full = context.request.query_flag("full");
    let mut elements = Vec::new();
    for repo in &found {
        let mut fields = summary(repo, &*context.commit(repo, "main")?);
        let has_expand = pairs.iter().any(|(key, _)| key.starts_with("expand"));
        if has_expand {
            fields = expanded(context, fields);
        } else {
            fields.retain(|key, _| {
                !matches!(
                    key.as_str(),
                    "usedStorage" | "spaces" | "disabled" | "config" | "cardData"
                )
            });
            if !full {
                fields
                    .retain(|key, _| !matches!(key.as_str(), "sha" | "lastModified" | "gated" | "siblings" | "author"));
            }
        }
        elements.push(Value::Object(fields));
    }
    let limit = value("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(context.switches.search_page_size);
    let page = context.page(elements.len(), limit.max(1));
    let shown = elements.get(page.range.clone()).unwrap_or_default().to_vec();
    Ok(page.link(Response::json(&Value::Array(shown))))
}

/// A stretch of a list and the URL of what follows it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) range: Range<usize>,
    next: Option<String>,
}

impl Page {
    pub(crate) fn link(&self, mut response: Response) -> Response {
        if let Some(next) = &self.next {
            response.headers.set("Link", format!("<{next}>; rel=\"next\""));
        }
        response
    }
}

impl Context<'_> {
    /// Origin of absolute links to our own routes.
    pub(crate) fn link_origin(&self) -> String {
        let own = self.world.endpoint.trim_end_matches(self.world.base_path.as_str());
        self.switches.next_link_origin.clone().unwrap_or_else(|| own.to_owned())
    }

    /// The page of a list of `total` that the request's `cursor` asks for.
    pub(crate) fn page(&self, total: usize, size: usize) -> Page {
        let start = if self.switches.ignore_cursor {
            0
        } else {
            self.cursor().min(total)
        };
        let end = total.min(start.saturating_add(size));
        let next = (end < total).then(|| {
            let pairs = self
                .request
                .query
                .split('&')
                .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
            let mut query: Vec<String> = pairs.map(str::to_owned).collect();
            let cursor = cloudfront_base64(format!("{{\"after\":{end}}}").as_bytes());
            query.push(format!("cursor={}", quote_segment(&cursor)));
            format!("{}{}?{}", self.link_origin(), self.request.path, query.join("&"))
        });
        Page {
            range: start..end,
            next,
        }
    }

    fn cursor(&self) -> usize {
        let text = self
            .request
            .query_value("cursor")
            .and_then(|cursor| from_cloudfront_base64(&cursor));
        let value: Option<Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
        let after = value.and_then(|value| value["after"].as_u64()).unwrap_or_default();
        super::content::index(after)
    }
}
