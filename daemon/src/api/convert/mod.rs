//! Wire to model and back, one file a concept.

mod event;
mod job;
mod spec;

pub(super) use event::{event, progress_sample, waiting_sample};
pub(super) use job::{failure, file, job_now, job_state, priority, timestamp};
pub(super) use spec::{kind, kind_to_wire, priority_change, state_filter, submit, token};
