//! Databases of every version that there was, with rows in them, become databases of the newest one: also when the program is
//! killed after any step on the way.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, types::Value};

use super::{
    migrate::{self, JOBS, PROGRESS, Schema, migrate_past},
    tests::{Fixture, everyone},
    *,
};
use crate::model::{HoldReason, RepoId, RepoKind};

const ROWS: &str = include_str!("tests_upgrade.sql");
/// Files of a database that a kill leaves. The third one is memory that processes share: what is in it then is no matter.
const FILES: [&str; 2] = ["", "-wal"];

#[expect(clippy::disallowed_methods, reason = "a test plays another program")]
fn connect(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    // Unfinished transactions go to the disk, too.
    // A kill takes nothing from them, synced or not.
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = 2")
        .unwrap();
    db
}

/// What a version wrote that its predecessor could not.
fn rows_of(name: &str, version: usize) -> &'static str {
    let mark = format!("-- {name} {version}\n");
    let rest = ROWS.split_once(&mark).map_or("", |(_, rest)| rest);
    rest.split("\n-- ").next().unwrap_or_default()
}

/// A database as this version left it.
fn old(dir: &Path, name: &str, schema: &Schema, version: usize) -> PathBuf {
    let path = dir.join(format!("{name}.db"));
    let db = connect(&path);
    for (number, step) in (1..).zip(schema.steps).take(version) {
        db.execute_batch(step).unwrap();
        db.execute_batch(rows_of(name, number)).unwrap();
    }
    db.pragma_update(None, "application_id", 0x6866_6574).unwrap();
    db.pragma_update(None, "user_version", version).unwrap();
    path
}

/// By table: its columns, and its rows.
type Contents = BTreeMap<String, (Vec<String>, Vec<Vec<Value>>)>;

