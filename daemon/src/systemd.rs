//! Floor 4: what we say to the service manager, and the socket that it may have made for us.
//!
//! The protocols are those of `sd_notify(3)` and `sd_listen_fds(3)`: a datagram of `KEY=value` lines, and inherited
//! descriptors from number 3 on. Without the variables everything here does nothing. Nothing waits for an answer, and a
//! service manager that does not listen is no reason to stop.

use std::{
    env, fmt, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram, UnixListener},
    },
    path::PathBuf,
    time::Duration,
};

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};

/// What the socket unit calls the socket of the control interface (`FileDescriptorName=`).
const CONTROL: &str = "control";
/// What a socket unit without `FileDescriptorName=` calls it.
const UNIT: &str = "hfetchd.socket";

/// The service manager, as far as there is one.
#[derive(Debug)]
pub struct ServiceManager {
    notify: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment of this process names.
    ///
    /// # Errors
    /// When a variable is there and cannot be understood, or there is no room for a socket.
    pub fn of_process() -> io::Result<Self> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let notify = match set("NOTIFY_SOCKET") {
            Some(address) => Some((UnixDatagram::unbound()?, socket_address(&address)?)),
            None => None,
        };
        let watchdog = watchdog(
            set("WATCHDOG_USEC").as_deref(),
            set("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        // Without a way to ping it would be fatal to be watched, and pointless to count.
        let watchdog = watchdog.filter(|_| notify.is_some());
        Ok(Self { notify, watchdog })
    }

    /// How often a ping is due: well within the time after which we would be killed. `None`: nobody watches.
    pub fn ping_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 3)
    }

    /// Whether somebody listens to the status.
    pub fn is_there(&self) -> bool {
        self.notify.is_some()
    }

    /// Callers are served, or the configuration has been read again.
    pub fn ready(&self) {
        self.say(format_args!("READY=1"));
    }

    /// The start takes longer: the database may be large, and its disk slow. To be said again well within `time`.
    pub fn starting(&self, time: Duration) {
        self.say(format_args!("EXTEND_TIMEOUT_USEC={}", time.as_micros()));
    }

    /// The configuration is being read again; [`ServiceManager::ready`] must follow.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.say(format_args!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.say(format_args!("STOPPING=1\nSTATUS=stopping"));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        let line = line.replace('\n', " ");
        self.say(format_args!("STATUS={line}"));
    }

    /// Everything works.
    pub fn ping(&self) {
        self.say(format_args!("WATCHDOG=1"));
    }

    fn say(&self, what: fmt::Arguments<'_>) {
        if let Some((socket, address)) = &self.notify
            && let Err(error) = socket.send_to_addr(what.to_string().as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// A path, or a name in the abstract namespace, which begins with `@`.
fn socket_address(text: &str) -> io::Result<SocketAddr> {
    match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if text.starts_with('/') => SocketAddr::from_pathname(text),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("NOTIFY_SOCKET={text} is no address of a Unix socket"),
        )),
    }
}

/// After how long without a ping we are killed; `None` when it is not us who is watched.
fn watchdog(micros: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    ours.then(|| Duration::from_micros(micros))
}

/// Why a socket that was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedSocketError {
    /// Something was passed, but nothing for us.
    #[error("the service manager passed {count} sockets, and none of them is called `{CONTROL}`")]
    NotAmongThem {
        /// How many there are.
        count: usize,
    },
    /// It is not what we need.
    #[error("the socket that the service manager passed is not a listening Unix socket with a path")]
    Unfit(#[source] io::Error),
}

/// Takes the listening socket that the service manager made, with its path. `None`: it made none. Only the first call can
/// take it.
///
/// # Errors
/// When sockets were passed and ours is not among them.
pub fn passed_socket() -> Result<Option<(UnixListener, PathBuf)>, PassedSocketError> {
    let names = env::var("LISTEN_FDNAMES").ok();
    // Looks at LISTEN_PID, and takes the variables away.
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        return Ok(None);
    }
    let index =
        position(names.as_deref(), passed.len()).ok_or(PassedSocketError::NotAmongThem { count: passed.len() })?;
    let listener = passed
        .take_unix_listener(index)
        .map_err(PassedSocketError::Unfit)?
        .ok_or(PassedSocketError::NotAmongThem { count: passed.len() })?;
    let address = listener.local_addr().map_err(PassedSocketError::Unfit)?;
    let path = address
        .as_pathname()
        .ok_or_else(|| PassedSocketError::Unfit(io::ErrorKind::InvalidInput.into()))?
        .to_owned();
    listener.set_nonblocking(true).map_err(PassedSocketError::Unfit)?;
    Ok(Some((listener, path)))
}

/// Which of the passed sockets is ours: the one with our name, else the only one.
fn position(names: Option<&str>, count: usize) -> Option<usize> {
    let mut names = names.unwrap_or_default().split(':');
    names
        .position(|name| name == CONTROL || name == UNIT)
        .or((count == 1).then_some(0))
        .filter(|index| *index < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_watched_and_how_closely() {
        let check = |micros, pid, expected: Option<u64>| {
            assert_eq!(
                watchdog(micros, pid, 7),
                expected.map(Duration::from_micros),
                "{micros:?} {pid:?}"
            );
        };
        check(None, None, None);
        check(Some("60000000"), None, Some(60_000_000));
        check(Some("60000000"), Some("7"), Some(60_000_000));
        check(Some("60000000"), Some("8"), None);
        check(Some("60000000"), Some("x"), None);
        check(Some("0"), None, None);
        check(Some("-1"), None, None);
        check(Some("soon"), None, None);
    }

    #[test]
    fn which_socket_is_ours() {
        let check = |names, count, expected| assert_eq!(position(names, count), expected, "{names:?} {count}");
        check(None, 1, Some(0));
        check(None, 2, None);
        check(Some("hfetchd.socket"), 1, Some(0));
        check(Some("metrics:control"), 2, Some(1));
        check(Some("metrics:hfetchd.socket"), 2, Some(1));
        check(Some("a:b"), 2, None);
        // Names that do not belong to what was passed.
        check(Some("a:b:control"), 2, None);
    }

    #[test]
    fn addresses_of_the_manager() {
        for good in ["/run/systemd/notify", "@/org/freedesktop/systemd1/notify/1"] {
            assert!(socket_address(good).is_ok(), "{good}");
        }
        for bad in ["run/notify", "vsock:2:1234", ""] {
            assert!(socket_address(bad).is_err(), "{bad}");
        }
    }
}
