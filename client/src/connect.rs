//! Where the daemon is and how to reach it: flag, then `HFCTL_ADDRESS`, then the user's socket, then the system's. Owns
//! the channel; a lost connection is dialled again by the channel itself on the next call.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use hfetch_proto::socket;
use hfetch_proto::v1::admin_service_client::AdminServiceClient;
use hfetch_proto::v1::bandwidth_service_client::BandwidthServiceClient;
use hfetch_proto::v1::doctor_service_client::DoctorServiceClient;
use hfetch_proto::v1::endpoint_service_client::EndpointServiceClient;
use hfetch_proto::v1::event_service_client::EventServiceClient;
use hfetch_proto::v1::job_service_client::JobServiceClient;
use hfetch_proto::v1::name_service_client::NameServiceClient;
use hfetch_proto::v1::route_service_client::RouteServiceClient;
use hfetch_proto::v1::token_service_client::TokenServiceClient;
use hfetch_proto::v1::usage_service_client::UsageServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, Env};

/// A page of a thousand jobs or ten thousand files is larger than tonic's default of 4 MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A daemon that answered.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    channel: Channel,
    /// Its socket.
    pub(crate) socket: PathBuf,
}

impl Daemon {
    /// Calls about jobs.
    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The event stream.
    pub(crate) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Aliases and search.
    pub(crate) fn names(&self) -> NameServiceClient<Channel> {
        NameServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Limits, and changes of jobs.
    pub(crate) fn bandwidth(&self) -> BandwidthServiceClient<Channel> {
        BandwidthServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The Hub and its mirrors.
    pub(crate) fn endpoints(&self) -> EndpointServiceClient<Channel> {
        EndpointServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// By which way hosts are reached.
    pub(crate) fn routes(&self) -> RouteServiceClient<Channel> {
        RouteServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Hub tokens.
    pub(crate) fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    /// The ledger.
    pub(crate) fn usage(&self) -> UsageServiceClient<Channel> {
        UsageServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What is wrong.
    pub(crate) fn doctor(&self) -> DoctorServiceClient<Channel> {
        DoctorServiceClient::new(self.channel.clone())
    }

    /// The daemon itself.
    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }
}

/// Reads an address: `unix:PATH` (or just a path).
pub(crate) fn parse_address(text: &str, cwd: &Path, env: Env<'_>) -> Result<PathBuf, CliError> {
    if text.starts_with("https://") || text.starts_with("http://") {
        return Err(CliError::later("an address of the form https://HOST:PORT"));
    }
    let path = match text.strip_prefix("unix:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if text.starts_with(['/', '.', '~']) => text,
        None => "",
    };
    if path.is_empty() {
        return Err(CliError::usage(format!("`{text}` is not an address; write unix:PATH")));
    }
    Ok(paths::absolute(path, cwd, env))
}

/// The sockets to try, in order. `explicit` is `--address` or `HFCTL_ADDRESS`; when it is given, nothing else is tried.
pub(crate) fn sockets(explicit: Option<&str>, cwd: &Path, env: Env<'_>) -> Result<Vec<PathBuf>, CliError> {
    match explicit.filter(|text| !text.is_empty()) {
        Some(text) => Ok(vec![parse_address(text, cwd, env)?]),
        None => Ok(socket::user_socket(env)
            .into_iter()
            .chain([PathBuf::from(socket::SYSTEM_SOCKET)])
            .collect()),
    }
}

/// Connects to the first socket that accepts.
///
/// # Errors
/// Exit code 3 with every address that was tried; 6 when a socket is there and the caller may not use it.
pub(crate) async fn dial(sockets: &[PathBuf]) -> Result<Daemon, CliError> {
    let mut failures = Vec::new();
    for socket in sockets {
        match dial_one(socket).await {
            Ok(daemon) => return Ok(daemon),
            Err(error) => failures.push((socket.as_path(), error)),
        }
    }
    Err(unreachable(&failures))
}

async fn dial_one(socket: &Path) -> io::Result<Daemon> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The authority is not used on a Unix socket, but HTTP/2 wants one.
    let endpoint = Endpoint::from_static("http://localhost");
    let endpoint = endpoint
        .user_agent(concat!("hfctl/", env!("CARGO_PKG_VERSION")))
        .map_err(io::Error::other)?;
    match endpoint.connect_with_connector(connector).await {
        Ok(channel) => Ok(Daemon {
            channel,
            socket: socket.to_owned(),
        }),
        Err(error) => Err(root_cause(&error)),
    }
}

/// The operating system's own error at the bottom of the transport's chain.
fn root_cause(error: &tonic::transport::Error) -> io::Error {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io.kind(), io.to_string()),
            };
        }
        source = cause.source();
    }
    io::Error::other(error.to_string())
}

fn unreachable(failures: &[(&Path, io::Error)]) -> CliError {
    let tried: Vec<String> = failures
        .iter()
        .map(|(socket, error)| format!("unix:{} ({})", socket.display(), describe(error)))
        .collect();
    let denied = failures
        .iter()
        .any(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied);
    let message = format!("hfetchd does not answer; tried {}", tried.join(" and "));
    if denied {
        CliError::new(Exit::NotAllowed, message).hint(
            "join the group `hfetch` (sudo usermod -aG hfetch $USER, then log in again), \
             or start a daemon of your own with `hfctl daemon start`",
        )
    } else {
        CliError::new(Exit::Unreachable, message).hint("start one with `hfctl daemon start`")
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not use it".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/h".to_owned()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn addresses() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                parse_address(text, Path::new("/w"), &env).expect(text),
                PathBuf::from(expected)
            );
        };
        check("unix:/run/x.sock", "/run/x.sock");
        check("unix:///run/x.sock", "/run/x.sock");
        check("unix:x.sock", "/w/x.sock");
        check("/run/x.sock", "/run/x.sock");
        check("~/x.sock", "/h/x.sock");
        let refused = |text: &str| parse_address(text, Path::new("/w"), &env).unwrap_err();
        assert!(refused("https://host:7850").to_string().contains("not in this version"));
        assert_eq!(refused("host:7850").exit(), Exit::Usage);
        assert_eq!(refused("unix:").exit(), Exit::Usage);
    }

    #[test]
    fn the_users_socket_comes_before_the_systems() {
        let found = sockets(None, Path::new("/w"), &env).expect("defaults");
        assert_eq!(
            found,
            [
                PathBuf::from("/run/user/7/hfetch/hfetchd.sock"),
                socket::SYSTEM_SOCKET.into()
            ]
        );
        assert_eq!(
            sockets(Some(""), Path::new("/w"), &env).expect("empty counts as unset"),
            found
        );
        assert_eq!(
            sockets(Some("unix:/x"), Path::new("/w"), &env).expect("given"),
            [PathBuf::from("/x")]
        );
    }

    #[tokio::test]
    async fn nobody_there_is_exit_3_and_says_what_was_tried() {
        let error = dial(&["/nonexistent/a.sock".into(), "/nonexistent/b.sock".into()])
            .await
            .unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
        insta::assert_snapshot!(error, @"hfetchd does not answer; tried unix:/nonexistent/a.sock (no such socket) and unix:/nonexistent/b.sock (no such socket)");
    }
}
