//! The Unix socket: where callers of this machine connect.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

use super::{
    authority::{Connection, uid_of},
    places::{Key, Places},
    remote::BREATH,
    server::ServerError,
};
use crate::config::Mode;

/// Longest path of a Unix socket on Linux, without the closing NUL.
const LONGEST_SOCKET: usize = 107;
/// Connections of all users, and of one.
const MOST: usize = 2048;
const MOST_EACH: usize = 512;

/// A bound socket; removed when dropped.
pub struct Listener {
    /// When it is ours.
    remove: Option<Remove>,
    listener: UnixListener,
}

impl Listener {
    /// Binds the socket with its final mode in place from the first moment. A stale one is replaced, a live one respected.
    ///
    /// # Errors
    /// `Busy` when somebody answers; what the system says.
    pub async fn bind(path: &Path, mode: Mode) -> Result<Self, ServerError> {
        let fail = |act, path: &Path| {
            let path = path.to_owned();
            move |source| ServerError::Io { act, path, source }
        };
        if path.as_os_str().len() + ".new".len() > LONGEST_SOCKET {
            return Err(ServerError::TooLong { path: path.to_owned() });
        }
        match UnixStream::connect(path).await {
            // Nobody, or what a killed daemon left behind.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let meta = fs::symlink_metadata(path).map_err(fail("look at", path))?;
                if !meta.file_type().is_socket() {
                    let source = io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there");
                    return Err(fail("bind", path)(source));
                }
            }
            // Also one that is too busy to answer is alive.
            Ok(_) => return Err(ServerError::Busy { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ServerError::Busy { path: path.to_owned() });
            }
            Err(error) => return Err(fail("connect to", path)(error)),
        }
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(fail("create", folder))?;
        }
        // Made under another name, so that nobody connects before the mode is right, and put in place in one step.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("remove", &fresh)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(fail("bind", &fresh))?;
        let bits = match mode {
            Mode::User => 0o600,
            Mode::System => 0o660,
        };
        fs::set_permissions(&fresh, fs::Permissions::from_mode(bits)).map_err(fail("set the mode of", &fresh))?;
        #[expect(clippy::disallowed_methods, reason = "a socket, not a cache file")]
        fs::rename(&fresh, path).map_err(fail("put in place", path))?;
        let remove = Remove {
            path: path.to_owned(),
            inode: inode(path),
        };
        Ok(Self {
            remove: Some(remove),
            listener,
        })
    }
}

impl Listener {
    /// Serves at a socket that somebody else made, and who removes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn passed(listener: std::os::unix::net::UnixListener, path: &Path) -> Result<Self, ServerError> {
        let listener = UnixListener::from_std(listener).map_err(|source| ServerError::Io {
            act: "serve at",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { remove: None, listener })
    }
}

/// Connections as they come.
pub(super) struct Incoming {
    listener: UnixListener,
    places: Places,
    _remove: Option<Remove>,
}

impl Incoming {
    pub(super) fn new(listener: Listener) -> Self {
        Self {
            listener: listener.listener,
            places: Places::new(MOST, MOST_EACH),
            _remove: listener.remove,
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let uid = uid_of(&stream);
                    match self.places.take(Key::User(uid)) {
                        Some(place) => return Connection::new(stream, place),
                        None => tracing::warn!(uid, "too many connections; hung up"),
                    }
                }
                // No more files, say: it passes, and the daemon goes on.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    sleep(BREATH).await;
                }
            }
        }
    }
}

/// Removes the socket file at the end, unless another daemon took its place.
struct Remove {
    path: PathBuf,
    inode: Option<u64>,
}

impl Drop for Remove {
    fn drop(&mut self) {
        let inode = inode(&self.path);
        if inode.is_some()
            && inode == self.inode
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "the socket stays");
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}
