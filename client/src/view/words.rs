//! The words for the wire's enums. A value that a newer daemon invented is `unknown`.

use hfetch_proto::v1::{EventType, FileState, HoldReason, JobState, NameSource, Priority, RepoType};

/// `queued`, `active`, ...
pub(crate) fn state(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified => "unknown",
        JobState::Queued => "queued",
        JobState::Active => "active",
        JobState::Held => "held",
        JobState::Paused => "paused",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// Why a job is held.
pub(crate) fn hold_reason(reason: HoldReason) -> Option<&'static str> {
    match reason {
        HoldReason::Unspecified => None,
        HoldReason::Window => Some("window"),
        HoldReason::Disk => Some("disk"),
        HoldReason::Access => Some("access"),
        HoldReason::Budget => Some("budget"),
        HoldReason::Endpoint => Some("endpoint"),
        HoldReason::RateLimited => Some("rate_limited"),
        HoldReason::Approval => Some("approval"),
    }
}

/// The reason of a held job; `None` in every other state.
pub(crate) fn reason_of(job_state: JobState, reason: HoldReason) -> Option<&'static str> {
    (job_state == JobState::Held).then(|| hold_reason(reason).unwrap_or("unknown"))
}

/// `model`, `dataset`, `space`.
pub(crate) fn repo_type(repo_type: RepoType) -> &'static str {
    match repo_type {
        RepoType::Unspecified | RepoType::Model => "model",
        RepoType::Dataset => "dataset",
        RepoType::Space => "space",
    }
}

/// `low`, `normal`, `high`.
pub(crate) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Unspecified | Priority::Normal => "normal",
        Priority::High => "high",
    }
}

/// `pending`, `active`, `done`, `failed`.
pub(crate) fn file_state(state: FileState) -> &'static str {
    match state {
        FileState::Unspecified => "unknown",
        FileState::Pending => "pending",
        FileState::Active => "active",
        FileState::Done => "done",
        FileState::Failed => "failed",
    }
}

/// `submitted`, `planned`, `state_changed`, `file_done`, `warning`.
pub(crate) fn event_type(event: EventType) -> &'static str {
    match event {
        EventType::Unspecified => "unknown",
        EventType::Submitted => "submitted",
        EventType::Planned => "planned",
        EventType::StateChanged => "state_changed",
        EventType::FileDone => "file_done",
        EventType::Warning => "warning",
    }
}

/// Where a name's meaning comes from.
pub(crate) fn name_source(source: NameSource) -> &'static str {
    match source {
        NameSource::Unspecified => "unknown",
        NameSource::UserAlias => "user",
        NameSource::ConfigAlias => "config",
        NameSource::BuiltIn => "built-in",
        NameSource::Literal => "literal",
        NameSource::Hub => "hub",
    }
}

/// The repository as one names it on the command line: with its kind in front unless it is a model.
pub(crate) fn repo_name(kind: RepoType, repo_id: &str) -> String {
    match kind {
        RepoType::Unspecified | RepoType::Model => repo_id.to_owned(),
        RepoType::Dataset => format!("datasets/{repo_id}"),
        RepoType::Space => format!("spaces/{repo_id}"),
    }
}
