//! Claims that nobody asks for any more: their partial files are gone, or are about to go.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Store, block_checks,
    error::{Act as _, StoreError},
    progress,
    thread::WriteContext,
};

/// A claim that was not made anew for long, and what tells it from a later one on the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldClaim {
    /// The partial file.
    pub path: PathBuf,
    ino: i64,
    at: i64,
}

fn old_claims(db: &Connection, before: Timestamp) -> Result<Vec<OldClaim>, StoreError> {
    db.prepare_cached("SELECT path, ino, at FROM claims WHERE at < ?1")
        .and_then(|mut statement| {
            let rows = statement.query_map([before.as_millisecond()], |row| {
                Ok(OldClaim {
                    path: row.get::<_, String>(0)?.into(),
                    ino: row.get(1)?,
                    at: row.get(2)?,
                })
            })?;
            rows.collect()
        })
        .act("list claims")
}

fn drop_old(context: &WriteContext<'_>, claim: &OldClaim) -> Result<(), StoreError> {
    let OldClaim { path, ino, at } = claim;
    let gone = context
        .db
        .prepare_cached("DELETE FROM claims WHERE path = ?1 AND ino = ?2 AND at = ?3")
        .and_then(|mut statement| statement.execute(params![path.to_string_lossy(), ino, at]))
        .act("drop a claim")?;
    match gone {
        0 => Ok(()),
        _ => block_checks::forget(context.db, path),
    }
}

impl Store {
    /// Claims that were made before a time.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn old_claims(&self, before: Timestamp) -> Result<Vec<OldClaim>, StoreError> {
        self.progress.read(move |db| old_claims(db, before)).await
    }

    /// Forgets old claims, but none that was made anew since they were listed.
    ///
    /// # Errors
    /// When the database refuses; then none is forgotten.
    pub async fn drop_old_claims(&self, claims: Vec<OldClaim>) -> Result<(), StoreError> {
        if claims.is_empty() {
            return Ok(());
        }
        self.progress
            .write(move |context| claims.iter().try_for_each(|claim| drop_old(context, claim)))
            .await
    }

    /// Forgets the claims on several partial files. Only for who has the turns of all of them: it goes by their paths.
    ///
    /// # Errors
    /// When the database refuses; then none is forgotten.
    pub async fn drop_claims(&self, paths: Vec<PathBuf>) -> Result<(), StoreError> {
        if paths.is_empty() {
            return Ok(());
        }
        self.progress
            .write(move |context| {
                paths
                    .iter()
                    .try_for_each(|path| progress::drop_claim(context, Path::new(path)))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;
    use crate::{
        model::{ByteRange, Digest},
        plan::blocks::BlockCheck,
        store::{Claim, NewChecks},
    };

    fn claim(ino: u64) -> Claim {
        Claim {
            digest: Digest::Sha256([7; 32]),
            size: 100,
            dev: 1,
            ino,
            ctime_ns: 1,
            ranges: vec![ByteRange::new(0, 10)],
            hash: Vec::new(),
            checks: NewChecks::after(0, &[BlockCheck(1)]),
            boot: "b".into(),
            job: "j".into(),
        }
    }

    #[tokio::test]
    async fn a_claim_that_was_made_anew_is_not_old() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let record = async |path: &str, ino| store.record_claim(path.into(), claim(ino), Vec::new()).await.unwrap();
        record("/gone", 1).await;
        record("/anew", u64::MAX).await;
        let later = Timestamp::from_second(4_000_000_000).unwrap();
        assert_eq!(store.old_claims(Timestamp::UNIX_EPOCH).await.unwrap(), []);
        let old = store.old_claims(later).await.unwrap();
        assert_eq!(old.len(), 2);
        // Between the look and its end a job has begun the file again.
        record("/anew", 2).await;
        store.drop_old_claims(old).await.unwrap();
        assert_eq!(store.claim("/gone".into()).await.unwrap(), None);
        assert_eq!(store.claim("/anew".into()).await.unwrap(), Some(claim(2)));
        let old = store.old_claims(later).await.unwrap();
        store.drop_old_claims(old).await.unwrap();
        assert_eq!(store.claim("/anew".into()).await.unwrap(), None);
    }
}
