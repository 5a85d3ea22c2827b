//! Gated repositories: a job whose user has a token but no access yet is held, asks again politely, and starts by itself once
//! access is granted. And what lies in a shared cache is given to a user only after the origin accepted that user's own token.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use super::{
    progress::lock,
    shared::{EndpointAccess, JobContext},
    stop::JobStop,
};
use crate::{
    hub::{FileTarget, HubError},
    model::{ByteRange, CommitHash, Digest, FailureKind, HoldReason, JobId, Manifest, RepoPath, Revision},
};

/// Asked again after this, then after twice as long each time, up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

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
                detail: format!("{}; {}", failure.message, failure.hint),
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

/// Whether a repository is closed until terms are accepted. A listing does not tell: it is open to everybody.
pub(super) async fn is_gated(
    context: &JobContext,
    access: &EndpointAccess,
    commit: &CommitHash,
) -> Result<bool, HubError> {
    let (hub, spec) = (&context.shared.hub, &context.spec);
    let revision = Revision::parse(commit.as_str()).unwrap_or_else(|_| spec.revision.clone());
    let token = access.token.as_ref();
    let info = hub.info(&access.endpoint, token, spec.kind, &spec.repo_id, &revision);
    Ok(info.await?.gated)
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
