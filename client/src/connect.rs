//! Where the daemon is and how to reach it: flag, then `HFCTL_ADDRESS`, then the user's socket, then the system's. Owns
//! the channel; a lost connection is dialled again by the channel itself on the next call.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hfetch_proto::socket;
use hfetch_proto::v1::admin_service_client::AdminServiceClient;
use hfetch_proto::v1::bandwidth_service_client::BandwidthServiceClient;
use hfetch_proto::v1::cache_service_client::CacheServiceClient;
use hfetch_proto::v1::doctor_service_client::DoctorServiceClient;
use hfetch_proto::v1::endpoint_service_client::EndpointServiceClient;
use hfetch_proto::v1::event_service_client::EventServiceClient;
use hfetch_proto::v1::job_service_client::JobServiceClient;
use hfetch_proto::v1::name_service_client::NameServiceClient;
use hfetch_proto::v1::route_service_client::RouteServiceClient;
use hfetch_proto::v1::schedule_service_client::ScheduleServiceClient;
use hfetch_proto::v1::token_service_client::TokenServiceClient;
use hfetch_proto::v1::usage_service_client::UsageServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, Env};
use crate::remote::{Credentials, Remote};

/// A page of a thousand jobs or ten thousand files is larger than tonic's default of 4 MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Over a network a peer that is gone is found out by asking.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// Where a daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// On this machine.
    Socket(PathBuf),
    /// On another one, or on this one over TLS.
    Remote(Remote),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "unix:{}", path.display()),
            Address::Remote(remote) => write!(f, "https://{remote}"),
        }
    }
}

/// Puts our token into every call. Marked as sensitive, it is not shown.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// What calls go through.
pub(crate) type Wire = InterceptedService<Channel, Bearer>;

/// A daemon that answered.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    channel: Channel,
    bearer: Bearer,
    /// Where it is.
    pub(crate) address: Address,
}

