//! The files of a job as a user sees them: what is stored, with how far the unfinished ones are.

use super::{CallError, Engine};
use crate::{
    model::{FileRecord, FileState, Job},
    store::StoreError,
};

/// A file of a job, and how far it is.
#[derive(Debug, Clone)]
pub struct FileReading {
    /// What is stored.
    pub record: FileRecord,
    /// It is being worked on.
    pub is_active: bool,
    /// Bytes on disk.
    pub bytes_done: u64,
}

impl FileReading {
    /// A file that nobody works on.
    pub fn at_rest(record: FileRecord) -> Self {
        let bytes_done = match record.state {
            FileState::Done => record.size,
            FileState::Pending | FileState::Failed => 0,
        };
        Self {
            record,
            is_active: false,
            bytes_done,
        }
    }
}

impl Engine {
    /// A page of the files of a job.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_files(&self, job: &Job, after: String, limit: u32) -> Result<Vec<FileReading>, CallError> {
        let store = &self.shared.store;
        let files = store.list_files(job.row, after, limit).await?;
        let active = self.shared.board.unfinished(&job.id);
        // A hint, and only of what this job wrote itself.
        let claimed: Result<_, StoreError> = match job.state.is_final() {
            true => Ok(Default::default()),
            false => store.claimed(job.id.to_string()).await,
        };
        let claimed = claimed.unwrap_or_default();
        let reading = |record: FileRecord| {
            let live = active.get(&record.id).copied();
            let bytes = live.or_else(|| claimed.get(&record.digest).copied()).unwrap_or(0);
            let mut reading = FileReading::at_rest(record);
            if reading.record.state == FileState::Pending {
                reading.is_active = live.is_some();
                reading.bytes_done = bytes.min(reading.record.size);
            }
            reading
        };
        Ok(files.into_iter().map(reading).collect())
    }
}
