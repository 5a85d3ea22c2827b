//! The ledger: what came over the network, by local day, payer and way. Bookings go to `progress.db` with the claims, where
//! they cost no sync and survive a kill, and from there now and then into `jobs.db`, where they survive a power cut.

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::{
    Scope, Store,
    error::{Act as _, StoreError},
    thread::WriteContext,
};
use crate::model::{Booking, JobId, Spent, TrafficRoute};

/// What a job had of its files when it was last booked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InHand {
    /// Bytes in their places and in partial files.
    pub bytes: u64,
    /// Bytes that were still to come again.
    pub again: u64,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<(String, Booking)> {
    let day: String = row.get("day")?;
    let booking = Booking {
        // Checked by the caller, which has the row's text for its message.
        day: day.parse().unwrap_or(Date::ZERO),
        uid: row.get("uid")?,
        user: row.get("user")?,
        job: row.get("job")?,
        route: TrafficRoute {
            endpoint: row.get("endpoint")?,
            host: row.get("host")?,
            way: row.get("way")?,
            rule: row.get("rule")?,
        },
        spent: Spent {
            requests: row.get("requests")?,
            bytes: row.get("bytes")?,
            wasted: row.get("wasted")?,
            repeated: row.get("repeated")?,
        },
    };
    Ok((day, booking))
}

fn bookings(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Booking>, StoreError> {
    let rows: Vec<(String, Booking)> = db
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map(params, columns)?.collect())
        .act("read the ledger")?;
    let checked = rows.into_iter().map(|(day, booking)| match booking.day {
        Date::ZERO => Err(StoreError::Row {
            table: "ledger",
            key: day.clone(),
            what: format!("day is `{day}`"),
        }),
        _ => Ok(booking),
    });
    checked.collect()
}

/// Writes bookings into the open batch.
pub(super) fn book(db: &Connection, rows: &[Booking]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut statement = db
        .prepare_cached(
            "INSERT INTO unsettled (batch, day, uid, job, endpoint, host, way, rule, user, requests, bytes, wasted, repeated) \
             VALUES ((SELECT batch FROM open_batch), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (batch, day, uid, job, endpoint, host, way) DO UPDATE SET rule = excluded.rule, \
             user = excluded.user, requests = requests + excluded.requests, bytes = bytes + excluded.bytes, \
             wasted = wasted + excluded.wasted, repeated = repeated + excluded.repeated",
        )
        .act("book what came")?;
    rows.iter()
        .try_for_each(|row| statement.execute(params_from_iter(values(row))).map(drop))
        .act("book what came")
}

/// Values of a booking in the order of the columns.
fn values(row: &Booking) -> [Box<dyn rusqlite::ToSql>; 12] {
    let Booking { route, spent, .. } = row.clone();
    [
        Box::new(row.day.to_string()),
        Box::new(row.uid),
        Box::new(row.job.clone()),
        Box::new(route.endpoint),
        Box::new(route.host),
        Box::new(route.way),
        Box::new(route.rule),
        Box::new(row.user.clone()),
        Box::new(spent.requests),
        Box::new(spent.bytes),
        Box::new(spent.wasted),
        Box::new(spent.repeated),
    ]
}

/// In place of what was noted before.
fn keep_in_hand(db: &Connection, jobs: &[(JobId, InHand)]) -> Result<(), StoreError> {
    db.execute("DELETE FROM in_hand", []).act("note what jobs have")?;
    let mut statement = db
        .prepare_cached("INSERT INTO in_hand (job, bytes, again) VALUES (?1, ?2, ?3)")
        .act("note what jobs have")?;
    jobs.iter()
        .try_for_each(|(job, has)| statement.execute(params![job.as_str(), has.bytes, has.again]).map(drop))
        .act("note what jobs have")
}

fn in_hand(db: &Connection) -> Result<Vec<(String, InHand)>, StoreError> {
    db.prepare_cached("SELECT job, bytes, again FROM in_hand")
        .and_then(|mut statement| {
            let has = |row: &Row<'_>| {
                let has = InHand {
                    bytes: row.get(1)?,
                    again: row.get(2)?,
                };
                Ok((row.get(0)?, has))
            };
            statement.query_map([], has)?.collect()
        })
        .act("read what jobs had")
}

/// A closed batch.
type Batch = (i64, Vec<(i64, Booking)>);

