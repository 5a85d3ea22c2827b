//! Floor 4: numbers for Prometheus, over HTTP. Read only, no secrets, and nothing in them names a user, a repository or a
//! file. The only user of the metrics library and of a plain HTTP server.

mod text;

use std::{convert::Infallible, io, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Scrapes at a time.
const MOST: usize = 16;
/// A request must be whole after this.
const REQUEST: Duration = Duration::from_secs(10);
/// A scrape is over after this.
const SCRAPE: Duration = Duration::from_secs(30);
/// After the system refused to accept, it is asked again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A bound port.
#[derive(Debug)]
pub struct MetricsListener {
    listener: TcpListener,
    /// Where, with the port that was found for port 0.
    pub address: SocketAddr,
}

impl MetricsListener {
    /// Binds it.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

/// What every scrape needs.
#[derive(Clone)]
struct Scrape {
    engine: Engine,
    /// The port is for this machine alone.
    local_only: bool,
}

/// Serves `/metrics` until `stopping`.
pub async fn serve(port: MetricsListener, engine: Engine, stopping: CancellationToken) {
    let scrape = Scrape {
        engine,
        local_only: port.address.ip().is_loopback(),
    };
    let places = Arc::new(Semaphore::new(MOST));
    let mut scrapes = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(_) = scrapes.join_next() => {}
            accepted = port.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Who comes when all places are taken is hung up on.
                    if let Ok(place) = places.clone().try_acquire_owned() {
                        let scrape = scrape.clone();
                        scrapes.spawn(async move {
                            connection(stream, scrape).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept scrapes");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
    scrapes.shutdown().await;
}

/// One request, one answer.
async fn connection(stream: TcpStream, scrape: Scrape) {
    let service = service_fn(move |request: Request<Incoming>| {
        let scrape = scrape.clone();
        async move { Ok::<_, Infallible>(answer(&request, &scrape).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(SCRAPE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a scrape ended badly"),
        Err(_) => tracing::debug!("a scrape took too long"),
    }
}

async fn answer(request: &Request<Incoming>, scrape: &Scrape) -> Response<String> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // A web page can make its own name mean our address, and a browser of this machine then asks for it.
    if scrape.local_only && !host.is_some_and(is_this_machine) {
        let text = "this port answers to localhost and loopback addresses alone";
        return plain(StatusCode::MISDIRECTED_REQUEST, text);
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match scrape.engine.figures().await {
            Ok(figures) => {
                let mut response = Response::new(text::of(&figures));
                let kind = HeaderValue::from_static(text::CONTENT_TYPE);
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(error) => {
                tracing::warn!(%error, "no metrics");
                plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the store does not answer; the log has more",
                )
            }
        },
        (_, "/metrics") => plain(StatusCode::METHOD_NOT_ALLOWED, "GET only"),
        _ => plain(StatusCode::NOT_FOUND, "there is /metrics and nothing else"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(format!("{text}\n"));
    *response.status_mut() = status;
    response
}

/// Whether a `Host` is one of this machine's own names for itself.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let address: Option<IpAddr> = name.parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_this_machine;

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for here in [
            "localhost",
            "LOCALHOST:9187",
            "127.0.0.1:9187",
            "127.9.9.9",
            "[::1]:9187",
            "[::1]",
        ] {
            assert!(is_this_machine(here), "{here}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
            "[2001:db8::1]",
        ] {
            assert!(!is_this_machine(other), "{other}");
        }
    }
}
