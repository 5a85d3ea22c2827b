//! Events and progress samples to the wire.

use hfetch_proto::v1;

use super::{
    job::{failure, hold_reason, job_state, timestamp},
    spec::kind_to_wire,
};
use crate::{
    engine::ProgressReading,
    model::{Event, EventKind, JobId, naming},
};

pub(crate) fn event(event: &Event) -> v1::Event {
    let kind = match event.what.kind {
        EventKind::Submitted => v1::EventType::Submitted,
        EventKind::Planned => v1::EventType::Planned,
        EventKind::StateChanged => v1::EventType::StateChanged,
        EventKind::FileDone => v1::EventType::FileDone,
        EventKind::Warning => v1::EventType::Warning,
    };
    v1::Event {
        seq: event.seq.0,
        time: Some(timestamp(event.at)),
        r#type: kind.into(),
        job_id: event.job_id.to_string(),
        repo_id: event.repo_id.clone(),
        user: event.user.clone(),
        state: job_state(event.what.state).into(),
        hold_reason: hold_reason(event.what.hold_reason).into(),
        failure: (event.what.failure.as_ref()).map(|why| failure(why, Some(&event.job_id))),
        file: event.what.file.clone(),
        detail: naming(&event.what.detail, &event.job_id),
        commit: event.what.commit.clone(),
        bytes: event.what.bytes,
        repo_type: kind_to_wire(event.repo_kind).into(),
    }
}

pub(crate) fn progress_sample(id: &JobId, reading: &ProgressReading) -> v1::ProgressSample {
    v1::ProgressSample {
        job_id: id.to_string(),
        bytes_done: reading.bytes_done,
        bytes_total: reading.bytes_total,
        bytes_per_sec: reading.bytes_per_sec,
        eta_sec: reading.eta_sec,
        files_done: reading.files_done,
        files_total: reading.files_total,
        connections: reading.connections,
        detail: naming(&reading.detail, id),
    }
}

/// The figures of a job that nobody works on.
pub(crate) fn waiting_sample(job: v1::Job) -> v1::ProgressSample {
    v1::ProgressSample {
        job_id: job.id,
        bytes_done: job.bytes_done,
        bytes_total: job.bytes_total,
        bytes_per_sec: 0,
        eta_sec: None,
        files_done: job.files_done,
        files_total: job.files_total,
        connections: 0,
        detail: job.detail,
    }
}
