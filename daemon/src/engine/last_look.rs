//! While no endpoint answers: what an earlier job of the user has brought of the same wish, where it lies. The job goes on waiting,
//! for its user wants the revision as it is now; but who only wants to work with the files can.

use std::{path::PathBuf, time::Duration};

use tokio::time::timeout;

use super::shared::{JobContext, blocking};
use crate::{
    model::{Destination, FileRecord, Job, JobSpec, JobState, Selection},
    store::{Filter, Scope},
};

/// Jobs of the repository that are looked at, the newest first.
const JOBS: u32 = 50;
/// More files are not looked for.
const FILES: u32 = 10_000;

/// Whether what one job brought is all that another wants.
fn covers(earlier: &JobSpec, wanted: &JobSpec) -> bool {
    (earlier.kind, &earlier.repo_id, &earlier.revision) == (wanted.kind, &wanted.repo_id, &wanted.revision)
        && earlier.destination == wanted.destination
        && (earlier.selection == wanted.selection || earlier.selection == Selection::default())
}

/// It is looked for no longer: the folder may be on a server that is away as well.
const PATIENCE: Duration = Duration::from_secs(2);

/// For people; empty when nothing is known, or not all of it is there any more.
pub(super) async fn told(context: &JobContext) -> String {
    let found = context.unless_stopped(timeout(PATIENCE, find(context))).await;
    found.ok().and_then(Result::ok).flatten().unwrap_or_default()
}

async fn find(context: &JobContext) -> Option<String> {
    let store = &context.shared.store;
    let filter = Filter {
        scope: Scope::Uid(context.owner.uid),
        states: vec![JobState::Done],
        held_for: Vec::new(),
        user: String::new(),
        repo: context.spec.repo_id.to_string(),
        before_row: None,
        limit: JOBS,
    };
    let (jobs, _) = store.list_jobs(filter).await.ok()?;
    let earlier = jobs.into_iter().find(|job| covers(&job.spec, &context.spec))?;
    let files = store.list_files(earlier.row, String::new(), FILES).await.ok()?;
    let folder = folder_of(&earlier)?;
    let told = format!(
        "all of {} as it was at the last look is on the disk: {}",
        earlier.spec.revision,
        folder.display()
    );
    // Of more files than are looked for, or whose names are forgotten, nothing is said.
    let known = u64::try_from(files.len()).is_ok_and(|known| known == earlier.files_total) && !files.is_empty();
    let there = known && blocking(move || are_there(&folder, &files)).await;
    there.then_some(told)
}

/// Where the files of a job that is done are.
fn folder_of(job: &Job) -> Option<PathBuf> {
    Some(match &job.spec.destination {
        Destination::LocalDir(folder) => folder.clone(),
        Destination::Cache(cache) => cache
            .join(job.spec.repo_id.folder(job.spec.kind))
            .join("snapshots")
            .join(job.commit.as_ref()?.as_str()),
    })
}

fn are_there(folder: &std::path::Path, files: &[FileRecord]) -> bool {
    let is_there = |file: &FileRecord| {
        let found = std::fs::metadata(folder.join(file.path.as_str()));
        found.is_ok_and(|found| found.is_file() && found.len() == file.size)
    };
    files.iter().all(is_there)
}
