//! Floor 4: the state directory and the lock that makes this the only daemon on it.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Why the state directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another daemon has it.
    #[error("another hfetchd ({}) uses {}", pid.as_ref().map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}")), dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
        /// The holder, as it wrote itself down.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Held for the life of the daemon; the kernel lets go of it whatever happens to us.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Makes the directory (0700) if needed and takes its lock.
///
/// # Errors
/// `Busy` with the pid of the holder; what the system says.
pub fn lock(dir: &Path) -> Result<StateLock, StateDirError> {
    let fail = |act, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| StateDirError::Io { act, path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail("create", dir))?;
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Half-written or not yet written: then the pid is not known.
            let pid = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(StateDirError::Busy {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(errno) => return Err(fail("lock", &path)(errno.into())),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .map_err(fail("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(fail("write", &path))?;
    Ok(StateLock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_hears_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        let first = lock(&state).unwrap();
        match lock(&state) {
            Err(StateDirError::Busy { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        lock(&state).unwrap();
    }
}
