//! JSON of what a job has still to fetch, and of what it waits for.

use hfetch_proto::v1::Job;
use serde::Serialize;

use super::present;

/// Part of a job.
#[derive(Debug, Serialize)]
pub(super) struct DifferenceJson {
    hold_above: Option<u64>,
    files_to_fetch: Option<u64>,
    bytes_to_fetch: Option<u64>,
    schedule: Option<String>,
}

impl DifferenceJson {
    pub(super) fn of(job: &Job) -> DifferenceJson {
        DifferenceJson {
            hold_above: job.hold_above_bytes,
            files_to_fetch: job.files_to_fetch,
            bytes_to_fetch: job.bytes_to_fetch,
            schedule: present(job.schedule_id.clone()),
        }
    }
}
