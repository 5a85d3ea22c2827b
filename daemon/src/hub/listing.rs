//! All files of one commit: complete, or an error. Never a part taken for the whole.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use url::Url;

use super::client::Hub;
use super::endpoint::{Endpoint, host_of};
use super::error::{Changed, HubError};
use super::ratelimit::RateState;
use super::refusal::{About, Asked, ErrorCode};
use super::request::Answer;
use super::{Credential, paging, scrub};
use crate::model::{CommitHash, Manifest, ManifestEntry, RepoId, RepoKind};

/// Most files and folders of one repository that we are ready to hold.
pub const MAX_ENTRIES: usize = 200_000;
/// From this many on, the short list of the description may be cut.
const MAX_SIBLINGS: usize = 1000;

/// A complete listing and where it comes from.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The files.
    pub manifest: Manifest,
    /// How complete it is known to be.
    pub complete_source: ListingSource,
    /// What the endpoint said about its quota.
    pub rate: Option<RateState>,
}

/// Where a listing comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingSource {
    /// The paged tree: complete.
    Tree,
    /// The short list in the description, for endpoints without a tree: complete as far as is known, without Xet hashes.
    Siblings,
}

#[derive(Deserialize)]
struct TreeWire {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    size: Option<u64>,
    lfs: Option<LfsWire>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

/// The hash is called `oid` in the tree and `sha256` in the description.
#[derive(Deserialize)]
struct LfsWire {
    #[serde(alias = "sha256")]
    oid: String,
    size: u64,
}

#[derive(Deserialize)]
struct BlobsWire {
    sha: Option<String>,
    siblings: Option<Vec<SiblingWire>>,
}

#[derive(Deserialize)]
struct SiblingWire {
    rfilename: String,
    #[serde(default, rename = "blobId")]
    blob_id: String,
    size: Option<u64>,
    lfs: Option<LfsWire>,
}

/// One repository at one commit, as asked.
struct Ask<'a> {
    endpoint: &'a Endpoint,
    token: Credential<'a>,
    kind: RepoKind,
    repo_id: &'a RepoId,
    commit: &'a CommitHash,
    about: About,
}

impl<'a> Ask<'a> {
    fn new(
        endpoint: &'a Endpoint,
        token: Credential<'a>,
        kind: RepoKind,
        repo_id: &'a RepoId,
        commit: &'a CommitHash,
    ) -> Self {
        Self {
            endpoint,
            token,
            kind,
            repo_id,
            commit,
            about: About::new(endpoint, kind, repo_id, Asked::Revision(commit.to_string())),
        }
    }
}

impl Hub {
    /// Lists all files of a commit, in path order, no path twice.
    ///
    /// # Errors
    /// When any page fails, repeats, or leads elsewhere: then there is no listing at all. [`HubError::ListingLimit`] above
    /// [`MAX_ENTRIES`].
    pub async fn manifest(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
        commit: &CommitHash,
    ) -> Result<Listing, HubError> {
        let ask = Ask::new(endpoint, token, kind, repo_id, commit);
        let (listing, _) = self.pages(&ask, usize::MAX).await?;
        Ok(listing)
    }

    /// The files of the first pages of a commit, and whether there are no more: for comparing, never for planning.
    ///
    /// # Errors
    /// As [`Hub::manifest`].
    pub async fn first_pages(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
        commit: &CommitHash,
        most: usize,
    ) -> Result<(Listing, bool), HubError> {
        self.pages(&Ask::new(endpoint, token, kind, repo_id, commit), most)
            .await
    }

