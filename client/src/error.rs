//! What a person reads when something fails: what happened, why, what to do, and the exit code. The single place where a
//! gRPC status becomes words.

use std::error::Error;
use std::io;

use hfetch_proto::reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::exit::Exit;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The reader of our output went away (`hfctl list | head`). Counts as success.
    #[error("the reader of the output went away")]
    BrokenPipe,
    /// A sentence for the user.
    #[error("{message}")]
    Said {
        /// Decides the exit code.
        exit: Exit,
        /// What happened and why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl CliError {
    /// An error with its exit code and sentence.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> CliError {
        CliError::Said {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError::new(Exit::Usage, message)
    }

    /// Adds what to do about it.
    pub(crate) fn hint(self, text: impl Into<String>) -> CliError {
        match self {
            CliError::BrokenPipe => CliError::BrokenPipe,
            CliError::Said { exit, message, .. } => CliError::Said {
                exit,
                message,
                hint: Some(text.into()),
            },
        }
    }

    /// The code the process ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::BrokenPipe => Exit::Done,
            CliError::Said { exit, .. } => *exit,
        }
    }
}

/// Failure to write an answer. Any other file error is worded where it happens, with its path.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::BrokenPipe,
            _ => CliError::new(Exit::Failed, format!("cannot write the answer: {error}")),
        }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> CliError {
        let reason = reason_of(&status);
        let (exit, hint) = verdict(reason.as_deref(), status.code());
        if let (None, Code::Unknown | Code::Cancelled, Some(cause)) = (&reason, status.code(), status.source()) {
            return CliError::new(
                Exit::Unreachable,
                format!("the connection to hfetchd was lost: {}", last(cause)),
            )
            .hint("if it does not run, start it with `hfctl daemon start`");
        }
        let message = match (reason.is_some(), status.code()) {
            (false, Code::Unavailable) => format!("the connection to hfetchd was lost: {}", status.message()),
            (false, Code::Unimplemented) => "this hfetchd does not know the call; it is older than hfctl".to_owned(),
            _ if status.message().is_empty() => format!("hfetchd answered: {}", status.code().description()),
            _ => status.message().to_owned(),
        };
        CliError::Said {
            exit,
            message,
            hint: hint.map(str::to_owned),
        }
    }
}

