//! The store against real files.

use std::sync::{Arc, Mutex};

use super::*;
use crate::model::{
    CommitHash, Destination, Digest, FileState, HoldReason, JobSpec, Owner, Pacing, Priority, RepoId, RepoKind,
    RepoPath, Revision, Selection, Trust,
};

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
    threads: StoreThreads,
    heard: Arc<Mutex<Vec<Event>>>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    pub(super) fn open(dir: tempfile::TempDir) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = heard.clone();
        let (store, threads) =
            Store::open(dir.path(), Box::new(move |events| sink.lock().unwrap().extend(events))).unwrap();
        Self {
            dir,
            store,
            threads,
            heard,
        }
    }

    pub(super) fn reopen(self) -> Self {
        Self::open(self.close())
    }

    pub(super) fn close(self) -> tempfile::TempDir {
        drop(self.store);
        self.threads.join();
        self.dir
    }
}

pub(super) fn new_job(uid: u32, repo: &str, priority: Priority, request: Option<(&str, &[u8])>) -> NewJob {
    NewJob {
        owner: Owner {
            uid,
            user: format!("user{uid}"),
        },
        bytes_expected: 0,
        spec: JobSpec {
            repo_id: RepoId::parse(repo).unwrap(),
            kind: RepoKind::Model,
            revision: Revision::main(),
            selection: Selection {
                include: vec!["*.json".into()],
                ..Selection::default()
            },
            destination: Destination::Cache("/c".into()),
            endpoints: vec!["https://huggingface.co".into()],
            own_endpoint: Some("https://hub.example".into()),
            priority,
            pacing: Pacing::default(),
            connections: None,
            max_workers: Some(3),
            force_download: false,
            token_ref: None,
            hold_above: None,
            schedule: None,
        },
        request: request.map(|(id, print)| RequestKey {
            id: id.into(),
            fingerprint: print.into(),
        }),
        max_queued: 10,
        held: None,
    }
}

pub(super) fn everyone() -> Filter {
    Filter {
        scope: Scope::All,
        states: vec![],
        held_for: Vec::new(),
        user: String::new(),
        repo: String::new(),
        before_row: None,
        limit: 100,
    }
}

#[tokio::test]
async fn an_answered_submit_is_there_after_reopening() {
    let fixture = Fixture::new();
    let job = fixture
        .store
        .submit(new_job(7, "a/b", Priority::High, None))
        .await
        .unwrap()
        .job;
    let fixture = fixture.reopen();
    let again = fixture.store.job(Scope::Uid(7), &job.id).await.unwrap();
    assert_eq!(again.spec, job.spec);
    assert_eq!(again.state, JobState::Queued);
    assert!(matches!(
        fixture.store.job(Scope::Uid(8), &job.id).await,
        Err(StoreError::NoSuchJob(_))
    ));
}

#[tokio::test]
async fn a_request_id_makes_one_job() {
    let fixture = Fixture::new();
    let submit = |print: &'static [u8]| {
        fixture
            .store
            .submit(new_job(1, "a/b", Priority::Normal, Some(("r", print))))
    };
    let first = submit(b"x").await.unwrap();
    let second = submit(b"x").await.unwrap();
    assert!(!first.existing && second.existing);
    assert_eq!(first.job.id, second.job.id);
    assert!(matches!(submit(b"y").await, Err(StoreError::RequestReused { .. })));
    // Another user's ids are another name space.
    assert!(
        !fixture
            .store
            .submit(new_job(2, "a/b", Priority::Normal, Some(("r", b"y"))))
            .await
            .unwrap()
            .existing
    );
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let fixture = Fixture::new();
    for _ in 0..10 {
        fixture
            .store
            .submit(new_job(1, "a/b", Priority::Normal, None))
            .await
            .unwrap();
    }
    let refused = fixture.store.submit(new_job(1, "a/b", Priority::Normal, None)).await;
    assert!(matches!(refused, Err(StoreError::QueueFull { queued: 10, limit: 10 })));
}

#[tokio::test]
async fn one_bad_change_does_not_undo_its_neighbours() {
    let fixture = Fixture::new();
    let job = fixture
        .store
        .submit(new_job(1, "a/b", Priority::Normal, None))
        .await
        .unwrap()
        .job;
    let (good, bad) = tokio::join!(
        fixture
            .store
            .move_job(Scope::All, &job.id, JobMove::Start, MoveNote::default()),
        fixture
            .store
            .move_job(Scope::All, &job.id, JobMove::Resume, MoveNote::default()),
    );
    assert_eq!(good.unwrap().state, JobState::Active);
    assert!(matches!(bad, Err(StoreError::IllegalMove(_))));
    assert_eq!(
        fixture.store.job(Scope::All, &job.id).await.unwrap().state,
        JobState::Active
    );
    assert_eq!(fixture.heard.lock().unwrap().len(), 2, "submitted and active");
}

