//! A repository as people write it, and the plain spellings: `org/name`, `name`, `datasets/org/name`, each with `@revision`.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{uri, web};
use crate::model::{BadRepoId, BadRevision, RepoId, RepoKind, RepoPath, Revision};

/// What would be read as something else in `hf://…@revision/path`.
const IN_REVISION: &AsciiSet = &CONTROLS.add(b'%').add(b'/').add(b'@').add(b' ');

/// Hosts that people write without `https://`.
const KNOWN_HOSTS: [&str; 4] = ["huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com"];

/// Storage of the Hub that is no git repository of ours.
pub(super) const FOREIGN: [&str; 2] = ["buckets", "kernels"];

/// What a text says about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `None`: the text does not say, so a flag or the default decides.
    pub kind: Option<RepoKind>,
    /// The id as it was written.
    pub repo_id: RepoId,
    /// `None`: not said.
    pub revision: Option<Revision>,
    /// A file, or a folder when it ends in `/` (what a `tree` page shows is one): fit for `Selection::files`.
    pub path: Option<String>,
}

impl Reference {
    /// Just an id.
    pub fn bare(repo_id: RepoId) -> Self {
        Self {
            kind: None,
            repo_id,
            revision: None,
            path: None,
        }
    }
}

/// The shortest spelling that `parse` reads back, except for a legacy id of a known kind, which has none.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.kind) {
            (None, Some(kind)) => write!(f, "{}{}", kind.web_prefix(), self.repo_id)?,
            (None, None) => write!(f, "{}", self.repo_id)?,
            (Some(_), kind) => write!(f, "hf://{}{}", kind.map_or("", RepoKind::web_prefix), self.repo_id)?,
        }
        if let Some(revision) = &self.revision {
            let text = revision.as_str();
            match self.path {
                Some(_) if !uri::is_special_ref(text) => write!(f, "@{}", utf8_percent_encode(text, IN_REVISION))?,
                _ => write!(f, "@{text}")?,
            }
        }
        match &self.path {
            Some(path) => write!(f, "/{path}"),
            None => Ok(()),
        }
    }
}

/// Why a text names no repository.
#[derive(Debug, thiserror::Error)]
pub enum BadName {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// The id breaks the Hub's rules.
    #[error(transparent)]
    Id(#[from] BadRepoId),
    /// The revision cannot exist.
    #[error(transparent)]
    Revision(#[from] BadRevision),
    /// The path could never be a file of a repository.
    #[error("`{path}` is not a path in a repository: {why}")]
    Path {
        /// As written, cut.
        path: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Buckets and kernels.
    #[error("{what} are not supported; models, datasets and spaces are")]
    NotSupported {
        /// `buckets` or `kernels`.
        what: &'static str,
    },
    /// `dataset/…` where the Hub says `datasets/…`.
    #[error("`{singular}/` is not a prefix; did you mean `{singular}s/`?")]
    Singular {
        /// As written.
        singular: &'static str,
    },
    /// A `hf://` address needs both sides.
    #[error("`{0}` lacks the owner: write hf://[datasets/|spaces/]OWNER/NAME")]
    NoOwner(String),
    /// A page of a repository that shows no files.
    #[error("`/{route}` pages show no files; paste the address of the repository or of one of its files or folders")]
    OtherPage {
        /// Such as `discussions`.
        route: String,
    },
    /// A page that belongs to no repository.
    #[error("this address shows no repository{}", if .0.is_empty() { String::new() } else { format!(": `/{}`", .0) })]
    NoRepository(String),
    /// Neither http nor https nor hf.
    #[error("`{0}://` addresses are not understood; http, https and hf are")]
    Scheme(String),
    /// The address cannot be read at all. Its text may hold a password and is not shown.
    #[error("this is not a web address: {0}")]
    Address(&'static str),
}

/// Reads any spelling of a repository: an id, an id with its kind in front, a `hf://` address, a web page.
///
/// # Errors
/// With what is wrong with the text.
pub fn parse(text: &str) -> Result<Reference, BadName> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("hf") => uri::parse(rest),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            web::parse(text)
        }
        Some((scheme, _)) => Err(BadName::Scheme(shown(scheme))),
        None => match text.split_once('/') {
            Some((host, _)) if KNOWN_HOSTS.iter().any(|known| known.eq_ignore_ascii_case(host)) => {
                web::parse(&format!("https://{text}"))
            }
            _ => plain(text),
        },
    }
}

fn plain(text: &str) -> Result<Reference, BadName> {
    let (id, revision) = match text.split_once('@') {
        Some((id, revision)) => (id, Some(Revision::parse(revision)?)),
        None => (text, None),
    };
    // Only with three parts: `datasets/foo` is a legal id of a model.
    let three = id.matches('/').count() == 2;
    let (kind, id) = match id.split_once('/') {
        Some((prefix, rest)) if three => match kind(prefix)? {
            Some(kind) => (Some(kind), rest),
            None => (None, id),
        },
        _ => (None, id),
    };
    Ok(Reference {
        kind,
        repo_id: RepoId::parse(id)?,
        revision,
        path: None,
    })
}

/// The kind that a first part says; `None` when it is none.
pub(super) fn kind(prefix: &str) -> Result<Option<RepoKind>, BadName> {
    if let Some(what) = FOREIGN.into_iter().find(|foreign| *foreign == prefix) {
        return Err(BadName::NotSupported { what });
    }
    if let Some(kind) = RepoKind::parse(prefix) {
        return Err(BadName::Singular {
            singular: kind.as_str(),
        });
    }
    Ok(RepoKind::parse_plural(prefix))
}

/// Checks a file's or folder's path; empty is none.
pub(super) fn path(text: &str) -> Result<Option<String>, BadName> {
    if text.is_empty() {
        return Ok(None);
    }
    match RepoPath::parse(text.strip_suffix('/').unwrap_or(text)) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(bad) => Err(BadName::Path {
            path: bad.path,
            why: bad.why,
        }),
    }
}

