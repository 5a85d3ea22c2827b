//! The checks of the blocks of a partial file, written with its claim.

use std::path::Path;

use rusqlite::{Connection, params};

use super::error::{Act as _, StoreError};
use crate::plan::blocks::BlockCheck;

/// Checks in one row.
const ROW: usize = 64;

/// The checks that a claim writes: of all blocks from number `from` on; those before it stay as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewChecks {
    /// A multiple of 64: the first block of a row.
    pub from: usize,
    /// Of the blocks from there on.
    pub checks: Vec<BlockCheck>,
}

impl NewChecks {
    /// What is to be written when the first `stored` of these checks are in the database already.
    pub fn after(stored: usize, checks: &[BlockCheck]) -> Self {
        let from = stored.min(checks.len()) / ROW * ROW;
        Self {
            from,
            checks: checks[from..].to_vec(),
        }
    }
}

pub(super) fn record(db: &Connection, path: &Path, new: &NewChecks) -> Result<(), StoreError> {
    let path = path.to_string_lossy();
    let first = new.from / ROW;
    db.prepare_cached("DELETE FROM block_checks WHERE path = ?1 AND part >= ?2")
        .and_then(|mut statement| statement.execute(params![path, first]))
        .act("forget block checks")?;
    for (part, row) in (first..).zip(new.checks.chunks(ROW)) {
        let bytes: Vec<u8> = row.iter().flat_map(|check| check.0.to_le_bytes()).collect();
        db.prepare_cached("INSERT INTO block_checks (path, part, checks) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![path, part, bytes]))
            .act("record block checks")?;
    }
    Ok(())
}

/// All checks of a file, up to the first gap.
pub(super) fn read(db: &Connection, path: &Path) -> Result<Vec<BlockCheck>, StoreError> {
    let rows: Vec<(usize, Vec<u8>)> = db
        .prepare_cached("SELECT part, checks FROM block_checks WHERE path = ?1 ORDER BY part")
        .and_then(|mut statement| {
            statement
                .query_map([path.to_string_lossy()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .act("read block checks")?;
    let mut checks = Vec::new();
    for (part, bytes) in rows {
        let (whole, rest) = bytes.as_chunks::<16>();
        if part * ROW != checks.len() || !rest.is_empty() {
            break;
        }
        checks.extend(whole.iter().map(|bytes| BlockCheck(u128::from_le_bytes(*bytes))));
    }
    Ok(checks)
}

pub(super) fn forget(db: &Connection, path: &Path) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM block_checks WHERE path = ?1")
        .and_then(|mut statement| statement.execute([path.to_string_lossy()]))
        .act("forget block checks")?;
    Ok(())
}
