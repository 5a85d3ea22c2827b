//! Recurring pulls over days, one of which has 23 hours.

use std::path::PathBuf;

use hfetch_tests::sim::{Content, Host, Kind, StoredFile};

use super::*;
use crate::model::{Difference, EventKind, RunOutcome, ScheduleRun};

fn toml(hub: &SimHub) -> String {
    format!(
        "[bandwidth]\ntimezone = 'Europe/Berlin'\n[windows.night]\nperiods = ['23:00-07:00']\n\
         [[endpoints]]\nname = 'hub'\nurl = '{}'\n",
        hub.endpoint()
    )
}

/// What ann asks for.
fn daily(cron: &str, change: impl FnOnce(&mut AddSchedule)) -> AddSchedule {
    let mut call = AddSchedule {
        owner: Owner {
            uid: 7,
            user: "ann".to_owned(),
        },
        wish: Wish {
            name: "org/m".to_owned(),
            ..Wish::default()
        },
        cron: cron.to_owned(),
        timezone: String::new(),
        keep: None,
        token: None,
        no_login: true,
    };
    change(&mut call);
    call
}

/// Another commit of the branch: a small file changes.
fn push(hub: &SimHub, text: &str) -> String {
    let file = StoredFile {
        content: Arc::new(Content::memory(text.to_owned())),
        storage: Storage::Plain,
    };
    let change = |repo: &mut hfetch_tests::sim::Repo| {
        repo.push("main", text, |files| drop(files.insert("notes.txt".to_owned(), file)))
    };
    hub.change_repo(Kind::Model, "org/m", change).unwrap()
}

impl World {
    async fn runs(&self, id: &str) -> Vec<ScheduleRun> {
        self.engine.schedule(Scope::Uid(7), id).await.unwrap().last
    }

    /// The n-th run, once it is there.
    async fn run(&self, id: &str, number: usize) -> ScheduleRun {
        let there = eventually("a run", async || {
            let mut runs = self.runs(id).await;
            match runs.len() == number {
                true => Ok(runs.remove(0)),
                false => Err(format!("{runs:?}")),
            }
        });
        there.await.unwrap()
    }

    async fn done(&self, run: &ScheduleRun) -> Job {
        self.until(run.job.as_ref().unwrap(), JobState::Done, None).await
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir.path().join("hub/models--org--m/snapshots").join(commit)
    }

