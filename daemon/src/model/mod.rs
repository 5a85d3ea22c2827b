//! Floor 0: plain data. No async, no I/O, no SQL, no wire types. Everything else is built from these words.

mod bearer;
mod budget;
mod digest;
mod event;
mod failure;
mod file;
mod id;
mod job;
mod judgement;
mod manifest;
mod pacing;
mod path;
mod repo;
pub mod route;
mod schedule;
mod secret;
pub mod units;
pub mod usage;
mod week;

pub use bearer::{Bearers, is_caller_name};
pub use budget::{Budget, BudgetPeriod};
pub use digest::{Digest, Etag};
pub use event::{Event, EventKind, EventSeq, NewEvent};
pub use failure::{Failure, FailureKind, naming};
pub use file::{FileId, FileRecord, FileState};
pub use id::{BadJobId, JobId};
pub use job::{
    Destination, HoldReason, IllegalMove, Job, JobMove, JobSpec, JobState, Owner, Priority, Selection, Trust,
};
pub use judgement::{EndpointFault, Finding, JudgedRepo, Judgement, Serves};
pub use manifest::{Manifest, ManifestEntry};
pub use pacing::{JobChange, Pacing, SetLimit, SetLimits};
pub use path::{RepoPath, UnsafePath};
pub use repo::{BadRepoId, BadRevision, CommitHash, RepoId, RepoKind, Revision};
pub use schedule::{Difference, Pull, RunOutcome, Schedule, ScheduleId, ScheduleRun, Terms};
pub use secret::{Pem, ProxyLogin, SignedUrl, Token};
pub use units::ByteRange;
pub use usage::{Booking, Spent, TrafficRoute, UsageBy, UsageLine};
pub use week::{Change, Limit, Period, Weekdays};
