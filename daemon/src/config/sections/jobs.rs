//! `[jobs]`: how long jobs are remembered that are over.

use std::time::Duration;

use crate::config::{section::Reader, tree::Table, values};

/// `[jobs]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOptions {
    /// Jobs that ended longer ago are forgotten.
    pub keep: Duration,
    /// At most so many that are over are kept.
    pub keep_count: u64,
    /// The lists of the files of jobs that ended longer ago are forgotten.
    pub keep_files: Duration,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<JobOptions> {
    let mut section = reader.section(root, "jobs");
    let keep = section.read("keep", "90d", values::duration);
    let keep_count = section.read("keep_count", 100_000, values::number(0..=1_000_000_000));
    let keep_files = section.read("keep_files", "7d", values::duration);
    section.finish();
    Some(JobOptions {
        keep: keep?,
        keep_count: keep_count?,
        keep_files: keep_files?,
    })
}
