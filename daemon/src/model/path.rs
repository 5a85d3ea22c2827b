//! Paths inside a repository. A listing is hostile input: a path becomes a `RepoPath` before it becomes anything else.

use std::fmt;

/// Longest path in bytes.
const MAX_PATH: usize = 1024;
/// Longest component in bytes: what ext4, xfs and btrfs take.
const MAX_COMPONENT: usize = 255;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;

/// A relative path of plain components that stays below its root on every system we know, Windows rules included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(String);

/// A path that we refuse to write.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the repository holds a file named `{}`: {why}", path.escape_debug())]
pub struct UnsafePath {
    /// The path, cut to a length that can be shown.
    pub path: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl RepoPath {
    /// Checks a path.
    ///
    /// # Errors
    /// With the first rule that it breaks; nothing may be written under such a name.
    pub fn parse(text: &str) -> Result<Self, UnsafePath> {
        let bad = |why| UnsafePath {
            path: text.chars().take(200).collect(),
            why,
        };
        if text.is_empty() || text.len() > MAX_PATH {
            return Err(bad("it is empty or longer than 1024 bytes"));
        }
        if text.starts_with('/') || text.starts_with('\\') {
            return Err(bad("it is absolute"));
        }
        if text.chars().any(char::is_control) {
            return Err(bad("it holds a control character"));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > MAX_DEPTH {
            return Err(bad("it is nested deeper than 32 folders"));
        }
        for part in &parts {
            if part.is_empty() || *part == "." || *part == ".." {
                return Err(bad("it holds an empty component, `.` or `..`"));
            }
            if part.len() > MAX_COMPONENT {
                return Err(bad("a component is longer than 255 bytes"));
            }
            // Windows reads these as separators and roots; the Python client refuses them everywhere.
            if part.split('\\').any(|piece| piece == "..") || part.starts_with('\\') {
                return Err(bad("it would leave its folder on Windows"));
            }
            let bytes = part.as_bytes();
            if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
                return Err(bad("it begins with a drive letter"));
            }
        }
        // Our own and the Python client's bookkeeping of a local directory, and git's. Case folds: some disks do.
        let first = parts[0].to_ascii_lowercase();
        let second = parts.get(1).map(|part| part.to_ascii_lowercase());
        if first == ".git" || (first == ".cache" && second.as_deref() == Some("huggingface")) || first == ".huggingface"
        {
            return Err(bad("it would overwrite bookkeeping files"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as text, components separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Components from the root down; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The folder, `None` at the root.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(folder, _)| folder)
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_repositories_hold() {
        for good in [
            "config.json",
            "a b/c#d?e&f=g+h%i~j@k:l,é[1](2)'",
            ".gitattributes",
            "weird[1].bin",
            "x/..y",
            "sub/.hidden",
            "日本/語.txt",
            "a\\b.txt",
            ".cache/other",
            "..data",
            "trailing. ",
        ] {
            assert!(RepoPath::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_what_escapes() {
        let deep = "d/".repeat(40) + "x";
        let long = "x".repeat(256);
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "C:\\x",
            "c:x",
            "a/D:x",
            "\\x",
            "\\\\host\\share",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            "\u{1b}[2J",
            ".git/config",
            ".GIT/hooks/x",
            ".cache/huggingface/download/x",
            ".huggingface/x",
            &deep,
            &long,
        ] {
            assert!(RepoPath::parse(bad).is_err(), "{bad:?}");
        }
    }
}