/// Closes the open batch; gives its number, and what is in it and in earlier ones that were cut off.
fn close(db: &Connection) -> Result<Batch, StoreError> {
    let batch: i64 = db
        .query_row("SELECT batch FROM open_batch", [], |row| row.get(0))
        .act("read the open batch")?;
    let numbers: Vec<i64> = db
        .prepare_cached("SELECT DISTINCT batch FROM unsettled WHERE batch <= ?1")
        .and_then(|mut statement| statement.query_map([batch], |row| row.get(0))?.collect())
        .act("read what is not settled")?;
    let mut rows = Vec::new();
    for number in numbers {
        let of_batch = bookings(db, "SELECT * FROM unsettled WHERE batch = ?1", [number])?;
        rows.extend(of_batch.into_iter().map(|row| (number, row)));
    }
    if !rows.is_empty() {
        db.execute("UPDATE open_batch SET batch = ?1", [batch + 1])
            .act("open a batch")?;
    }
    Ok((batch, rows))
}

/// Adds batches to the ledger, each once.
fn settle(context: &mut WriteContext<'_>, (batch, rows): &Batch) -> Result<(), StoreError> {
    let settled = settled(context.db)?;
    let mut statement = context
        .db
        .prepare_cached(
            "INSERT INTO ledger (day, uid, job, endpoint, host, way, rule, user, requests, bytes, wasted, repeated) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (day, uid, job, endpoint, host, way) DO UPDATE SET rule = excluded.rule, user = excluded.user, \
             requests = requests + excluded.requests, bytes = bytes + excluded.bytes, \
             wasted = wasted + excluded.wasted, repeated = repeated + excluded.repeated",
        )
        .act("settle the ledger")?;
    for (_, row) in rows.iter().filter(|(number, _)| *number > settled) {
        statement
            .execute(params_from_iter(values(row)))
            .act("settle the ledger")?;
    }
    context
        .db
        .execute("UPDATE ledger_settled SET batch = max(batch, ?1)", [batch])
        .act("settle the ledger")?;
    Ok(())
}

fn settled(db: &Connection) -> Result<i64, StoreError> {
    db.query_row("SELECT batch FROM ledger_settled", [], |row| row.get(0))
        .act("read the settled batch")
}

/// Batches go on where the ledger is, also when `progress.db` was lost and begins anew.
pub(super) fn join(jobs: &Connection, progress: &Connection) -> Result<(), StoreError> {
    progress
        .execute("UPDATE open_batch SET batch = max(batch, ?1 + 1)", [settled(jobs)?])
        .act("open a batch")?;
    Ok(())
}

/// Bytes of jobs that are forgotten stay with their days.
pub(super) fn forget_jobs(db: &Connection, rows: &str, ended_by: i64) -> Result<(), StoreError> {
    let of_jobs = "job <> '' AND job IN (SELECT jobs.id FROM json_each(?1) JOIN jobs ON jobs.row = value \
                   WHERE jobs.ended_at <= ?2)";
    db.execute(
        &format!(
            "INSERT INTO ledger (day, uid, job, endpoint, host, way, rule, user, requests, bytes, wasted, repeated) \
             SELECT day, uid, '', endpoint, host, way, max(rule), max(user), sum(requests), sum(bytes), sum(wasted), \
             sum(repeated) FROM ledger WHERE {of_jobs} GROUP BY day, uid, endpoint, host, way \
             ON CONFLICT (day, uid, job, endpoint, host, way) DO UPDATE SET requests = requests + excluded.requests, \
             bytes = bytes + excluded.bytes, wasted = wasted + excluded.wasted, repeated = repeated + excluded.repeated"
        ),
        params![rows, ended_by],
    )
    .and_then(|_| db.execute(&format!("DELETE FROM ledger WHERE {of_jobs}"), params![rows, ended_by]))
    .act("keep the bytes of forgotten jobs")?;
    Ok(())
}

/// What is asked of the ledger.
#[derive(Debug, Clone)]
pub enum Asked {
    /// What came from a day on, jobs not told apart.
    Since(Scope, Date),
    /// The account of a job.
    Job(JobId),
}

/// What is booked in batches after one, settled or not.
fn unsettled(db: &Connection, asked: &Asked, after: i64) -> Result<Vec<Booking>, StoreError> {
    let columns = "SELECT * FROM unsettled WHERE batch > ?1";
    let mut rows = match asked {
        Asked::Since(scope, day) => bookings(
            db,
            &format!("{columns} AND day >= ?2 AND (?3 IS NULL OR uid = ?3)"),
            params![after, day.to_string(), scope.column()],
        ),
        Asked::Job(id) => bookings(db, &format!("{columns} AND job = ?2"), params![after, id.as_str()]),
    }?;
    if let Asked::Since(..) = asked {
        rows.iter_mut().for_each(|row| row.job.clear());
    }
    Ok(rows)
}

