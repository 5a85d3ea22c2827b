//! `CacheService`.

use std::path::Path;

use futures_util::{Stream, StreamExt as _, stream::unfold};
use hfetch_proto::v1;
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::convert;
use crate::{
    cache::{CachedRevision, Kept, Removed, Verdict},
    engine::{CacheTarget, CachedRepo, CallError, Engine, SweptRepo, Verified},
    model::{RepoId, RepoKind, Revision},
};

/// Targets of one call.
const MOST_TARGETS: usize = 1000;

pub(super) struct CacheApi {
    pub(super) engine: Engine,
}

fn targets(wire: Vec<v1::CacheTarget>) -> Result<Vec<CacheTarget>, CallError> {
    if wire.len() > MOST_TARGETS {
        return Err(CallError::invalid("targets", format!("are more than {MOST_TARGETS}")));
    }
    let read = wire.into_iter().map(|target| {
        let repo = RepoId::parse(&target.repo_id).map_err(|error| CallError::invalid("targets", error))?;
        let revision = match target.revision.as_str() {
            "" => None,
            text => Some(Revision::parse(text).map_err(|error| CallError::invalid("targets", error))?),
        };
        let kind = convert::kind(target.repo_type)?.unwrap_or(RepoKind::Model);
        Ok(CacheTarget { kind, repo, revision })
    });
    read.collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn revision(revision: CachedRevision) -> v1::CachedRevision {
    v1::CachedRevision {
        commit: revision.commit.to_string(),
        files_total: revision.files,
        files_broken: revision.broken,
        modified_at: Timestamp::try_from(revision.modified).ok().map(convert::timestamp),
        refs: revision.refs,
        pinned: revision.pinned,
        bytes: revision.bytes,
    }
}

fn repo(repo: CachedRepo) -> v1::CachedRepo {
    v1::CachedRepo {
        cache: shown(&repo.cache),
        repo_type: convert::kind_to_wire(repo.kind).into(),
        repo_id: repo.repo.to_string(),
        bytes: repo.survey.bytes,
        loose_bytes: repo.survey.loose_bytes,
        partial_bytes: repo.survey.partial_bytes,
        busy: repo.busy,
        shared_bytes: repo.shared_bytes,
        revisions: repo.survey.revisions.into_iter().map(revision).collect(),
    }
}

fn swept(repo: SweptRepo) -> v1::SweptRepo {
    let (mut revisions, mut blobs_removed) = (Vec::new(), 0);
    for removed in repo.swept.removed {
        match removed {
            Removed::Revision(commit) => revisions.push(commit.to_string()),
            Removed::Blobs(count) => blobs_removed += count,
        }
    }
    let kept = repo
        .swept
        .kept
        .into_iter()
        .map(|Kept { what, why }| v1::KeptCache { what, why });
    v1::SweptRepo {
        cache: shown(&repo.cache),
        repo_type: convert::kind_to_wire(repo.kind).into(),
        repo_id: repo.repo.to_string(),
        revisions,
        blobs_removed,
        bytes_freed: repo.swept.bytes + repo.partial_bytes,
        kept: kept.collect(),
        partial_bytes_freed: repo.partial_bytes,
    }
}

fn verified(verified: Verified) -> v1::VerifyCacheResponse {
    let verdict = match verified.file.verdict {
        Verdict::Sound => v1::CacheVerdict::Sound,
        Verdict::Wrong => v1::CacheVerdict::Wrong,
        Verdict::Broken => v1::CacheVerdict::Broken,
        Verdict::Unknown => v1::CacheVerdict::Unknown,
    };
    v1::VerifyCacheResponse {
        cache: shown(&verified.cache),
        repo_type: convert::kind_to_wire(verified.kind).into(),
        repo_id: verified.repo.to_string(),
        commit: verified.commit.to_string(),
        path: verified.file.path,
        bytes: verified.file.bytes,
        verdict: verdict.into(),
    }
}

#[tonic::async_trait]
impl v1::cache_service_server::CacheService for CacheApi {
    type VerifyCacheStream = std::pin::Pin<Box<dyn Stream<Item = Result<v1::VerifyCacheResponse, Status>> + Send>>;

    async fn list_cache(&self, _: Request<v1::ListCacheRequest>) -> Result<Response<v1::ListCacheResponse>, Status> {
        let repos = self.engine.caches().await?.into_iter().map(repo).collect();
        Ok(Response::new(v1::ListCacheResponse { repos }))
    }

    async fn verify_cache(
        &self,
        request: Request<v1::VerifyCacheRequest>,
    ) -> Result<Response<Self::VerifyCacheStream>, Status> {
        let targets = targets(request.into_inner().targets)?;
        let files = self.engine.verify_caches(targets).await?;
        let files = unfold(files, |mut files| async move { Some((files.next().await?, files)) });
        let files = files.map(|file| file.map(verified).map_err(Status::from));
        Ok(Response::new(Box::pin(files)))
    }

    async fn prune_cache(
        &self,
        request: Request<v1::PruneCacheRequest>,
    ) -> Result<Response<v1::PruneCacheResponse>, Status> {
        let repos = self.engine.sweep(Vec::new(), request.into_inner().dry_run).await?;
        let repos = repos.into_iter().map(swept).collect();
        Ok(Response::new(v1::PruneCacheResponse { repos }))
    }

    async fn remove_cached(
        &self,
        request: Request<v1::RemoveCachedRequest>,
    ) -> Result<Response<v1::RemoveCachedResponse>, Status> {
        let request = request.into_inner();
        if request.targets.is_empty() {
            return Err(CallError::invalid("targets", "names no repository").into());
        }
        let repos = self.engine.sweep(targets(request.targets)?, request.dry_run).await?;
        let repos = repos.into_iter().map(swept).collect();
        Ok(Response::new(v1::RemoveCachedResponse { repos }))
    }

    async fn set_pins(&self, request: Request<v1::SetPinsRequest>) -> Result<Response<v1::SetPinsResponse>, Status> {
        let request = request.into_inner();
        let revisions_changed = self.engine.set_pins(targets(request.targets)?, request.pinned).await?;
        Ok(Response::new(v1::SetPinsResponse { revisions_changed }))
    }
}