#[tokio::test]
async fn events_are_numbered_over_restarts_and_pruning() {
    let fixture = Fixture::new();
    let job = fixture
        .store
        .submit(new_job(1, "a/b", Priority::Normal, None))
        .await
        .unwrap()
        .job;
    let note = MoveNote {
        detail: "no space".into(),
        ..MoveNote::default()
    };
    let hold = JobMove::Hold(HoldReason::Disk);
    fixture
        .store
        .move_job(Scope::All, &job.id, hold, note.clone())
        .await
        .unwrap();
    // The same hold again is no news.
    fixture.store.move_job(Scope::All, &job.id, hold, note).await.unwrap();
    let fixture = fixture.reopen();
    fixture
        .store
        .move_job(Scope::All, &job.id, JobMove::Start, MoveNote::default())
        .await
        .unwrap();
    let events = fixture.store.events_after(Scope::All, EventSeq(0), 100).await.unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.seq.0, event.what.kind, event.what.state))
        .collect();
    assert_eq!(
        seen,
        [
            (1, EventKind::Submitted, JobState::Queued),
            (2, EventKind::StateChanged, JobState::Held),
            (3, EventKind::StateChanged, JobState::Active)
        ]
    );
    assert_eq!(events[1].what.hold_reason, Some(HoldReason::Disk));
    assert!(
        fixture
            .store
            .events_after(Scope::Uid(2), EventSeq(0), 100)
            .await
            .unwrap()
            .is_empty()
    );

    assert_eq!(fixture.store.prune(Timestamp::MAX, 1_000).await.unwrap(), 2);
    assert!(matches!(
        fixture.store.events_after(Scope::All, EventSeq(1), 9).await,
        Err(StoreError::EventsPruned(2))
    ));
    assert_eq!(
        fixture
            .store
            .events_after(Scope::All, EventSeq(2), 9)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(fixture.store.newest_event().await.unwrap(), EventSeq(3));
}

#[tokio::test]
async fn the_queue_is_in_order_of_priority_then_age() {
    let fixture = Fixture::new();
    for (repo, priority) in [
        ("a/1", Priority::Low),
        ("a/2", Priority::Normal),
        ("a/3", Priority::High),
        ("a/4", Priority::Normal),
    ] {
        fixture.store.submit(new_job(1, repo, priority, None)).await.unwrap();
    }
    let repos: Vec<String> = fixture
        .store
        .next_queued(9, std::collections::HashSet::new(), |_| 1)
        .await
        .unwrap()
        .iter()
        .map(|job| job.spec.repo_id.to_string())
        .collect();
    assert_eq!(repos, ["a/3", "a/2", "a/4", "a/1"]);
}

#[tokio::test]
async fn lists_are_paged_filtered_and_private() {
    let fixture = Fixture::new();
    for index in 0..5 {
        fixture
            .store
            .submit(new_job(index % 2, &format!("org/m{index}"), Priority::Normal, None))
            .await
            .unwrap();
    }
    let repos = |jobs: Vec<Job>| jobs.iter().map(|job| job.spec.repo_id.to_string()).collect::<Vec<_>>();
    let (page, _) = fixture
        .store
        .list_jobs(Filter { limit: 2, ..everyone() })
        .await
        .unwrap();
    let last = page.last().unwrap().row;
    assert_eq!(repos(page), ["org/m4", "org/m3"]);
    let (page, _) = fixture
        .store
        .list_jobs(Filter {
            limit: 2,
            before_row: Some(last),
            ..everyone()
        })
        .await
        .unwrap();
    assert_eq!(repos(page), ["org/m2", "org/m1"]);
    let (mine, _) = fixture
        .store
        .list_jobs(Filter {
            scope: Scope::Uid(1),
            ..everyone()
        })
        .await
        .unwrap();
    assert_eq!(repos(mine), ["org/m3", "org/m1"]);
    let (found, _) = fixture
        .store
        .list_jobs(Filter {
            repo: "M2".into(),
            ..everyone()
        })
        .await
        .unwrap();
    assert_eq!(repos(found), ["org/m2"]);
    let (none, _) = fixture
        .store
        .list_jobs(Filter {
            states: vec![JobState::Done],
            ..everyone()
        })
        .await
        .unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn a_plan_is_stored_and_ticked_off_once() {
    let fixture = Fixture::new();
    let job = fixture
        .store
        .submit(new_job(1, "a/b", Priority::Normal, None))
        .await
        .unwrap()
        .job;
    fixture
        .store
        .move_job(Scope::All, &job.id, JobMove::Start, MoveNote::default())
        .await
        .unwrap();
    let file = |path: &str, size| FileRecord {
        id: FileId(0),
        path: RepoPath::parse(path).unwrap(),
        size,
        digest: Digest::GitSha1([3; 20]),
        state: FileState::Pending,
        reused: false,
        failure: None,
    };
    fixture
        .store
        .add_files(job.row, vec![file("b", 5), file("a", 7)])
        .await
        .unwrap();
    assert!(!fixture.store.is_planned(job.row).await.unwrap());
    let head = PlanHead {
        commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
        asked_at: Timestamp::now(),
        trust: Trust::Origin,
        files: 2,
        bytes: 12,
        difference: None,
    };
    fixture.store.finish_plan(&job.id, head).await.unwrap();
    let pending = fixture.store.pending_files(job.row, FileId(0), 10).await.unwrap();
    assert_eq!(pending.len(), 2);
    let done = vec![FileDone {
        id: pending[0].id,
        reused: true,
    }];
    fixture.store.files_done(&job.id, done.clone()).await.unwrap();
    let job = fixture.store.files_done(&job.id, done).await.unwrap();
    assert_eq!(
        (job.files_done, job.bytes_done, job.bytes_reused, job.bytes_total),
        (1, 5, 5, 12)
    );
    let paths: Vec<String> = fixture
        .store
        .list_files(job.row, String::new(), 10)
        .await
        .unwrap()
        .iter()
        .map(|f| f.path.to_string())
        .collect();
    assert_eq!(paths, ["a", "b"]);
}
