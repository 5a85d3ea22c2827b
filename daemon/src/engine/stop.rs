//! Why a task of a job ended before its work was done, and what errors of the adapters mean for a job.

use std::time::Duration;

use crate::{
    cache::{CacheError, ErrorKind},
    model::{Failure, FailureKind, HoldReason},
    store::StoreError,
};

/// A full disk is looked at again after this.
const DISK_RETRY: Duration = Duration::from_secs(30);

/// Why a task gave up.
#[derive(Debug)]
pub(super) enum JobStop {
    /// Its token was cancelled: a user or the end of the daemon.
    Cancelled,
    /// The whole job cannot work.
    JobFailed(Failure),
    /// One file cannot be had; the others go on.
    FileFailed(Failure),
    /// Not now; try again after a while.
    Hold {
        reason: HoldReason,
        detail: String,
        retry_after: Duration,
    },
}

impl From<StoreError> for JobStop {
    fn from(error: StoreError) -> Self {
        let hold = |detail| Self::Hold {
            reason: HoldReason::Disk,
            detail,
            retry_after: DISK_RETRY,
        };
        match error {
            StoreError::Closed | StoreError::PlanOutdated => Self::Cancelled,
            StoreError::Full => hold("the disk of the state directory is full".into()),
            // The trouble is the store's, not the job's.
            StoreError::NotCommitted(_) => hold(error.to_string()),
            other => Self::JobFailed(Failure::new(
                FailureKind::Internal,
                chain(&other),
                "look at the daemon's log; `hfctl retry` tries again",
            )),
        }
    }
}

impl From<CacheError> for JobStop {
    fn from(error: CacheError) -> Self {
        let text = chain(&error);
        let hold = |detail| Self::Hold {
            reason: HoldReason::Disk,
            detail,
            retry_after: DISK_RETRY,
        };
        match error.kind() {
            ErrorKind::Cancelled => Self::Cancelled,
            ErrorKind::DiskFull
            | ErrorKind::Quota
            | ErrorKind::DiskError
            | ErrorKind::ReadOnly
            | ErrorKind::RootMissing
            | ErrorKind::LockTimeout
            | ErrorKind::Busy
            | ErrorKind::Vanished => hold(text),
            ErrorKind::Permission => Self::JobFailed(Failure::new(
                FailureKind::DiskError,
                text,
                "make the folder writable for the daemon's user, then `hfctl retry`",
            )),
            ErrorKind::CrossDevice | ErrorKind::NoSymlinks => Self::JobFailed(Failure::new(
                FailureKind::DiskError,
                text,
                "choose another folder with --cache-dir or --local-dir",
            )),
            ErrorKind::UnsafePath => Self::FileFailed(Failure::new(
                FailureKind::UnsafePath,
                text,
                "nothing was written outside the destination; remove what is in the way or leave the file out with --exclude",
            )),
            ErrorKind::DigestMismatch => Self::FileFailed(integrity(text)),
        }
    }
}

/// Bytes came twice and were wrong twice.
pub(super) fn integrity(message: String) -> Failure {
    Failure::new(
        FailureKind::Integrity,
        message,
        "nothing wrong was published; try another endpoint, or `hfctl retry` later",
    )
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
