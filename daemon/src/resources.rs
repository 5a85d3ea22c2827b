//! Floor 4: what the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
