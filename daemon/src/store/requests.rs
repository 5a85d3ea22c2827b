//! Keys that make a repeated submit safe.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    error::{Act as _, StoreError},
    jobs::{self, RequestKey, Scope},
};
use crate::model::{Job, JobId};

/// The job that an earlier call with the same key has made.
pub(super) fn known(db: &Connection, uid: u32, request: &RequestKey) -> Result<Option<Job>, StoreError> {
    let known: Option<(Vec<u8>, String)> = db
        .query_row(
            "SELECT fingerprint, job_id FROM requests WHERE uid = ?1 AND request_id = ?2",
            params![uid, request.id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .act("look for a request")?;
    let Some((fingerprint, job_id)) = known else {
        return Ok(None);
    };
    let job_id = JobId::parse(&job_id).map_err(|error| StoreError::Row {
        table: "requests",
        key: request.id.clone(),
        what: error.to_string(),
    })?;
    if fingerprint != request.fingerprint {
        return Err(StoreError::RequestReused {
            request_id: request.id.clone(),
            job_id,
        });
    }
    jobs::get(db, Scope::All, &job_id).map(Some)
}
