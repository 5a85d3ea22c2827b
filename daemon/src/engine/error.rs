//! Why a *call* fails. The failure of a *job* is data (`model::Failure`) and never in here.

use crate::{model::IllegalMove, store::StoreError};

/// What a caller of the engine may hear.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A field of the request is wrong.
    #[error("{}", sentence(field, message))]
    InvalidArgument {
        /// Name of the field, as in the .proto files.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// No such alias.
    #[error("no alias `{0}`")]
    NoSuchAlias(String),
    /// All endpoints have answered, and none has it.
    #[error("{0}")]
    NoSuchRepo(String),
    /// Not in the cache.
    #[error("{0} is not in the cache")]
    NotCached(String),
    /// The caller may not do this.
    #[error("{0}")]
    NotAllowed(String),
    /// The Hub could not be asked.
    #[error("the Hub could not be asked: {0}")]
    HubUnreachable(String),
    /// The user's tokens on the disk cannot be read.
    #[error("your tokens cannot be kept: {0}")]
    TokensUnreadable(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The state of the job does not allow it.
    #[error(transparent)]
    WrongState(#[from] IllegalMove),
    /// The store refused or failed.
    #[error(transparent)]
    Store(StoreError),
    /// A broken invariant.
    #[error("{0}")]
    Internal(String),
}

/// What is wrong with a field. A message that is no sentence of its own gets the field for its subject.
fn sentence(field: &str, message: &str) -> String {
    const VERBS: [&str; 11] = [
        "must", "is", "are", "has", "lies", "names", "says", "reach", "stands", "needs", "holds",
    ];
    let first = message.split_whitespace().next().unwrap_or_default();
    let field = field.replace('_', " ");
    match first {
        "at" => format!("{field}, {message}"),
        verb if VERBS.contains(&verb) => format!("{field} {message}"),
        _ => message.to_owned(),
    }
}

impl CallError {
    /// A field that is wrong, with the reason as text.
    pub fn invalid(field: &'static str, message: impl ToString) -> Self {
        Self::InvalidArgument {
            field,
            message: message.to_string(),
        }
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::IllegalMove(illegal) => Self::WrongState(illegal),
            StoreError::Closed => Self::Stopping,
            other => Self::Store(other),
        }
    }
}
