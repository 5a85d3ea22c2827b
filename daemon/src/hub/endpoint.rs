//! A configured base address, official or mirror, and the addresses below it.

use std::sync::Arc;

use url::{Origin, Url};

use super::ledger::{Charge, Ledger};
use super::quote;
use super::scrub;
use crate::model::{CommitHash, RepoId, RepoKind, RepoPath, Revision};

/// Hosts that are the Hub itself under another name: a link that names one of them means "this endpoint".
const HUB_HOSTS: [&str; 4] = ["huggingface.co", "www.huggingface.co", "hf.co", "hub-ci.huggingface.co"];

/// What the configuration calls that which `HF_ENDPOINT` names: to people it says nothing.
const UNNAMED: &str = "default";

/// A base address: `http` or `https`, perhaps with a path of its own, never with user, query or fragment.
#[derive(Debug, Clone)]
pub struct Endpoint {
    name: String,
    base: Url,
    /// Where its web pages are; `None`: at the base address.
    pages: Option<Url>,
    /// Where calls to it, and wherever it sends them, are counted.
    ledger: Option<Arc<Ledger>>,
}

/// The same place under the same name; who counts is another matter.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.base == other.base
    }
}

impl Eq for Endpoint {}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an endpoint: {why}")]
pub struct BadEndpoint {
    /// The text, cut and without a password.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Endpoint {
    /// Reads a base address; every trailing slash is cut.
    ///
    /// # Errors
    /// With what is wrong with the text.
    pub fn parse(name: &str, text: &str) -> Result<Self, BadEndpoint> {
        let bad = |why| BadEndpoint {
            text: scrub::address(text),
            why,
        };
        let text = text.trim().trim_end_matches('/');
        let base = Url::parse(text).map_err(|_| bad("it is no address; write for example https://huggingface.co"))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad("only http and https are spoken"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("it holds a user name; give a token with HF_TOKEN"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("it holds a query or a fragment"));
        }
        let name = if name.is_empty() {
            host_of(&base)
        } else {
            name.to_owned()
        };
        Ok(Self {
            name,
            base,
            pages: None,
            ledger: None,
        })
    }

    /// The same, with every call counted.
    #[must_use]
    pub fn counted(self, ledger: Arc<Ledger>) -> Self {
        Self {
            ledger: Some(ledger),
            ..self
        }
    }

    /// Notes a request on its behalf; where nobody pays, nothing is counted.
    pub(super) fn note(&self, host: &str, way: &str, by: &str) -> Charge {
        let base = self.base.as_str().trim_end_matches('/');
        let ledger = self.ledger.as_deref();
        ledger.map_or_else(Charge::default, |ledger| ledger.note(base, host, way, by))
    }

    /// The same, with its web pages somewhere else: a mirror has none where terms are accepted.
    #[must_use]
    pub fn with_pages(self, pages: Url) -> Self {
        Self {
            pages: Some(pages),
            ..self
        }
    }

    /// Where people find its pages: those of repositories, and of their tokens.
    pub fn pages(&self) -> &Url {
        self.pages.as_ref().unwrap_or(&self.base)
    }

    /// The name from the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For people: its name where they have given it one, else its host.
    pub fn told(&self) -> String {
        if self.name == UNNAMED {
            self.host()
        } else {
            self.name.clone()
        }
    }

    /// The base address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Scheme, host and port: where a token may go.
    pub fn origin(&self) -> Origin {
        self.base.origin()
    }

    /// `host` or `host:port`, for people.
    pub fn host(&self) -> String {
        host_of(&self.base)
    }

    /// The path before `/api`, without a slash at its end; mostly empty.
    pub(super) fn prefix(&self) -> &str {
        self.base.path().trim_end_matches('/')
    }

