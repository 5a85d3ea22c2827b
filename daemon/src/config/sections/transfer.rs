//! `[transfer]`: how many things at once, and how long to be patient.

use std::time::Duration;

use crate::config::{section::Reader, tree::Table, values};

/// `[transfer]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOptions {
    /// The most connections for one file, unless the job says otherwise.
    pub connections: u32,
    /// Files of one job at a time, unless the job says otherwise.
    pub max_workers: u32,
    /// Jobs at a time.
    pub max_active_jobs: u32,
    /// Connections of all jobs together.
    pub max_connections: u32,
    /// A job that makes no progress for so long fails.
    pub give_up_after: Duration,
    /// A connection that brings no bytes for so long is cut.
    pub stall_timeout: Duration,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<TransferOptions> {
    let mut section = reader.section(root, "transfer");
    let connections = section.read("connections", 32, values::number(1..=256));
    let max_workers = section.read("max_workers", 8, values::number(1..=256));
    let max_active_jobs = section.read("max_active_jobs", 4, values::number(1..=1024));
    let max_connections = section.read("max_connections", 64, values::number(1..=4096));
    let give_up_after = section.read("give_up_after", "24h", values::duration);
    let stall_timeout = section.read("stall_timeout", "30s", values::duration);
    section.finish();
    Some(TransferOptions {
        connections: connections?,
        max_workers: max_workers?,
        max_active_jobs: max_active_jobs?,
        max_connections: max_connections?,
        give_up_after: give_up_after?,
        stall_timeout: stall_timeout?,
    })
}