/// The number of the last settled batch, and the rows of the ledger at that moment.
fn in_ledger(db: &Connection, asked: &Asked) -> Result<(i64, Vec<Booking>), StoreError> {
    let moment = db.unchecked_transaction().act("read the ledger")?;
    let rows = match asked {
        Asked::Since(scope, day) => bookings(
            &moment,
            "SELECT day, uid, '' AS job, endpoint, host, way, max(rule) AS rule, max(user) AS user, \
             sum(requests) AS requests, sum(bytes) AS bytes, sum(wasted) AS wasted, sum(repeated) AS repeated \
             FROM ledger WHERE day >= ?1 AND (?2 IS NULL OR uid = ?2) GROUP BY day, uid, endpoint, host, way",
            params![day.to_string(), scope.column()],
        ),
        Asked::Job(id) => bookings(
            &moment,
            "SELECT * FROM ledger WHERE job = ?1 AND job <> ''",
            [id.as_str()],
        ),
    }?;
    Ok((settled(&moment)?, rows))
}

impl Store {
    /// Books what came, and what jobs have of their files. Costs no sync; survives a kill.
    ///
    /// # Errors
    /// When the database refuses; then nothing is booked.
    pub async fn book(&self, rows: Vec<Booking>, in_hand: Vec<(JobId, InHand)>) -> Result<(), StoreError> {
        let write = self.progress.write(move |context| {
            book(context.db, &rows)?;
            keep_in_hand(context.db, &in_hand)
        });
        write.await
    }

    /// Brings what is booked into the ledger, for good. One at a time. Gives the batch up to which bookings are to be forgotten
    /// by [`Store::forget_settled`]: they count once, as [`Store::in_ledger`] tells which are settled.
    ///
    /// # Errors
    /// When a database refuses; what is not in the ledger then is brought there by the next call.
    pub async fn settle(&self) -> Result<Option<i64>, StoreError> {
        let batch = self.progress.write(|context| close(context.db)).await?;
        if batch.1.is_empty() {
            return Ok(None);
        }
        let number = batch.0;
        self.jobs.write(move |context| settle(context, &batch)).await?;
        Ok(Some(number))
    }

    /// Forgets bookings that are in the ledger.
    ///
    /// # Errors
    /// When the database refuses; they count once all the same.
    pub async fn forget_settled(&self, number: i64) -> Result<(), StoreError> {
        let forget = self.progress.write(move |context| {
            context
                .db
                .execute("DELETE FROM unsettled WHERE batch <= ?1", [number])
                .act("forget what is settled")
        });
        forget.await.map(drop)
    }

    /// What jobs had of their files when anything was booked last.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn in_hand(&self) -> Result<Vec<(String, InHand)>, StoreError> {
        self.progress.read(in_hand).await
    }

    /// What the ledger has, and the number of the last batch that is in it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn in_ledger(&self, asked: Asked) -> Result<(i64, Vec<Booking>), StoreError> {
        self.reads.read(move |db| in_ledger(db, &asked)).await
    }

    /// What is booked in later batches than that. Whoever adds both up must know that none was forgotten in between.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unsettled(&self, asked: Asked, after: i64) -> Result<Vec<Booking>, StoreError> {
        self.progress.read(move |db| unsettled(db, &asked, after)).await
    }

    /// Forgets what came before a day.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn prune_ledger(&self, before: Date) -> Result<usize, StoreError> {
        let prune = move |context: &mut WriteContext<'_>| {
            context
                .db
                .execute("DELETE FROM ledger WHERE day < ?1", [before.to_string()])
                .act("forget old days of the ledger")
        };
        self.jobs.write(prune).await
    }

    /// The name that a user last had in the ledger.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn user_name(&self, uid: u32) -> Result<Option<String>, StoreError> {
        let find = move |db: &Connection| {
            db.prepare_cached("SELECT user FROM jobs WHERE uid = ?1 ORDER BY row DESC LIMIT 1")
                .and_then(|mut statement| statement.query_row([uid], |row| row.get(0)).optional())
                .act("look for a user's name")
        };
        self.reads.read(find).await
    }
}

#[cfg(test)]
mod tests;
