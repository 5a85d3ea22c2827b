//! Hints, and databases that are not what they should be.

use super::{tests::Fixture, *};
use crate::{
    model::{ByteRange, Digest},
    plan::blocks::BlockCheck,
};

fn alter(dir: &Path, file: &str, sql: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test plays another program")]
    let db = rusqlite::Connection::open(dir.join(file)).unwrap();
    db.execute_batch(sql).unwrap();
}

#[test]
fn a_newer_database_is_refused_by_both_versions() {
    let dir = Fixture::new().close();
    alter(dir.path(), "jobs.db", "PRAGMA user_version = 99");
    let refused = Store::open(dir.path(), Box::new(drop)).err().unwrap();
    assert!(
        matches!(
            refused,
            StoreError::TooNew {
                found: 99,
                known,
                ..
            } if known == Store::schema_version()
        ),
        "{refused}"
    );
    let known = format!("up to {}", Store::schema_version());
    assert!(refused.to_string().contains("99") && refused.to_string().contains(&known));
}

#[test]
fn somebody_elses_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    alter(
        dir.path(),
        "jobs.db",
        "CREATE TABLE mine (x); INSERT INTO mine VALUES (1)",
    );
    assert!(matches!(
        Store::open(dir.path(), Box::new(drop)),
        Err(StoreError::Foreign { .. })
    ));
}

/// What a kill leaves in the moment in which the database is made: pages of a change that was not committed, and the journal that
/// has those before it.
#[test]
fn a_kill_while_it_is_made_is_rolled_back() {
    let (making, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    #[expect(clippy::disallowed_methods, reason = "a test plays a daemon that dies")]
    let db = rusqlite::Connection::open(making.path().join("jobs.db")).unwrap();
    db.execute_batch("CREATE TABLE t (x); DROP TABLE t; PRAGMA cache_size = 1; BEGIN; CREATE TABLE big (x);")
        .unwrap();
    for _ in 0..50 {
        db.execute("INSERT INTO big VALUES (randomblob(4000))", []).unwrap();
    }
    for name in ["jobs.db", "jobs.db-journal"] {
        std::fs::copy(making.path().join(name), dir.path().join(name)).unwrap();
    }
    drop(db);
    #[expect(clippy::disallowed_methods, reason = "a test looks at what it made")]
    let reader =
        rusqlite::Connection::open_with_flags(dir.path().join("jobs.db"), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap();
    let refused = reader.query_row("PRAGMA schema_version", [], |_| Ok(()));
    assert!(refused.is_err(), "only a writer can read this");
    drop(reader);
    Fixture::open(dir).close();
}

#[test]
fn a_ruined_hint_database_costs_hints_only() {
    let dir = Fixture::new().close();
    std::fs::write(
        dir.path().join("progress.db"),
        b"this is no database, but it is long enough to be read as one",
    )
    .unwrap();
    Fixture::open(dir).close();
}

#[test]
fn a_ruined_job_database_is_reported_not_replaced() {
    let dir = Fixture::new().close();
    let ruin = b"this is no database, but it is long enough to be read as one".repeat(100);
    std::fs::write(dir.path().join("jobs.db"), &ruin).unwrap();
    assert!(Store::open(dir.path(), Box::new(drop)).is_err());
    assert_eq!(std::fs::read(dir.path().join("jobs.db")).unwrap(), ruin);
}

#[tokio::test]
async fn claims_and_vouchers_come_back_as_they_were() {
    let fixture = Fixture::new();
    let claim = Claim {
        digest: Digest::Sha256([9; 32]),
        size: 100,
        dev: u64::MAX,
        ino: 1 << 63,
        ctime_ns: -8,
        ranges: vec![ByteRange::new(0, 10), ByteRange::new(50, 100)],
        hash: vec![1, 2],
        checks: NewChecks::after(0, &checks(70)),
        boot: "b".into(),
        job: "j".into(),
    };
    fixture
        .store
        .record_claim("/p".into(), claim.clone(), Vec::new())
        .await
        .unwrap();
    let seen = Verified {
        dev: u64::MAX,
        ino: 3,
        size: 4,
        mtime_ns: -5,
        ctime_ns: 6,
        digest: claim.digest,
    };
    fixture.store.vouch(seen).await.unwrap();
    let fixture = fixture.reopen();
    assert_eq!(fixture.store.claim("/p".into()).await.unwrap(), Some(claim));
    assert!(fixture.store.is_vouched(seen).await);
    assert!(!fixture.store.is_vouched(Verified { ctime_ns: 7, ..seen }).await);
    fixture.store.drop_claim("/p".into()).await.unwrap();
    assert_eq!(fixture.store.claim("/p".into()).await.unwrap(), None);
}

fn checks(count: u128) -> Vec<BlockCheck> {
    (0..count)
        .map(|number| BlockCheck(u128::MAX / 201 * (number + 1)))
        .collect()
}

#[tokio::test]
async fn the_checks_of_blocks_grow_and_shrink_with_the_claim() {
    let fixture = Fixture::new();
    let claim = |checks| Claim {
        digest: Digest::Sha256([9; 32]),
        size: 1 << 40,
        dev: 1,
        ino: 2,
        ctime_ns: 3,
        ranges: Vec::new(),
        hash: Vec::new(),
        checks,
        boot: String::new(),
        job: String::new(),
    };
    let mut stored = 0;
    for count in [0_u8, 1, 63, 64, 65, 200, 130, 128, 3, 0, 90] {
        let all = checks(u128::from(count));
        let new = NewChecks::after(stored, &all);
        assert!(all.len().saturating_sub(stored) <= new.checks.len() && new.checks.len() <= all.len());
        for path in ["/p", "/q"] {
            fixture
                .store
                .record_claim(path.into(), claim(new.clone()), Vec::new())
                .await
                .unwrap();
        }
        let read = fixture.store.claim("/p".into()).await.unwrap().unwrap();
        assert_eq!(read.checks.checks, all);
        stored = all.len();
    }
    fixture.store.drop_claim("/p".into()).await.unwrap();
    fixture
        .store
        .record_claim("/p".into(), claim(NewChecks::after(90, &checks(90))), Vec::new())
        .await
        .unwrap();
    let read = fixture.store.claim("/p".into()).await.unwrap().unwrap();
    assert_eq!(
        read.checks.checks,
        [],
        "a row in the middle is of no use without those before it"
    );
    let other = fixture.store.claim("/q".into()).await.unwrap().unwrap();
    assert_eq!(other.checks.checks, checks(90));
}