/// What the system, or the TLS library, said in the end.
fn last(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// The stable reason that hfetchd attached, when it is one of ours.
pub(crate) fn reason_of(status: &Status) -> Option<String> {
    status
        .get_details_error_info()
        .filter(|info| info.domain == reason::DOMAIN)
        .map(|info| info.reason)
}

/// Exit code and remedy for a reason; without a known reason (a foreign or newer server), for the code.
pub(crate) fn verdict(reason: Option<&str>, code: Code) -> (Exit, Option<&'static str>) {
    match reason {
        Some(reason::INVALID_ARGUMENT) => (Exit::Usage, None),
        Some(reason::NOT_IN_THIS_VERSION) => (Exit::Usage, None),
        Some(reason::JOB_NOT_FOUND) => (Exit::NotFound, Some("`hfctl list` shows the ids of your jobs")),
        Some(reason::JOB_ID_AMBIGUOUS) => (Exit::Usage, Some("give more characters of the id")),
        Some(reason::SCHEDULE_NOT_FOUND) => (
            Exit::NotFound,
            Some("`hfctl schedule list` shows the ids of your schedules"),
        ),
        Some(reason::SCHEDULE_ID_AMBIGUOUS) => (Exit::Usage, Some("give more characters of the id")),
        Some(reason::ALIAS_NOT_FOUND) => (Exit::NotFound, Some("`hfctl alias list` shows all aliases")),
        Some(reason::REPO_NOT_FOUND) => (
            Exit::NotFound,
            Some("check the spelling; a private repository shows itself to a token that may read it"),
        ),
        Some(reason::REQUEST_ID_REUSED) => (
            Exit::Failed,
            Some("a request id stands for one request only: use another one, or leave --request-id out"),
        ),
        Some(reason::WRONG_STATE) => (Exit::Failed, Some("`hfctl show ID` tells the job's state")),
        Some(reason::PERMISSION_DENIED) => (
            Exit::NotAllowed,
            Some("`hfctl daemon status` tells whom the daemon takes you for"),
        ),
        Some(reason::UNAUTHENTICATED) => (
            Exit::NotAllowed,
            Some("HFCTL_TOKEN or HFCTL_TOKEN_FILE brings a token that the daemon's operator has given you"),
        ),
        Some(reason::TOO_MANY_ATTEMPTS) => (Exit::NotAllowed, None),
        Some(reason::QUEUE_FULL) => (
            Exit::Failed,
            Some("wait until some of your jobs have ended, or cancel some: `hfctl list --state queued`"),
        ),
        Some(reason::STORE_FULL) => (
            Exit::Failed,
            Some("free space on the file system of the daemon's state directory (`hfctl daemon status`)"),
        ),
        Some(reason::EVENTS_PRUNED) => (Exit::Failed, Some("watch again without --after")),
        Some(reason::HUB_UNREACHABLE) => (
            Exit::Failed,
            Some("check the network, or name a mirror with --endpoint URL"),
        ),
        Some(reason::TOKENS_UNREADABLE) => (
            Exit::Failed,
            Some("the owner of the daemon finds more with `hfctl doctor`"),
        ),
        Some(reason::STOPPING) => (Exit::Unreachable, Some("hfetchd is stopping; try again when it is up")),
        Some(reason::INTERNAL) => (
            Exit::Failed,
            Some("this is a bug of hfetchd; `hfctl daemon logs` has more"),
        ),
        Some(_) | None => match code {
            Code::Unavailable => (
                Exit::Unreachable,
                Some("if it does not run, start it with `hfctl daemon start`"),
            ),
            Code::NotFound => (Exit::NotFound, None),
            Code::PermissionDenied | Code::Unauthenticated => (Exit::NotAllowed, None),
            Code::InvalidArgument => (Exit::Usage, None),
            Code::Unimplemented => (Exit::Usage, Some("update hfetchd and restart it")),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss => (Exit::Failed, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    fn status(code: Code, reason: &str, message: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, std::collections::HashMap::new());
        Status::with_error_details(code, message, details)
    }

    #[test]
    fn reasons_decide_the_exit_code() {
        let check = |code, reason, exit| {
            let error = CliError::from(status(code, reason, "why"));
            assert_eq!((error.exit(), error.to_string()), (exit, "why".to_owned()), "{reason}");
        };
        check(Code::NotFound, reason::JOB_NOT_FOUND, Exit::NotFound);
        check(Code::NotFound, reason::ALIAS_NOT_FOUND, Exit::NotFound);
        check(Code::NotFound, reason::REPO_NOT_FOUND, Exit::NotFound);
        check(Code::InvalidArgument, reason::INVALID_ARGUMENT, Exit::Usage);
        check(Code::PermissionDenied, reason::PERMISSION_DENIED, Exit::NotAllowed);
        check(Code::Unauthenticated, reason::UNAUTHENTICATED, Exit::NotAllowed);
        check(Code::ResourceExhausted, reason::TOO_MANY_ATTEMPTS, Exit::NotAllowed);
        check(Code::FailedPrecondition, reason::WRONG_STATE, Exit::Failed);
        check(Code::Unavailable, reason::STOPPING, Exit::Unreachable);
        check(Code::Unavailable, reason::HUB_UNREACHABLE, Exit::Failed);
        // A reason that a newer daemon invented falls back to the code.
        check(Code::NotFound, "BRAND_NEW", Exit::NotFound);
    }

    #[test]
    fn a_status_without_reason_is_judged_by_its_code() {
        assert_eq!(CliError::from(Status::unavailable("gone")).exit(), Exit::Unreachable);
        assert_eq!(CliError::from(Status::unauthenticated("who")).exit(), Exit::NotAllowed);
        assert_eq!(CliError::from(Status::internal("x")).exit(), Exit::Failed);
        let error = CliError::from(Status::new(Code::Unimplemented, ""));
        assert_eq!((error.exit(), error.to_string().contains("older")), (Exit::Usage, true));
    }

    #[test]
    fn a_broken_pipe_is_success() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Done);
    }
}
