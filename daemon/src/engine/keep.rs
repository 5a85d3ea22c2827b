//! Earlier revisions that the runs of a schedule have brought: some stay, older ones go, as `hfctl cache rm` would take them.
//!
//! Only what is the schedule's own goes: a commit that was in nobody's place before its run, that nobody else has asked for,
//! and that no branch or tag means. Pins, open files and repositories with a job that is not over keep theirs.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{caches, error::CallError, leftovers::place_of, schedules::wish_of, shared::Shared, stop::chain, submit};
use crate::{
    cache::{OpenFiles, Removed},
    config::Mode,
    model::{CommitHash, Destination, JobId, Schedule, units::show_bytes},
    store::Scope,
};

/// Takes away what schedules keep no longer: of all, or of those whose jobs have just ended. What cannot be done now is done
/// after the next run, at the latest at the next start.
pub(super) async fn tidy(shared: &Arc<Shared>, all: bool, ended: Vec<JobId>) {
    let mut schedules = Vec::new();
    let mut seen = HashSet::new();
    if all {
        match shared.store.schedules(Scope::All).await {
            Ok(known) => schedules.extend(known.into_iter().map(|schedule| (schedule, None))),
            Err(error) => tracing::error!(%error, "schedules cannot be read"),
        }
    }
    for job in ended {
        match shared.store.schedule_of(&job).await {
            Ok(found) => schedules.extend(found.map(|schedule| (schedule, Some(job)))),
            Err(error) => tracing::error!(%job, %error, "the schedule of a job cannot be read"),
        }
    }
    for (schedule, job) in schedules {
        if schedule.keep.is_some()
            && seen.insert((schedule.row, job.is_some()))
            && let Err(error) = tidy_one(shared, &schedule, job.as_ref()).await
        {
            tracing::warn!(schedule = %schedule.id, error = chain(&error), "earlier revisions stay for now");
        }
    }
}

/// Commits that are older than those that stay; the newest comes first, and is no earlier one.
fn beyond(pulled: Vec<(CommitHash, bool)>, keep: u32) -> Vec<CommitHash> {
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let older = pulled.into_iter().skip(keep.saturating_add(1));
    older.filter_map(|(commit, made)| made.then_some(commit)).collect()
}

async fn tidy_one(shared: &Arc<Shared>, schedule: &Schedule, job: Option<&JobId>) -> Result<(), CallError> {
    let Some(keep) = schedule.keep else { return Ok(()) };
    let mut victims = BTreeSet::new();
    for commit in beyond(shared.store.pulled(schedule.row).await?, keep) {
        if !shared.store.is_wanted_otherwise(schedule, &commit).await? {
            victims.insert(commit);
        }
    }
    if victims.is_empty() {
        return Ok(());
    }
    let mode = if schedule.pull.terms.remote {
        Mode::System
    } else {
        shared.mode
    };
    let spec = submit::check(shared, mode, &schedule.owner, wish_of(schedule))
        .await?
        .spec;
    if !matches!(spec.destination, Destination::Cache(_)) {
        return Ok(());
    }
    let place = place_of(&spec);
    if !caches::folder_of(&place).is_dir() {
        return Ok(());
    }
    let turn = shared.turns.take(caches::folder_of(&place)).await;
    if shared.store.is_worked_on(place.clone()).await? {
        return Ok(());
    }
    let sweeping = shared.sweeps.begin(turn);
    let sweep = move || {
        // To the end of this, also when nobody waits for it any more.
        let _sweeping = sweeping;
        let open_files = OpenFiles::look();
        let store = caches::open(&place)?;
        let survey = store.survey().map_err(|error| caches::failed(&error))?;
        for revision in survey.revisions.iter().filter(|revision| !revision.refs.is_empty()) {
            victims.remove(&revision.commit);
        }
        let there = |commit: &CommitHash| survey.revisions.iter().any(|revision| revision.commit == *commit);
        if !victims.iter().any(there) {
            return Ok(None);
        }
        let swept = store.sweep(&survey, &victims, &open_files, false);
        swept.map(Some).map_err(|error| caches::failed(&error))
    };
    let Some(swept) = shared.hash_pool.run(sweep).await? else {
        return Ok(());
    };
    let gone = swept.removed.iter().filter_map(|removed| match removed {
        Removed::Revision(commit) => Some(commit.to_string()),
        Removed::Blobs(_) => None,
    });
    let gone: Vec<String> = gone.collect();
    for kept in &swept.kept {
        tracing::info!(schedule = %schedule.id, what = kept.what, why = kept.why, "stays");
    }
    if !gone.is_empty() {
        let text = format!(
            "{} earlier revisions are removed, {} are free: {}",
            gone.len(),
            show_bytes(swept.bytes),
            gone.join(", ")
        );
        tracing::info!(schedule = %schedule.id, "{text}");
        if let Some(job) = job {
            shared.store.warn(job, String::new(), text).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_some_before_it_stay() {
        let commit = |digit: &str| CommitHash::parse(&digit.repeat(40)).unwrap();
        let pulled = || {
            vec![
                (commit("5"), true),
                (commit("4"), true),
                (commit("3"), false),
                (commit("2"), true),
                (commit("1"), true),
            ]
        };
        for (keep, gone) in [
            (0, vec!["4", "2", "1"]),
            (1, vec!["2", "1"]),
            (3, vec!["1"]),
            (4, vec![]),
            (u32::MAX, vec![]),
        ] {
            let gone: Vec<CommitHash> = gone.into_iter().map(commit).collect();
            assert_eq!(beyond(pulled(), keep), gone, "{keep}");
        }
    }
}