/// Cut to a length that can be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `kind id revision path`, `-` for what is not said.
    pub(in crate::names) fn check(text: &str, expected: &str) {
        let found = parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
        let shown = format!(
            "{} {} {} {}",
            found.kind.map_or("-", RepoKind::as_str),
            found.repo_id,
            found.revision.as_ref().map_or("-", Revision::as_str),
            found.path.as_deref().unwrap_or("-")
        );
        assert_eq!(shown, expected, "{text}");
        if found.repo_id.as_str().contains('/') {
            let again = parse(&found.to_string()).unwrap_or_else(|bad| panic!("{text}: {found}: {bad}"));
            // A model without a prefix is read back as "not said".
            if found.kind != Some(RepoKind::Model) {
                assert_eq!(again.kind.or(found.kind), found.kind, "{text}");
            }
            assert_eq!(again.repo_id, found.repo_id, "{text}");
            assert_eq!((again.revision, again.path), (found.revision, found.path), "{text}");
        }
    }

    pub(in crate::names) fn refused(text: &str, fragment: &str) {
        match parse(text) {
            Ok(found) => panic!("{text} was read as {found:?}"),
            Err(bad) => assert!(bad.to_string().contains(fragment), "{text}: {bad}"),
        }
    }

    #[test]
    fn plain_spellings() {
        check("gpt2", "- gpt2 - -");
        check(" a/b\n", "- a/b - -");
        check("datasets/org/name", "dataset org/name - -");
        check("spaces/org/name", "space org/name - -");
        check("models/org/name", "model org/name - -");
        check("datasets/foo", "- datasets/foo - -");
        check("buckets/foo", "- buckets/foo - -");
        check("org/name@v1.0", "- org/name v1.0 -");
        check("org/name@refs/pr/1", "- org/name refs/pr/1 -");
        check("datasets/org/name@feature/x", "dataset org/name feature/x -");
        check("gpt2@main", "- gpt2 main -");
        check("huggingface.co/org/name", "model org/name - -");
        check("hf.co/datasets/org/name", "dataset org/name - -");
    }

    #[test]
    fn what_is_refused() {
        refused("", "empty");
        refused("  ", "empty");
        for bad in [
            "a/b/c", "a/", "/a", "é", "a b", "-foo", "foo--bar", "x.git", "@main", "~/x", "./x", "../x", "a/b/c/d",
        ] {
            refused(bad, "not a repository id");
        }
        refused("a/b@", "empty");
        refused("a/b@../x", "not a revision");
        refused("buckets/org/name", "buckets are not supported");
        refused("kernels/org/name", "kernels are not supported");
        refused("dataset/org/name", "did you mean `datasets/`");
        refused("git://x/y", "`git://`");
        refused("s3://x/y", "`s3://`");
    }
}
