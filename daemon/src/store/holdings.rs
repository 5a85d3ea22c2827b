//! What a user's jobs have on disk, as far as the queue knows: what came to which place, what is begun, and what is to come.

use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    leftovers::{Place, place},
};
use crate::model::{CommitHash, JobId};

/// What jobs of a user brought, or found, of one commit in one place. It may be gone since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub place: Place,
    /// Of which commit.
    pub commit: CommitHash,
    /// Bytes. What was asked for again by the same words counts once.
    pub bytes: u64,
}

/// A planned job that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The job.
    pub id: JobId,
    /// Bytes of its unfinished files.
    pub partial: u64,
    /// Bytes of its files that are not in their places.
    pub rest: u64,
}

/// What a user's jobs have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// In their places.
    pub held: Vec<Held>,
    /// Not yet.
    pub unfinished: Vec<Unfinished>,
}

const HELD: &str = "SELECT destination, path, kind, repo_id, commit_hash, sum(bytes) FROM (\
         SELECT destination, path, kind, repo_id, commit_hash, max(bytes_done) AS bytes FROM jobs \
         WHERE uid = ?1 AND bytes_done > 0 AND commit_hash IS NOT NULL \
         GROUP BY destination, path, kind, repo_id, commit_hash, selection) \
     GROUP BY destination, path, kind, repo_id, commit_hash";
const UNFINISHED: &str = "SELECT id, bytes_partial, max(bytes_total - bytes_done, 0) FROM jobs \
     WHERE uid = ?1 AND planned = 1 AND state IN ('queued', 'active', 'held', 'paused') ORDER BY row";

fn holdings(db: &Connection, uid: u32) -> Result<Holdings, StoreError> {
    let mut statement = db.prepare_cached(HELD).act("read what a user has")?;
    let held = statement
        .query_map([uid], |row| Ok((place(row)?, row.get::<_, String>(4)?, row.get(5)?)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("read what a user has")?;
    let held = held.into_iter().filter_map(|(place, commit, bytes)| {
        Some(Held {
            place: place?,
            commit: CommitHash::parse(&commit)?,
            bytes,
        })
    });
    let mut statement = db.prepare_cached(UNFINISHED).act("read what a user has begun")?;
    let unfinished = statement
        .query_map(params![uid], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .act("read what a user has begun")?;
    let unfinished = unfinished.into_iter().filter_map(|(id, partial, rest)| {
        Some(Unfinished {
            id: JobId::parse(&id).ok()?,
            partial,
            rest,
        })
    });
    Ok(Holdings {
        held: held.collect(),
        unfinished: unfinished.collect(),
    })
}

impl Store {
    /// What a user's jobs have, as far as they are remembered.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn holdings(&self, uid: u32) -> Result<Holdings, StoreError> {
        self.reads.read(move |db| holdings(db, uid)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        tests::{Fixture, new_job},
        thread::WriteContext,
    };
    use super::*;
    use crate::model::{Destination, Priority, RepoId, RepoKind};

    #[tokio::test]
    async fn what_was_asked_for_twice_counts_once_and_others_not_at_all() {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (uid, files, state, done, partial, total) in [
            (1, "a", "done", 70, 0, 70),
            (1, "a", "cancelled", 50, 9, 70),
            (1, "b", "paused", 4, 3, 10),
            (2, "a", "done", 1000, 0, 1000),
            (1, "c", "queued", 0, 0, 500),
        ] {
            let job = store
                .submit(new_job(uid, "org/m", Priority::Normal, None))
                .await
                .unwrap();
            let row = job.job.row;
            let set = move |context: &mut WriteContext<'_>| {
                let values = params![row, format!("[\"{files}\"]"), state, done, partial, total, commit];
                let sql = "UPDATE jobs SET selection = ?2, state = ?3, bytes_done = ?4, bytes_partial = ?5, bytes_total = ?6, \
                           commit_hash = ?7, planned = 1, path = '/hub' WHERE row = ?1";
                context.db.execute(sql, values).act("set up a test")?;
                Ok(())
            };
            store.jobs.write(set).await.unwrap();
        }
        let found = store.holdings(1).await.unwrap();
        let place = Place {
            destination: Destination::Cache("/hub".into()),
            kind: RepoKind::Model,
            repo_id: RepoId::parse("org/m").unwrap(),
        };
        let held = Held {
            place,
            commit: CommitHash::parse(commit).unwrap(),
            bytes: 74,
        };
        assert_eq!(found.held, [held]);
        let unfinished: Vec<(u64, u64)> = found.unfinished.iter().map(|job| (job.partial, job.rest)).collect();
        assert_eq!(unfinished, [(3, 6), (0, 500)]);
        assert_eq!(store.holdings(3).await.unwrap(), Holdings::default());
    }
}
