//! A large file whose content another repository of a cache has already: it is linked or copied, not fetched.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use tokio::runtime::Handle;

use super::fill;
use crate::{
    cache::{self, Check, ErrorKind, LockWait, Shared},
    config::Mode,
    engine::{
        difference::Left,
        finish::{is_vouched, lock_note, patience, verified},
        shared::{JobContext, blocking_until_stopped},
        small::SMALL,
        stop::JobStop,
        transfer::hint,
    },
    model::{CommitHash, Digest, FileRecord, Trust},
    store::{FileDone, Scope},
};

/// Of more files it is not asked before whether another repository has them: that looks into all of them for each.
const LOOKED_FOR: usize = 2000;

/// Where large files of a job may come from instead of the network.
#[derive(Debug, Default)]
pub(in crate::engine) struct Others {
    /// Caches besides the job's own; `None`: everything is fetched.
    caches: Option<Vec<PathBuf>>,
    /// What is to become of partial files: they are filled up from the network where the content cannot be linked.
    begun: HashSet<Digest>,
    /// So many files were looked for.
    looked: AtomicUsize,
}

impl Others {
    /// For a job whose files were listed by somebody so trusted.
    pub(in crate::engine) fn of(context: &JobContext, trust: Option<Trust>, left: &Left) -> Self {
        Self {
            caches: caches(context, trust),
            begun: left.begun(),
            looked: AtomicUsize::new(0),
        }
    }

    /// Whether another repository has a file, by name and size. Blocks.
    pub(in crate::engine) fn have(&self, store: &cache::Store, file: &FileRecord) -> bool {
        let never = AtomicBool::new(false);
        let large = file.size >= SMALL && !self.begun.contains(&file.digest);
        let large = large && self.looked.fetch_add(1, Relaxed) < LOOKED_FOR;
        let caches = self.caches.as_ref().filter(|_| large);
        caches.is_some_and(|caches| {
            !store
                .look_elsewhere(caches, (file.size, &file.digest), &never)
                .is_empty()
        })
    }
}

fn caches(context: &JobContext, trust: Option<Trust>) -> Option<Vec<PathBuf>> {
    let may = may_have(context.shared.mode, trust) && !context.spec.force_download;
    may.then(|| context.shared.config().storage.caches.clone())
}

/// Makes the file from a blob of another repository; `None` when there is none of its name, or its bytes are others.
pub(in crate::engine) async fn bring(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
    file: &FileRecord,
) -> Result<Option<FileDone>, JobStop> {
    // Less is fetched as quickly as looked for.
    if file.size < SMALL {
        return Ok(None);
    }
    let jobs = context.shared.store.clone();
    let trust = jobs.job(Scope::All, &context.id).await?.trust;
    let Some(caches) = caches(context, trust) else {
        return Ok(None);
    };
    let (files, wanted) = (store.clone(), file.clone());
    let found = blocking_until_stopped(context, move |stopped| {
        Ok(files.look_elsewhere(&caches, (wanted.size, &wanted.digest), stopped))
    });
    let found = found.await?;
    if found.is_empty() {
        return Ok(None);
    }
    let _hashing = context.unless_stopped(context.shared.hashing.acquire()).await?;
    context.progress.file_stage(file, "verifying");
    let (files, commit_now, wanted, progress) = (store.clone(), commit.clone(), file.clone(), context.clone());
    let (handle, hints) = (Handle::current(), jobs.clone());
    let (stamp, refused) = blocking_until_stopped(context, move |stopped| {
        let check = Check {
            vouched: &|stamp| is_vouched(&handle, &hints, stamp, wanted.digest),
            cancel: stopped,
            progress: &|_| progress.progress.moved(),
        };
        let waiting = |wait: &LockWait| lock_note(&progress, &wanted, wait);
        let patience = patience(&waiting, stopped);
        let mut refused = None;
        for one in found {
            let from = one.twin.path().display().to_string();
            match files.share(&one, (wanted.size, &wanted.digest), &check, &patience) {
                Ok(Shared::Linked(stamp)) => {
                    tracing::debug!(file = %wanted.path, from, "another repository has it");
                    let stamp = files.link(&commit_now, &wanted.path, &wanted.digest, stamp, &patience)?;
                    return Ok((Some(stamp), None));
                }
                Ok(Shared::Refused) => refused = refused.or(Some(one)),
                Ok(Shared::Wrong) => {
                    tracing::warn!(
                        from,
                        "its bytes are wrong: `hfctl cache verify` tells of which repositories"
                    );
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => tracing::warn!(%error, from, "cannot be shared"),
            }
        }
        Ok((None, refused))
    })
    .await?;
    if let Some(stamp) = stamp {
        hint(jobs.vouch(verified(&stamp, file.digest)).await);
        return Ok(Some(FileDone {
            id: file.id,
            reused: true,
        }));
    }
    match refused {
        // What came of it already is not given up for a copy that may be wrong.
        Some(one) if !is_begun(context, store, file).await => fill(context, store, commit, file, one.twin).await,
        _ => Ok(None),
    }
}

/// Whether bytes of the file were fetched already.
async fn is_begun(context: &JobContext, store: &cache::Store, file: &FileRecord) -> bool {
    let partials = store.partial_paths(&file.digest, context.id.as_str());
    let claims = context.shared.store.claims(partials.into()).await;
    let claims = hint(claims).unwrap_or_default();
    claims.into_iter().flatten().any(|claim| !claim.ranges.is_empty())
}

/// What lies in the cache of a shared daemon was fetched with somebody's token. That this user may have such bytes as well is
/// known when an origin lists them in a repository of which he may read the files, which was asked before it was planned; a mirror
/// could list any hash.
fn may_have(mode: Mode, trust: Option<Trust>) -> bool {
    mode == Mode::User || trust == Some(Trust::Origin)
}

#[test]
fn on_a_shared_daemon_a_mirror_gives_nobody_the_bytes_of_others() {
    assert!(may_have(Mode::User, Some(Trust::Mirror)));
    assert!(may_have(Mode::System, Some(Trust::Origin)));
    assert!(!may_have(Mode::System, Some(Trust::Mirror)));
    assert!(!may_have(Mode::System, None));
}
