//! Jobs and files to the wire.

use hfetch_proto::v1;
use jiff::Timestamp;

use super::spec::kind_to_wire;
use crate::{
    engine::{Engine, FileReading, Forecast, ProgressReading},
    model::{Destination, Failure, FileState, HoldReason, Job, JobId, JobState, Priority, Trust, naming},
};

pub(crate) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    }
}

/// A failure, of a job or of a question without one.
pub(crate) fn failure(failure: &Failure, of: Option<&JobId>) -> v1::Failure {
    v1::Failure {
        kind: failure.kind.as_str().to_owned(),
        message: failure.message.clone(),
        hint: of.map_or_else(|| failure.hint_alone(), |id| failure.hint_for(id)),
    }
}

pub(crate) fn job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Queued => v1::JobState::Queued,
        JobState::Active => v1::JobState::Active,
        JobState::Held => v1::JobState::Held,
        JobState::Paused => v1::JobState::Paused,
        JobState::Done => v1::JobState::Done,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
    }
}

pub(super) fn hold_reason(reason: Option<HoldReason>) -> v1::HoldReason {
    match reason {
        None => v1::HoldReason::Unspecified,
        Some(HoldReason::Window) => v1::HoldReason::Window,
        Some(HoldReason::Disk) => v1::HoldReason::Disk,
        Some(HoldReason::Access) => v1::HoldReason::Access,
        Some(HoldReason::Budget) => v1::HoldReason::Budget,
        Some(HoldReason::Endpoint) => v1::HoldReason::Endpoint,
        Some(HoldReason::RateLimited) => v1::HoldReason::RateLimited,
        Some(HoldReason::Approval) => v1::HoldReason::Approval,
    }
}

pub(crate) fn priority(priority: Priority) -> v1::Priority {
    match priority {
        Priority::Low => v1::Priority::Low,
        Priority::Normal => v1::Priority::Normal,
        Priority::High => v1::Priority::High,
    }
}

/// A stored job, with its live figures when it is being worked on.
fn job(job: &Job, live: Option<&ProgressReading>) -> v1::Job {
    let path = match (&job.spec.destination, &job.commit) {
        (Destination::LocalDir(path), _) => path.display().to_string(),
        (Destination::Cache(cache), Some(commit)) => {
            let folder = job.spec.repo_id.folder(job.spec.kind);
            cache
                .join(folder)
                .join("snapshots")
                .join(commit.as_str())
                .display()
                .to_string()
        }
        (Destination::Cache(_), None) => String::new(),
    };
    let (cache_dir, local_dir) = match &job.spec.destination {
        Destination::Cache(path) => (path.display().to_string(), String::new()),
        Destination::LocalDir(path) => (String::new(), path.display().to_string()),
    };
    // A job that was paused or cancelled a moment ago has figures until its last connection is closed.
    let live = live.filter(|_| !matches!(job.state, JobState::Done | JobState::Failed));
    let doing = live.filter(|_| !job.state.is_final());
    let moving = live.filter(|_| job.state == JobState::Active);
    let partial = if job.state == JobState::Done {
        0
    } else {
        job.bytes_partial
    };
    let stored = (job.bytes_done + partial).min(job.bytes_total);
    v1::Job {
        id: job.id.to_string(),
        repo_id: job.spec.repo_id.to_string(),
        repo_type: kind_to_wire(job.spec.kind).into(),
        revision: job.spec.revision.to_string(),
        commit: job.commit.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: job_state(job.state).into(),
        hold_reason: hold_reason(job.hold_reason).into(),
        detail: naming(doing.map_or(&job.detail, |doing| &doing.detail), &job.id),
        priority: priority(job.spec.priority).into(),
        user: job.owner.user.clone(),
        bytes_total: job.bytes_total,
        bytes_done: live.map_or(stored, |live| live.bytes_done.max(job.bytes_done)),
        bytes_per_sec: moving.map_or(0, |live| live.bytes_per_sec),
        eta_sec: moving.and_then(|live| live.eta_sec),
        files_total: job.files_total,
        files_done: job.files_done,
        path,
        created_at: Some(timestamp(job.created_at)),
        started_at: job.started_at.map(timestamp),
        ended_at: job.ended_at.map(timestamp),
        failure: job.failure.as_ref().map(|why| failure(why, Some(&job.id))),
        files: job.spec.selection.files.clone(),
        include: job.spec.selection.include.clone(),
        exclude: job.spec.selection.exclude.clone(),
        local_dir,
        cache_dir,
        endpoints: job.spec.endpoints.clone(),
        bytes_reused: job.bytes_reused,
        next_attempt_at: job.next_attempt_at.map(timestamp),
        uid: job.owner.uid,
        trust: job.trust.map(Trust::as_str).unwrap_or_default().to_owned(),
        limit_bytes_per_sec: job.spec.pacing.limit,
        window: job.spec.pacing.window.clone().unwrap_or_default(),
        start_at: job.spec.pacing.start_at.map(timestamp),
        ready_by: job.spec.pacing.ready_by.map(timestamp),
        forecast_at: None,
        late: false,
        forecast: String::new(),
        hold_above_bytes: job.spec.hold_above,
        files_to_fetch: job.difference.map(|difference| difference.files),
        bytes_to_fetch: job.difference.map(|difference| difference.bytes),
        schedule_id: job.spec.schedule.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// A job as it is now, with its live figures and what is foreseen for it.
pub(crate) fn job_now(engine: &Engine, of: &Job) -> v1::Job {
    let mut wire = job_with(of, engine.progress(&of.id).as_ref(), engine.forecast(&of.id));
    if let Some(why) = engine.why_queued(of) {
        wire.detail = why;
    }
    wire
}

/// The same with what is foreseen for it.
fn job_with(job_of: &Job, live: Option<&ProgressReading>, forecast: Option<Forecast>) -> v1::Job {
    let told = forecast.filter(|_| !job_of.state.is_final());
    let wire = job(job_of, live);
    match told {
        None => wire,
        Some(Forecast { ready_at, late, text }) => v1::Job {
            forecast_at: ready_at.map(timestamp),
            late,
            forecast: text,
            ..wire
        },
    }
}

/// A file, of a job when there is one.
pub(crate) fn file(file: &FileReading, of: Option<&JobId>) -> v1::File {
    let record = &file.record;
    let state = match record.state {
        FileState::Pending if file.is_active => v1::FileState::Active,
        FileState::Pending => v1::FileState::Pending,
        FileState::Done => v1::FileState::Done,
        FileState::Failed => v1::FileState::Failed,
    };
    v1::File {
        path: record.path.to_string(),
        size: record.size,
        digest: record.digest.to_string(),
        state: state.into(),
        bytes_done: file.bytes_done,
        reused: record.reused,
        failure: record.failure.as_ref().map(|why| failure(why, of)),
    }
}
