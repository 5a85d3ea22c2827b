//! Setting a ref at the end of a job, unless what is there is newer: a job that was paused for a week must not take a branch
//! back to where it was then.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    shared::{JobContext, blocking},
    stop::JobStop,
};
use crate::{
    cache::{self, RefOnDisk},
    model::CommitHash,
    store::RefRecord,
};

/// Lets the job's revision mean its commit.
pub(super) async fn set(
    context: &Arc<JobContext>,
    store: &Arc<cache::Store>,
    commit: &CommitHash,
) -> Result<(), JobStop> {
    let revision = context.spec.revision.clone();
    let Some(path) = store.ref_path(&revision) else {
        return Ok(());
    };
    // Two jobs that end together look one after the other.
    let turn = context.shared.turns.take(path.clone());
    let _turn = context.unless_stopped(turn).await?;
    let jobs = &context.shared.store;
    let (planned_at, known) = (
        jobs.planned_at(context.row).await?,
        jobs.ref_record(path.clone()).await?,
    );
    let (files, wanted) = (store.clone(), revision.clone());
    let there = blocking(move || files.read_ref(&wanted)).await?;
    let now = Timestamp::now();
    if let (Some(planned_at), Some(there)) = (planned_at, &there)
        && is_newer(there, known.as_ref(), commit, planned_at, now)
    {
        let text = format!(
            "{revision} stays at {}: that is newer than the plan of this job; the files of {commit} are there all the same",
            there.commit
        );
        tracing::info!(job = %context.id, "{text}");
        return Ok(jobs.warn(&context.id, String::new(), text).await?);
    }
    let (files, written) = (store.clone(), commit.clone());
    blocking(move || files.write_ref(&revision, &written)).await?;
    // After the file: a record that does not fit the file is not believed.
    let written = RefRecord {
        commit: commit.to_string(),
        planned_at: as_old_as(there.as_ref(), known.as_ref(), commit, planned_at.unwrap_or(now)),
    };
    Ok(jobs.note_ref(path, written).await?)
}

/// Whether what a ref says was learnt after `planned_at`, when our plan was made. What we wrote ourselves is as old as its
/// plan; another program asks just before it writes. Times to come are those of a clock that was wrong.
fn is_newer(
    there: &RefOnDisk,
    known: Option<&RefRecord>,
    commit: &CommitHash,
    planned_at: Timestamp,
    now: Timestamp,
) -> bool {
    if there.commit == commit.as_str() {
        return false;
    }
    let learnt_at = match known.filter(|known| known.commit == there.commit) {
        Some(known) => Some(known.planned_at),
        None => Timestamp::try_from(there.written_at).ok(),
    };
    learnt_at.is_some_and(|learnt_at| learnt_at > planned_at && learnt_at <= now)
}

/// How old the knowledge is that the branch is at our commit: as new as the newest plan that said so.
fn as_old_as(
    there: Option<&RefOnDisk>,
    known: Option<&RefRecord>,
    commit: &CommitHash,
    planned_at: Timestamp,
) -> Timestamp {
    let said_so = there.is_some_and(|there| there.commit == commit.as_str());
    let known = known.filter(|known| said_so && known.commit == commit.as_str());
    known.map_or(planned_at, |known| known.planned_at.max(planned_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_plan_makes_a_ref_no_older() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ours = CommitHash::parse(&"a".repeat(40)).unwrap();
        let (same, other) = (ours.to_string(), "b".repeat(40));
        let there = |commit: &String| RefOnDisk {
            commit: commit.clone(),
            written_at: at(700).into(),
        };
        let known = |commit: &String, second| RefRecord {
            commit: commit.clone(),
            planned_at: at(second),
        };
        for (there, known, age) in [
            (None, None, 500),
            (Some(there(&same)), Some(known(&same, 600)), 600),
            (Some(there(&same)), Some(known(&same, 400)), 500),
            (Some(there(&other)), Some(known(&same, 600)), 500),
            (Some(there(&same)), Some(known(&other, 600)), 500),
        ] {
            let told = as_old_as(there.as_ref(), known.as_ref(), &ours, at(500));
            assert_eq!(told, at(age), "{there:?} {known:?}");
        }
    }

    #[test]
    fn only_what_was_learnt_later_stays() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ours = CommitHash::parse(&"a".repeat(40)).unwrap();
        let other = "b".repeat(40);
        let now = at(1000);
        // (commit of the ref, when it was written, what we know of it, whether it stays), for a plan of second 500.
        for (commit, written, known, stays) in [
            (&other, 600, None, true),
            (&other, 400, None, false),
            // Ours: written late, by an older or by a newer plan.
            (&other, 600, Some((&other, 400)), false),
            (&other, 600, Some((&other, 550)), true),
            // Ours, but another program has written since.
            (&other, 600, Some((&"c".repeat(40), 400)), true),
            // From a future that will not come.
            (&other, 2000, None, false),
            (&other, 600, Some((&other, 2000)), false),
            // It says what we would write.
            (&"a".repeat(40), 600, None, false),
        ] {
            let there = RefOnDisk {
                commit: commit.clone(),
                written_at: at(written).into(),
            };
            let known = known.map(|(commit, planned): (&String, i64)| RefRecord {
                commit: commit.clone(),
                planned_at: at(planned),
            });
            let newer = is_newer(&there, known.as_ref(), &ours, at(500), now);
            assert_eq!(newer, stays, "{there:?} {known:?}");
        }
    }
}
