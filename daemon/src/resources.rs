//! Floor 4: what the system lets this process have.

use rustix::{
    io,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
};

/// Takes as many open files as the system allows: connections, partial files and callers add up, and the usual soft limit of
/// 1024 is there for programs that use `select`, which we do not. Not taking them is no reason not to run.
pub fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, limit = current, "the number of open files stays limited");
    }
}

/// Leaves no picture of our memory anywhere, for tokens are in it: no core dump, also none that is piped to a program, and no
/// look into it by other programs of the same user.
///
/// # Errors
/// When the system does not do it.
pub fn forbid_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where a unit has set it already, it may not be set again.
    match getrlimit(Resource::Core) == nothing {
        true => Ok(()),
        false => setrlimit(Resource::Core, nothing),
    }
}
