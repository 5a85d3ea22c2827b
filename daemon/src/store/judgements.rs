//! What was found out about endpoints: judgements that expire, and the last measured speed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    row,
    thread::WriteContext,
};
use crate::model::{EndpointFault, JudgedRepo, Judgement};

/// The account of nobody.
const NOBODY: i64 = -1;

/// A stored judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJudgement {
    /// What was judged.
    pub about: JudgedRepo,
    /// Who made us ask.
    pub uid: u32,
    /// What was found.
    pub judgement: Judgement,
}

/// Speed of one connection to an endpoint, as last measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStats {
    /// Base address of the endpoint.
    pub endpoint: String,
    /// Bytes per second.
    pub bytes_per_sec: u64,
    /// From the request to the first byte, milliseconds.
    pub first_byte_ms: u64,
    /// When it was measured.
    pub at: Timestamp,
}

fn account(about: &JudgedRepo) -> i64 {
    about.account.map_or(NOBODY, i64::from)
}

fn get(db: &Connection, about: &JudgedRepo) -> Result<Option<Judgement>, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT * FROM judgements \
             WHERE endpoint = ?1 AND account = ?2 AND kind = ?3 AND repo_id = ?4 AND commit_hash = ?5",
        )
        .and_then(|mut statement| {
            let key = params![
                about.endpoint,
                account(about),
                about.kind.as_str(),
                about.repo_id.as_str(),
                about.commit.as_str()
            ];
            statement.query_row(key, |row| Ok(row::judgement(row))).optional()
        })
        .act("read a judgement")?;
    Ok(found.transpose()?.map(|stored| stored.judgement))
}

fn put(context: &mut WriteContext<'_>, stored: &StoredJudgement) -> Result<(), StoreError> {
    let (about, judgement) = (&stored.about, &stored.judgement);
    let finding = &judgement.finding;
    context
        .db
        .execute(
            "DELETE FROM judgements WHERE until < ?1",
            [judgement.at.as_millisecond()],
        )
        .act("forget judgements")?;
    context
        .db
        .prepare_cached(
            "INSERT OR REPLACE INTO judgements \
             (endpoint, account, kind, repo_id, commit_hash, uid, fault, detail, lists, serves, ends_at, at, until) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                about.endpoint,
                account(about),
                about.kind.as_str(),
                about.repo_id.as_str(),
                about.commit.as_str(),
                stored.uid,
                finding.fault.map_or("", |fault| fault.as_str()),
                finding.detail,
                finding.lists,
                finding.serves.as_str(),
                finding.ends_at,
                judgement.at.as_millisecond(),
                judgement.until.as_millisecond(),
            ])
        })
        .act("store a judgement")?;
    Ok(())
}

fn of_endpoints(db: &Connection, now: Timestamp) -> Result<Vec<StoredJudgement>, StoreError> {
    // Of each endpoint the newest that still holds. Who was refused a repository knows nothing of the others: that is between it and
    // that repository.
    let rows = db
        .prepare_cached(
            "SELECT * FROM judgements AS one WHERE until > ?1 AND at <= ?1 AND one.fault <> ?2 AND NOT EXISTS ( \
                 SELECT 1 FROM judgements AS other WHERE other.endpoint = one.endpoint AND other.until > ?1 AND other.fault <> ?2 \
                 AND (other.at, other.account, other.kind, other.repo_id, other.commit_hash) \
                   > (one.at, one.account, one.kind, one.repo_id, one.commit_hash)) \
             ORDER BY endpoint",
        )
        .and_then(|mut statement| {
            statement
                .query_map(params![now.as_millisecond(), EndpointFault::Refused.as_str()], |row| {
                    Ok(row::judgement(row))
                })?
                .collect::<Result<Vec<_>, _>>()
        })
        .act("list judgements")?;
    rows.into_iter().collect()
}

fn measured(context: &mut WriteContext<'_>, stats: &EndpointStats) -> Result<(), StoreError> {
    context
        .db
        .execute(
            "INSERT OR REPLACE INTO endpoint_stats (endpoint, bytes_per_sec, first_byte_ms, at) VALUES (?1, ?2, ?3, ?4)",
            params![
                stats.endpoint,
                stats.bytes_per_sec.min(i64::MAX.unsigned_abs()),
                stats.first_byte_ms.min(i64::MAX.unsigned_abs()),
                stats.at.as_millisecond()
            ],
        )
        .act("store a measurement")?;
    Ok(())
}

