//! The listener and the services behind it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hfetch_proto::v1;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::{StreamExt as _, wrappers::UnixListenerStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    admin::{AdminApi, Reload, ServerFacts},
    authority::Connection,
    bandwidth::BandwidthApi,
    doctor::DoctorApi,
    endpoint::EndpointApi,
    gate::GateLayer,
    identity::Guard,
    job::JobApi,
    name::NameApi,
    route::RouteApi,
    token::TokenApi,
    usage::UsageApi,
    watch::EventApi,
};
use crate::{config::Mode, engine::Engine};

/// The largest honest request is a list of file names.
const LARGEST_REQUEST: usize = 2 << 20;
/// Longest path of a Unix socket on Linux, without the closing NUL.
const LONGEST_SOCKET: usize = 107;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody answers there already.
    #[error("another daemon answers at {}", path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error("the socket path {} is longer than {LONGEST_SOCKET} bytes: choose a shorter one with --socket", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
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
    /// The server ended by an error.
    #[error("the control server failed")]
    Serve(#[from] tonic::transport::Error),
}

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

/// What the server is made of.
pub struct ServerOptions {
    /// What it says of itself.
    pub facts: ServerFacts,
    /// Whose members see and move the jobs of others.
    pub operator_group: String,
    /// Reads the configuration again.
    pub reload: Reload,
    /// Cancelled by a caller who stops the daemon.
    pub shutdown: CancellationToken,
    /// Cancelled when the server shall end.
    pub stopping: CancellationToken,
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

/// What reflection tells.
fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(hfetch_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Reflection is a help for people: the daemon serves without it too.
fn or_none<T>(reflection: Result<T, tonic_reflection::server::Error>) -> Option<T> {
    reflection
        .inspect_err(|error| tracing::error!(%error, "no reflection"))
        .ok()
}

/// Serves until `stopping`; open calls are finished, watches are ended.
///
/// # Errors
/// When the transport fails.
pub async fn serve(listener: Listener, engine: Engine, options: ServerOptions) -> Result<(), ServerError> {
    let _remove = listener.remove;
    let guard = Guard::new(options.facts.mode, &options.operator_group);
    let tasks = TaskTracker::new();
    let stopping = options.stopping;
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<v1::job_service_server::JobServiceServer<JobApi>>()
        .await;
    health_reporter
        .set_serving::<v1::event_service_server::EventServiceServer<EventApi>>()
        .await;
    health_reporter
        .set_serving::<v1::name_service_server::NameServiceServer<NameApi>>()
        .await;
    health_reporter
        .set_serving::<v1::admin_service_server::AdminServiceServer<AdminApi>>()
        .await;
    health_reporter
        .set_serving::<v1::bandwidth_service_server::BandwidthServiceServer<BandwidthApi>>()
        .await;
    health_reporter
        .set_serving::<v1::endpoint_service_server::EndpointServiceServer<EndpointApi>>()
        .await;
    health_reporter
        .set_serving::<v1::route_service_server::RouteServiceServer<RouteApi>>()
        .await;
    health_reporter
        .set_serving::<v1::doctor_service_server::DoctorServiceServer<DoctorApi>>()
        .await;
    health_reporter
        .set_serving::<v1::token_service_server::TokenServiceServer<TokenApi>>()
        .await;
    health_reporter
        .set_serving::<v1::usage_service_server::UsageServiceServer<UsageApi>>()
        .await;
    let reflection = or_none(described().build_v1());
    // Python's and older tools' reflection clients know this version only.
    let reflection_alpha = or_none(described().build_v1alpha());
    let jobs = v1::job_service_server::JobServiceServer::new(JobApi { engine: engine.clone() });
    let bandwidth = v1::bandwidth_service_server::BandwidthServiceServer::new(BandwidthApi { engine: engine.clone() });
    let names = v1::name_service_server::NameServiceServer::new(NameApi { engine: engine.clone() });
    let endpoints = v1::endpoint_service_server::EndpointServiceServer::new(EndpointApi { engine: engine.clone() });
    let routes = v1::route_service_server::RouteServiceServer::new(RouteApi { engine: engine.clone() });
    let tokens = v1::token_service_server::TokenServiceServer::new(TokenApi { engine: engine.clone() });
    let usage = v1::usage_service_server::UsageServiceServer::new(UsageApi { engine: engine.clone() });
    let doctor = v1::doctor_service_server::DoctorServiceServer::new(DoctorApi { engine: engine.clone() });
    let events = v1::event_service_server::EventServiceServer::new(EventApi {
        engine: engine.clone(),
        stopping: stopping.clone(),
        tasks: tasks.clone(),
    });
    let admin = v1::admin_service_server::AdminServiceServer::new(AdminApi {
        engine,
        facts: options.facts,
        reload: options.reload,
        shutdown: options.shutdown,
    });
    let incoming = UnixListenerStream::new(listener.listener).map(|stream| stream.map(Connection::new));
    let served = tonic::transport::Server::builder()
        .layer(GateLayer { guard })
        .add_service(health)
        .add_optional_service(reflection)
        .add_optional_service(reflection_alpha)
        .add_service(jobs.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(names.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(endpoints.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(routes.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(tokens.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(doctor.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(events.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(bandwidth.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(usage.max_decoding_message_size(LARGEST_REQUEST))
        .add_service(admin.max_decoding_message_size(LARGEST_REQUEST))
        .serve_with_incoming_shutdown(incoming, stopping.clone().cancelled_owned())
        .await;
    tasks.close();
    tasks.wait().await;
    Ok(served?)
}
