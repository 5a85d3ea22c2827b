//! `[events]`: how far back a watcher may resume.

use std::time::Duration;

use crate::config::{section::Reader, tree::Table, values};

/// `[events]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventOptions {
    /// Events older than this are forgotten.
    pub keep: Duration,
    /// At most so many are kept.
    pub keep_count: u64,
}

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<EventOptions> {
    let mut section = reader.section(root, "events");
    let keep = section.read("keep", "7d", values::duration);
    let keep_count = section.read("keep_count", 100_000, values::number(1..=1_000_000_000));
    section.finish();
    Some(EventOptions {
        keep: keep?,
        keep_count: keep_count?,
    })
}
