//! One repo path at one commit inside a job.

use super::{Digest, Failure, RepoPath};

/// Row number of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub i64);

/// Where a file of a job stands. `Done` and `Failed` are stored; being in transfer is known to the dispatcher only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    /// To be fetched.
    Pending,
    /// Verified and published, or found so.
    Done,
    /// Given up; the job fails with it.
    Failed,
}

impl FileState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Done, Self::Failed];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Reads the stored word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A file of a planned job.
#[derive(Debug, Clone)]
pub struct FileRecord {
    /// Row number; 0 before it is stored.
    pub id: FileId,
    /// Checked path.
    pub path: RepoPath,
    /// Bytes.
    pub size: u64,
    /// What the bytes must hash to.
    pub digest: Digest,
    /// Where it stands.
    pub state: FileState,
    /// It was on disk and verified before the job began.
    pub reused: bool,
    /// Why it failed.
    pub failure: Option<Failure>,
}
