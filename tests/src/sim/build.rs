//! How tests say what a repository holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Content;
use super::repo::{Commit, Gated, Kind, Repo, Storage, StoredFile, branch_ref};

/// Makes a [`Repo`]. Files gather until [`RepoBuilder::commit`]; what is left at the end becomes the head of `main`.
///
/// Equal calls give equal commit shas, so that two hubs built from one builder are mirrors of each other.
#[derive(Clone, Debug)]
#[must_use]
pub struct RepoBuilder {
    repo: Repo,
    files: BTreeMap<String, StoredFile>,
    changed: bool,
}

impl RepoBuilder {
    /// An empty repository.
    pub fn new(kind: Kind, id: &str) -> Self {
        let repo = Repo {
            kind,
            id: id.to_owned(),
            commits: Vec::new(),
            refs: BTreeMap::new(),
            gated: Gated::No,
            accepted: BTreeSet::new(),
            readers: None,
            disabled: false,
            former_ids: Vec::new(),
            downloads: 0,
            likes: 0,
            tags: Vec::new(),
        };
        Self {
            repo,
            files: BTreeMap::new(),
            changed: true,
        }
    }

    /// An empty model repository.
    pub fn model(id: &str) -> Self {
        Self::new(Kind::Model, id)
    }

    /// An empty data set.
    pub fn dataset(id: &str) -> Self {
        Self::new(Kind::Dataset, id)
    }

    /// An empty space.
    pub fn space(id: &str) -> Self {
        Self::new(Kind::Space, id)
    }

    /// A file with these bytes, stored by [`Storage::by_rule`].
    pub fn file(self, path: &str, bytes: impl Into<Bytes>) -> Self {
        let content = Content::memory(bytes);
        let storage = Storage::by_rule(path, content.size());
        self.content(path, content, storage)
    }

    /// A plain file with these bytes, whatever its name.
    pub fn plain(self, path: &str, bytes: impl Into<Bytes>) -> Self {
        self.content(path, Content::memory(bytes), Storage::Plain)
    }

    /// A linked file with these bytes, whatever its name.
    pub fn linked(self, path: &str, bytes: impl Into<Bytes>) -> Self {
        self.content(path, Content::memory(bytes), Storage::Linked)
    }

    /// `size` bytes that follow from `seed`, stored by [`Storage::by_rule`].
    pub fn seeded(self, path: &str, size: u64, seed: u64) -> Self {
        self.content(path, Content::seeded(seed, size), Storage::by_rule(path, size))
    }

    /// As [`RepoBuilder::seeded`] with the storage given.
    pub fn seeded_as(self, path: &str, size: u64, seed: u64, storage: Storage) -> Self {
        self.content(path, Content::seeded(seed, size), storage)
    }

    /// A linked file too long to be hashed here: the SHA-256 is announced as given.
    pub fn giant(self, path: &str, size: u64, seed: u64, sha256: &str) -> Self {
        self.content(path, Content::seeded_with_sha256(seed, size, sha256), Storage::Linked)
    }

    /// A file with any content and storage.
    pub fn content(mut self, path: &str, content: Content, storage: Storage) -> Self {
        self.files.insert(
            path.to_owned(),
            StoredFile {
                content: Arc::new(content),
                storage,
            },
        );
        self.changed = true;
        self
    }