fn stats(db: &Connection) -> Result<Vec<EndpointStats>, StoreError> {
    let read = |row: &Row<'_>| {
        Ok(EndpointStats {
            endpoint: row.get(0)?,
            bytes_per_sec: row.get(1)?,
            first_byte_ms: row.get(2)?,
            at: Timestamp::from_millisecond(row.get(3)?).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    };
    db.prepare_cached("SELECT endpoint, bytes_per_sec, first_byte_ms, at FROM endpoint_stats ORDER BY endpoint")
        .and_then(|mut statement| statement.query_map([], read)?.collect::<Result<Vec<_>, _>>())
        .act("read measurements")
}

impl Store {
    /// What is known of an endpoint for one commit; it may have expired.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn judgement(&self, about: &JudgedRepo) -> Result<Option<Judgement>, StoreError> {
        let about = about.clone();
        self.queue.read(move |db| get(db, &about)).await
    }

    /// Remembers a judgement, in place of an older one, and forgets those that have expired.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_judgement(&self, stored: StoredJudgement) -> Result<(), StoreError> {
        self.jobs.write(move |context| put(context, &stored)).await
    }

    /// The newest judgement of each endpoint that still holds, by address.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn judgements(&self, now: Timestamp) -> Result<Vec<StoredJudgement>, StoreError> {
        self.reads.read(move |db| of_endpoints(db, now)).await
    }

    /// Remembers how fast an endpoint was.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_endpoint_stats(&self, stats: EndpointStats) -> Result<(), StoreError> {
        self.jobs.write(move |context| measured(context, &stats)).await
    }

    /// How fast each endpoint was, by address.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn endpoint_stats(&self) -> Result<Vec<EndpointStats>, StoreError> {
        self.reads.read(stats).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{CommitHash, EndpointFault, Finding, RepoId, RepoKind, Serves};

    fn stored(
        endpoint: &str,
        account: Option<u32>,
        fault: Option<EndpointFault>,
        at: i64,
        life: i64,
    ) -> StoredJudgement {
        StoredJudgement {
            about: JudgedRepo {
                endpoint: endpoint.to_owned(),
                account,
                kind: RepoKind::Dataset,
                repo_id: RepoId::parse("org/data").unwrap(),
                commit: CommitHash::parse(&"1".repeat(40)).unwrap(),
            },
            uid: 7,
            judgement: Judgement {
                finding: Finding {
                    fault,
                    detail: fault.map_or("", EndpointFault::sentence).to_owned(),
                    lists: fault.is_none(),
                    serves: Serves::Parts,
                    ends_at: "cdn:8".to_owned(),
                },
                at: time(at),
                until: time(at + life),
            },
        }
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[tokio::test]
    async fn judgements_are_kept_until_they_end() {
        let dir = tempfile::tempdir().unwrap();
        let (store, threads) = Store::open(dir.path(), Box::new(drop)).unwrap();
        let good = stored("https://a", None, None, 0, 100);
        let own = stored("https://a", Some(7), Some(EndpointFault::OtherCommit), 5, 10);
        let other = stored("https://b", None, Some(EndpointFault::NoRanges), 1, 50);
        for judgement in [&good, &own, &other] {
            store.put_judgement(judgement.clone()).await.unwrap();
        }
        assert_eq!(
            store.judgement(&good.about).await.unwrap(),
            Some(good.judgement.clone())
        );
        assert_eq!(store.judgement(&own.about).await.unwrap(), Some(own.judgement.clone()));
        // The newest of each endpoint that still holds.
        assert_eq!(store.judgements(time(6)).await.unwrap(), [own.clone(), other.clone()]);
        assert_eq!(store.judgements(time(20)).await.unwrap(), [good.clone(), other.clone()]);
        assert_eq!(store.judgements(time(200)).await.unwrap(), []);
        // A refusal is kept for its repository, and says nothing of the endpoint.
        let refused = stored("https://a", Some(8), Some(EndpointFault::Refused), 7, 100);
        store.put_judgement(refused.clone()).await.unwrap();
        assert_eq!(store.judgement(&refused.about).await.unwrap(), Some(refused.judgement));
        assert_eq!(store.judgements(time(8)).await.unwrap(), [own.clone(), other.clone()]);
        // A new one takes the place of the old one, and what ended goes.
        let newer = stored("https://b", None, None, 30, 100);
        store.put_judgement(newer.clone()).await.unwrap();
        assert_eq!(store.judgement(&other.about).await.unwrap(), Some(newer.judgement));
        assert_eq!(store.judgement(&own.about).await.unwrap(), None);
        assert!(!good.judgement.holds(time(-1)) && good.judgement.holds(time(99)) && !good.judgement.holds(time(100)));
        drop(store);
        threads.join();
    }

    #[tokio::test]
    async fn the_last_measurement_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _threads) = Store::open(dir.path(), Box::new(drop)).unwrap();
        let first = EndpointStats {
            endpoint: "https://a".to_owned(),
            bytes_per_sec: u64::MAX,
            first_byte_ms: 1,
            at: time(0),
        };
        store.put_endpoint_stats(first.clone()).await.unwrap();
        let second = EndpointStats {
            bytes_per_sec: 1000,
            at: time(0) + Duration::from_millis(5),
            ..first
        };
        store.put_endpoint_stats(second.clone()).await.unwrap();
        assert_eq!(store.endpoint_stats().await.unwrap(), [second]);
    }
}