    async fn pages(&self, ask: &Ask<'_>, most: usize) -> Result<(Listing, bool), HubError> {
        let first = ask.endpoint.tree_url(ask.kind, ask.repo_id, ask.commit);
        match self.page(ask, first).await {
            Ok(first) => self.tree(ask, first, most).await,
            Err(HubError::Refused(refusal)) if tree_is_missing(refusal.status, refusal.code.as_ref()) => {
                // The refusal of the tree says more than that of the description.
                match self.siblings(ask).await {
                    Err(HubError::Refused(_)) => Err(HubError::Refused(refusal)),
                    other => Ok((other?, true)),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn page(&self, ask: &Ask<'_>, url: Url) -> Result<Answer<Vec<TreeWire>>, HubError> {
        let answer = self.json(ask.endpoint, ask.token, url, &ask.about, "a listing").await?;
        let said = answer
            .headers
            .get("x-repo-commit")
            .and_then(|commit| commit.to_str().ok());
        check_commit(&answer.url, ask.commit, said)?;
        Ok(answer)
    }

    /// Reads on until the end, or until `most` pages were read; says whether it was the end.
    async fn tree(
        &self,
        ask: &Ask<'_>,
        first: Answer<Vec<TreeWire>>,
        most: usize,
    ) -> Result<(Listing, bool), HubError> {
        let mut gathered = Gathered::default();
        let mut answer = first;
        for page in 1.. {
            let looping = |why| HubError::ListingLoop {
                host: host_of(&answer.url),
                page,
                why,
            };
            let rate = RateState::read(&answer.headers);
            let next = paging::next(ask.endpoint, &answer.url, &answer.headers)?;
            let before = gathered.seen.len();
            for wire in std::mem::take(&mut answer.value) {
                gathered.take(wire, &answer.url)?.map_err(looping)?;
            }
            let Some(next) = next else {
                return Ok((gathered.finish(ask.commit, rate), true));
            };
            if gathered.seen.len() == before {
                return Err(looping("it holds no new path"));
            }
            if !gathered.pages.insert(next.as_str().to_owned()) {
                return Err(looping("it leads to a page that was read already"));
            }
            if page >= most {
                return Ok((gathered.finish(ask.commit, rate), false));
            }
            answer = self.page(ask, next).await?;
        }
        Err(HubError::ListingLimit { limit: MAX_ENTRIES })
    }

    async fn siblings(&self, ask: &Ask<'_>) -> Result<Listing, HubError> {
        let url = ask.endpoint.blobs_url(ask.kind, ask.repo_id, ask.commit);
        let answer = self
            .json::<BlobsWire>(ask.endpoint, ask.token, url, &ask.about, "a description")
            .await?;
        let incomplete = |why| HubError::ListingIncomplete {
            host: host_of(&answer.url),
            why,
        };
        check_commit(&answer.url, ask.commit, answer.value.sha.as_deref())?;
        let siblings = answer
            .value
            .siblings
            .ok_or_else(|| incomplete("it knows neither tree nor siblings"))?;
        if siblings.len() >= MAX_SIBLINGS {
            return Err(incomplete(
                "it has no tree, and its list of siblings is so long that it may be cut",
            ));
        }
        let mut entries = Vec::with_capacity(siblings.len());
        let mut paths = HashSet::new();
        for sibling in siblings {
            if !paths.insert(sibling.rfilename.clone()) {
                return Err(incomplete("it has no tree, and names a file twice"));
            }
            let size = sibling.lfs.as_ref().map(|lfs| lfs.size).or(sibling.size);
            let size = size.ok_or_else(|| incomplete("it has no tree, and no sizes in its siblings"))?;
            let sha256 = sibling.lfs.as_ref().map(|lfs| lfs.oid.as_str());
            entries.push(ManifestEntry::new(
                sibling.rfilename,
                size,
                &sibling.blob_id,
                sha256,
                None,
            ));
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(Listing {
            manifest: Manifest {
                commit: ask.commit.clone(),
                entries,
            },
            complete_source: ListingSource::Siblings,
            rate: RateState::read(&answer.headers),
        })
    }
}

/// What the pages brought so far.
#[derive(Default)]
struct Gathered {
    entries: Vec<ManifestEntry>,
    /// Folders too: a page may hold nothing else. Whether it is a file is told apart: one name as both is no repetition, but
    /// for the planner to refuse.
    seen: HashSet<u64>,
    /// Names are remembered by their hash, keyed at random, which takes a tenth of the memory: with 200,000 names the chance
    /// that a good listing is refused is one in a billion, and the next attempt has another key.
    names: RandomState,
    pages: HashSet<String>,
}

impl Gathered {
    /// Takes one entry; the inner error is a sign of a loop.
    fn take(&mut self, wire: TreeWire, url: &Url) -> Result<Result<(), &'static str>, HubError> {
        if self.seen.len() >= MAX_ENTRIES {
            return Err(HubError::ListingLimit { limit: MAX_ENTRIES });
        }
        // As the Python client: whatever is no file is a folder.
        let is_file = wire.kind == "file";
        if !self.seen.insert(self.names.hash_one((&wire.path, is_file))) {
            return Ok(Err("it holds a path for the second time"));
        }
        if !is_file {
            return Ok(Ok(()));
        }
        let size = wire.lfs.as_ref().map(|lfs| lfs.size).or(wire.size);
        let size = size.ok_or_else(|| HubError::BadAnswer {
            host: host_of(url),
            what: "a listing",
            detail: format!("`{}` has no size", scrub::text(&wire.path, None)),
        })?;
        let sha256 = wire.lfs.as_ref().map(|lfs| lfs.oid.as_str());
        let xet = wire.xet_hash.as_deref();
        self.entries
            .push(ManifestEntry::new(wire.path, size, &wire.oid, sha256, xet));
        Ok(Ok(()))
    }

    fn finish(mut self, commit: &CommitHash, rate: Option<RateState>) -> Listing {
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Listing {
            manifest: Manifest {
                commit: commit.clone(),
                entries: self.entries,
            },
            complete_source: ListingSource::Tree,
            rate,
        }
    }
}

/// The endpoint has no such route, as opposed to: the repository has no such revision.
fn tree_is_missing(status: u16, code: Option<&ErrorCode>) -> bool {
    matches!(status, 404 | 405 | 501)
        && !matches!(
            code,
            Some(ErrorCode::EntryNotFound | ErrorCode::RevisionNotFound | ErrorCode::GatedRepo)
        )
}

fn check_commit(url: &Url, commit: &CommitHash, said: Option<&str>) -> Result<(), HubError> {
    match said.and_then(CommitHash::parse) {
        Some(other) if other != *commit => Err(HubError::ChangedUnderneath {
            host: host_of(url),
            what: Changed::Commit,
            expected: commit.to_string(),
            actual: other.to_string(),
        }),
        _ => Ok(()),
    }
}