fn strings(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn tables(db: &Connection) -> Vec<String> {
    let all = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    strings(db, all)
}

fn rows(db: &Connection, table: &str, columns: &[String]) -> Vec<Vec<Value>> {
    let columns = columns.join(", ");
    let mut statement = db
        .prepare(&format!("SELECT {columns} FROM {table} ORDER BY {columns}"))
        .unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|index| row.get(index)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

fn contents(db: &Connection) -> Contents {
    let of = |table: String| {
        let columns = strings(db, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let rows = rows(db, &table, &columns);
        (table, (columns, rows))
    };
    tables(db).into_iter().map(of).collect()
}

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Nothing that was there is missing or different.
fn nothing_is_lost(db: &Connection, before: &Contents, what: &str) {
    assert_eq!(strings(db, "PRAGMA integrity_check"), ["ok"], "{what}");
    assert!(
        strings(db, "SELECT \"table\" FROM pragma_foreign_key_check").is_empty(),
        "{what}"
    );
    let now = tables(db);
    for (table, (columns, wanted)) in before {
        match table.as_str() {
            // The ledger has it since.
            "job_routes" if !now.contains(table) => {
                let of_jobs = "SELECT sum(bytes) * 1000 + sum(requests) FROM ledger WHERE job <> ''";
                let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
                let sum = |at: usize| -> i64 {
                    let numbers = wanted.iter().map(|row| match row[at] {
                        Value::Integer(number) => number,
                        _ => panic!("no number"),
                    });
                    numbers.sum()
                };
                let routed = sum(column("bytes")) * 1000 + sum(column("requests"));
                assert_eq!(number(db, of_jobs), routed, "{what}");
            }
            _ => assert_eq!(&rows(db, table, columns), wanted, "{what}: {table}"),
        }
    }
}

fn copied(from: &Path, to: &Path, name: &str) -> PathBuf {
    for end in FILES {
        let file = format!("{name}.db{end}");
        if from.join(&file).exists() {
            fs::copy(from.join(&file), to.join(&file)).unwrap();
        }
    }
    to.join(format!("{name}.db"))
}

/// What the files hold at a moment, whatever becomes of the process.
fn killed(from: &Path, name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copied(from, dir.path(), name);
    dir
}

/// What a kill left is upgraded as if nothing had been.
fn goes_on(dir: &Path, name: &str, schema: &Schema, before: &Contents, what: &str) {
    let path = dir.join(format!("{name}.db"));
    let mut db = connect(&path);
    assert_eq!(&contents(&db), before, "{what}: half of it is seen");
    migrate::migrate(&mut db, &path, schema).unwrap();
    nothing_is_lost(&db, before, what);
}

fn every_version_is_upgraded(name: &str, schema: &Schema) {
    let newest = schema.steps.len();
    let fresh = tempfile::tempdir().unwrap();
    let fresh = connect(&old(fresh.path(), name, schema, newest));
    let looks = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    for version in 1..newest {
        let dir = tempfile::tempdir().unwrap();
        let path = old(dir.path(), name, schema, version);
        let before = contents(&connect(&path));
        assert!(
            before.values().all(|(_, rows)| !rows.is_empty()),
            "{name} {version}: {before:?}"
        );
        let mut steps = 0;
        let mut db = connect(&path);
        migrate_past(&mut db, &path, schema, |step| {
            steps += 1;
            let left = killed(dir.path(), name);
            let what = format!("{name} {version}, killed after step {step}");
            goes_on(left.path(), name, schema, &before, &what);
        })
        .unwrap();
        assert_eq!(steps, newest - version);
        let what = format!("{name} {version}");
        // Right after the commit, whose pages are in the log only.
        let left = killed(dir.path(), name);
        nothing_is_lost(&connect(&left.path().join(format!("{name}.db"))), &before, &what);
        nothing_is_lost(&db, &before, &what);
        assert_eq!(
            strings(&db, looks),
            strings(&fresh, looks),
            "{what} looks otherwise than a new one"
        );
        assert_eq!(number(&db, "PRAGMA user_version"), i64::from(schema.newest()));
    }
}

#[test]
fn every_version_of_the_jobs_is_upgraded() {
    every_version_is_upgraded("jobs", &JOBS);
}

#[test]
fn every_version_of_the_hints_is_upgraded() {
    every_version_is_upgraded("progress", &PROGRESS);
}

#[tokio::test]
async fn the_store_reads_what_every_version_wrote() {
    for version in 1..=JOBS.steps.len() {
        let dir = tempfile::tempdir().unwrap();
        drop(old(dir.path(), "jobs", &JOBS, version));
        drop(old(
            dir.path(),
            "progress",
            &PROGRESS,
            version.min(PROGRESS.steps.len()),
        ));
        let fixture = Fixture::open(dir);
        let store = &fixture.store;
        let (jobs, seq) = store
            .list_jobs(Filter {
                limit: 1000,
                ..everyone()
            })
            .await
            .unwrap();
        assert_eq!((jobs.len(), seq), (120, EventSeq(120)), "version {version}");
        let count = |state: JobState| jobs.iter().filter(|job| job.state == state).count();
        let states = [JobState::Paused, JobState::Done, JobState::Failed, JobState::Held];
        assert_eq!(states.map(count), [30; 4], "version {version}");
        assert_eq!(
            store.list_files(jobs[0].row, String::new(), 100).await.unwrap().len(),
            10
        );
        assert_eq!(
            store.aliases(1000).await.unwrap(),
            [("mine".to_owned(), "org/m1@main".to_owned())]
        );
        let approval = jobs
            .iter()
            .filter(|job| job.hold_reason == Some(HoldReason::Approval))
            .count();
        assert_eq!(
            (approval, store.schedules(Scope::All).await.unwrap().len()),
            if version < 11 { (0, 0) } else { (10, 1) }
        );
        let closed = store
            .is_closed(RepoKind::Model, RepoId::parse("org/m2").unwrap())
            .await
            .unwrap();
        assert_eq!(closed, version >= 12);
        // What was there before is kept beside, as it was; a new one has nothing to keep.
        let dir = fixture.close();
        let kept = dir.path().join(format!("jobs.db.v{version}"));
        assert_eq!(kept.exists(), version < JOBS.steps.len(), "version {version}");
        if kept.exists() {
            let db = connect(&kept);
            assert_eq!(
                (
                    number(&db, "PRAGMA user_version"),
                    number(&db, "SELECT count(*) FROM files")
                ),
                (version as i64, 1200)
            );
        }
    }
}

#[tokio::test]
async fn a_copy_is_whole_and_ours_alone() {
    use std::{io::Read as _, os::unix::fs::PermissionsExt as _};
    let dir = tempfile::tempdir().unwrap();
    drop(old(dir.path(), "jobs", &JOBS, JOBS.steps.len()));
    // A kill in the middle of an earlier one.
    fs::write(dir.path().join("jobs.db.copy"), b"half").unwrap();
    let fixture = Fixture::open(dir);
    let mut copy = fixture.store.copy().unwrap();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fixture.dir.path().join("jobs.db.copy").exists());
    let mut bytes = Vec::new();
    copy.read_to_end(&mut bytes).unwrap();
    let restored = tempfile::tempdir().unwrap();
    fs::write(restored.path().join("jobs.db"), bytes).unwrap();
    let restored = Fixture::open(restored);
    let all = || Filter {
        limit: 1000,
        ..everyone()
    };
    let (wanted, seq) = fixture.store.list_jobs(all()).await.unwrap();
    let (jobs, restored_seq) = restored.store.list_jobs(all()).await.unwrap();
    assert_eq!((jobs.len(), restored_seq), (wanted.len(), seq));
    assert!(
        jobs.iter()
            .zip(&wanted)
            .all(|(one, other)| one.id == other.id && one.spec == other.spec)
    );
}

#[test]
fn two_copies_of_older_versions_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    for version in [3, 5, 9] {
        drop(old(dir.path(), "jobs", &JOBS, version));
        backup::before_migration(&dir.path().join("jobs.db"), &JOBS).unwrap();
        for end in ["", "-wal", "-shm"] {
            fs::remove_file(dir.path().join(format!("jobs.db{end}"))).ok();
        }
    }
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["jobs.db.v5", "jobs.db.v9"]);
}
