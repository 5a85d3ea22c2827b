//! What a submit would do: the plan without a job, compared with what is on disk.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    access,
    admission::Admission,
    error::CallError,
    planner,
    progress::JobProgress,
    shared::{JobContext, Shared, blocking},
    stop::{JobStop, chain},
    submit::{self, Submit},
};
use crate::{
    cache::{Check, Found},
    config::Mode,
    model::{Failure, FileRecord, FileState, JobSpec},
};

/// A plan that was made and thrown away.
#[derive(Debug)]
pub struct Preview {
    /// What was understood.
    pub spec: JobSpec,
    /// The pinned commit; empty when the plan could not be made.
    pub commit: String,
    /// Where the files would be.
    pub path: PathBuf,
    /// The selected files; done where the right size is there already (content is not read).
    pub files: Vec<FileRecord>,
    /// Free bytes on the destination's file system; 0 when it cannot be told.
    pub disk_free: u64,
    /// For people.
    pub warnings: Vec<String>,
    /// What the job's failure would be.
    pub failure: Option<Failure>,
}

pub(super) async fn preview(shared: &Arc<Shared>, mode: Mode, submit: Submit) -> Result<Preview, CallError> {
    let _turn = shared.previews.acquire().await.map_err(|_| CallError::Stopping)?;
    let config = shared.config();
    let checked = submit::check(shared, mode, &submit.owner, submit.wish).await?;
    let endpoints = access::for_call(&config, mode, checked.endpoints, submit.owner.uid, submit.token);
    let spec = checked.spec;
    let context = JobContext {
        shared: shared.clone(),
        id: crate::model::JobId::random(&mut fastrand::Rng::new()),
        row: 0,
        spec: spec.clone(),
        sources: shared.sources_of(&endpoints),
        admission: Arc::new(Admission::new(endpoints.len())),
        endpoints,
        progress: Arc::new(JobProgress::unstored()),
        stuck_for: Duration::ZERO,
        cancel: CancellationToken::new(),
    };
    let mut warnings = checked.warnings;
    let empty = |failure: Failure, warnings| Preview {
        path: spec.destination.path().clone(),
        spec: spec.clone(),
        commit: String::new(),
        files: Vec::new(),
        disk_free: 0,
        warnings,
        failure: Some(failure),
    };
    let draft = match planner::draft_once(&context).await {
        Ok(draft) => draft,
        Err(JobStop::JobFailed(failure) | JobStop::FileFailed(failure)) => return Ok(empty(failure, warnings)),
        Err(JobStop::Cancelled | JobStop::Hold { .. }) => return Err(CallError::Stopping),
    };
    warnings.extend(draft.notes);
    let (commit, mut files, to_open) = (draft.commit, draft.files, spec.clone());
    let opener = shared.clone();
    let looked = blocking(move || {
        let root = existing(to_open.destination.path());
        let disk_free = rustix::fs::statvfs(&root).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        if !to_open.destination.path().is_dir() {
            return (to_open.destination.path().clone(), files, disk_free, None);
        }
        let store = match opener.open_destination(&to_open) {
            Ok(store) => store,
            Err(error) => {
                return (
                    to_open.destination.path().clone(),
                    files,
                    disk_free,
                    Some(chain(&error)),
                );
            }
        };
        let never = AtomicBool::new(false);
        // Size and name only: a dry run that reads a hundred gigabytes is none.
        let check = Check {
            vouched: &|_| true,
            cancel: &never,
            progress: &|_| {},
        };
        for file in &mut files {
            let found = store.find(&commit, &file.path, file.size, &file.digest, &check);
            if matches!(found, Ok(Found::Published(_) | Found::BlobPresent(_))) && !to_open.force_download {
                file.state = FileState::Done;
                file.reused = true;
            }
        }
        (store.snapshot_path(&commit), files, disk_free, None)
    })
    .await;
    let (path, files, disk_free, trouble) = looked;
    warnings.extend(trouble);
    Ok(Preview {
        spec,
        commit: draft.manifest.commit.to_string(),
        path,
        files,
        disk_free,
        warnings,
        failure: None,
    })
}

/// The nearest folder that exists.
fn existing(path: &std::path::Path) -> PathBuf {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(std::path::Path::new("/"))
        .to_owned()
}
