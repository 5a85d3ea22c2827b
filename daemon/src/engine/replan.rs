//! A plan that another job has made: the same files of the same commit for the same place are not listed again.

use jiff::Timestamp;

use super::{
    difference,
    planner::NOTHING_FITS,
    shared::{EndpointAccess, JobContext, blocking},
    stop::JobStop,
    transfer::hint,
};
use crate::{
    cache::CacheError,
    model::{CommitHash, Job, Selection, Trust},
    store::{KnownPlan, PlanHead},
};

/// Files of one transaction.
const BATCH: u32 = 2000;

/// What is known of a commit that an endpoint has named just now.
pub(super) async fn at_commit(context: &JobContext, access: &EndpointAccess, commit: &CommitHash) -> Option<KnownPlan> {
    // A dry run has no row, and no plan either.
    if context.row == 0 {
        return None;
    }
    let known = hint(context.shared.store.plan_at(context.row, commit.clone()).await).flatten()?;
    // The origin's word is worth more than what a mirror said before.
    let good = known.trust == Trust::Origin || access.trust == Trust::Mirror;
    (good && is_prepared(context, &known).await).then_some(known)
}

/// What was asked for another job of this user since this one was submitted.
pub(super) async fn since_submit(context: &JobContext) -> Option<KnownPlan> {
    let known = hint(context.shared.store.plan_since_submit(context.row).await).flatten()?;
    is_prepared(context, &known).await.then_some(known)
}

/// Whether the listing that goes with a plan lies in its place, for Python clients. Without it, it is made anew.
async fn is_prepared(context: &JobContext, known: &KnownPlan) -> bool {
    let (shared, spec, commit) = (context.shared.clone(), context.spec.clone(), known.commit.clone());
    blocking(move || shared.open_destination(&spec)?.has_listing(&commit))
        .await
        .unwrap_or(false)
}

/// Makes it this job's plan too.
pub(super) async fn adopt(
    context: &JobContext,
    known: KnownPlan,
    asked_at: Timestamp,
    notes: Vec<String>,
) -> Result<Job, JobStop> {
    let store = &context.shared.store;
    let selection = &context.spec.selection;
    let nothing_fits = known.files == 0 && *selection != Selection::default();
    let nothing_fits = nothing_fits.then(|| NOTHING_FITS.to_owned());
    for note in notes.into_iter().chain(nothing_fits) {
        store.warn(&context.id, String::new(), note).await?;
    }
    let (shared, spec, commit) = (context.shared.clone(), context.spec.clone(), known.commit.clone());
    blocking(move || -> Result<(), CacheError> { shared.open_destination(&spec)?.prepare_folders(&commit) }).await?;
    store.clear_plan(context.row).await?;
    let mut last = Some(String::new());
    while let Some(after) = last {
        if context.cancel.is_cancelled() {
            return Err(JobStop::Cancelled);
        }
        last = store.copy_files(context.row, known.clone(), after, BATCH).await?;
    }
    let head = PlanHead {
        difference: difference::of_plan(context, &known.commit, known.trust).await?,
        commit: known.commit,
        asked_at,
        trust: known.trust,
        files: known.files,
        bytes: known.bytes,
    };
    // Refused, as a batch is, when the other job's list was forgotten meanwhile: this one is then planned anew.
    Ok(store.finish_plan(&context.id, head).await?)
}
