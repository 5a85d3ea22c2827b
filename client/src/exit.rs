//! The exit codes, as README tells them, and nothing else.

use std::process::ExitCode;

/// How a run of `hfctl` ends. The numbers are promised to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Done,
    /// The call failed.
    Failed,
    /// The command line is wrong, or names something this version does not have.
    Usage,
    /// No daemon answers.
    Unreachable,
    /// No such job, alias or repository.
    NotFound,
    /// A job that was followed ended failed or cancelled.
    JobFailed,
    /// The caller has no right to it.
    NotAllowed,
    /// Ctrl-C or SIGTERM; jobs go on in the daemon.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::NotFound => 4,
            Exit::JobFailed => 5,
            Exit::NotAllowed => 6,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stay_as_they_are() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NotFound,
            Exit::JobFailed,
            Exit::NotAllowed,
            Exit::Interrupted,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 130]);
    }
}
