//! Gated repositories: a job whose user has a token but no access yet is held, asks again politely, and starts by itself once
//! access is granted. And what lies in a shared cache is given to a user only after the origin accepted that user's own token.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use super::{
    progress::lock,
    retry::Retry,
    shared::{EndpointAccess, JobContext},
    stop::JobStop,
    transfer::hint,
};
use crate::{
    config::Mode,
    hub::{FileTarget, HubError, RepoInfo, Verdict, classify},
    model::{
        ByteRange, CommitHash, Digest, Failure, FailureKind, HoldReason, JobId, Manifest, RepoPath, Revision, Trust,
    },
};

/// Asked again after this, then after twice as long each time, up to the second.
pub(super) const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

/// How often each held job has asked.
#[derive(Debug, Default)]
pub(super) struct AccessWaits(Mutex<HashMap<JobId, u32>>);

impl AccessWaits {
    fn next(&self, id: &JobId) -> Duration {
        let mut asked = lock(&self.0);
        let times = asked.entry(id.clone()).or_default();
        let (least, most) = ASK_AGAIN;
        let wait = (least * 2_u32.saturating_pow(*times)).min(most);
        *times = (*times + 1).min(16);
        wait
    }

    fn forget(&self, id: &JobId) {
        lock(&self.0).remove(id);
    }
}

/// What the end of a job's work comes to: a refusal that somebody's consent will lift is a hold. Without a token there is
/// nobody to consent to, and the job fails.
pub(super) fn or_hold(context: &JobContext, stop: JobStop) -> JobStop {
    let waits = &context.shared.access_waits;
    match stop {
        JobStop::JobFailed(failure) | JobStop::FileFailed(failure)
            if failure.kind == FailureKind::Gated && has_token(context) =>
        {
            JobStop::Hold {
                reason: HoldReason::Access,
                detail: detail(&failure),
                retry_after: waits.next(&context.id),
            }
        }
        // Stopped by the end of the daemon or a user, or held for another reason: the count goes on.
        JobStop::Hold { .. } | JobStop::Cancelled => stop,
        JobStop::JobFailed(_) | JobStop::FileFailed(_) => {
            waits.forget(&context.id);
            stop
        }
    }
}

/// The job got what it asked for.
pub(super) fn granted(context: &JobContext) {
    context.shared.access_waits.forget(&context.id);
}

fn has_token(context: &JobContext) -> bool {
    context.endpoints.iter().any(|access| access.token.is_some())
}

/// What a held job says of itself.
pub(super) fn detail(failure: &Failure) -> String {
    format!("{}; {}", failure.message, failure.hint)
}

/// What an endpoint says of a revision. A shared daemon remembers of which repositories an origin said that not everybody may
/// have them.
pub(super) async fn describe(
    context: &JobContext,
    access: &EndpointAccess,
    revision: &Revision,
) -> Result<RepoInfo, HubError> {
    let (hub, spec, token) = (&context.shared.hub, &context.spec, access.token.as_ref());
    let info = hub.info(&access.endpoint, token, spec.kind, &spec.repo_id, revision);
    let info = info.await?;
    if context.shared.mode == Mode::System && access.trust == Trust::Origin {
        let store = &context.shared.store;
        hint(
            store
                .note_closed(spec.kind, spec.repo_id.clone(), info.gated || info.private)
                .await,
        );
    }
    Ok(info)
}

/// Whether a repository is closed until terms are accepted. A listing does not tell: it is open to everybody.
pub(super) async fn is_gated(
    context: &JobContext,
    access: &EndpointAccess,
    commit: &CommitHash,
) -> Result<bool, HubError> {
    let revision = Revision::parse(commit.as_str()).unwrap_or_else(|_| context.spec.revision.clone());
    Ok(describe(context, access, &revision).await?.gated)
}

/// An origin's word that the user whose token it saw has no access: the last one, whatever a mirror would give.
pub(super) fn last_word(access: &EndpointAccess, error: &HubError) -> Option<Failure> {
    match classify(error) {
        Verdict::Permanent(failure)
            if failure.kind == FailureKind::Gated && access.trust == Trust::Origin && access.token.is_some() =>
        {
            Some(failure)
        }
        _ => None,
    }
}

/// On a shared daemon the files of a repository that is not for everybody may lie in the cache, fetched for another user. Who
/// may have them is an origin's word, never a mirror's: mirrors are not asked for the plan. True when it is so.
///
/// # Errors
/// When the job names no origin.
pub(super) async fn leave_to_origins(context: &JobContext, retry: &mut Retry) -> Result<bool, JobStop> {
    let spec = &context.spec;
    let closed =
        context.shared.mode == Mode::System && context.shared.store.is_closed(spec.kind, spec.repo_id.clone()).await?;
    if !closed {
        return Ok(false);
    }
    let has_origin = context.endpoints.iter().any(|access| access.trust == Trust::Origin);
    if !has_origin && context.endpoints.len() < spec.endpoints.len() {
        return Err(JobStop::Hold {
            reason: HoldReason::Budget,
            detail: "the endpoint that can say who may have the repository has spent its budget".to_owned(),
            retry_after: ASK_AGAIN.1,
        });
    }
    for (index, access) in context.endpoints.iter().enumerate() {
        if access.trust == Trust::Mirror {
            let (kind, repo_id) = (spec.kind, &spec.repo_id);
            retry.refuse(
                index,
                Failure::new(
                    FailureKind::Gated,
                    format!(
                        "{kind} {repo_id} is gated or private, and {} is not one of the endpoints that can say who may have it",
                        access.endpoint.host()
                    ),
                    "name one that is trusted with tokens beside it, or leave `--endpoint` out",
                ),
            )?;
        }
    }
    Ok(true)
}

/// The file of a listing that costs least to ask for.
pub(super) fn smallest(manifest: &Manifest) -> Option<(RepoPath, u64, Digest)> {
    let entries = manifest.entries.iter().filter(|entry| entry.size > 0);
    let smallest = entries.min_by_key(|entry| entry.size)?;
    Some((RepoPath::parse(&smallest.path).ok()?, smallest.size, smallest.digest?))
}

/// Asks for one byte of one file with the job's own token: who may not have it may not have what another user has fetched.
pub(super) async fn prove_access(
    context: &JobContext,
    access: &EndpointAccess,
    commit: &CommitHash,
    file: Option<(RepoPath, u64, Digest)>,
) -> Result<(), HubError> {
    let spec = &context.spec;
    let Some((path, size, digest)) = file else {
        return Ok(());
    };
    let target = FileTarget {
        kind: spec.kind,
        repo_id: spec.repo_id.clone(),
        commit: commit.clone(),
        path,
        size,
        digest,
    };
    let hub = &context.shared.hub;
    let range = ByteRange::new(0, 1);
    hub.open(&access.endpoint, access.token.as_ref(), &target, range, None)
        .await
        .map(drop)
}
