//! How the daemon ends, as its exit code tells.

use std::process::ExitCode;

use crate::{
    api::{DoorError, ServerError},
    config::Mistakes,
    state_dir::StateDirError,
    tokens::BadKey,
};

/// Exit codes, after sysexits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Stopped as asked.
    Clean = 0,
    /// A bug, or the system failed us.
    Internal = 70,
    /// Another daemon is there.
    Busy = 75,
    /// The configuration has mistakes.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the daemon cannot run, with its exit code.
#[derive(Debug)]
pub struct Fatal {
    /// The code.
    pub exit: Exit,
    /// What to tell the operator.
    pub error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Fatal {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = if matches!(error.downcast_ref(), Some(StateDirError::Busy { .. }))
            || matches!(error.downcast_ref(), Some(ServerError::Busy { .. }))
        {
            Exit::Busy
        } else if error.is::<Mistakes>()
            || error.is::<BadKey>()
            || matches!(error.downcast_ref(), Some(DoorError::Tls(_)))
        {
            Exit::Config
        } else {
            Exit::Internal
        };
        Self { exit, error }
    }
}
