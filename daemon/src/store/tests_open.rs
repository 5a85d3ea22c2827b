//! Opening databases that are not what they should be.

use super::{tests::Fixture, *};

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
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("99") && refused.to_string().contains("up to 1"));
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
