//! A run and its job are one.

use super::super::{
    Horizon, NewSchedule, Scope,
    tests::{Fixture, new_job},
};
use super::*;
use crate::{
    model::{Difference, JobMove, JobState, Owner, Priority, Pull, RepoId, RepoKind, Revision, Terms},
    store::{MoveNote, PlanHead},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn new_schedule(uid: u32, cron: &str) -> NewSchedule {
    NewSchedule {
        owner: Owner {
            uid,
            user: format!("user{uid}"),
        },
        pull: Pull {
            repo_id: RepoId::parse("a/b").unwrap(),
            kind: RepoKind::Model,
            revision: Revision::main(),
            terms: Terms {
                window: "night".into(),
                ..Terms::default()
            },
        },
        cron: cron.into(),
        timezone: None,
        keep: Some(1),
        token_ref: Some("t9".into()),
        now: at(1000),
    }
}

fn commit(digit: &str) -> CommitHash {
    CommitHash::parse(&digit.repeat(40)).unwrap()
}

fn a_job(schedule: &Schedule, makes: Option<CommitHash>) -> RunWish {
    let mut job = new_job(schedule.owner.uid, "a/b", Priority::Normal, None);
    job.spec.schedule = Some(schedule.id.clone());
    let job = Box::new(job);
    RunWish::Job { job, makes }
}

fn due(schedule: &Schedule, second: i64, wish: RunWish) -> NewRun {
    NewRun {
        schedule: schedule.clone(),
        due_at: Some(at(second)),
        now: at(second + 1),
        wish,
    }
}

/// Lets the job of a run bring a commit.
async fn finish(store: &Store, id: &JobId, brings: &str) {
    let moved = |job_move| store.move_job(Scope::All, id, job_move, MoveNote::default());
    moved(JobMove::Start).await.unwrap();
    let head = PlanHead {
        commit: commit(brings),
        asked_at: Timestamp::now(),
        trust: crate::model::Trust::Origin,
        files: 0,
        bytes: 0,
        difference: Some(Difference { files: 2, bytes: 3 }),
    };
    store.finish_plan(id, head).await.unwrap();
    moved(JobMove::Finish).await.unwrap();
}

#[tokio::test]
async fn a_run_is_written_once_and_with_its_job() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (schedule, existing) = store.add_schedule(new_schedule(1, "0 0 * * *")).await.unwrap();
    assert!(!existing);
    assert_eq!(
        store.add_schedule(new_schedule(1, "0 0 * * *")).await.unwrap(),
        (schedule.clone(), true)
    );
    assert_eq!(store.token_refs(1).await.unwrap(), ["t9".to_owned()].into());
    let run = due(&schedule, 2000, a_job(&schedule, Some(commit("1"))));
    let first = store.run_schedule(run.clone()).await.unwrap().unwrap();
    assert_eq!((first.outcome, first.state), (RunOutcome::Job, Some(JobState::Queued)));
    // The same decision again, by who did not hear the answer.
    assert_eq!(store.run_schedule(run).await.unwrap(), None);
    assert_eq!(
        store.runs_of(schedule.row, 9).await.unwrap(),
        std::slice::from_ref(&first)
    );
    let settled = store.schedules(Scope::Uid(1)).await.unwrap().pop().unwrap();
    assert_eq!(settled.settled_until, at(2001));
    // Its job is not over.
    let second = due(&settled, 3000, a_job(&schedule, None));
    let second = store.run_schedule(second).await.unwrap().unwrap();
    assert_eq!((second.outcome, &second.job), (RunOutcome::Overlap, &None));
    let job = first.job.unwrap();
    finish(store, &job, "1").await;
    assert_eq!(store.schedule_of(&job).await.unwrap().unwrap().id, schedule.id);
    // What it came to outlives the job.
    let other = store.submit(new_job(2, "x/y", Priority::Normal, None)).await.unwrap();
    let horizon = Horizon {
        jobs_before: at(4_000_000_000),
        jobs_kept: 0,
        files_before: at(4_000_000_000),
    };
    store.prune_jobs(horizon).await.unwrap();
    assert!(store.job(Scope::All, &job).await.is_err(), "{other:?}");
    let runs = store.runs_of(schedule.row, 9).await.unwrap();
    assert_eq!(
        (runs[1].state, runs[1].commit.as_str(), runs[1].difference),
        (
            Some(JobState::Done),
            commit("1").as_str(),
            Some(Difference { files: 2, bytes: 3 })
        )
    );
}

