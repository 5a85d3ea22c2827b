//! A queued job becomes a stored plan: the revision is pinned to a commit, its files are listed and selected.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;

use super::{
    difference, gated, last_look,
    official::{self, Word},
    questions, replan,
    retry::Retry,
    shared::{EndpointAccess, JobContext, Shared, blocking},
    stop::{JobStop, chain},
    transfer::hint,
};
use crate::{
    config::Mode,
    hub::{HubError, Listing, ListingSource, Verdict, classify},
    model::{
        CommitHash, Failure, FailureKind, FileId, FileRecord, FileState, Job, Manifest, ManifestEntry, RepoId,
        RepoKind, RepoPath, Revision, Selection, Trust, UnsafePath,
    },
    plan::select,
    store::{KnownPlan, PlanHead},
};

/// Files of one transaction: some milliseconds, so that submits do not wait.
const BATCH: usize = 2000;

/// What was found out about a job before anything is stored.
pub(super) struct Draft {
    pub(super) commit: CommitHash,
    /// When the endpoint was asked.
    pub(super) asked_at: Timestamp,
    pub(super) trust: Trust,
    pub(super) manifest: Arc<Manifest>,
    /// The selected ones of its files, in path order.
    pub(super) chosen: Vec<u32>,
    /// Their bytes.
    pub(super) bytes: u64,
    /// For the user, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Told of a job that has nothing to do.
pub(super) const NOTHING_FITS: &str = "no file of the repository fits the patterns: nothing to download";

/// What an endpoint says of a revision.
pub(super) enum Found {
    /// All its files.
    Listed(Listing),
    /// Its commit, which another job has planned for already.
    Known(KnownPlan),
}

/// Asks, selects, prepares the folders, stores.
pub(super) async fn plan(context: &JobContext) -> Result<Job, JobStop> {
    context.progress.stage("listing the repository");
    if let Some(known) = replan::since_submit(context).await {
        let asked_at = known.asked_at;
        return replan::adopt(context, known, asked_at, Vec::new()).await;
    }
    let found = find(context).await;
    context.progress.beside(String::new());
    let (index, found, notes, asked_at) = found?;
    context.progress.moved();
    let draft = match found {
        Found::Known(known) => return replan::adopt(context, known, asked_at, notes).await,
        Found::Listed(listing) => drafted(context, &context.endpoints[index], listing, notes, asked_at).await?,
    };
    for note in draft.notes {
        context.shared.store.warn(&context.id, String::new(), note).await?;
    }
    let (shared, spec, manifest) = (context.shared.clone(), context.spec.clone(), draft.manifest.clone());
    blocking(move || shared.open_destination(&spec)?.prepare(&manifest)).await?;
    let store = &context.shared.store;
    store.clear_plan(context.row).await?;
    let mut head = PlanHead {
        commit: draft.commit.clone(),
        asked_at: draft.asked_at,
        trust: draft.trust,
        files: draft.chosen.len() as u64,
        bytes: draft.bytes,
        difference: None,
    };
    for chosen in draft.chosen.chunks(BATCH) {
        if context.cancel.is_cancelled() {
            break;
        }
        let files = records(&draft.manifest, chosen).map_err(JobStop::JobFailed)?;
        store.add_files(context.row, files).await?;
    }
    head.difference = difference::of_plan(context, &head.commit, head.trust).await?;
    match context.cancel.is_cancelled() {
        true => Err(JobStop::Cancelled),
        // Refused when the job was moved meanwhile: the plan is then somebody else's.
        false => Ok(store.finish_plan(&context.id, head).await?),
    }
}

/// Asks until an endpoint answers: which, what, notes for the user, and when it was asked.
async fn find(context: &JobContext) -> Result<(usize, Found, Vec<String>, Timestamp), JobStop> {
    let mut retry = Retry::new(context);
    let asked_at = Timestamp::now();
    let word = match gated::leave_to_origins(context, &mut retry).await? {
        true => Word::default(),
        false => context.unless_stopped(official::ask(context)).await?,
    };
    for (index, error) in word.failed {
        if let Some(refusal) = gated::last_word(&context.endpoints[index], &error) {
            return Err(JobStop::JobFailed(refusal));
        }
        retry.failed(context, index, &error, 0)?;
        context.progress.beside(last_look::told(context).await);
    }
    if let Some((index, found)) = word.found {
        return Ok((index, found, word.notes, asked_at));
    }
    loop {
        let index = retry.next_open(context).await?;
        let asked_at = Timestamp::now();
        let asking = list(context, &context.endpoints[index]);
        match context.unless_stopped(asking).await? {
            Ok(found) => return Ok((index, found, Vec::new(), asked_at)),
            Err(error) => match gated::last_word(&context.endpoints[index], &error) {
                Some(refusal) => return Err(JobStop::JobFailed(refusal)),
                None => {
                    retry.failed(context, index, &error, 0)?;
                    context.progress.beside(last_look::told(context).await);
                }
            },
        }
    }
}

/// The same for a dry run: each endpoint is asked once.
pub(super) async fn draft_once(context: &JobContext) -> Result<Draft, JobStop> {
    let asked_at = Timestamp::now();
    let word = official::ask(context).await;
    if let Some((index, Found::Listed(listing))) = word.found {
        return drafted(context, &context.endpoints[index], listing, word.notes, asked_at).await;
    }
    let (mut first, mut pausing) = (None, None);
    for access in &context.endpoints {
        if let Some(why) = questions::pause(&context.shared, access) {
            pausing.get_or_insert(why);
            continue;
        }
        let asked_at = Timestamp::now();
        match list(context, access).await {
            Ok(Found::Listed(listing)) => return drafted(context, access, listing, Vec::new(), asked_at).await,
            // Nothing is planned for what has no row.
            Ok(Found::Known(_)) => {}
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    let Some(error) = first else {
        return Err(pausing.map_or(JobStop::Cancelled, |why| {
            JobStop::JobFailed(Failure::new(
                FailureKind::RateLimited,
                why,
                "a submitted job would wait and go on by itself",
            ))
        }));
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
    let (manifest, selection) = (Arc::new(listing.manifest), context.spec.selection.clone());
    // A thousand patterns over a hundred thousand names is work for a thread of its own.
    let looked_at = manifest.clone();
    let selected = blocking(move || select_files(&looked_at, &selection)).await;
    let (chosen, more) = selected.map_err(JobStop::JobFailed)?;
    notes.extend(more);
    let sum = of(&manifest, &chosen).try_fold(0_u64, |sum, entry| sum.checked_add(entry.size));
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
        chosen,
        bytes,
        notes,
    })
}

/// The files of a job's repository, as one endpoint lists them; when they are known for the commit, it is not asked for them.
pub(super) async fn list(context: &JobContext, access: &EndpointAccess) -> Result<Found, HubError> {
    let (hub, spec, token) = (&context.shared.hub, &context.spec, access.token.as_ref());
    let (commit, gated) = match spec.revision.as_commit() {
        // On a shared daemon the bytes may be there already, and the listing is open to everybody.
        Some(commit) if context.shared.mode == Mode::System => {
            let gated = gated::is_gated(context, access, &commit).await?;
            (commit, gated)
        }
        Some(commit) => (commit, false),
        None => {
            let info = gated::describe(context, access, &spec.revision).await?;
            (info.commit, info.gated)
        }
    };
    if let Some(known) = replan::at_commit(context, access, &commit).await {
        if gated {
            let smallest = hint(context.shared.store.smallest_file(known.row).await).flatten();
            let smallest = smallest.map(|file| (file.path, file.size, file.digest));
            gated::prove_access(context, access, &commit, smallest).await?;
        }
        return Ok(Found::Known(known));
    }
    let listing = hub
        .manifest(&access.endpoint, token, spec.kind, &spec.repo_id, &commit)
        .await?;
    // A dry run tells the plan all the same, and asks for itself.
    if gated && context.row != 0 {
        gated::prove_access(context, access, &commit, gated::smallest(&listing.manifest)).await?;
    }
    Ok(Found::Listed(listing))
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

/// The chosen entries of a listing.
fn of<'a>(manifest: &'a Manifest, chosen: &'a [u32]) -> impl Iterator<Item = &'a ManifestEntry> {
    chosen.iter().map(|index| &manifest.entries[*index as usize])
}

/// Some files of a plan, to be stored. There may be hundreds of thousands, so they are made as they are needed.
pub(super) fn records(manifest: &Manifest, chosen: &[u32]) -> Result<Vec<FileRecord>, Failure> {
    of(manifest, chosen).map(record).collect()
}

fn record(entry: &ManifestEntry) -> Result<FileRecord, Failure> {
    let unsafe_path = |error: UnsafePath| {
        Failure::new(
            FailureKind::UnsafePath,
            error.to_string(),
            "nothing was written; leave the file out with --exclude if you trust the rest",
        )
    };
    let path = RepoPath::parse(&entry.path).map_err(unsafe_path)?;
    let no_hash = || {
        Failure::new(
            FailureKind::BadEndpoint,
            format!(
                "the listing has no hash for `{}`, so it could not be verified",
                path.as_str().escape_debug()
            ),
            "use another endpoint",
        )
    };
    Ok(FileRecord {
        id: FileId(0),
        size: entry.size,
        digest: entry.digest.ok_or_else(no_hash)?,
        path,
        state: FileState::Pending,
        reused: false,
        failure: None,
    })
}

/// Checks every selected path and digest before anything is written.
fn select_files(manifest: &Manifest, selection: &Selection) -> Result<(Vec<u32>, Vec<String>), Failure> {
    let paths: Vec<&str> = manifest.entries.iter().map(|entry| &*entry.path).collect();
    let selected = select(selection, &paths).map_err(|error| error.to_failure())?;
    // A listing holds at most some hundred thousand.
    let chosen: Vec<u32> = selected
        .indexes
        .into_iter()
        .filter_map(|index| index.try_into().ok())
        .collect();
    let mut folders: HashSet<&str> = HashSet::new();
    for entry in of(manifest, &chosen) {
        record(entry)?;
        let mut rest = &*entry.path;
        while let Some((folder, _)) = rest.rsplit_once('/')
            && folders.insert(folder)
        {
            rest = folder;
        }
    }
    if let Some(file) = of(manifest, &chosen).find(|entry| folders.contains(&*entry.path)) {
        return Err(Failure::new(
            FailureKind::UnsafePath,
            format!(
                "the repository lists `{}` both as a file and as a folder",
                file.path.escape_debug()
            ),
            "nothing was written; the listing is damaged or hostile",
        ));
    }
    let mut notes: Vec<String> = selected.warnings.iter().map(ToString::to_string).collect();
    if chosen.is_empty() && !manifest.entries.is_empty() {
        notes.push(NOTHING_FITS.to_owned());
    }
    Ok((chosen, notes))
}
