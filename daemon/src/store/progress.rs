//! Hints: which bytes of a partial file were synced, and which files were hashed. Losing them costs time, never truth.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, block_checks,
    block_checks::NewChecks,
    error::{Act as _, StoreError},
    ledger,
    thread::WriteContext,
};
use crate::model::{Booking, ByteRange, Digest};

/// Claims of one query: others wait meanwhile.
const CLAIMS: usize = 32;

/// Synced bytes of one partial file. Valid only for the very file (device, inode, size) that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the finished file must hash to.
    pub digest: Digest,
    /// Length of the finished file.
    pub size: u64,
    /// Device of the partial file.
    pub dev: u64,
    /// Inode of the partial file.
    pub ino: u64,
    /// Its last change when the claim was made, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Bytes that were synced before this was recorded; sorted, disjoint.
    pub ranges: Vec<ByteRange>,
    /// State of a half-done hash of some of these bytes, from 0 on; may be empty.
    pub hash: Vec<u8>,
    /// Checks of the blocks before that state, and perhaps of some behind it: what they were when they were hashed. Read,
    /// they are all of them.
    pub checks: NewChecks,
    /// Boot in which those bytes were hashed.
    pub boot: String,
    /// Id of the job that wrote the bytes.
    pub job: String,
}

/// A file whose content was hashed, as it stood then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verified {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of the content, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// What it hashed to.
    pub digest: Digest,
}

/// Inode and device numbers use all 64 bits; the column keeps the bits.
fn bits(value: u64) -> i64 {
    i64::from_ne_bytes(value.to_ne_bytes())
}

pub(super) fn record(context: &mut WriteContext<'_>, path: &Path, claim: &Claim) -> Result<(), StoreError> {
    let ranges: Vec<[u64; 2]> = claim.ranges.iter().map(|range| [range.start, range.end]).collect();
    context
        .db
        .prepare_cached(
            "INSERT OR REPLACE INTO claims (path, digest, size, dev, ino, ctime_ns, ranges, hash, boot, job, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                path.to_string_lossy(),
                claim.digest.to_string(),
                claim.size,
                bits(claim.dev),
                bits(claim.ino),
                claim.ctime_ns,
                serde_json::to_string(&ranges).expect("numbers always serialise"),
                claim.hash,
                claim.boot,
                claim.job,
                Timestamp::now().as_millisecond(),
            ])
        })
        .act("record a claim")?;
    block_checks::record(context.db, path, &claim.checks)
}

type ClaimRow = (String, i64, i64, i64, i64, String, Vec<u8>, String, String);

/// A claim that does not decode is no claim: it is a hint, and the bytes can be fetched again.
pub(super) fn claim(db: &Connection, path: &Path) -> Result<Option<Claim>, StoreError> {
    let row: Option<ClaimRow> = db
        .prepare_cached("SELECT digest, size, dev, ino, ctime_ns, ranges, hash, boot, job FROM claims WHERE path = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([path.to_string_lossy()], |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(6)?,
                        row.get(7)?,
                        row.get(8)?,
                    ))
                })
                .optional()
        })
        .act("read a claim")?;
    let Some((digest, size, dev, ino, ctime_ns, ranges, hash, boot, job)) = row else {
        return Ok(None);
    };
    let checks = block_checks::read(db, path)?;
    let from_bits = |value: i64| u64::from_ne_bytes(value.to_ne_bytes());
    let decoded = (|| {
        let ranges: Vec<[u64; 2]> = serde_json::from_str(&ranges).ok()?;
        let size = u64::try_from(size).ok()?;
        let mut last = 0;
        for [start, end] in &ranges {
            if *start < last || start >= end || *end > size {
                return None;
            }
            last = *end;
        }
        Some(Claim {
            digest: Digest::parse(&digest)?,
            size,
            dev: from_bits(dev),
            ino: from_bits(ino),
            ctime_ns,
            ranges: ranges
                .into_iter()
                .map(|[start, end]| ByteRange::new(start, end))
                .collect(),
            hash,
            checks: NewChecks { from: 0, checks },
            boot,
            job,
        })
    })();
    if decoded.is_none() {
        tracing::warn!(path = %path.display(), "a claim does not decode; the file is fetched again");
    }
    Ok(decoded)
}