#[tokio::test]
async fn who_is_paused_removed_or_refused_has_no_job() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (schedule, _) = store.add_schedule(new_schedule(1, "0 0 * * *")).await.unwrap();
    let paused = store
        .pause_schedule(Scope::Uid(1), &schedule.id, true, at(1500))
        .await
        .unwrap();
    assert_eq!((paused.paused, paused.settled_until), (true, at(1000)));
    let run = due(&paused, 2000, a_job(&schedule, None));
    assert_eq!(store.run_schedule(run).await.unwrap(), None);
    let resumed = store
        .pause_schedule(Scope::All, &schedule.id, false, at(2500))
        .await
        .unwrap();
    assert_eq!((resumed.paused, resumed.settled_until), (false, at(2500)));
    // Another's does not exist.
    for refused in [
        store
            .pause_schedule(Scope::Uid(2), &schedule.id, true, at(1))
            .await
            .map(drop),
        store.remove_schedule(Scope::Uid(2), &schedule.id).await,
        store
            .find_schedule(Scope::Uid(2), schedule.id.to_string())
            .await
            .map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::NoSuchSchedule(_))), "{refused:?}");
    }
    // Its user's queue is full: that is told, and nothing else is written.
    let RunWish::Job { mut job, makes } = a_job(&schedule, None) else {
        panic!("a job")
    };
    job.max_queued = 0;
    let refused = due(&resumed, 3000, RunWish::Job { job, makes });
    let refused = store.run_schedule(refused).await.unwrap().unwrap();
    assert_eq!((refused.outcome, refused.job), (RunOutcome::Refused, None));
    store.remove_schedule(Scope::Uid(1), &schedule.id).await.unwrap();
    let run = NewRun {
        due_at: None,
        ..due(&resumed, 4000, a_job(&schedule, None))
    };
    assert_eq!(store.run_schedule(run).await.unwrap(), None);
    assert!(store.runs_of(schedule.row, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_what_its_own_runs_made_is_a_schedules() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (mut schedule, _) = store.add_schedule(new_schedule(1, "0 0 * * *")).await.unwrap();
    // The third was there before; a branch went back to the first.
    for (number, (digit, makes)) in [("1", true), ("2", true), ("3", false), ("1", false)]
        .into_iter()
        .enumerate()
    {
        let second = 2000 + 10 * i64::try_from(number).unwrap();
        let makes = makes.then(|| commit(digit));
        let run = due(&schedule, second, a_job(&schedule, makes));
        let run = store.run_schedule(run).await.unwrap().unwrap();
        finish(store, &run.job.unwrap(), digit).await;
        schedule.settled_until = at(second + 1);
    }
    let pulled = store.pulled(schedule.row).await.unwrap();
    assert_eq!(pulled, [(commit("1"), true), (commit("3"), false), (commit("2"), true)]);
    assert!(!store.is_wanted_otherwise(&schedule, &commit("2")).await.unwrap());
    let other = store
        .submit(new_job(2, "a/b", Priority::Normal, None))
        .await
        .unwrap()
        .job;
    finish(store, &other.id, "2").await;
    assert!(store.is_wanted_otherwise(&schedule, &commit("2")).await.unwrap());
}

#[tokio::test]
async fn a_job_that_waits_for_a_yes_goes_on_with_one() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let mut new = new_job(1, "a/b", Priority::Normal, None);
    new.spec.hold_above = Some(5);
    let id = store.submit(new).await.unwrap().job.id;
    let moved = |job_move| store.move_job(Scope::All, &id, job_move, MoveNote::default());
    let hold = JobMove::Hold(crate::model::HoldReason::Approval);
    let held = moved(hold).await.unwrap();
    assert_eq!(held.state, JobState::Held);
    // Not by itself, and not because somebody lets all paused ones go on.
    assert_eq!(store.release_holds(at(4_000_000_000), vec![]).await.unwrap(), None);
    let all = store.move_all(
        Scope::All,
        (&[JobState::Paused], &[]),
        JobMove::Resume,
        MoveNote::default(),
    );
    assert!(all.await.unwrap().is_empty());
    // Paused and resumed is no yes.
    moved(JobMove::Pause).await.unwrap();
    let resumed = moved(JobMove::Resume).await.unwrap();
    assert_eq!((resumed.state, resumed.spec.hold_above), (JobState::Queued, Some(5)));
    moved(hold).await.unwrap();
    let approved = moved(JobMove::Resume).await.unwrap();
    assert_eq!((approved.state, approved.spec.hold_above), (JobState::Queued, None));
    // Held for another reason it cannot be resumed.
    moved(JobMove::Hold(crate::model::HoldReason::Disk)).await.unwrap();
    assert!(matches!(moved(JobMove::Resume).await, Err(StoreError::IllegalMove(_))));
}
