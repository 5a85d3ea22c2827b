//! The ledger against real files.

use super::super::tests::{Fixture, new_job};
use super::*;
use crate::model::{Priority, usage::total};

fn booking(day: &str, uid: u32, job: &str, bytes: u64) -> Booking {
    Booking {
        day: day.parse().unwrap(),
        uid,
        user: format!("user{uid}"),
        job: job.to_owned(),
        route: TrafficRoute {
            endpoint: "https://hub".to_owned(),
            host: "cdn".to_owned(),
            way: "DIRECT".to_owned(),
            rule: "MATCH".to_owned(),
        },
        spent: Spent {
            requests: 1,
            bytes,
            wasted: 1,
            repeated: 2,
        },
    }
}

/// Once, from wherever they are.
async fn bookings_of(store: &Store, asked: Asked) -> Vec<Booking> {
    let (settled, mut rows) = store.in_ledger(asked.clone()).await.unwrap();
    rows.extend(store.unsettled(asked, settled).await.unwrap());
    rows
}

async fn settle_and_forget(store: &Store) {
    if let Some(number) = store.settle().await.unwrap() {
        store.forget_settled(number).await.unwrap();
    }
}

async fn bytes_since(store: &Store, scope: Scope, day: &str) -> u64 {
    let rows = bookings_of(store, Asked::Since(scope, day.parse().unwrap())).await;
    total(&rows).bytes
}

#[tokio::test]
async fn what_is_booked_counts_once_before_and_after_it_is_settled() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let day = "2026-03-01";
    store
        .book(vec![booking(day, 7, "", 10), booking(day, 7, "", 5)], vec![])
        .await
        .unwrap();
    store
        .book(vec![booking("2026-02-28", 8, "", 100)], vec![])
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(bytes_since(store, Scope::All, "2026-01-01").await, 115);
        assert_eq!(bytes_since(store, Scope::All, day).await, 15);
        assert_eq!(bytes_since(store, Scope::Uid(8), day).await, 0);
        settle_and_forget(store).await;
    }
    // More of the same day, and a start in between.
    store.book(vec![booking(day, 7, "", 20)], vec![]).await.unwrap();
    let fixture = fixture.reopen();
    settle_and_forget(&fixture.store).await;
    let rows = bookings_of(&fixture.store, Asked::Since(Scope::Uid(7), day.parse().unwrap())).await;

    let expected = Spent {
        requests: 3,
        bytes: 35,
        wasted: 3,
        repeated: 6,
    };
    assert_eq!((rows.len(), rows[0].spent), (1, expected));
    assert_eq!(fixture.store.prune_ledger(day.parse().unwrap()).await.unwrap(), 1);
    assert_eq!(bytes_since(&fixture.store, Scope::All, "2026-01-01").await, 35);
}

#[tokio::test]
async fn a_settlement_that_was_cut_off_counts_once() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let day = "2026-03-01";
    store.book(vec![booking(day, 7, "", 10)], vec![]).await.unwrap();
    // Killed after the ledger had it, before the batch was deleted.
    let batch = store.progress.write(|context| close(context.db)).await.unwrap();
    store.jobs.write(move |context| settle(context, &batch)).await.unwrap();
    store.book(vec![booking(day, 7, "", 1)], vec![]).await.unwrap();
    let fixture = fixture.reopen();
    settle_and_forget(&fixture.store).await;
    assert_eq!(bytes_since(&fixture.store, Scope::All, day).await, 11);
    // Killed before the ledger had it.
    fixture
        .store
        .book(vec![booking(day, 7, "", 100)], vec![])
        .await
        .unwrap();
    fixture.store.progress.write(|context| close(context.db)).await.unwrap();
    let fixture = fixture.reopen();
    settle_and_forget(&fixture.store).await;
    assert_eq!(bytes_since(&fixture.store, Scope::All, day).await, 111);
    // The hints are lost: what comes after that is not taken for what was settled before.
    let dir = fixture.close();
    std::fs::remove_file(dir.path().join("progress.db")).unwrap();
    let fixture = Fixture::open(dir);
    fixture
        .store
        .book(vec![booking(day, 7, "", 1000)], vec![])
        .await
        .unwrap();
    settle_and_forget(&fixture.store).await;
    assert_eq!(bytes_since(&fixture.store, Scope::All, day).await, 1111);
}

#[tokio::test]
async fn jobs_have_an_account_and_leave_it_to_their_days() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let job = store
        .submit(new_job(7, "org/m", Priority::Normal, None))
        .await
        .unwrap()
        .job;
    let other = store
        .submit(new_job(7, "org/n", Priority::Normal, None))
        .await
        .unwrap()
        .job;
    let id = job.id.to_string();
    let rows = vec![booking("2026-03-01", 7, &id, 10), booking("2026-03-01", 7, "", 3)];
    store.book(rows, vec![]).await.unwrap();
    settle_and_forget(store).await;
    store
        .book(vec![booking("2026-03-02", 7, &id, 20)], vec![])
        .await
        .unwrap();
    assert_eq!(total(&bookings_of(store, Asked::Job(job.id.clone())).await).bytes, 30);
    assert_eq!(bookings_of(store, Asked::Job(other.id.clone())).await, []);
    settle_and_forget(store).await;
    let row = job.row;
    let forget = store.jobs.write(move |context| {
        let ended = context.db.execute("UPDATE jobs SET ended_at = 1 WHERE row = ?1", [row]);
        ended.act("end a job")?;
        forget_jobs(context.db, &format!("[{row}]"), 1)
    });
    forget.await.unwrap();
    assert_eq!(bookings_of(store, Asked::Job(job.id.clone())).await, []);
    assert_eq!(bytes_since(store, Scope::All, "2026-03-01").await, 33);
}

#[tokio::test]
async fn what_jobs_had_in_hand_is_what_was_booked_last() {
    let fixture = Fixture::new();
    let id = JobId::parse("0123456789").unwrap();
    let had = InHand { bytes: 7, again: 2 };
    let before = vec![(JobId::parse("abcdefghjk").unwrap(), had)];
    fixture.store.book(vec![], before).await.unwrap();
    fixture.store.book(vec![], vec![(id.clone(), had)]).await.unwrap();
    // Whoever dies after reading it reads it again.
    for _ in 0..2 {
        assert_eq!(fixture.store.in_hand().await.unwrap(), [(id.to_string(), had)]);
    }
    fixture.store.book(vec![], vec![]).await.unwrap();
    assert_eq!(fixture.store.in_hand().await.unwrap(), []);
}
