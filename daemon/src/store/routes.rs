//! The account of each job: hosts, ways, bytes.

use rusqlite::{Connection, params};

use super::{
    Store,
    error::{Act as _, StoreError},
    thread::WriteContext,
};

/// What a job had from one host by one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRoute {
    /// The host, with its port when it is not the usual one.
    pub host: String,
    /// `DIRECT`, or the name of a proxy.
    pub way: String,
    /// The rule that decided last.
    pub rule: String,
    /// Number of requests.
    pub requests: u64,
    /// Bytes that came.
    pub bytes: u64,
}

fn add(context: &mut WriteContext<'_>, job_row: i64, routes: &[JobRoute]) -> Result<(), StoreError> {
    let mut statement = context
        .db
        .prepare_cached(
            "INSERT INTO job_routes (job_row, host, way, rule, requests, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (job_row, host, way) DO UPDATE SET \
             rule = excluded.rule, requests = requests + excluded.requests, bytes = bytes + excluded.bytes",
        )
        .act("account for routes")?;
    for route in routes {
        let JobRoute {
            host,
            way,
            rule,
            requests,
            bytes,
        } = route;
        statement
            .execute(params![job_row, host, way, rule, requests, bytes])
            .act("account for routes")?;
    }
    Ok(())
}

fn list(db: &Connection, job_row: i64) -> Result<Vec<JobRoute>, StoreError> {
    db.prepare_cached("SELECT host, way, rule, requests, bytes FROM job_routes WHERE job_row = ?1 ORDER BY host, way")
        .and_then(|mut statement| {
            statement
                .query_map([job_row], |row| {
                    Ok(JobRoute {
                        host: row.get(0)?,
                        way: row.get(1)?,
                        rule: row.get(2)?,
                        requests: row.get(3)?,
                        bytes: row.get(4)?,
                    })
                })?
                .collect()
        })
        .act("read the account of routes")
}

impl Store {
    /// Adds to the account of a job.
    ///
    /// # Errors
    /// When the database refuses; then nothing is added.
    pub async fn add_routes(&self, job_row: i64, routes: Vec<JobRoute>) -> Result<(), StoreError> {
        self.jobs.write(move |context| add(context, job_row, &routes)).await
    }

    /// The account of a job, by host and way.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn job_routes(&self, job_row: i64) -> Result<Vec<JobRoute>, StoreError> {
        self.reads.read(move |db| list(db, job_row)).await
    }
}