    /// Every file below a folder on disk, `.git` and `.cache` at its top left out; contents are read when asked for.
    ///
    /// # Errors
    /// When the folder cannot be walked or a name is not UTF-8.
    pub fn folder(mut self, folder: &Path) -> io::Result<Self> {
        let mut pending = vec![folder.to_owned()];
        while let Some(current) = pending.pop() {
            for entry in std::fs::read_dir(&current)? {
                let path = entry?.path();
                let relative = path.strip_prefix(folder).map_err(io::Error::other)?;
                let name = relative
                    .to_str()
                    .ok_or_else(|| io::Error::other(format!("not UTF-8: {relative:?}")))?;
                if matches!(name, ".git" | ".cache") {
                    continue;
                }
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let content = Content::disk(&path)?;
                    let storage = Storage::by_rule(name, content.size());
                    self = self.content(name, content, storage);
                }
            }
        }
        Ok(self)
    }

    /// Takes a file out of the tree being built.
    pub fn remove(mut self, path: &str) -> Self {
        self.files.remove(path);
        self.changed = true;
        self
    }

    /// Ends the commit being built and puts it on `main`; later files make the next one on top.
    pub fn commit(mut self, message: &str) -> Self {
        let parent = self
            .repo
            .commits
            .last()
            .map_or(String::new(), |commit| commit.sha.clone());
        let commit = Commit::new(&self.repo.id, &parent, message, self.files.clone());
        self.repo.refs.insert(branch_ref("main"), commit.sha.clone());
        self.repo.commits.push(Arc::new(commit));
        self.changed = false;
        self
    }

    /// As [`RepoBuilder::commit`] with the sha given (40 lower-case hex digits), for recorded vectors.
    pub fn commit_as(self, message: &str, sha: &str) -> Self {
        let mut next = self.commit(message);
        if let Some(last) = next.repo.commits.last_mut() {
            Arc::make_mut(last).sha = sha.to_owned();
        }
        next.repo.refs.insert(branch_ref("main"), sha.to_owned());
        next
    }

    /// Ends the commit being built and puts it on this full ref name alone (`refs/pr/7`, `refs/heads/dev`); `main` and
    /// the tree being built go back to where `main` stands.
    pub fn commit_aside(self, reference: &str, message: &str) -> Self {
        let main = self.repo.refs.get("refs/heads/main").cloned();
        let mut next = self.commit(message);
        if let (Some(last), Some(main)) = (next.repo.commits.last(), main) {
            next.repo.refs.insert(reference.to_owned(), last.sha.clone());
            next.files = next
                .repo
                .commit(&main)
                .map(|commit| commit.files.clone())
                .unwrap_or_default();
            next.repo.refs.insert(branch_ref("main"), main);
        }
        next
    }

    /// Names the last commit by a further branch. Files not committed yet are committed first.
    pub fn branch(self, name: &str) -> Self {
        self.reference(branch_ref(name))
    }

    /// Names the last commit by a tag.
    pub fn tag(self, name: &str) -> Self {
        self.reference(format!("refs/tags/{name}"))
    }

    /// Names the last commit by `refs/pr/N`.
    pub fn pull_request(self, number: u64) -> Self {
        self.reference(format!("refs/pr/{number}"))
    }

    /// Names the last commit by any full ref name, such as `refs/convert/parquet`.
    pub fn reference(self, name: String) -> Self {
        let mut next = self.closed();
        if let Some(last) = next.repo.commits.last() {
            next.repo.refs.insert(name, last.sha.clone());
        }
        next
    }

    /// Contents need consent; these users gave it.
    pub fn gated(mut self, gated: Gated, accepted: &[&str]) -> Self {
        self.repo.gated = gated;
        self.repo.accepted = accepted.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Nobody but these users sees the repository.
    pub fn private(mut self, readers: &[&str]) -> Self {
        self.repo.readers = Some(readers.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Closed by the Hub.
    pub fn disabled(mut self) -> Self {
        self.repo.disabled = true;
        self
    }

    /// A former or legacy id, answered with a redirect to the present one.
    pub fn former_id(mut self, id: &str) -> Self {
        self.repo.former_ids.push(id.to_owned());
        self
    }

    /// Figures and tags that search shows and sorts by.
    pub fn popularity(mut self, downloads: u64, likes: u64, tags: &[&str]) -> Self {
        self.repo.downloads = downloads;
        self.repo.likes = likes;
        self.repo.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self
    }

    fn closed(self) -> Self {
        if self.changed || self.repo.commits.is_empty() {
            self.commit("Upload files")
        } else {
            self
        }
    }

    /// The repository.
    pub fn build(self) -> Repo {
        self.closed().repo
    }
}

impl From<RepoBuilder> for Repo {
    fn from(builder: RepoBuilder) -> Self {
        builder.build()
    }
}
