//! Opens a database: pragmas, checks, migrations. The only place that calls `Connection::open`.

use std::{fs, os::unix::fs::OpenOptionsExt as _, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::{
    error::{Act as _, StoreError},
    migrate::{self, Schema},
};

/// Oldest SQLite without the WAL-reset corruption (3.51.3).
const SQLITE_FLOOR: i32 = 3_051_003;

/// How much a commit must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Power cuts: an acknowledged submit is never lost.
    Full,
    /// Kills only; a power cut may take the newest commits. For hints.
    Normal,
}

/// Opens (or creates, 0600) a database for its one writer and brings it to the newest schema.
pub(super) fn open_writer(path: &Path, schema: &Schema, durability: Durability) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < SQLITE_FLOOR {
        return Err(StoreError::OldSqlite {
            found: rusqlite::version().to_owned(),
        });
    }
    // SQLite would create it by the umask; what is in it is nobody else's business.
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::Io {
            act: "open",
            path: path.to_owned(),
            source,
        })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut db = connect(path, flags)?;
    db.pragma_update(None, "journal_mode", "WAL")
        .act("switch to write-ahead logging")?;
    let level = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    db.pragma_update(None, "synchronous", level).act("set synchronous")?;
    // The log is cut back to this after a checkpoint, so a burst of submits does not keep the disk.
    db.pragma_update(None, "journal_size_limit", 64 << 20)
        .act("set journal_size_limit")?;
    migrate::migrate(&mut db, path, schema)?;
    let damage: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .act("check the database")?;
    if damage != "ok" {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            detail: damage,
        });
    }
    Ok(db)
}

/// Hints are not worth refusing to start: a damaged file is moved aside and begun anew.
pub(super) fn open_progress(path: &Path) -> Result<Connection, StoreError> {
    match open_writer(path, &migrate::PROGRESS, Durability::Normal) {
        Err(error @ (StoreError::Sqlite { .. } | StoreError::Damaged { .. } | StoreError::Foreign { .. })) => {
            tracing::warn!(%error, path = %path.display(), "the progress database is begun anew; unfinished files are fetched again");
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                match fs::remove_file(&name) {
                    Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StoreError::Io {
                            act: "remove",
                            path: name.into(),
                            source,
                        });
                    }
                    _ => {}
                }
            }
            open_writer(path, &migrate::PROGRESS, Durability::Normal)
        }
        other => other,
    }
}

/// Opens a database that a writer has opened already, for reading only.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.pragma_update(None, "query_only", true).act("set query_only")?;
    Ok(db)
}

/// Opens a database to copy it, whatever its version: the statement that writes the copy is no query to SQLite.
pub(super) fn open_copier(path: &Path) -> Result<Connection, StoreError> {
    let open = || connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let db = open()?;
    match read_something(&db) {
        Err(error) if is_half_written(&error) => {
            drop(db);
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            read_something(&connect(path, flags)?).act("roll back what a kill left")?;
            open()
        }
        // What else is wrong with it is told by who uses it.
        _ => Ok(db),
    }
}

fn read_something(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA schema_version", [], |_| Ok(()))
}

/// Before it had its write-ahead log: a kill in that moment leaves a rollback journal, which only a writer may play back.
fn is_half_written(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
}

#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let db = Connection::open_with_flags(path, flags).act("open the database")?;
    db.busy_timeout(std::time::Duration::from_secs(5))
        .act("set the busy timeout")?;
    for (pragma, value) in [
        ("foreign_keys", true),
        ("trusted_schema", false),
        ("cell_size_check", true),
    ] {
        db.pragma_update(None, pragma, value).act("set a pragma")?;
    }
    // A disk error on a mapped page would be a SIGBUS, not an error code.
    db.pragma_update(None, "mmap_size", 0).act("set mmap_size")?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}
