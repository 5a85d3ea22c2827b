//! What was found out about endpoints: judgements that expire, and the last measured speed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    row,
    thread::WriteContext,
};
use crate::model::{JudgedRepo, Judgement};

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
        .execute("DELETE FROM judgements WHERE until < ?1", [judgement.at.as_millisecond()])
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
    // Of each endpoint the newest that still holds.
    let rows = db
        .prepare_cached(
            "SELECT * FROM judgements AS one WHERE until > ?1 AND at <= ?1 AND NOT EXISTS ( \
                 SELECT 1 FROM judgements AS other WHERE other.endpoint = one.endpoint AND other.until > ?1 \
                 AND (other.at, other.account, other.kind, other.repo_id, other.commit_hash) \
                   > (one.at, one.account, one.kind, one.repo_id, one.commit_hash)) \
             ORDER BY endpoint",
        )
        .and_then(|mut statement| {
            statement
                .query_map([now.as_millisecond()], |row| Ok(row::judgement(row)))?
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
