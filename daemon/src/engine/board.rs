//! The figures of all jobs that are being worked on, for those who look and for those who book.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::progress::{JobProgress, ProgressReading, lock};
use crate::{
    model::{FileId, JobId},
    store::Scope,
};

/// The figures of all active jobs.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<Figures>>);

/// By job: its owner, and its figures.
type Figures = HashMap<JobId, (u32, Arc<JobProgress>)>;

impl Board {
    pub(super) fn put(&self, id: &JobId, uid: u32, progress: Arc<JobProgress>) {
        lock(&self.0).insert(id.clone(), (uid, progress));
    }

    pub(super) fn jobs(&self, scope: Scope) -> Vec<JobId> {
        let visible = |owner: u32| match scope {
            Scope::All => true,
            Scope::Uid(uid) => owner == uid,
        };
        lock(&self.0)
            .iter()
            .filter(|(_, (owner, _))| visible(*owner))
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(super) fn remove(&self, id: &JobId) {
        lock(&self.0).remove(id);
    }

    pub(super) fn read(&self, id: &JobId) -> Option<ProgressReading> {
        lock(&self.0).get(id).map(|(_, progress)| progress.read())
    }

    /// Bytes of the unfinished files of a job that are being worked on.
    pub(super) fn unfinished(&self, id: &JobId) -> HashMap<FileId, u64> {
        let figures = lock(&self.0).get(id).map(|(_, progress)| progress.clone());
        figures.map(|progress| progress.unfinished()).unwrap_or_default()
    }

    /// Sum of the rates of all jobs, bytes per second.
    pub(super) fn bytes_per_sec(&self) -> u64 {
        lock(&self.0)
            .values()
            .map(|(_, progress)| progress.bytes_per_sec())
            .sum()
    }

    /// Of each job: bytes of its files that are here, and bytes that are still to come again.
    pub(super) fn in_hand(&self) -> Vec<(JobId, u64, u64)> {
        let figures = lock(&self.0);
        let has = |(id, (_, progress)): (&JobId, &(u32, Arc<JobProgress>))| {
            (id.clone(), progress.in_hand(), progress.still_lost())
        };
        figures.iter().map(has).collect()
    }

    /// Takes a sample of every rate.
    pub(super) fn sample(&self) {
        lock(&self.0).values().for_each(|(_, progress)| progress.sample());
    }
}
