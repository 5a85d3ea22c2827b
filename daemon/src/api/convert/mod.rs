//! Wire to model and back, one file a concept.

mod event;
mod job;
mod spec;

pub(super) use event::{event, progress_sample};
pub(super) use job::{failure, file, job_now, timestamp};
pub(super) use spec::{kind, kind_to_wire, priority_change, state_filter, submit, token};
