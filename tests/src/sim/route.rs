//! From a URL path to what is meant by it.

use super::repo::Kind;
use super::wire::unquote;

/// What a request to the Hub wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Whoami,
    Search(Kind),
    Api {
        repo: RepoRef,
        call: Call,
    },
    ResolveCache {
        repo: RepoRef,
        sha: String,
        path: String,
    },
    Resolve {
        repo: RepoRef,
        revision: String,
        path: String,
    },
    Raw {
        repo: RepoRef,
        revision: String,
        path: String,
    },
    /// A bridge URL at the Hub itself, as Olah's redirects have it.
    Bridge {
        repo_id: String,
        hash: String,
    },
    /// An id written with `%2F`.
    QuotedId,
    Unknown,
}

/// A repository as a URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepoRef {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// What stood before the id, as it came.
    pub(crate) before: String,
    /// What stood behind the id, as it came.
    pub(crate) after: String,
}

/// Calls on one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Info { revision: Option<String> },
    Tree { revision: String, folder: String },
    PathsInfo { revision: String },
    Refs,
    TreeSize { revision: String, folder: String },
    Commits { revision: String },
    AuthCheck,
    XetToken,
}

const CALLS: [&str; 8] = [
    "revision",
    "tree",
    "paths-info",
    "refs",
    "treesize",
    "commits",
    "auth-check",
    "xet-read-token",
];

impl Route {
    /// The file that a route is about.
    pub(crate) fn file(&self) -> Option<(&RepoRef, &str)> {
        match self {
            Self::ResolveCache { repo, path, .. } | Self::Resolve { repo, path, .. } | Self::Raw { repo, path, .. } => {
                Some((repo, path))
            }
            Self::Whoami
            | Self::Search(_)
            | Self::Api { .. }
            | Self::Bridge { .. }
            | Self::QuotedId
            | Self::Unknown => None,
        }
    }

    /// Reads a percent-encoded path. `known` tells whether a repository exists, for ids that look like a call.
    pub(crate) fn read(path: &str, known: &dyn Fn(Kind, &str) -> bool) -> Self {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match segments.as_slice() {
            ["api", "whoami-v2"] => Self::Whoami,
            ["api", "resolve-cache", kinds, rest @ ..] => resolve_cache(kinds, rest).unwrap_or(Self::Unknown),
            ["api", kinds, rest @ ..] => match Kind::from_api_segment(kinds) {
                Some(kind) if rest.iter().all(|segment| segment.is_empty()) => Self::Search(kind),
                Some(kind) => api(kind, rest, known).unwrap_or(Self::Unknown),
                None => Self::Unknown,
            },
            ["xet-bridge-us", repo_id, hash] => Self::Bridge {
                repo_id: (*repo_id).to_owned(),
                hash: (*hash).to_owned(),
            },
            ["datasets", rest @ ..] => file(Kind::Dataset, rest).unwrap_or(Self::Unknown),
            ["spaces", rest @ ..] => file(Kind::Space, rest).unwrap_or(Self::Unknown),
            rest => file(Kind::Model, rest).unwrap_or(Self::Unknown),
        }
    }
}

fn api(kind: Kind, segments: &[&str], known: &dyn Fn(Kind, &str) -> bool) -> Option<Route> {
    let first = segments.first()?;
    if first.to_ascii_lowercase().contains("%2f") {
        return Some(Route::QuotedId);
    }
    let long = segments
        .get(1)
        .map(|second| format!("{}/{}", unquote(first), unquote(second)));
    let is_long = match (&long, segments.get(1)) {
        (Some(id), Some(second)) => !CALLS.contains(second) || known(kind, id),
        _ => false,
    };
    let id_segments = if is_long { 2 } else { 1 };
    let rest = &segments[id_segments..];
    let repo = RepoRef {
        kind,
        id: long.filter(|_| is_long).unwrap_or_else(|| unquote(first)),
        before: format!("/api/{}/", kind.api_segment()),
        after: rest.iter().map(|segment| format!("/{segment}")).collect(),
    };
    let call = match rest {
        [] | [""] => Call::Info { revision: None },
        ["revision", rest @ ..] => Call::Info {
            revision: Some(revision(rest)?.0),
        },
        ["tree", rest @ ..] => {
            let (revision, folder) = revision(rest)?;
            Call::Tree { revision, folder }
        }
        ["paths-info", rest @ ..] => Call::PathsInfo {
            revision: revision(rest)?.0,
        },
        ["refs"] => Call::Refs,
        ["treesize", rest @ ..] => {
            let (revision, folder) = revision(rest)?;
            Call::TreeSize { revision, folder }
        }
        ["commits", rest @ ..] => Call::Commits {
            revision: revision(rest)?.0,
        },
        ["auth-check"] => Call::AuthCheck,
        ["xet-read-token", ..] => Call::XetToken,
        _ => return None,
    };
    Some(Route::Api { repo, call })
}

