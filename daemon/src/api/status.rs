//! The one place where an error of a call becomes a gRPC status: a code, a stable reason, a sentence for the user.

use std::collections::HashMap;

use hfetch_proto::reason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    engine::{CallError, chain},
    model::IllegalMove,
    store::StoreError,
};

/// A status with its reason.
pub(super) fn refuse(code: Code, reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, HashMap::<String, String>::new());
    Status::with_error_details(code, message, details)
}

fn wrong_state(illegal: IllegalMove) -> Status {
    use crate::model::JobMove as M;
    let wish = match illegal.job_move {
        M::Pause => "paused",
        M::Resume | M::Approve => {
            "resumed: only a paused one can, and one that waits for a yes; `hfctl retry` lets a held one try at once"
        }
        M::Cancel => "cancelled",
        M::Retry => "tried again: only a held, failed or cancelled one can",
        M::Start | M::Hold(_) | M::Requeue | M::Finish | M::Fail => "moved so",
    };
    let from = illegal.from;
    let text = match illegal.job_move.aim() == Some(from) {
        true => format!("the job is {from} already"),
        false => format!("the job is {from} and cannot be {wish}"),
    };
    refuse(Code::FailedPrecondition, reason::WRONG_STATE, text)
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let text = error.to_string();
        let message = text.clone();
        match error {
            CallError::InvalidArgument { field, message } => {
                let mut details = ErrorDetails::with_bad_request_violation(field, message);
                details.set_error_info(
                    reason::INVALID_ARGUMENT,
                    reason::DOMAIN,
                    HashMap::<String, String>::new(),
                );
                Status::with_error_details(Code::InvalidArgument, text, details)
            }
            CallError::NoSuchAlias(_) => refuse(Code::NotFound, reason::ALIAS_NOT_FOUND, message),
            CallError::NoSuchRepo(_) => refuse(Code::NotFound, reason::REPO_NOT_FOUND, message),
            CallError::NotCached(_) => refuse(Code::NotFound, reason::NOT_CACHED, message),
            CallError::NotAllowed(_) => refuse(Code::PermissionDenied, reason::PERMISSION_DENIED, message),
            CallError::HubUnreachable(_) => refuse(Code::Unavailable, reason::HUB_UNREACHABLE, message),
            CallError::TokensUnreadable(_) => refuse(Code::FailedPrecondition, reason::TOKENS_UNREADABLE, message),
            CallError::Stopping => refuse(Code::Unavailable, reason::STOPPING, message),
            CallError::WrongState(illegal) => wrong_state(illegal),
            CallError::Store(error) => from_store(error),
            CallError::Internal(_) => internal(&message),
        }
    }
}

fn from_store(error: StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::NoSuchJob(_) => refuse(Code::NotFound, reason::JOB_NOT_FOUND, message),
        StoreError::AmbiguousJob(_) => refuse(Code::InvalidArgument, reason::JOB_ID_AMBIGUOUS, message),
        StoreError::NoSuchSchedule(_) => refuse(Code::NotFound, reason::SCHEDULE_NOT_FOUND, message),
        StoreError::AmbiguousSchedule(_) => refuse(Code::InvalidArgument, reason::SCHEDULE_ID_AMBIGUOUS, message),
        StoreError::RequestReused { .. } => refuse(Code::AlreadyExists, reason::REQUEST_ID_REUSED, message),
        StoreError::QueueFull { .. } => refuse(Code::ResourceExhausted, reason::QUEUE_FULL, message),
        StoreError::Full => refuse(Code::ResourceExhausted, reason::STORE_FULL, message),
        StoreError::EventsPruned(_) | StoreError::NoSuchEvent(_) => {
            refuse(Code::OutOfRange, reason::EVENTS_PRUNED, message)
        }
        StoreError::IllegalMove(illegal) => wrong_state(illegal),
        StoreError::Ended(_) => refuse(Code::FailedPrecondition, reason::WRONG_STATE, message),
        StoreError::Closed => refuse(Code::Unavailable, reason::STOPPING, "the daemon is stopping".into()),
        // Nobody was told "ok": repeating with the same request id is safe.
        StoreError::NotCommitted(_) => refuse(Code::Unavailable, reason::STORE_FULL, message),
        StoreError::PlanOutdated
        | StoreError::TooNew { .. }
        | StoreError::Foreign { .. }
        | StoreError::Damaged { .. }
        | StoreError::OldSqlite { .. }
        | StoreError::Row { .. }
        | StoreError::Sqlite { .. }
        | StoreError::Io { .. } => internal(&chain(&error)),
    }
}

/// The details go to the log under a number that the user can quote.
fn internal(message: &str) -> Status {
    let incident = format!("{:08x}", fastrand::u32(..));
    tracing::error!(incident, message, "a call failed");
    refuse(
        Code::Internal,
        reason::INTERNAL,
        format!("internal error; the daemon's log has it under {incident}"),
    )
}