    /// Whether the address has the very origin of this endpoint.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Joins text that is quoted already.
    fn join(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = rest
            .split_once('?')
            .map_or((rest, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}/{path}", self.prefix()));
        url.set_query(query);
        url
    }

    /// `api/{kinds}/{id}`, optionally at a revision.
    pub(super) fn info_url(&self, kind: RepoKind, repo_id: &RepoId, revision: Option<&Revision>) -> Url {
        let at = revision.map_or_else(String::new, |revision| {
            format!("/revision/{}", quote::segment(revision.as_str()))
        });
        self.join(&format!("api/{}/{repo_id}{at}", kind.plural()))
    }

    /// The same with sizes of all files.
    pub(super) fn blobs_url(&self, kind: RepoKind, repo_id: &RepoId, commit: &CommitHash) -> Url {
        self.join(&format!("api/{}/{repo_id}/revision/{commit}?blobs=true", kind.plural()))
    }

    /// First page of the recursive listing.
    pub(super) fn tree_url(&self, kind: RepoKind, repo_id: &RepoId, commit: &CommitHash) -> Url {
        self.join(&format!(
            "api/{}/{repo_id}/tree/{commit}?recursive=true&expand=false",
            kind.plural()
        ))
    }

    /// Branches, tags and pull requests.
    pub(super) fn refs_url(&self, kind: RepoKind, repo_id: &RepoId) -> Url {
        self.join(&format!("api/{}/{repo_id}/refs?include_prs=1", kind.plural()))
    }

    /// Search among one kind; `query` is quoted already.
    pub(super) fn search_url(&self, kind: RepoKind, query: &str) -> Url {
        self.join(&format!("api/{}?{query}", kind.plural()))
    }

    /// May the caller read the files.
    pub(super) fn auth_check_url(&self, kind: RepoKind, repo_id: &RepoId) -> Url {
        self.join(&format!("api/{}/{repo_id}/auth-check", kind.plural()))
    }

    /// Whose token is it.
    pub(super) fn whoami_url(&self) -> Url {
        self.join("api/whoami-v2")
    }

    /// A file at a commit.
    pub(super) fn resolve_url(&self, kind: RepoKind, repo_id: &RepoId, commit: &CommitHash, path: &RepoPath) -> Url {
        self.join(&format!(
            "{}{repo_id}/resolve/{commit}/{}",
            kind.web_prefix(),
            quote::path(path.as_str())
        ))
    }
}

/// Whether the host is the Hub under one of its names.
pub(super) fn is_hub_host(url: &Url) -> bool {
    url.host_str().is_some_and(|host| HUB_HOSTS.contains(&host))
}

/// `host` or `host:port`: all that is ever said of an address.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse("e", text).unwrap()
    }

    #[test]
    fn bases_keep_their_path() {
        let id = RepoId::parse("org/tiny").unwrap();
        let main = Revision::parse("refs/pr/1").unwrap();
        for base in ["http://host:8080/hf", "http://host:8080/hf///"] {
            assert_eq!(
                endpoint(base).info_url(RepoKind::Model, &id, Some(&main)).as_str(),
                "http://host:8080/hf/api/models/org/tiny/revision/refs%2Fpr%2F1"
            );
        }
        assert_eq!(
            endpoint("https://huggingface.co/")
                .info_url(RepoKind::Space, &id, None)
                .as_str(),
            "https://huggingface.co/api/spaces/org/tiny"
        );
    }

    #[test]
    fn awkward_names_survive_the_address_type() {
        let id = RepoId::parse("gpt2").unwrap();
        let commit = CommitHash::parse(&"1".repeat(40)).unwrap();
        let path = RepoPath::parse("a b/c#d?e&f=g+h%i~j@k:l,é[1](2)'").unwrap();
        assert_eq!(
            endpoint("https://h")
                .resolve_url(RepoKind::Dataset, &id, &commit, &path)
                .as_str(),
            format!(
                "https://h/datasets/gpt2/resolve/{commit}/a%20b/c%23d%3Fe%26f%3Dg%2Bh%25i~j%40k%3Al%2C%C3%A9%5B1%5D%282%29%27"
            )
        );
        let dots = RepoPath::parse("%2e%2e/.../..x").unwrap();
        assert!(
            endpoint("https://h")
                .resolve_url(RepoKind::Model, &id, &commit, &dots)
                .as_str()
                .ends_with("/%252e%252e/.../..x")
        );
    }

    #[test]
    fn refuses_what_is_no_base() {
        for bad in [
            "",
            "huggingface.co",
            "ftp://h",
            "https://u:pw@h",
            "https://h/?x=1",
            "https://h/#f",
            "file:///etc",
        ] {
            let error = Endpoint::parse("e", bad).unwrap_err();
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }
}
