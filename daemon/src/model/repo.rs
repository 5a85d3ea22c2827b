//! Repositories, revisions, commits: their grammar, checked before anything becomes a URL or a path.

use std::fmt;

/// What kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepoKind {
    /// A model; the kind without a prefix in web addresses.
    Model,
    /// A data set.
    Dataset,
    /// A space (an app).
    Space,
}

impl RepoKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Model, Self::Dataset, Self::Space];

    /// `model`, `dataset`, `space`: the word of flags, JSON and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    /// `models`, `datasets`, `spaces`: the segment of API addresses and of cache folder names.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }

    /// Prefix of resolve addresses: empty, `datasets/`, `spaces/`.
    pub fn web_prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
        }
    }

    /// Reads the singular word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Reads the plural word.
    pub fn parse_plural(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == text)
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `org/name` or a legacy `name`, as the user wrote it: the cache folder keeps this spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoId(String);

/// Why a text is no repository id.
#[derive(Debug, thiserror::Error)]
#[error("`{id}` is not a repository id: {why}")]
pub struct BadRepoId {
    /// The text, cut to a length that can be shown.
    pub id: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl RepoId {
    /// Checks an id by the Hub's own rules.
    ///
    /// # Errors
    /// With the first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, BadRepoId> {
        let bad = |why| BadRepoId {
            id: text.chars().take(200).collect(),
            why,
        };
        let sides: Vec<&str> = text.split('/').collect();
        if sides.len() > 2 {
            return Err(bad("at most one slash is allowed"));
        }
        for side in &sides {
            if side.is_empty() {
                return Err(bad("a name is missing"));
            }
            if side.len() > 96 {
                return Err(bad("a name is longer than 96 characters"));
            }
            if !side
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            {
                return Err(bad("only letters, digits, `_`, `.` and `-` are allowed"));
            }
            let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte == b'-' || byte == b'.');
            if edge(side.bytes().next()) || edge(side.bytes().last()) {
                return Err(bad("a name may not begin or end with `-` or `.`"));
            }
        }
        if text.contains("--") || text.contains("..") {
            return Err(bad("`--` and `..` are not allowed"));
        }
        if text.ends_with(".git") {
            return Err(bad("it may not end in `.git`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `models--org--name`: the folder in a cache.
    pub fn folder(&self, kind: RepoKind) -> String {
        format!("{}--{}", kind.plural(), self.0.replace('/', "--"))
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A branch, tag, commit or `refs/...`, safe to become a path below `refs/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(String);

/// Why a text is no revision.
#[derive(Debug, thiserror::Error)]
#[error("`{revision}` is not a revision: {why}")]
pub struct BadRevision {
    /// The text, cut.
    pub revision: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Revision {
    /// The default branch.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Checks that the text can be asked for and, as a path below `refs/`, cannot leave it.
    ///
    /// # Errors
    /// With the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, BadRevision> {
        let bad = |why| BadRevision {
            revision: text.chars().take(200).collect(),
            why,
        };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > 1000 {
            return Err(bad("it is longer than 1000 bytes"));
        }
        if text.chars().any(|c| c.is_control() || "\\~^:?*[".contains(c)) {
            return Err(bad("it holds a character that git forbids"));
        }
        for part in text.split('/') {
            if part.is_empty() || part == "." || part == ".." || part.starts_with('.') || part.contains("..") {
                return Err(bad("a part is empty, begins with a dot or holds `..`"));
            }
            if part.len() > 200 {
                return Err(bad("a part is longer than 200 bytes"));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The revision as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit that it names by itself: exactly 40 lower-case hex digits.
    pub fn as_commit(&self) -> Option<CommitHash> {
        CommitHash::parse(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&CommitHash> for Revision {
    fn from(commit: &CommitHash) -> Self {
        Self(commit.0.clone())
    }
}

/// A full commit: 40 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitHash(String);

impl CommitHash {
    /// Reads exactly 40 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 40 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The hash as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_table() {
        let x96 = "x".repeat(96);
        let y96 = "y".repeat(96);
        let long = format!("{x96}/{y96}");
        for good in ["gpt2", "a/b", "_foo/_bar", "foo_", "foo.bar", &long, "datasets/foo"] {
            assert!(RepoId::parse(good).is_ok(), "{good}");
        }
        let x97 = "x".repeat(97);
        for bad in [
            "-foo", "foo-", ".foo", "foo.", "foo..bar", "foo--bar", "x.git", "a/x.git", &x97, "a/b/c", "a/", "/a", "é",
            "a b", "", "a\n", "../x",
        ] {
            assert!(RepoId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn folders_are_those_of_the_python_client() {
        let folder = |id, kind| RepoId::parse(id).unwrap().folder(kind);
        assert_eq!(folder("gpt2", RepoKind::Model), "models--gpt2");
        assert_eq!(folder("a/b", RepoKind::Dataset), "datasets--a--b");
    }

    #[test]
    fn revisions_cannot_leave_refs() {
        for good in [
            "main",
            "v1.0",
            "refs/pr/1",
            "feature/x y",
            "1111111111111111111111111111111111111111",
        ] {
            assert!(Revision::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "", "..", "a/../b", "/a", "a/", "a//b", ".hidden", "a\0", "a\nb", "a\\b", "a:b", "x..y",
        ] {
            assert!(Revision::parse(bad).is_err(), "{bad}");
        }
        assert!(Revision::parse("abc").unwrap().as_commit().is_none());
        assert!(Revision::parse(&"a".repeat(40)).unwrap().as_commit().is_some());
        assert!(Revision::parse(&"A".repeat(40)).unwrap().as_commit().is_none());
    }
}