/// Bytes of the partial files that a job has written, by what they are to become. What does not decode counts for nothing.
pub(super) fn claimed(db: &Connection, job: &str) -> Result<HashMap<Digest, u64>, StoreError> {
    let rows = db
        .prepare_cached("SELECT digest, ranges FROM claims WHERE job = ?1")
        .and_then(|mut statement| {
            let rows = statement.query_map([job], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()
        })
        .act("read a job's claims")?;
    let bytes = |(digest, ranges): (String, String)| Some((Digest::parse(&digest)?, bytes_of(&ranges)?));
    Ok(rows.into_iter().filter_map(bytes).collect())
}

/// How many bytes claimed ranges are, as they are stored.
pub(super) fn bytes_of(ranges: &str) -> Option<u64> {
    let ranges: Vec<[u64; 2]> = serde_json::from_str(ranges).ok()?;
    Some(ranges.iter().map(|[start, end]| end.saturating_sub(*start)).sum())
}

pub(super) fn drop_claim(context: &mut WriteContext<'_>, path: &Path) -> Result<(), StoreError> {
    context
        .db
        .execute("DELETE FROM claims WHERE path = ?1", [path.to_string_lossy()])
        .act("drop a claim")?;
    block_checks::forget(context.db, path)
}

pub(super) fn vouch(context: &mut WriteContext<'_>, verified: &Verified) -> Result<(), StoreError> {
    context
        .db
        .prepare_cached(
            "INSERT OR REPLACE INTO verified (dev, ino, size, mtime_ns, ctime_ns, digest, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                bits(verified.dev),
                bits(verified.ino),
                verified.size,
                verified.mtime_ns,
                verified.ctime_ns,
                verified.digest.to_string(),
                Timestamp::now().as_millisecond(),
            ])
        })
        .act("record a verified file")?;
    Ok(())
}

/// Whether a file with exactly this stamp was hashed to this digest before.
pub(super) fn is_vouched(db: &Connection, verified: &Verified) -> Result<bool, StoreError> {
    db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM verified WHERE dev = ?1 AND ino = ?2 AND size = ?3 AND mtime_ns = ?4 \
         AND ctime_ns = ?5 AND digest = ?6)",
    )
    .and_then(|mut statement| {
        statement.query_row(
            params![
                bits(verified.dev),
                bits(verified.ino),
                verified.size,
                verified.mtime_ns,
                verified.ctime_ns,
                verified.digest.to_string(),
            ],
            |row| row.get(0),
        )
    })
    .act("look for a verified file")
}

impl Store {
    /// Records which bytes of a partial file are synced, and books what came of them. Call it after the sync, never before.
    ///
    /// # Errors
    /// When the database refuses; the bytes are then fetched again after a crash.
    pub async fn record_claim(&self, path: PathBuf, claim: Claim, came: Vec<Booking>) -> Result<(), StoreError> {
        let write = self.progress.write(move |context| {
            record(context, &path, &claim)?;
            ledger::book(context.db, &came)
        });
        write.await
    }

    /// The claim on a partial file.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn claim(&self, path: PathBuf) -> Result<Option<Claim>, StoreError> {
        self.progress.read(move |db| claim(db, &path)).await
    }

    /// The claims on several partial files, in their order.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn claims(&self, paths: Vec<PathBuf>) -> Result<Vec<Option<Claim>>, StoreError> {
        let mut all = Vec::with_capacity(paths.len());
        for some in paths.chunks(CLAIMS) {
            let some = some.to_vec();
            let read = move |db: &Connection| some.iter().map(|path| claim(db, path)).collect::<Result<Vec<_>, _>>();
            all.extend(self.progress.read(read).await?);
        }
        Ok(all)
    }

    /// Bytes of the partial files that a job has written, by what they are to become.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn claimed(&self, job: String) -> Result<HashMap<Digest, u64>, StoreError> {
        self.progress.read(move |db| claimed(db, &job)).await
    }

    /// Forgets the claim on a partial file.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn drop_claim(&self, path: PathBuf) -> Result<(), StoreError> {
        self.progress.write(move |context| drop_claim(context, &path)).await
    }

    /// Remembers that a file was hashed.
    ///
    /// # Errors
    /// When the database refuses; the file is then hashed again when it is next wanted.
    pub async fn vouch(&self, verified: Verified) -> Result<(), StoreError> {
        self.progress.write(move |context| vouch(context, &verified)).await
    }

    /// Remembers that several files were hashed.
    ///
    /// # Errors
    /// As [`Store::vouch`], for all of them.
    pub async fn vouch_all(&self, all: Vec<Verified>) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        self.progress
            .write(move |context| all.iter().try_for_each(|verified| vouch(context, verified)))
            .await
    }

    /// Those of several stamps that were hashed to their digests before. An error counts as no.
    pub async fn vouched(&self, all: Vec<Verified>) -> Vec<Verified> {
        let known = |db: &Connection| {
            let mut known = Vec::new();
            for verified in all {
                if is_vouched(db, &verified)? {
                    known.push(verified);
                }
            }
            Ok(known)
        };
        self.progress.read(known).await.unwrap_or_default()
    }

    /// Whether a file with exactly this stamp was hashed to this digest before. An error counts as no.
    pub async fn is_vouched(&self, verified: Verified) -> bool {
        self.progress
            .read(move |db| is_vouched(db, &verified))
            .await
            .unwrap_or(false)
    }
}
