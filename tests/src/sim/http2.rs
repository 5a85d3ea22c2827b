//! HTTP/2, for clients that speak it: the same answers, many at a time on one connection. Faults that break a connection are
//! played over HTTP/1.1 alone, for here one of them would strike all requests of the connection.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::answer::{Target, answer};
use super::conn::{Connection, Entry, note_credentials};
use super::fault::Subject;
use super::journal::{Ending, Host};
use super::pace::{MAX_CHUNK, Meter};
use super::wire::{Headers, Request, Response};
use super::world::{Busy, World};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What all requests of a connection share.
struct Shared {
    world: Arc<World>,
    host: Host,
    number: u64,
    peer: std::net::SocketAddr,
    meter: Meter,
}

/// Serves a connection to its end.
pub(crate) async fn run(connection: Connection) {
    let shared = Arc::new(Shared {
        world: connection.world,
        host: connection.host,
        number: connection.number,
        peer: connection.peer,
        meter: connection.meter,
    });
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(exchange(shared, request).await) }
    });
    let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection.stream), service);
    tokio::select! {
        () = connection.stop.cancelled() => {}
        // The journal has what was served; how the connection ends is the peer's business.
        _ended = serving => {}
    }
}

async fn exchange(shared: Arc<Shared>, request: http::Request<Incoming>) -> http::Response<Body> {
    let (world, host) = (Arc::clone(&shared.world), shared.host);
    let request = read(request).await;
    note_credentials(&world, host, &request);
    let entry = Entry(world.journal.open(host, shared.number, shared.peer, &request));
    let target = Target::of(&world, host, &request);
    let subject = Subject {
        host,
        method: &request.method,
        path: &target.path,
        file: target.file.as_ref().map(|file| file.path.as_str()),
        ranged: request.headers.get("range").is_some(),
    };
    let faults = world.faults.strike(&subject);
    let names = || faults.iter().map(super::fault::Fault::name).collect();
    entry.0.struck(target.file.as_ref(), names());
    let switches = world.switches();
    let limit = match host {
        Host::Hub => switches.hub_concurrency,
        Host::Cdn => switches.cdn_concurrency,
    };
    let busy = Busy::enter(&world, host, limit);
    let is_head = request.method == "HEAD";
    let peer = shared.peer.ip().to_string();
    let (response, course) = match &busy {
        Some(_) => tokio::task::block_in_place(|| answer(&world, host, request, &peer, &target, &faults)),
        None => (Response::text(503, "too many requests at one time"), Default::default()),
    };
    drop(busy);
    if response.file != target.file {
        entry.0.struck(response.file.as_ref(), names());
    }
    if course.before_head.is_some() || course.in_body.is_some() || course.drip.is_some() {
        world
            .journal
            .violation(format!("{faults:?} cannot be played over HTTP/2"));
    }
    tokio::time::sleep(world.pace.latency() + course.delay).await;
    entry.0.answered(response.status, response.offset.filter(|_| !is_head));
    let length = response.body_len();
    let given = response.headers.get("content-length").is_some();
    let mut head = http::Response::builder().status(response.status);
    for (name, value) in &response.headers.0 {
        head = head.header(name, value);
    }
    if !given && !matches!(response.status, 204 | 304) {
        head = head.header("content-length", length);
    }
    let body = body(shared, entry, response, if is_head { 0 } else { length });
    head.body(body).unwrap_or_else(|error| {
        world.journal.violation(format!("no answer for HTTP/2: {error}"));
        http::Response::new(
            http_body_util::Empty::new()
                .map_err(|never| match never {})
                .boxed_unsync(),
        )
    })
}

/// The request as HTTP/1.1 has it.
async fn read(request: http::Request<Incoming>) -> Request {
    let (parts, body) = request.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: Headers(headers.collect()),
        // A body that is cut short is an empty one, which no route takes.
        body: body
            .collect()
            .await
            .map_or_else(|_| Vec::new(), |body| body.to_bytes().to_vec()),
    }
}

/// How far a body is.
struct Sending {
    shared: Arc<Shared>,
    entry: Entry,
    response: Response,
    part: usize,
    offset: u64,
    left: u64,
}

fn body(shared: Arc<Shared>, entry: Entry, response: Response, left: u64) -> Body {
    let sending = Sending {
        shared,
        entry,
        response,
        part: 0,
        offset: 0,
        left,
    };
    let pieces = stream::unfold(sending, |mut sending| async move {
        let piece = sending.next().await?;
        Some((piece.map(Frame::data), sending))
    });
    StreamBody::new(pieces.boxed()).boxed_unsync()
}

impl Sending {
    /// The next piece of the body; the exchange ends well after the last one.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        while self.part < self.response.body.len() && self.offset == self.response.body[self.part].len() {
            (self.part, self.offset) = (self.part + 1, 0);
        }
        if self.left == 0 {
            self.entry.0.end(Ending::Complete);
            return None;
        }
        let world = &self.shared.world;
        let mut want = world.pace.chunk(self.left.min(MAX_CHUNK));
        if let Some(file) = self.response.file.as_ref().filter(|_| self.response.offset.is_some()) {
            for gate in world.gates.matching(|gate| gate.holds_bodies_of(&file.path)) {
                want = gate.pass(want).await;
            }
        }
        if let Some(at) = world.pace.take(&self.shared.meter, want) {
            tokio::time::sleep_until(at).await;
        }
        let piece = tokio::task::block_in_place(|| self.response.body[self.part].slice(self.offset, want));
        if let Ok(piece) = &piece {
            let bytes = piece.len() as u64;
            (self.offset, self.left) = (self.offset + bytes, self.left - bytes);
            self.entry.0.sent(bytes);
        }
        Some(piece)
    }
}
