//! What the daemon's journal says of the one partial file that it has.

use crate::harness::Scratch;

/// A check of so many bytes stands for a block of so many.
const CHECK: (u64, u64) = (16, 16 << 20);

/// Bytes that are claimed to be in the file.
///
/// # Errors
/// When there is no claim.
pub fn claimed(scratch: &Scratch) -> anyhow::Result<u64> {
    let db = super::open(&scratch.state().join("progress.db"))?;
    let ranges: String = db.query_row("SELECT ranges FROM claims", [], |row| row.get(0))?;
    let ranges: Vec<[u64; 2]> = serde_json::from_str(&ranges)?;
    Ok(ranges.iter().map(|[start, end]| end - start).sum())
}

/// Bytes of the blocks that are claimed to be hashed.
///
/// # Errors
/// When the journal cannot be read.
pub fn hashed(scratch: &Scratch) -> anyhow::Result<u64> {
    let db = super::open(&scratch.state().join("progress.db"))?;
    let sum = "SELECT coalesce(sum(length(checks)), 0) FROM block_checks";
    let bytes: u64 = db.query_row(sum, [], |row| row.get(0))?;
    Ok(bytes / CHECK.0 * CHECK.1)
}