    /// The same machine, switched on at another time.
    async fn reboot(self, now: &str) -> Self {
        let World {
            dir,
            time,
            config,
            engine,
            running,
        } = self;
        drop(engine);
        running.stop().await;
        time.send_replace(now.parse().unwrap());
        let (engine, running) = begin(&dir, time.subscribe(), config.subscribe()).await;
        World {
            dir,
            time,
            config,
            engine,
            running,
        }
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_pulled_and_what_was_missed_is_pulled_once() {
    let hub = hub(3 * MB);
    let world = World::start("2026-03-28T12:00:00Z", &toml(&hub)).await;
    let added = world.engine.add_schedule(daily("30 2 * * *", |_| ())).await.unwrap();
    let (view, existing, warnings) = added;
    assert!(!existing && warnings.is_empty(), "{warnings:?}");
    // In the first night the clock jumps over half past two.
    let next = ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"];
    assert_eq!(view.next[..3], next.map(|at| at.parse().unwrap()));
    assert_eq!((view.next.len(), view.timezone.as_str()), (5, "Europe/Berlin"));
    let id = view.schedule.id.to_string();
    // The same once more is the same; another user's it is not.
    assert!(world.engine.add_schedule(daily("30 2 * * *", |_| ())).await.unwrap().1);
    assert!(world.engine.schedule(Scope::Uid(8), &id).await.is_err());
    assert!(world.engine.schedules(Scope::Uid(8)).await.unwrap().is_empty());

    world.set_time("2026-03-29T00:59:59Z");
    world.engine.answers().await;
    assert_eq!((world.runs(&id).await.len(), hub.journal().len()), (0, 0));
    world.set_time("2026-03-29T01:00:00Z");
    let first = world.run(&id, 1).await;
    assert_eq!(first.due_at, Some("2026-03-29T01:00:00Z".parse().unwrap()));
    let job = world.done(&first).await;
    assert_eq!(
        (job.owner.uid, job.spec.schedule.unwrap().to_string(), job.difference),
        (
            7,
            id.clone(),
            Some(Difference {
                files: 1,
                bytes: 3 * MB
            })
        )
    );

    // Nothing has changed: one question.
    let asked = hub.journal().len();
    world.set_time("2026-03-30T00:30:00Z");
    let second = world.run(&id, 2).await;
    assert_eq!((second.outcome, &second.job), (RunOutcome::Unchanged, &None));
    assert_eq!(hub.journal().len(), asked + 1, "{}", hub.journal().text());

    // What changed is told before it is fetched, and is all that is.
    let commit = push(&hub, "second");
    world.set_time("2026-03-31T00:30:00Z");
    let third = world.run(&id, 3).await;
    let job = world.done(&third).await;
    assert_eq!(job.difference, Some(Difference { files: 1, bytes: 6 }));
    let events = world.engine.events_after(Scope::All, EventSeq(0), 1000).await.unwrap();
    let planned = events
        .iter()
        .find(|event| event.job_id == job.id && event.what.kind == EventKind::Planned);
    assert_eq!(planned.unwrap().what.detail, "1 of 2 files differ, 6 B to fetch");
    let run = &world.runs(&id).await[0];
    assert_eq!(
        (run.state, run.commit.as_str()),
        (Some(JobState::Done), commit.as_str())
    );

    // Four nights with the machine off are made up for by one run, at once.
    push(&hub, "third");
    let world = world.reboot("2026-04-03T10:00:00Z").await;
    let fourth = world.run(&id, 4).await;
    assert_eq!(
        (fourth.due_at, fourth.ran_at),
        (
            Some("2026-04-01T00:30:00Z".parse().unwrap()),
            "2026-04-03T10:00:00Z".parse().unwrap()
        )
    );
    world.done(&fourth).await;
    let view = world.engine.schedule(Scope::All, &id).await.unwrap();
    assert_eq!(view.next[0], "2026-04-04T00:30:00Z".parse().unwrap());
    // And not again at the next start.
    let world = world.reboot("2026-04-03T12:00:00Z").await;
    world.engine.answers().await;
    assert_eq!(world.runs(&id).await.len(), 4);

    // Paused it does not run, and does not make up for it.
    world.engine.pause_schedule(Scope::Uid(7), &id, true).await.unwrap();
    world.set_time("2026-04-05T12:00:00Z");
    world.engine.answers().await;
    let resumed = world.engine.pause_schedule(Scope::Uid(7), &id, false).await.unwrap();
    assert_eq!(
        (resumed.last.len(), resumed.next[0]),
        (4, "2026-04-06T00:30:00Z".parse().unwrap())
    );
    // What was taken away is pulled again, changed or not.
    std::fs::remove_dir_all(world.dir.path().join("hub")).unwrap();
    let again = world.engine.run_schedule(Scope::Uid(7), &id).await.unwrap();
    assert_eq!((again.outcome, again.due_at), (RunOutcome::Job, None));
    world.done(&again).await;
    let same = world.engine.run_schedule(Scope::Uid(7), &id).await.unwrap();
    assert_eq!(same.outcome, RunOutcome::Unchanged);
    world.engine.remove_schedule(Scope::Uid(7), &id).await.unwrap();
    assert!(world.engine.run_schedule(Scope::All, &id).await.is_err());
    world.stop().await;
}

#[tokio::test]
async fn much_waits_for_a_yes() {
    let hub = hub(3 * MB);
    let world = World::start("2026-03-26T12:00:00Z", &toml(&hub)).await;
    let call = daily("0 14 * * *", |call| call.wish.hold_above = "1MB".to_owned());
    let id = world.engine.add_schedule(call).await.unwrap().0.schedule.id.to_string();
    world.set_time("2026-03-26T13:00:00Z");
    let run = world.run(&id, 1).await;
    let job = run.job.clone().unwrap();
    let held = world.until(&job, JobState::Held, Some(HoldReason::Approval)).await;
    assert_eq!(
        held.difference,
        Some(Difference {
            files: 1,
            bytes: 3 * MB
        })
    );
    assert!(
        held.detail
            .starts_with("2.8 MiB are to be fetched, more than 976.5 KiB")
            && held.detail.ends_with(&format!("`hfctl resume {job}` says yes")),
        "{}",
        held.detail
    );
    assert_eq!(held.next_attempt_at, None);
    // Not by waiting, not over a restart, and the next run waits for it.
    let world = world.reboot("2026-03-27T13:00:00Z").await;
    assert_eq!(world.run(&id, 2).await.outcome, RunOutcome::Overlap);
    let all = world
        .engine
        .act(Scope::Uid(7), Chosen::All, Verb::Resume)
        .await
        .unwrap();
    assert!(all.is_empty());
    assert_eq!(world.job(&job).await.state, JobState::Held);
    assert_eq!(hub.journal().body_bytes(Host::Cdn), 0);
    world
        .engine
        .act(Scope::Uid(7), Chosen::One(job.clone()), Verb::Resume)
        .await
        .unwrap();
    let done = world.until(&job, JobState::Done, None).await;
    assert_eq!(done.spec.hold_above, None);
    // So does a single job; what is there already costs nothing and needs no yes.
    let copy = world.dir.path().join("copy").display().to_string();
    let single = world
        .submit((8, "bob"), |wish| {
            wish.hold_above = "2MiB".to_owned();
            wish.local_dir = copy;
            wish.force_download = true;
        })
        .await;
    world.until(&single, JobState::Held, Some(HoldReason::Approval)).await;
    let there = world.submit((8, "bob"), |wish| wish.hold_above = "0".to_owned()).await;
    let there = world.until(&there, JobState::Done, None).await;
    assert_eq!(there.difference, Some(Difference::default()));
    world.stop().await;
}

#[tokio::test]
async fn a_window_is_waited_for_and_a_lost_one_is_told() {
    let hub = hub(MB);
    let world = World::start("2026-03-26T10:00:00Z", &toml(&hub)).await;
    let call = daily("0 12 * * *", |call| call.wish.window = "night".to_owned());
    let id = world.engine.add_schedule(call).await.unwrap().0.schedule.id.to_string();
    // Due at noon; by day nothing is asked.
    world.set_time("2026-03-26T21:59:59Z");
    world.engine.answers().await;
    assert_eq!((world.runs(&id).await.len(), hub.journal().len()), (0, 0));
    world.set_time("2026-03-26T22:00:00Z");
    let run = world.run(&id, 1).await;
    assert_eq!(run.due_at, Some("2026-03-26T11:00:00Z".parse().unwrap()));
    world.done(&run).await;
    // Asked for by day, its job waits.
    push(&hub, "more");
    world.set_time("2026-03-27T10:00:00Z");
    let asked = world.engine.run_schedule(Scope::Uid(7), &id).await.unwrap();
    let job = asked.job.clone().unwrap();
    world.until(&job, JobState::Held, Some(HoldReason::Window)).await;
    world.set_time("2026-03-27T22:00:00Z");
    world.until(&job, JobState::Done, None).await;
    // The evening's own run came together with it, or after it: whichever, once.
    world.run(&id, 3).await;
    let without = toml(&hub).replace("windows.night", "windows.day");
    world.reconfigure(&without);
    world.set_time("2026-03-28T12:00:00Z");
    let refused = world.run(&id, 4).await;
    assert_eq!(refused.outcome, RunOutcome::Refused);
    assert!(refused.detail.contains("no window `night`"), "{}", refused.detail);
    world.stop().await;
}

#[tokio::test]
async fn earlier_revisions_of_its_own_go() {
    let hub = hub(100_000);
    let world = World::start("2026-03-26T10:00:00Z", &toml(&hub)).await;
    let call = daily("0 0 1 1 *", |call| call.keep = Some(1));
    let id = world.engine.add_schedule(call).await.unwrap().0.schedule.id.to_string();
    let pull = async || {
        let run = world.engine.run_schedule(Scope::Uid(7), &id).await.unwrap();
        world.done(&run).await.commit.unwrap().to_string()
    };
    let target = |commit: &str| CacheTarget {
        kind: crate::model::RepoKind::Model,
        repo: crate::model::RepoId::parse("org/m").unwrap(),
        revision: Some(crate::model::Revision::parse(commit).unwrap()),
    };
    // Somebody else's comes first: it was there, and stays.
    let others = world.submit((8, "bob"), |_| ()).await;
    let others = world.until(&others, JobState::Done, None).await.commit.unwrap();
    assert_eq!(pull().await, others.as_str());
    let mut commits = Vec::new();
    for text in ["one", "two", "three", "four"] {
        push(&hub, text);
        commits.push(pull().await);
        if text == "one" {
            let pinned = world.engine.set_pins(vec![target(&commits[0])], true).await;
            assert_eq!(pinned.unwrap(), 1);
        }
    }
    // The newest, one before it, what is pinned and what is somebody else's.
    let gone = eventually("the second to go", async || {
        let there: Vec<bool> = commits.iter().map(|commit| world.snapshot(commit).is_dir()).collect();
        match there == [true, false, true, true] {
            true => Ok(()),
            false => Err(format!("{there:?}")),
        }
    });
    gone.await.unwrap();
    assert!(world.snapshot(others.as_str()).is_dir());
    // Its job tells.
    let told = eventually("a word of it", async || {
        let events = world
            .engine
            .events_after(Scope::All, EventSeq(0), 1000)
            .await
            .map_err(|error| error.to_string())?;
        let told = |event: &Event| {
            event.what.kind == EventKind::Warning && event.what.detail.contains("1 earlier revisions are removed")
        };
        match events.iter().any(told) {
            true => Ok(()),
            false => Err(format!("{events:?}")),
        }
    });
    told.await.unwrap();
    // Without its pin the next one takes it.
    world.engine.set_pins(vec![target(&commits[0])], false).await.unwrap();
    push(&hub, "five");
    pull().await;
    let gone = eventually("the first and the third to go", async || {
        let there: Vec<bool> = commits.iter().map(|commit| world.snapshot(commit).is_dir()).collect();
        match there == [false, false, false, true] {
            true => Ok(()),
            false => Err(format!("{there:?}")),
        }
    });
    gone.await.unwrap();
    for bad in [
        daily("0 0 31 2 *", |_| ()),
        daily("@daily", |call| call.timezone = "Mars/Olympus".to_owned()),
        daily("@daily", |call| call.wish.window = "never".to_owned()),
        daily("@daily", |call| call.wish.hold_above = "much".to_owned()),
        daily("@daily", |call| call.wish.force_download = true),
        daily("@daily", |call| {
            call.keep = Some(1);
            call.wish.local_dir = "/x".to_owned();
        }),
    ] {
        let refused = world.engine.add_schedule(bad).await;
        assert!(matches!(refused, Err(CallError::InvalidArgument { .. })), "{refused:?}");
    }
    world.stop().await;
}
