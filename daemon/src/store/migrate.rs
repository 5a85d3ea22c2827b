//! Forward-only migrations: numbered files, one step each, never edited once released; all steps in one transaction.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::{Act as _, StoreError};

/// Marks our databases: "hfet".
const APPLICATION_ID: i32 = 0x6866_6574;

/// One database's history: step n brings version n-1 to version n.
pub(super) struct Schema {
    /// SQL of each step.
    pub(super) steps: &'static [&'static str],
}

/// Queue, files, events.
pub(super) const JOBS: Schema = Schema {
    steps: &[
        include_str!("sql/jobs_0001.sql"),
        include_str!("sql/jobs_0003.sql"),
        include_str!("sql/jobs_0004.sql"),
        include_str!("sql/jobs_0005.sql"),
        include_str!("sql/jobs_0006.sql"),
        include_str!("sql/jobs_0008.sql"),
        include_str!("sql/jobs_0009.sql"),
        include_str!("sql/jobs_0010.sql"),
        include_str!("sql/jobs_0011.sql"),
        include_str!("sql/jobs_0012.sql"),
        include_str!("sql/jobs_0013.sql"),
        include_str!("sql/jobs_0014.sql"),
        include_str!("sql/jobs_0015.sql"),
    ],
};
/// Hints on partial and verified files.
pub(super) const PROGRESS: Schema = Schema {
    steps: &[
        include_str!("sql/progress_0001.sql"),
        include_str!("sql/progress_0002.sql"),
        include_str!("sql/progress_0003.sql"),
        include_str!("sql/progress_0004.sql"),
        include_str!("sql/progress_0005.sql"),
    ],
};

impl Schema {
    /// The newest version.
    pub(super) fn newest(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

/// The version of a database of ours that is older than this program; `None` of any other.
pub(super) fn outdated(db: &Connection, schema: &Schema) -> Result<Option<u32>, StoreError> {
    let application_id: i32 = db
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .act("read application_id")?;
    let found: u32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .act("read user_version")?;
    let ours = application_id == APPLICATION_ID && found > 0;
    Ok((ours && found < schema.newest()).then_some(found))
}

/// Brings a database to the newest version; a newer one is refused untouched.
pub(super) fn migrate(db: &mut Connection, path: &Path, schema: &Schema) -> Result<(), StoreError> {
    migrate_past(db, path, schema, |_| {})
}

/// The same; `past` hears of each step that was made and is not committed yet.
pub(super) fn migrate_past(
    db: &mut Connection,
    path: &Path,
    schema: &Schema,
    mut past: impl FnMut(u32),
) -> Result<(), StoreError> {
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .act("begin the migration")?;
    let application_id: i32 = transaction
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .act("read application_id")?;
    let found: u32 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .act("read user_version")?;
    let empty: bool = transaction
        .query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
        .act("look for tables")?;
    if application_id != APPLICATION_ID && !(empty && application_id == 0 && found == 0) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            found: application_id,
        });
    }
    let known = schema.newest();
    if found > known {
        return Err(StoreError::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found == known {
        return Ok(());
    }
    for (version, step) in (1..).zip(schema.steps).skip(found as usize) {
        transaction.execute_batch(step).act("migrate")?;
        past(version);
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .act("set application_id")?;
    transaction
        .pragma_update(None, "user_version", known)
        .act("set user_version")?;
    transaction.commit().act("commit the migration")
}
