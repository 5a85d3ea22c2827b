//! Signed URLs of the CDN: made by resolve, checked when a request to the CDN begins.
//!
//! Everything the CDN must know stands in the URL, as in life: a restarted Hub honours the links of its former self.

use serde_json::{Value, json};

use super::digest::{cloudfront_base64, from_cloudfront_base64, sha256_hex};
use super::wire::{Request, quote_segment};

const SECRET: &str = "the key of the simulated CDN";

/// What a link was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// 24 hex digits of the repository.
    pub(crate) repo_id: String,
    /// 64 hex digits of the content, the CDN's name for it.
    pub(crate) hash: String,
    /// Repository and path that were asked for; the CDN itself does not need them, the journal does.
    pub(crate) repo: String,
    pub(crate) path: String,
    /// Unix seconds.
    pub(crate) expires: i64,
    /// Links of an older generation were withdrawn.
    pub(crate) generation: u64,
}

/// Why a link is refused; each with the words of a real CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadLink {
    Missing,
    Tampered,
    Expired,
}

impl Link {
    pub(crate) fn url_path(&self) -> String {
        format!("/xet-bridge-us/{}/{}", self.repo_id, self.hash)
    }

    /// Path and query.
    pub(crate) fn signed(&self) -> String {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let disposition = format!("inline; filename*=UTF-8''{}; filename=\"{name}\";", quote_segment(name));
        let policy = json!({
            "Statement": [{
                "Resource": self.url_path(),
                "Condition": { "DateLessThan": { "AWS:EpochTime": self.expires } },
            }],
            "Repo": self.repo, "Path": self.path, "Generation": self.generation,
        });
        let unsigned = format!(
            "X-Xet-Cas-Uid=public&response-content-disposition={}&Expires={}&Policy={}",
            quote_segment(&disposition),
            self.expires,
            cloudfront_base64(policy.to_string().as_bytes()),
        );
        let signature = signature(&self.url_path(), &unsigned);
        format!(
            "{}?{unsigned}&Signature={signature}&Key-Pair-Id=K2SIMULATEDHUB",
            self.url_path()
        )
    }

    /// Reads and checks the link of a request. `now` in Unix seconds.
    pub(crate) fn check(request: &Request, now: i64, generation: u64) -> Result<Self, BadLink> {
        let (unsigned, rest) = request.query.split_once("&Signature=").ok_or(BadLink::Missing)?;
        let given = rest.split('&').next().unwrap_or_default();
        if given != signature(&request.path, unsigned) {
            return Err(BadLink::Tampered);
        }
        let policy = request
            .query_value("Policy")
            .and_then(|policy| from_cloudfront_base64(&policy));
        let policy: Value = policy
            .and_then(|text| serde_json::from_slice(&text).ok())
            .ok_or(BadLink::Tampered)?;
        let mut segments = request.path.rsplit('/');
        let (Some(hash), Some(repo_id)) = (segments.next(), segments.next()) else {
            return Err(BadLink::Tampered);
        };
        let text = |name: &str| policy[name].as_str().unwrap_or_default().to_owned();
        let expires = policy["Statement"][0]["Condition"]["DateLessThan"]["AWS:EpochTime"].as_i64();
        let link = Self {
            repo_id: repo_id.to_owned(),
            hash: hash.to_owned(),
            repo: text("Repo"),
            path: text("Path"),
            expires: expires.unwrap_or_default(),
            generation: policy["Generation"].as_u64().unwrap_or_default(),
        };
        if now >= link.expires || link.generation < generation {
            Err(BadLink::Expired)
        } else {
            Ok(link)
        }
    }
}

fn signature(path: &str, unsigned: &str) -> String {
    let digest = sha256_hex(format!("{SECRET}\n{path}\n{unsigned}").as_bytes());
    cloudfront_base64(digest.as_bytes())
}
