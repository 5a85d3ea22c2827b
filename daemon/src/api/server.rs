//! The services behind the listeners, and the bounds of all that callers can ask for.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::stream;
use hfetch_proto::v1;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{service::Routes, transport::Server};

use super::{
    admin::{AdminApi, Reload, ServerFacts},
    bandwidth::BandwidthApi,
    cache::CacheApi,
    doctor::DoctorApi,
    endpoint::EndpointApi,
    gate::GateLayer,
    identity::Guard,
    job::JobApi,
    listener::{self, Listener},
    name::NameApi,
    on_disk::{Files, Look},
    remote::{self, RemoteDoor, RemoteListener},
    route::RouteApi,
    schedule::ScheduleApi,
    token::TokenApi,
    usage::UsageApi,
    watch::EventApi,
};
use crate::engine::Engine;

/// The largest honest request is a list of file names.
const LARGEST_REQUEST: usize = 2 << 20;
/// The largest answer is a page of ten thousand files with long names.
const LARGEST_ANSWER: usize = 64 << 20;
/// Calls of one connection at a time, watches among them.
const STREAMS: u32 = 128;
/// Headers of a call.
const HEADERS: u32 = 16 << 10;
/// The slowest honest call waits for every mirror by every way.
const DEADLINE: Duration = Duration::from_secs(300);
/// A caller who says nothing is asked whether they live, and must say so in time.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
/// Calls that were begun and taken back at once, and errors of the caller that we answered by ending a call.
const RESETS: usize = 20;
const OWN_RESETS: usize = 256;
/// What may be under way to us in one call, and in one connection: what a caller sends and we have not read.
const WINDOW: u32 = 1 << 20;

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
    #[error("the socket path {} is longer than 107 bytes: choose a shorter one with --socket", path.display())]
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

/// What the server is made of.
pub struct ServerOptions {
    /// What it says of itself.
    pub facts: ServerFacts,
    /// Whose members see and move the jobs of others.
    pub operator_group: String,
    /// Callers over TCP.
    pub remote: Option<(RemoteListener, Arc<RemoteDoor>)>,
    /// Reads the configuration again.
    pub reload: Reload,
    /// Compares its files with what is in force.
    pub look: Look,
    /// Cancelled by a caller who stops the daemon.
    pub shutdown: CancellationToken,
    /// Cancelled when the server shall end.
    pub stopping: CancellationToken,
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

/// HTTP/2 with every bound that it has; what the libraries would let callers do is not asked.
fn bounded() -> Server {
    Server::builder()
        .timeout(DEADLINE)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_max_local_error_reset_streams(Some(OWN_RESETS))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .accept_http1(false)
}

/// What the services share.
struct Parts {
    guard: Guard,
    facts: ServerFacts,
    reload: Reload,
    files: Files,
    shutdown: CancellationToken,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Serves one service within bounds, and says that it does.
macro_rules! serve {
    ($routes:ident, $health:ident, $($module:ident :: $server:ident ( $service:expr )),+ $(,)?) => {$(
        let service = v1::$module::$server::new($service);
        announce(&$health, &service).await;
        $routes = $routes.add_service(
            service
                .max_decoding_message_size(LARGEST_REQUEST)
                .max_encoding_message_size(LARGEST_ANSWER),
        );
    )+};
}

async fn announce<S: tonic::server::NamedService>(health: &tonic_health::server::HealthReporter, _: &S) {
    health.set_serving::<S>().await;
}

/// Every service for one kind of callers.
async fn routes(engine: &Engine, parts: &Parts) -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut routes = Routes::new(health);
    serve!(
        routes,
        reporter,
        job_service_server::JobServiceServer(JobApi { engine: engine.clone() }),
        event_service_server::EventServiceServer(EventApi {
            engine: engine.clone(),
            guard: parts.guard.clone(),
            stopping: parts.stopping.clone(),
            tasks: parts.tasks.clone(),
        }),
        name_service_server::NameServiceServer(NameApi { engine: engine.clone() }),
        bandwidth_service_server::BandwidthServiceServer(BandwidthApi { engine: engine.clone() }),
        cache_service_server::CacheServiceServer(CacheApi { engine: engine.clone() }),
        endpoint_service_server::EndpointServiceServer(EndpointApi { engine: engine.clone() }),
        route_service_server::RouteServiceServer(RouteApi { engine: engine.clone() }),
        schedule_service_server::ScheduleServiceServer(ScheduleApi { engine: engine.clone() }),
        token_service_server::TokenServiceServer(TokenApi { engine: engine.clone() }),
        usage_service_server::UsageServiceServer(UsageApi { engine: engine.clone() }),
        doctor_service_server::DoctorServiceServer(DoctorApi {
            engine: engine.clone(),
            files: parts.files.clone(),
        }),
        admin_service_server::AdminServiceServer(AdminApi {
            engine: engine.clone(),
            facts: parts.facts.clone(),
            reload: parts.reload.clone(),
            files: parts.files.clone(),
            shutdown: parts.shutdown.clone(),
        }),
    );
    if let Some(reflection) = or_none(described().build_v1()) {
        routes = routes.add_service(reflection);
    }
    // Python's and older tools' reflection clients know this version only.
    if let Some(reflection) = or_none(described().build_v1alpha()) {
        routes = routes.add_service(reflection);
    }
    routes
}

/// Serves until `stopping`; open calls are finished, watches are ended.
///
/// # Errors
/// When the transport fails.
pub async fn serve(listener: Listener, engine: Engine, options: ServerOptions) -> Result<(), ServerError> {
    let door = options.remote.as_ref().map(|(_, door)| door.clone());
    let guard = Guard::new(options.facts.mode, &options.operator_group, door);
    let tasks = TaskTracker::new();
    let parts = Parts {
        guard: guard.clone(),
        facts: options.facts,
        reload: options.reload,
        files: Files::new(options.look),
        shutdown: options.shutdown,
        stopping: options.stopping,
        tasks: tasks.clone(),
    };
    let local = bounded()
        .layer(GateLayer { guard: guard.clone() })
        .add_routes(routes(&engine, &parts).await)
        .serve_with_incoming_shutdown(
            stream::unfold(listener::Incoming::new(listener), async |mut incoming| {
                let connection = incoming.next().await;
                Some((Ok::<_, io::Error>(connection), incoming))
            }),
            parts.stopping.clone().cancelled_owned(),
        );
    let served = match options.remote {
        None => local.await,
        Some((port, door)) => {
            let remote = bounded()
                .layer(GateLayer { guard })
                .add_routes(routes(&engine.for_remote(), &parts).await)
                .serve_with_incoming_shutdown(
                    stream::unfold(remote::Incoming::new(port, door), async |mut incoming| {
                        let connection = incoming.next().await;
                        Some((Ok::<_, io::Error>(connection), incoming))
                    }),
                    parts.stopping.clone().cancelled_owned(),
                );
            tokio::try_join!(local, remote).map(|_| ())
        }
    };
    // They hold the engine.
    drop((engine, parts));
    tasks.close();
    tasks.wait().await;
    Ok(served?)
}
