//! What a submit would do: the plan without a job, compared with what is on disk.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    access::{self, TokenRule},
    admission::Admission,
    difference::{self, Left},
    error::CallError,
    gated, login, planner,
    progress::JobProgress,
    questions::{self, Unanswered},
    shared::{JobContext, Shared, blocking},
    stop::{JobStop, chain},
    submit::{self, Submit},
    twins::Others,
};
use crate::{
    config::Mode,
    hub::{FileTarget, Verdict, classify},
    model::{
        ByteRange, CommitHash, Destination, Failure, FileRecord, FileState, Job, JobSpec, Trust, units::show_bytes,
    },
};

/// A submit with a deadline waits for its forecast no longer than this.
const FORECAST_PATIENCE: Duration = Duration::from_secs(15);

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
    /// Bytes that would be fetched: without those in partial files.
    pub missing: u64,
    /// Free bytes on the destination's file system; 0 when it cannot be told.
    pub disk_free: u64,
    /// For people.
    pub warnings: Vec<String>,
    /// What the job's failure would be: there is no plan, or its files may not be read.
    pub failure: Option<Failure>,
}

pub(super) async fn preview(shared: &Arc<Shared>, mode: Mode, submit: Submit) -> Result<Preview, CallError> {
    let _turn = shared.previews.acquire().await.map_err(|_| CallError::Stopping)?;
    let config = shared.config();
    let rule = TokenRule::new(mode, &submit.wish.preferred_endpoint);
    let checked = submit::check(shared, mode, &submit.owner, submit.wish).await?;
    let uid = submit.owner.uid;
    let (own, no_login) = (submit.token, submit.no_login);
    let token = login::token_of(shared, &config, &rule, uid, &checked.endpoints, own, no_login).await;
    let endpoints = access::for_caller(shared, &rule, checked.endpoints, uid, token);
    let spec = checked.spec;
    let context = JobContext {
        shared: shared.clone(),
        id: crate::model::JobId::random(&mut fastrand::Rng::new()),
        row: 0,
        owner: submit.owner.clone(),
        spec: spec.clone(),
        sources: shared.sources_of(&endpoints),
        admission: Arc::new(Admission::new(&endpoints)),
        endpoints,
        progress: Arc::new(JobProgress::unstored()),
        had_files: false,
        since: Instant::now(),
        sweeps_before: shared.sweeps.count(),
        stuck_for: Duration::ZERO,
        cancel: CancellationToken::new(),
    };
    let mut warnings = checked.warnings;
    let empty = |failure: Failure, warnings| Preview {
        path: spec.destination.path().clone(),
        spec: spec.clone(),
        commit: String::new(),
        files: Vec::new(),
        missing: 0,
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
    let mut files = match planner::records(&draft.manifest, &draft.chosen) {
        Ok(files) => files,
        Err(failure) => return Ok(empty(failure, warnings)),
    };
    let (commit, to_open) = (draft.commit, spec.clone());
    let (opener, looked_for) = (shared.clone(), commit.clone());
    let looked = blocking(move || {
        let root = existing(to_open.destination.path());
        let disk = rustix::fs::statvfs(&root);
        let disk = disk.map_or((0, 0), |fs| {
            (
                fs.f_bavail.saturating_mul(fs.f_frsize),
                fs.f_blocks.saturating_mul(fs.f_frsize),
            )
        });
        if !to_open.destination.path().is_dir() {
            return (None, to_open.destination.path().clone(), files, disk, None);
        }
        let store = match opener.open_destination(&to_open) {
            Ok(store) => store,
            Err(error) => {
                return (
                    None,
                    to_open.destination.path().clone(),
                    files,
                    disk,
                    Some(chain(&error)),
                );
            }
        };
        for file in &mut files {
            if difference::is_there(&store, &looked_for, file) && !to_open.force_download {
                file.state = FileState::Done;
                file.reused = true;
            }
        }
        let path = store.snapshot_path(&looked_for);
        (Some(Arc::new(store)), path, files, disk, None)
    })
    .await;
    let (store, path, mut files, (disk_free, disk_total), trouble) = looked;
    warnings.extend(trouble);
    let failure = match may_read(&context, &commit, &files).await {
        Ok(()) => None,
        Err(Doubt::Refused(failure)) => Some(failure),
        Err(Doubt::Unknown(why)) => {
            warnings.push(format!("whether the files may be read could not be checked: {why}"));
            None
        }
    };
    let mut left = Left::default();
    // Room is kept for these all the same: they may have to be copied, or turn out to be wrong.
    let mut elsewhere = 0;
    if let Some(store) = store {
        left = Left::new(&context, &store).await;
        // What other repositories have is told to nobody who may not read the files.
        if failure.is_none() {
            let others = Others::of(&context, Some(draft.trust), &left);
            // In a cache equal files are one blob.
            let once = matches!(spec.destination, Destination::Cache(_));
            (files, elsewhere) = blocking(move || {
                let (mut seen, mut bytes) = (HashSet::new(), 0_u64);
                for file in files.iter_mut().filter(|file| file.state != FileState::Done) {
                    if others.have(&store, file) {
                        file.state = FileState::Done;
                        file.reused = true;
                        if !once || seen.insert(file.digest) {
                            bytes = bytes.saturating_add(file.size);
                        }
                    }
                }
                (files, bytes)
            })
            .await;
        }
    }
    let missing = files.iter().filter(|file| file.state != FileState::Done);
    let missing: u64 = missing.map(|file| left.of(file)).sum();
    let floor = config.storage.min_free.bytes(disk_total);
    warnings.extend(too_full(missing, elsewhere, floor, disk_free));
    if let Some(line) = spec.hold_above {
        warnings.extend(difference::too_much(missing, line).map(|text| format!("the job would be held: {text}")));
    }
    Ok(Preview {
        spec,
        commit: commit.to_string(),
        path,
        files,
        missing,
        disk_free,
        warnings,
        failure,
    })
}

/// Why there may be too little room for what is to be fetched, and for what others have.
fn too_full(missing: u64, elsewhere: u64, floor: u64, free: u64) -> Option<String> {
    let wanted = missing.saturating_add(elsewhere);
    let others = match elsewhere {
        0 => String::new(),
        _ => format!(
            ", room is kept for {} that other repositories have,",
            show_bytes(elsewhere)
        ),
    };
    (wanted > 0 && wanted.saturating_add(floor) > free).then(|| {
        format!(
            "the job may be held: {} are to be fetched{others} and {} must stay free (storage.min_free), but only {} are free",
            show_bytes(missing),
            show_bytes(floor),
            show_bytes(free),
        )
    })
}

/// How many bytes a submit would fetch, for its forecast; with why that is not known.
///
/// # Errors
/// With the field that is wrong.
pub(super) async fn expected(
    shared: &Arc<Shared>,
    mode: Mode,
    submit: Submit,
) -> Result<(u64, Option<String>), CallError> {
    let unknown = |why: &str| format!("when it will be ready is told once its files are listed: {why}");
    let preview = match timeout(FORECAST_PATIENCE, preview(shared, mode, submit)).await {
        Ok(preview) => preview?,
        Err(_) => return Ok((0, Some(unknown("the Hub does not answer now")))),
    };
    let bytes = preview.missing;
    let doubt = preview
        .failure
        .filter(|_| bytes == 0)
        .map(|failure| unknown(&failure.message));
    Ok((bytes, doubt))
}

/// Why it is not certain that the files may be read.
enum Doubt {
    /// Every endpoint says no for good.
    Refused(Failure),
    /// Nobody could be asked.
    Unknown(String),
}

/// Asks for one byte of the smallest file that would be fetched. The listing of a gated repository is open to everyone; its
/// files are not.
async fn may_read(context: &JobContext, commit: &CommitHash, files: &[FileRecord]) -> Result<(), Doubt> {
    let wanted = files
        .iter()
        .filter(|file| file.state != FileState::Done && file.size > 0);
    let Some(file) = wanted.min_by_key(|file| file.size) else {
        return Ok(());
    };
    let target = FileTarget {
        kind: context.spec.kind,
        repo_id: context.spec.repo_id.clone(),
        commit: commit.clone(),
        path: file.path.clone(),
        size: file.size,
        digest: file.digest,
    };
    let mut doubt = None;
    let (origins, mirrors): (Vec<_>, Vec<_>) = context
        .endpoints
        .iter()
        .partition(|access| access.trust == Trust::Origin);
    for access in origins.into_iter().chain(mirrors) {
        let token = access.token.as_ref();
        let byte = ByteRange::new(0, 1);
        let asked = context.shared.hub.open(&access.endpoint, token, &target, byte, None);
        let error = match questions::ask(&context.shared, access, asked).await {
            Ok(_) => return Ok(()),
            Err(Unanswered::Pausing(why)) => {
                doubt = Some(Doubt::Unknown(why));
                continue;
            }
            Err(Unanswered::Failed(error)) => error,
        };
        if let Some(refusal) = gated::last_word(access, &error) {
            return Err(Doubt::Refused(refusal));
        }
        let why = match classify(&error) {
            Verdict::Permanent(failure) => Doubt::Refused(failure),
            Verdict::Retry { .. } | Verdict::FreshLink | Verdict::EndpointAtFault(_) => Doubt::Unknown(chain(&error)),
        };
        // One that could not be asked may still say yes to the job.
        if matches!(why, Doubt::Unknown(_)) || doubt.is_none() {
            doubt = Some(why);
        }
    }
    doubt.map_or(Ok(()), Err)
}

/// The nearest folder that exists.
fn existing(path: &std::path::Path) -> PathBuf {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(std::path::Path::new("/"))
        .to_owned()
}

impl Engine {
    /// Stores a job. The answer means that it survives a power cut. With a deadline it is listed before, for its forecast.
    ///
    /// # Errors
    /// With the field that is wrong, or why it cannot be stored.
    pub async fn submit(&self, submit: Submit) -> Result<(Job, bool, Vec<String>), CallError> {
        if let Some(job) = submit::known(&self.shared, &submit).await? {
            return Ok((job, true, Vec::new()));
        }
        let (expected, doubt) = match submit.wish.ready_by {
            Some(_) => expected(&self.shared, self.mode, submit.clone()).await?,
            None => (0, None),
        };
        let (submitted, mut warnings) = submit::submit(&self.shared, self.mode, submit, expected).await?;
        warnings.extend(doubt);
        // It is stored, whatever becomes of the forecast.
        if let Err(error) = self.foresee(&submitted.job).await {
            tracing::warn!(%error, job = %submitted.job.id, "nothing is foreseen for a job");
        }
        Ok((submitted.job, submitted.existing, warnings))
    }

    /// What a submit would do. Asks the Hub, changes nothing.
    ///
    /// # Errors
    /// With the field that is wrong; what the Hub refuses is in the preview.
    pub async fn preview(&self, submit: Submit) -> Result<Preview, CallError> {
        preview(&self.shared, self.mode, submit).await
    }
}

#[test]
fn room_is_wanted_for_what_others_have_as_well() {
    for (missing, elsewhere, floor, free, words) in [
        (0, 0, 10, 5, None),
        (5, 0, 10, 15, None),
        (5, 1, 10, 15, Some("room is kept for 1 B that other repositories have")),
        (0, 6, 10, 15, Some("room is kept for 6 B")),
        (6, 0, 10, 15, Some("6 B are to be fetched and 10 B must stay free")),
        (u64::MAX, 1, 1, 15, Some("may be held")),
    ] {
        let told = too_full(missing, elsewhere, floor, free);
        let fits = match (words, &told) {
            (None, None) => true,
            (Some(words), Some(told)) => told.contains(words),
            _ => false,
        };
        assert!(fits, "{missing} {elsewhere}: {told:?}");
    }
}
