//! A queued job becomes a stored plan: the revision is pinned to a commit, its files are listed and selected.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{
    gated, official,
    retry::Retry,
    shared::{EndpointAccess, JobContext, Shared, blocking},
    stop::{JobStop, chain},
};
use crate::{
    config::Mode,
    hub::{HubError, Listing, ListingSource, Verdict, classify},
    model::{
        CommitHash, Failure, FailureKind, FileId, FileRecord, FileState, Job, Manifest, RepoId, RepoKind, RepoPath,
        Revision, Selection, Trust,
    },
    plan::select,
    store::PlanHead,
};

/// Files of one transaction: some milliseconds, so that submits do not wait.
const BATCH: usize = 2000;

/// What was found out about a job before anything is stored.
pub(super) struct Draft {
    pub(super) commit: CommitHash,
    /// When the endpoint was asked.
    pub(super) asked_at: Timestamp,
    pub(super) trust: Trust,
    pub(super) manifest: Manifest,
    /// The selected files, in path order.
    pub(super) files: Vec<FileRecord>,
    /// Their bytes.
    pub(super) bytes: u64,
    /// For the user, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Asks, selects, prepares the folders, stores.
pub(super) async fn plan(context: &JobContext) -> Result<Job, JobStop> {
    context.progress.stage("listing the repository");
    let draft = draft(context).await?;
    for note in draft.notes {
        context.shared.store.warn(&context.id, String::new(), note).await?;
    }
    let (shared, spec, manifest) = (context.shared.clone(), context.spec.clone(), draft.manifest);
    blocking(move || shared.open_destination(&spec)?.prepare(&manifest)).await?;
    let store = &context.shared.store;
    store.clear_plan(context.row).await?;
    let head = PlanHead {
        commit: draft.commit,
        asked_at: draft.asked_at,
        trust: draft.trust,
        files: draft.files.len() as u64,
        bytes: draft.bytes,
    };
    let mut files = draft.files;
    while !files.is_empty() && !context.cancel.is_cancelled() {
        let rest = files.split_off(files.len().min(BATCH));
        store
            .add_files(context.row, std::mem::replace(&mut files, rest))
            .await?;
    }
    match context.cancel.is_cancelled() {
        true => Err(JobStop::Cancelled),
        // Refused when the job was moved meanwhile: the plan is then somebody else's.
        false => Ok(store.finish_plan(&context.id, head).await?),
    }
}

/// The part that changes nothing: asks until an endpoint answers.
async fn draft(context: &JobContext) -> Result<Draft, JobStop> {
    let mut retry = Retry::new(context);
    let asked_at = Timestamp::now();
    let word = context.unless_stopped(official::ask(context)).await?;
    for (index, error) in word.failed {
        retry.failed(context, index, &error, 0)?;
    }
    if let Some((index, listing)) = word.listing {
        context.progress.moved();
        return drafted(context, &context.endpoints[index], listing, word.notes, asked_at).await;
    }
    let (access, listing, asked_at) = loop {
        let index = retry.next_open(context).await?;
        let access = &context.endpoints[index];
        let asked_at = Timestamp::now();
        match context.unless_stopped(list(context, access)).await? {
            Ok(listing) => break (access, listing, asked_at),
            Err(error) => {
                retry.failed(context, index, &error, 0)?;
            }
        }
    };
    context.progress.moved();
    drafted(context, access, listing, Vec::new(), asked_at).await
}

/// The same for a dry run: each endpoint is asked once.
pub(super) async fn draft_once(context: &JobContext) -> Result<Draft, JobStop> {
    let asked_at = Timestamp::now();
    let word = official::ask(context).await;
    if let Some((index, listing)) = word.listing {
        return drafted(context, &context.endpoints[index], listing, word.notes, asked_at).await;
    }
    let mut first = None;
    for access in &context.endpoints {
        let asked_at = Timestamp::now();
        match list(context, access).await {
            Ok(listing) => return drafted(context, access, listing, Vec::new(), asked_at).await,
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    let Some(error) = first else {
        return Err(JobStop::Cancelled);
    };
    Err(JobStop::JobFailed(match classify(&error) {
        Verdict::Permanent(failure) => failure,
        Verdict::Retry { .. } | Verdict::FreshLink | Verdict::EndpointAtFault(_) => Failure::new(
            FailureKind::EndpointUnreachable,
            chain(&error),
            "a submitted job would wait and try again",
        ),
    }))
}

async fn drafted(
    context: &JobContext,
    access: &EndpointAccess,
    listing: Listing,
    mut notes: Vec<String>,
    asked_at: Timestamp,
) -> Result<Draft, JobStop> {
    official::contradicted(context, access, &listing.manifest).await?;
    let (manifest, selection) = (listing.manifest, context.spec.selection.clone());
    // A thousand patterns over a hundred thousand names is work for a thread of its own.
    let (manifest, selected) = blocking(move || {
        let selected = select_files(&manifest, &selection);
        (manifest, selected)
    })
    .await;
    let (files, more) = selected.map_err(JobStop::JobFailed)?;
    notes.extend(more);
    let sum = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size));
    // SQLite counts in 63 bits; nobody has files like that.
    let Some(bytes) = sum.filter(|sum| i64::try_from(*sum).is_ok()) else {
        let text = format!("{} lists files of impossible size", access.endpoint.host());
        return Err(JobStop::JobFailed(Failure::new(
            FailureKind::BadEndpoint,
            text,
            "use another endpoint",
        )));
    };
    if listing.complete_source == ListingSource::Siblings {
        notes.push(format!(
            "{} has no file tree; the list of the repository's info was used, which may be incomplete",
            access.endpoint.host()
        ));
    }
    Ok(Draft {
        commit: manifest.commit.clone(),
        asked_at,
        trust: access.trust,
        manifest,
        files,
        bytes,
        notes,
    })
}

/// The files of a job's repository, as one endpoint lists them.
pub(super) async fn list(context: &JobContext, access: &EndpointAccess) -> Result<Listing, HubError> {
    let (hub, spec, token) = (&context.shared.hub, &context.spec, access.token.as_ref());
    let (commit, gated) = match spec.revision.as_commit() {
        // On a shared daemon the bytes may be there already, and the listing is open to everybody.
        Some(commit) if context.shared.mode == Mode::System => {
            let gated = gated::is_gated(context, access, &commit).await?;
            (commit, gated)
        }
        Some(commit) => (commit, false),
        None => {
            let info = hub.info(&access.endpoint, token, spec.kind, &spec.repo_id, &spec.revision);
            let info = info.await?;
            (info.commit, info.gated)
        }
    };
    let listing = hub
        .manifest(&access.endpoint, token, spec.kind, &spec.repo_id, &commit)
        .await?;
    // A dry run tells the plan all the same, and asks for itself.
    if gated && context.row != 0 {
        gated::prove_access(context, access, &listing.manifest).await?;
    }
    Ok(listing)
}

/// The files of any repository, as one endpoint lists them.
pub(super) async fn listing_of(
    shared: &Shared,
    access: &EndpointAccess,
    kind: RepoKind,
    repo_id: &RepoId,
    revision: &Revision,
) -> Result<Listing, HubError> {
    let (hub, token) = (&shared.hub, access.token.as_ref());
    let commit = match revision.as_commit() {
        Some(commit) => commit,
        None => hub.info(&access.endpoint, token, kind, repo_id, revision).await?.commit,
    };
    hub.manifest(&access.endpoint, token, kind, repo_id, &commit).await
}

/// Checks every selected path and digest before anything is written.
fn select_files(manifest: &Manifest, selection: &Selection) -> Result<(Vec<FileRecord>, Vec<String>), Failure> {
    let paths: Vec<&str> = manifest.entries.iter().map(|entry| entry.path.as_str()).collect();
    let selected = select(selection, &paths).map_err(|error| error.to_failure())?;
    let mut files = Vec::with_capacity(selected.indexes.len());
    let mut folders = HashSet::new();
    for index in selected.indexes {
        let entry = &manifest.entries[index];
        let unsafe_path = |error: String| {
            Failure::new(
                FailureKind::UnsafePath,
                error,
                "nothing was written; leave the file out with --exclude if you trust the rest",
            )
        };
        let path = RepoPath::parse(&entry.path).map_err(|error| unsafe_path(error.to_string()))?;
        let mut folder = path.parent();
        while let Some(name) = folder {
            folders.insert(name.to_owned());
            folder = name.rsplit_once('/').map(|(above, _)| above);
        }
        let Some(digest) = entry.digest() else {
            return Err(Failure::new(
                FailureKind::BadEndpoint,
                format!(
                    "the listing has no hash for `{}`, so it could not be verified",
                    path.as_str().escape_debug()
                ),
                "use another endpoint",
            ));
        };
        files.push(FileRecord {
            id: FileId(0),
            path,
            size: entry.size,
            digest,
            state: FileState::Pending,
            reused: false,
            failure: None,
        });
    }
    if let Some(file) = files.iter().find(|file| folders.contains(file.path.as_str())) {
        return Err(Failure::new(
            FailureKind::UnsafePath,
            format!(
                "the repository lists `{}` both as a file and as a folder",
                file.path.as_str().escape_debug()
            ),
            "nothing was written; the listing is damaged or hostile",
        ));
    }
    let mut notes: Vec<String> = selected.warnings.iter().map(ToString::to_string).collect();
    if files.is_empty() && !manifest.entries.is_empty() {
        notes.push("no file of the repository fits the patterns: nothing to download".to_owned());
    }
    Ok((files, notes))
}