fn resolve_cache(kinds: &str, segments: &[&str]) -> Option<Route> {
    let kind = Kind::from_api_segment(kinds)?;
    // The sha tells where the id ends; a branch name in its place is refused later, so it must be found too.
    let is_sha = |segment: &&str| segment.len() == 40 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id_segments = if segments.get(1).is_some_and(is_sha) { 1 } else { 2 };
    let (id, rest) = segments.split_at_checked(id_segments)?;
    let repo = RepoRef {
        kind,
        id: unquote(&id.join("/")),
        before: format!("/api/resolve-cache/{}/", kind.api_segment()),
        after: rest.iter().map(|segment| format!("/{segment}")).collect(),
    };
    let (sha, path) = revision(rest)?;
    Some(Route::ResolveCache { repo, sha, path })
}

fn file(kind: Kind, segments: &[&str]) -> Option<Route> {
    let is_verb = |position: usize| matches!(segments.get(position), Some(&("resolve" | "raw")));
    let position = [2, 1].into_iter().find(|position| is_verb(*position))?;
    let repo = RepoRef {
        kind,
        id: unquote(&segments[..position].join("/")),
        before: format!("/{}", kind.url_prefix()),
        after: segments[position..]
            .iter()
            .map(|segment| format!("/{segment}"))
            .collect(),
    };
    let (revision, path) = revision(&segments[position + 1..])?;
    Some(match segments[position] {
        "raw" => Route::Raw { repo, revision, path },
        _ => Route::Resolve { repo, revision, path },
    })
}

/// The revision at the beginning of some segments, and the decoded rest. `refs/pr/1` is understood unquoted as well.
fn revision(segments: &[&str]) -> Option<(String, String)> {
    let taken = if matches!(segments, ["refs", "pr" | "convert", _, ..]) {
        3
    } else {
        1
    };
    let (revision, rest) = segments.split_at_checked(taken)?;
    let revision = unquote(&revision.join("/"));
    (!revision.is_empty()).then(|| (revision, unquote(&rest.join("/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Route {
        Route::read(path, &|_, _| false)
    }

    #[test]
    fn calls_and_files() {
        let Route::Api { repo, call } = read("/api/models/org/tiny/tree/refs%2Fpr%2F1/data%2Ftrain") else {
            panic!("not a call");
        };
        assert_eq!(
            (repo.id.as_str(), repo.after.as_str()),
            ("org/tiny", "/tree/refs%2Fpr%2F1/data%2Ftrain")
        );
        assert_eq!(
            call,
            Call::Tree {
                revision: "refs/pr/1".to_owned(),
                folder: "data/train".to_owned()
            }
        );
        let Route::Api { repo, call } = read("/api/models/gpt2/revision/main") else {
            panic!("not a call")
        };
        assert_eq!(
            (repo.id.as_str(), call),
            (
                "gpt2",
                Call::Info {
                    revision: Some("main".to_owned())
                }
            )
        );
        let Route::Resolve { repo, revision, path } = read("/datasets/a/b/resolve/main/x%20y/c%23d") else {
            panic!("not a file");
        };
        assert_eq!((repo.kind, repo.id.as_str()), (Kind::Dataset, "a/b"));
        assert_eq!((revision.as_str(), path.as_str()), ("main", "x y/c#d"));
        assert_eq!(read("/api/models/owner%2Fname"), Route::QuotedId);
        assert_eq!(read("/api/agent-harnesses"), Route::Unknown);
    }
}