impl Daemon {
    /// Whether its paths are those of another machine.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.address, Address::Remote(_))
    }

    fn wire(&self) -> Wire {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    /// Calls about jobs.
    pub(crate) fn jobs(&self) -> JobServiceClient<Wire> {
        JobServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The event stream.
    pub(crate) fn events(&self) -> EventServiceClient<Wire> {
        EventServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Aliases and search.
    pub(crate) fn names(&self) -> NameServiceClient<Wire> {
        NameServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Limits, and changes of jobs.
    pub(crate) fn bandwidth(&self) -> BandwidthServiceClient<Wire> {
        BandwidthServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What is on disk.
    pub(crate) fn caches(&self) -> CacheServiceClient<Wire> {
        CacheServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The Hub and its mirrors.
    pub(crate) fn endpoints(&self) -> EndpointServiceClient<Wire> {
        EndpointServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// By which way hosts are reached.
    pub(crate) fn routes(&self) -> RouteServiceClient<Wire> {
        RouteServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Hub tokens.
    pub(crate) fn tokens(&self) -> TokenServiceClient<Wire> {
        TokenServiceClient::new(self.wire())
    }

    /// The ledger.
    pub(crate) fn usage(&self) -> UsageServiceClient<Wire> {
        UsageServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Recurring pulls.
    pub(crate) fn schedules(&self) -> ScheduleServiceClient<Wire> {
        ScheduleServiceClient::new(self.wire()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What is wrong.
    pub(crate) fn doctor(&self) -> DoctorServiceClient<Wire> {
        DoctorServiceClient::new(self.wire())
    }

    /// The daemon itself.
    pub(crate) fn admin(&self) -> AdminServiceClient<Wire> {
        AdminServiceClient::new(self.wire())
    }
}

/// Reads an address: `unix:PATH` (or just a path), `https://HOST:PORT`.
pub(crate) fn parse_address(text: &str, cwd: &Path, env: Env<'_>) -> Result<Address, CliError> {
    if text.starts_with("https://") {
        return Remote::parse(text).map(Address::Remote);
    }
    if text.starts_with("http://") {
        return Err(CliError::usage(
            "hfetchd is reached over TLS alone: write https://HOST:PORT",
        ));
    }
    let path = match text.strip_prefix("unix:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if text.starts_with(['/', '.', '~']) => text,
        None => "",
    };
    if path.is_empty() {
        return Err(CliError::usage(format!(
            "`{text}` is not an address; write unix:PATH or https://HOST:PORT"
        )));
    }
    Ok(Address::Socket(paths::absolute(path, cwd, env)))
}

/// The addresses to try, in order. `explicit` is `--address` or `HFCTL_ADDRESS`; when it is given, nothing else is tried.
pub(crate) fn addresses(explicit: Option<&str>, cwd: &Path, env: Env<'_>) -> Result<Vec<Address>, CliError> {
    match explicit.filter(|text| !text.is_empty()) {
        Some(text) => Ok(vec![parse_address(text, cwd, env)?]),
        None => Ok(socket::user_socket(env)
            .into_iter()
            .chain([PathBuf::from(socket::SYSTEM_SOCKET)])
            .map(Address::Socket)
            .collect()),
    }
}

/// Connects to the first one that accepts. `credentials` are for a daemon of another machine.
///
/// # Errors
/// Exit code 3 with every address that was tried; 6 when a socket is there and the caller may not use it.
pub(crate) async fn dial(
    addresses: &[Address],
    credentials: impl Fn(&Remote) -> Result<Credentials, CliError>,
) -> Result<Daemon, CliError> {
    let mut failures = Vec::new();
    for address in addresses {
        let dialled = match address {
            Address::Socket(path) => dial_socket(path).await,
            Address::Remote(remote) => dial_remote(remote, credentials(remote)?).await,
        };
        match dialled {
            Ok((channel, bearer)) => {
                let address = address.clone();
                return Ok(Daemon {
                    channel,
                    bearer,
                    address,
                });
            }
            Err(error) => failures.push((address, error)),
        }
    }
    Err(unreachable(&failures))
}

/// Connects to a socket of this machine.
///
/// # Errors
/// As [`dial`].
pub(crate) async fn dial_local(path: &Path) -> Result<Daemon, CliError> {
    let none = |_: &Remote| Err(CliError::usage("this is no socket"));
    dial(&[Address::Socket(path.to_owned())], none).await
}

fn endpoint() -> io::Result<Endpoint> {
    // The authority is not used on a Unix socket, but HTTP/2 wants one.
    Endpoint::from_static("http://localhost")
        .user_agent(concat!("hfctl/", env!("CARGO_PKG_VERSION")))
        .map_err(io::Error::other)
}

async fn dial_socket(path: &Path) -> io::Result<(Channel, Bearer)> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    match endpoint()?.connect_with_connector(connector).await {
        Ok(channel) => Ok((channel, Bearer(None))),
        Err(error) => Err(root_cause(&error)),
    }
}

async fn dial_remote(remote: &Remote, credentials: Credentials) -> io::Result<(Channel, Bearer)> {
    let (remote, tls) = (remote.clone(), credentials.tls);
    let origin: Uri = format!("https://{remote}").parse().map_err(io::Error::other)?;
    let connector = tower::service_fn(move |_: Uri| {
        let (remote, tls) = (remote.clone(), tls.clone());
        async move { remote.connect(tls).await.map(TokioIo::new) }
    });
    let endpoint = endpoint()?
        .origin(origin)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true);
    match endpoint.connect_with_connector(connector).await {
        Ok(channel) => Ok((channel, Bearer(credentials.bearer))),
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

fn unreachable(failures: &[(&Address, io::Error)]) -> CliError {
    let tried: Vec<String> = failures
        .iter()
        .map(|(address, error)| format!("{address} ({})", describe(error)))
        .collect();
    let denied = failures
        .iter()
        .any(|(_, error)| error.kind() == io::ErrorKind::PermissionDenied);
    let message = format!("hfetchd does not answer; tried {}", tried.join(" and "));
    let remote = failures
        .iter()
        .any(|(address, _)| matches!(address, Address::Remote(_)));
    if remote {
        return CliError::new(Exit::Unreachable, message)
            .hint("`control.listen` of that machine's hfetchd must be set, and its port open to you");
    }
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
        io::ErrorKind::NotFound if error.raw_os_error().is_some() => "no such socket".to_owned(),
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
    fn addresses_as_typed() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                parse_address(text, Path::new("/w"), &env).expect(text),
                Address::Socket(PathBuf::from(expected))
            );
        };
        check("unix:/run/x.sock", "/run/x.sock");
        check("unix:///run/x.sock", "/run/x.sock");
        check("unix:x.sock", "/w/x.sock");
        check("/run/x.sock", "/run/x.sock");
        check("~/x.sock", "/h/x.sock");
        let refused = |text: &str| parse_address(text, Path::new("/w"), &env).unwrap_err();
        assert!(refused("http://host:7850").to_string().contains("https://"));
        let remote = parse_address("https://host:1", Path::new("/w"), &env).expect("an address");
        assert_eq!(remote.to_string(), "https://host:1");
        assert_eq!(refused("host:7850").exit(), Exit::Usage);
        assert_eq!(refused("unix:").exit(), Exit::Usage);
    }

    #[test]
    fn the_users_socket_comes_before_the_systems() {
        let found = addresses(None, Path::new("/w"), &env).expect("defaults");
        assert_eq!(
            found,
            [
                Address::Socket("/run/user/7/hfetch/hfetchd.sock".into()),
                Address::Socket(socket::SYSTEM_SOCKET.into())
            ]
        );
        assert_eq!(
            addresses(Some(""), Path::new("/w"), &env).expect("empty counts as unset"),
            found
        );
        assert_eq!(
            addresses(Some("unix:/x"), Path::new("/w"), &env).expect("given"),
            [Address::Socket("/x".into())]
        );
    }

    #[tokio::test]
    async fn nobody_there_is_exit_3_and_says_what_was_tried() {
        let gone = ["/nonexistent/a.sock", "/nonexistent/b.sock"].map(|path| Address::Socket(path.into()));
        let error = match dial(&gone, |_| unreachable!("all are sockets")).await {
            Ok(_) => panic!("somebody answers"),
            Err(error) => error,
        };
        assert_eq!(error.exit(), Exit::Unreachable);
        insta::assert_snapshot!(error, @"hfetchd does not answer; tried unix:/nonexistent/a.sock (no such socket) and unix:/nonexistent/b.sock (no such socket)");
    }
}
