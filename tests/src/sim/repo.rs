//! Repositories as the simulated Hub holds them: commits, refs, who may read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::content::Content;
use super::digest;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Weights and their configuration.
    Model,
    /// Data.
    Dataset,
    /// An application.
    Space,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Model, Self::Dataset, Self::Space];

    /// The segment after `/api/`.
    pub fn api_segment(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }

    /// What stands before the id in web and resolve URLs: empty, `datasets/` or `spaces/`.
    pub fn url_prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
        }
    }

    /// The word used in flags and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    pub(crate) fn from_api_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.api_segment() == segment)
    }
}

/// How a file is stored, which decides the shape of the answer to `resolve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A git blob, served by the Hub; its etag is the git blob id.
    Plain,
    /// LFS or Xet, served by the CDN; its etag is the SHA-256.
    Linked,
}

impl Storage {
    /// What a repository's default `.gitattributes` would decide: by suffix, or more than 10 MiB.
    pub fn by_rule(path: &str, size: u64) -> Self {
        const LINKED: [&str; 13] = [
            "safetensors",
            "bin",
            "onnx",
            "h5",
            "msgpack",
            "gguf",
            "pt",
            "pth",
            "parquet",
            "ot",
            "zip",
            "gz",
            "npz",
        ];
        let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        if LINKED.contains(&suffix) || size > 10 * 1024 * 1024 {
            Self::Linked
        } else {
            Self::Plain
        }
    }
}

/// Whether terms must be accepted before files can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gated {
    /// Open to all.
    No,
    /// Granted as soon as asked.
    Auto,
    /// Granted by a person.
    Manual,
}

/// One file of a commit.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// Its bytes.
    pub content: Arc<Content>,
    /// How it is stored.
    pub storage: Storage,
}

impl StoredFile {
    /// The etag that a client names the blob by: git blob id or SHA-256.
    ///
    /// # Errors
    /// When the content cannot be read.
    pub fn etag(&self) -> io::Result<&str> {
        match self.storage {
            Storage::Plain => self.content.git_blob(),
            Storage::Linked => self.content.sha256(),
        }
    }

    /// The stand-in for a Xet hash, for linked files.
    pub(crate) fn xet_hash(&self) -> io::Result<Option<String>> {
        match self.storage {
            Storage::Plain => Ok(None),
            Storage::Linked => Ok(Some(digest::fake_xet_hash(self.content.sha256()?))),
        }
    }
}

/// One commit: a full tree.
#[derive(Clone, Debug)]
pub struct Commit {
    /// 40 hex digits.
    pub sha: String,
    /// Title.
    pub message: String,
    /// Files by path. Any string may be a path, also one that a client must refuse.
    pub files: BTreeMap<String, StoredFile>,
}

impl Commit {
    pub(crate) fn new(repo: &str, parent: &str, message: &str, files: BTreeMap<String, StoredFile>) -> Self {
        let mut text = format!("{repo}\n{parent}\n{message}\n");
        for (path, file) in &files {
            text.push_str(&format!("{path}\0{:?}\0{}\n", file.storage, file.content.identity()));
        }
        Self {
            sha: digest::sha1_hex(text.as_bytes()),
            message: message.to_owned(),
            files,
        }
    }

    /// Folders of the tree, sorted, derived from the paths of its files.
    pub(crate) fn folders(&self) -> BTreeSet<String> {
        let mut folders = BTreeSet::new();
        for path in self.files.keys() {
            for (position, _) in path.match_indices('/').filter(|(position, _)| *position > 0) {
                folders.insert(path[..position].to_owned());
            }
        }
        folders
    }

    /// Sum of the sizes below a folder (`""` for all); `None` when there is no such folder.
    pub(crate) fn size_below(&self, folder: &str) -> Option<u64> {
        if folder.is_empty() {
            return Some(self.files.values().map(|file| file.content.size()).sum());
        }
        let prefix = format!("{folder}/");
        let below = self.files.iter().filter(|(path, _)| path.starts_with(&prefix));
        let sizes: Vec<u64> = below.map(|(_, file)| file.content.size()).collect();
        (!sizes.is_empty()).then(|| sizes.iter().sum())
    }
}

/// One repository. Read it through [`super::SimHub::repo`], change it through [`super::SimHub::change_repo`].
#[derive(Clone, Debug)]
pub struct Repo {
    /// Model, data set or space.
    pub kind: Kind,
    /// `org/name`, or a name alone.
    pub id: String,
    /// Oldest first.
    pub commits: Vec<Arc<Commit>>,
    /// Full ref name (`refs/heads/main`, `refs/tags/v1`, `refs/pr/1`) to sha.
    pub refs: BTreeMap<String, String>,
    /// Whether contents need consent.
    pub gated: Gated,
    /// Names of users who gave it.
    pub accepted: BTreeSet<String>,
    /// When set, nobody but these users sees the repository.
    pub readers: Option<BTreeSet<String>>,
    /// Closed by the Hub.
    pub disabled: bool,
    /// Former ids, answered with a redirect.
    pub former_ids: Vec<String>,
    /// Downloads in the last month, as shown.
    pub downloads: u64,
    /// Likes.
    pub likes: u64,
    /// Tags of the card.
    pub tags: Vec<String>,
}

impl Repo {
    /// What a revision means: branch, tag, full ref name, sha, or the beginning of a sha.
    pub fn commit(&self, revision: &str) -> Option<&Arc<Commit>> {
        let names = [
            format!("refs/heads/{revision}"),
            format!("refs/tags/{revision}"),
            revision.to_owned(),
        ];
        let sha = names
            .iter()
            .find_map(|name| self.refs.get(name))
            .map_or(revision, String::as_str);
        let exact = self.commits.iter().find(|commit| commit.sha == sha);
        exact.or_else(|| {
            self.commits
                .iter()
                .find(|commit| sha.len() >= 7 && commit.sha.starts_with(sha))
        })
    }

    /// Adds a commit on top of a branch (made when missing) by changing its file list; gives the new sha.
    pub fn push(
        &mut self,
        branch: &str,
        message: &str,
        change: impl FnOnce(&mut BTreeMap<String, StoredFile>),
    ) -> String {
        let parent = self.commit(branch).or(self.commits.last()).cloned();
        let mut files = parent.as_ref().map(|commit| commit.files.clone()).unwrap_or_default();
        change(&mut files);
        let parent_sha = parent.map_or(String::new(), |commit| commit.sha.clone());
        let commit = Commit::new(&self.id, &parent_sha, message, files);
        let sha = commit.sha.clone();
        self.commits.push(Arc::new(commit));
        self.refs.insert(branch_ref(branch), sha.clone());
        sha
    }

    /// The web path, also used for resolve URLs: `org/name` or `datasets/org/name`.
    pub fn web_path(&self) -> String {
        format!("{}{}", self.kind.url_prefix(), self.id)
    }

    /// A 24-digit id as the Hub gives to each repository.
    pub(crate) fn object_id(&self) -> String {
        digest::sha1_hex(self.web_path().as_bytes())[..24].to_owned()
    }
}

pub(crate) fn branch_ref(branch: &str) -> String {
    if branch.starts_with("refs/") {
        branch.to_owned()
    } else {
        format!("refs/heads/{branch}")
    }
}
