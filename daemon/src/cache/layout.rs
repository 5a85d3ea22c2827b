//! Names on disk: what lies where in a cache and in a local directory. Pure text.

use crate::model::{CommitHash, Digest, RepoId, RepoKind, RepoPath, Revision};

/// The cache directory tag, byte for byte as the Python client writes it.
pub(super) const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by huggingface_hub.\n\
    # For information about cache directory tags, see:\n\
    #\thttps://bford.info/cachedir/\n";

/// Where the Python client keeps its books in a local directory.
pub(super) const LOCAL_BOOKS: &str = ".cache/huggingface";

/// Relative names of one destination. Every answer is relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// One repository folder of a cache.
    Cache {
        /// `models--org--name`.
        folder: String,
    },
    /// Plain files.
    LocalDir,
}

impl Layout {
    pub(super) fn cache(kind: RepoKind, repo: &RepoId) -> Self {
        Self::Cache {
            folder: repo.folder(kind),
        }
    }

    /// Partial files, quarantined files, files about to be renamed.
    pub(super) fn staging(&self) -> String {
        match self {
            Self::Cache { folder } => format!("{folder}/.hfetch"),
            Self::LocalDir => format!("{LOCAL_BOOKS}/.hfetch"),
        }
    }

    /// The tree file of a commit.
    pub(super) fn tree(&self, commit: &CommitHash) -> String {
        match self {
            Self::Cache { folder } => format!("{folder}/trees/{commit}.json"),
            Self::LocalDir => format!("{LOCAL_BOOKS}/trees/{commit}.json"),
        }
    }

    /// The folder whose path the user is told; empty for the root itself.
    pub(super) fn snapshot(&self, commit: &CommitHash) -> String {
        match self {
            Self::Cache { folder } => format!("{folder}/snapshots/{commit}"),
            Self::LocalDir => String::new(),
        }
    }

    /// The name under which the user finds the file.
    pub(super) fn entry(&self, commit: &CommitHash, path: &RepoPath) -> String {
        match self {
            Self::Cache { .. } => format!("{}/{path}", self.snapshot(commit)),
            Self::LocalDir => path.to_string(),
        }
    }
}

/// Names that only a cache has.
pub(super) struct CacheNames<'a>(pub(super) &'a str);

impl CacheNames<'_> {
    pub(super) fn blobs(&self) -> String {
        format!("{}/blobs", self.0)
    }

    pub(super) fn blob(&self, digest: &Digest) -> String {
        format!("{}/blobs/{digest}", self.0)
    }

    pub(super) fn lock(&self, digest: &Digest) -> String {
        format!(".locks/{}/{digest}.lock", self.0)
    }

    pub(super) fn reference(&self, revision: &Revision) -> String {
        format!("{}/refs/{revision}", self.0)
    }

    pub(super) fn no_exist(&self, commit: &CommitHash, path: &RepoPath) -> String {
        format!("{}/.no_exist/{commit}/{path}", self.0)
    }
}

/// The text of a snapshot link: up to the repository folder, then down to the blob.
pub(super) fn link_target(path: &RepoPath, digest: &Digest) -> String {
    let up = "../".repeat(path.components().count() + 1);
    format!("{up}blobs/{digest}")
}

/// The metadata file of a path in a local directory.
pub(super) fn local_metadata(path: &RepoPath) -> String {
    format!("{LOCAL_BOOKS}/download/{path}.metadata")
}

/// The lock of a path in a local directory.
pub(super) fn local_lock(path: &RepoPath) -> String {
    format!("{LOCAL_BOOKS}/download/{path}.lock")
}

/// Where a relative link at `relative` leads, both below the root; `None` when it is absolute or leaves the root.
pub(super) fn follow(relative: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = relative.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_python_client() {
        let layout = Layout::cache(RepoKind::Dataset, &RepoId::parse("a/b").unwrap());
        let commit = CommitHash::parse(&"1".repeat(40)).unwrap();
        let path = RepoPath::parse("sub dir/a.txt").unwrap();
        let digest = Digest::parse("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391").unwrap();
        assert_eq!(layout.staging(), "datasets--a--b/.hfetch");
        assert_eq!(
            layout.entry(&commit, &path),
            format!("datasets--a--b/snapshots/{}/sub dir/a.txt", "1".repeat(40))
        );
        assert_eq!(
            CacheNames("datasets--a--b").lock(&digest),
            ".locks/datasets--a--b/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391.lock"
        );
        assert_eq!(
            link_target(&path, &digest),
            "../../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        let top = RepoPath::parse("config.json").unwrap();
        assert!(link_target(&top, &digest).starts_with("../../blobs/"));
        assert_eq!(local_metadata(&top), ".cache/huggingface/download/config.json.metadata");
        assert_eq!(local_lock(&top), ".cache/huggingface/download/config.json.lock");
        assert_eq!(CACHEDIR_TAG.len(), 191);
    }

    #[test]
    fn links_are_followed_only_below_the_root() {
        let check =
            |at, target, expected: Option<&str>| assert_eq!(follow(at, target).as_deref(), expected, "{target}");
        check("m/snapshots/c/f", "../../blobs/x", Some("m/blobs/x"));
        check("m/blobs/x", "../../blobs/e8/y", Some("blobs/e8/y"));
        check("m/blobs/x", "../../../etc/passwd", None);
        check("m/blobs/x", "/etc/passwd", None);
        check("m/blobs/x", "../..", None);
        check("x", "./y", Some("y"));
    }
}
