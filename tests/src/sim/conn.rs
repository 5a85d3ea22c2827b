//! One connection: requests in, answers out, each byte counted.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::answer::{Target, answer};
use super::course::{Course, Stop};
use super::fault::Subject;
use super::gate::GateState;
use super::journal::{Ending, Exchange, Host};
use super::pace::{MAX_CHUNK, Meter};
use super::tls::Stream;
use super::wire::{Request, Response, read_request};
use super::world::{Busy, World};

/// Bytes that a client may send ahead while it waits for an answer.
const PIPELINE_LIMIT: usize = 1024 * 1024;
/// What a peer has not taken by then is lost in a reset, as it is in life.
const BEFORE_RESET: Duration = Duration::from_millis(10);

pub(crate) struct Connection {
    pub(crate) world: Arc<World>,
    pub(crate) host: Host,
    pub(crate) stream: Stream,
    pub(crate) peer: SocketAddr,
    pub(crate) number: u64,
    pub(crate) stop: CancellationToken,
    pub(crate) meter: Meter,
    pub(crate) buffer: BytesMut,
}

/// Ends the journal's entry when the connection's task is dropped in the middle.
pub(crate) struct Entry(pub(crate) Arc<Exchange>);

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.end(Ending::Stopped);
    }
}

impl Connection {
    /// Serves requests until one side closes.
    pub(crate) async fn run(mut self) {
        loop {
            let request = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                request = read_request(&mut self.stream, &mut self.buffer) => request,
            };
            match request {
                Ok(Some(request)) => {
                    if !self.exchange(request).await {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        let text = format!(
                            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nX-Error-Message: {error}\r\n\r\n"
                        );
                        self.stream.write_all(text.as_bytes()).await.ok();
                    }
                    return;
                }
            }
        }
    }

    /// Answers one request; says whether the connection can take another.
    async fn exchange(&mut self, request: Request) -> bool {
        let world = Arc::clone(&self.world);
        let entry = Entry(world.journal.open(self.host, self.number, self.peer, &request));
        let ending = self.answer(&world, &entry.0, request).await;
        let (ending, keep) = ending.unwrap_or_else(|ending| (ending, false));
        entry.0.end(ending);
        keep
    }

    async fn answer(&mut self, world: &World, exchange: &Exchange, request: Request) -> Result<(Ending, bool), Ending> {
        note_credentials(world, self.host, &request);
        let target = Target::of(world, self.host, &request);
        let subject = Subject {
            host: self.host,
            method: &request.method,
            path: &target.path,
            file: target.file.as_ref().map(|file| file.path.as_str()),
            ranged: request.headers.get("range").is_some(),
        };
        let faults = world.faults.strike(&subject);
        let gates = world
            .gates
            .matching(|gate| gate.answers().is_some_and(|matcher| matcher.fits(&subject)));
        exchange.struck(
            target.file.as_ref(),
            faults.iter().map(super::fault::Fault::name).collect(),
        );
        for gate in gates {
            self.until(gate.pass(1)).await?;
        }

        let switches = world.switches();
        let limit = if self.host == Host::Hub {
            switches.hub_concurrency
        } else {
            switches.cdn_concurrency
        };
        let busy = Busy::enter(world, self.host, limit);
        let is_head = request.method == "HEAD";
        let close = request.wants_close();
        let peer = self.peer.ip().to_string();
        let host = self.host;
        let (response, course) = match &busy {
            Some(_) => tokio::task::block_in_place(|| answer(world, host, request, &peer, &target, &faults)),
            None => (Response::text(503, "too many requests at one time"), Course::default()),
        };
        if response.file != target.file {
            exchange.struck(
                response.file.as_ref(),
                faults.iter().map(super::fault::Fault::name).collect(),
            );
        }

        let delay = world.pace.latency() + course.delay;
        if !delay.is_zero() {
            self.until(tokio::time::sleep(delay)).await?;
        }
        if let Some(stop) = course.before_head {
            return Err(self.end_badly(stop).await);
        }
        exchange.answered(response.status, response.offset.filter(|_| !is_head));
        let bodiless = matches!(response.status, 204 | 304);
        let (head, honest) = head_text(&response, bodiless, is_head, close);
        if is_head || bodiless {
            self.send(exchange, &mut VecDeque::from([(head, false)])).await?;
        } else {
            self.body(world, exchange, head, &response, &course).await?;
        }
        Ok((Ending::Complete, honest && !close))
    }

    /// Sends head and body by the course.
    async fn body(
        &mut self,
        world: &World,
        exchange: &Exchange,
        head: Bytes,
        response: &Response,
        course: &Course,
    ) -> Result<(), Ending> {
        let total = response.body_len();
        let file = response.file.as_ref().filter(|_| response.offset.is_some());
        let mut out = VecDeque::from([(head, false)]);
        let (mut sent, mut part, mut offset) = (0, 0, 0);
        loop {
            let left = match course.in_body {
                Some((limit, stop)) if sent >= limit => {
                    self.send(exchange, &mut out).await?;
                    if stop == Stop::LastChunk {
                        break;
                    }
                    return Err(self.end_badly(stop).await);
                }
                Some((limit, _)) => (total - sent).min(limit - sent),
                None => total - sent,
            };
            if left == 0 {
                break;
            }
            let mut want = world.pace.chunk(left.min(MAX_CHUNK));
            if let Some((bytes, pause)) = course.drip {
                want = want.min(bytes);
                self.send(exchange, &mut out).await?;
                if sent > 0 {
                    self.until(tokio::time::sleep(pause)).await?;
                }
            }
            let gates = match file {
                Some(file) => world
                    .gates
                    .matching(|gate: &GateState| gate.holds_bodies_of(&file.path)),
                None => Vec::new(),
            };
            for gate in gates {
                self.send(exchange, &mut out).await?;
                want = self.until(gate.pass(want)).await?;
            }
            if let Some(at) = world.pace.take(&self.meter, want) {
                self.send(exchange, &mut out).await?;
                self.until(tokio::time::sleep_until(at)).await?;
            }
            if response.chunked {
                out.push_back((format!("{want:x}\r\n").into(), false));
            }
            let end = sent + want;
            while sent < end {
                if offset == response.body[part].len() {
                    (part, offset) = (part + 1, 0);
                    continue;
                }
                let piece = tokio::task::block_in_place(|| response.body[part].slice(offset, end - sent));
                let piece = piece.map_err(|error| self.unreadable(&error))?;
                sent += piece.len() as u64;
                offset += piece.len() as u64;
                out.push_back((piece, true));
            }
            if response.chunked {
                out.push_back((Bytes::from_static(b"\r\n"), false));
            }
            self.send(exchange, &mut out).await?;
        }
        if response.chunked {
            out.push_back((Bytes::from_static(b"0\r\n\r\n"), false));
        }
        self.send(exchange, &mut out).await
    }

    fn unreadable(&self, error: &io::Error) -> Ending {
        self.world.journal.violation(format!("content cannot be read: {error}"));
        Ending::Stopped
    }

    /// Writes all of `out`; counts what belongs to the body as it goes into the socket.
    async fn send(&mut self, exchange: &Exchange, out: &mut VecDeque<(Bytes, bool)>) -> Result<(), Ending> {
        while !out.is_empty() {
            let slices: Vec<IoSlice<'_>> = out.iter().take(32).map(|(bytes, _)| IoSlice::new(bytes)).collect();
            let written = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Ending::Stopped),
                written = self.stream.write_vectored(&slices) => written,
            };
            let mut written = match written {
                Ok(written) if written > 0 => written,
                Ok(_) | Err(_) => return Err(Ending::PeerClosed),
            };
            let mut of_body = 0;
            while let Some((bytes, counts)) = out.front_mut() {
                let step = written.min(bytes.len());
                of_body += if *counts { step as u64 } else { 0 };
                bytes.advance(step);
                written -= step;
                if !bytes.is_empty() {
                    break;
                }
                out.pop_front();
            }
            if of_body > 0 {
                exchange.sent(of_body);
            }
        }
        // What is encrypted may wait in memory.
        let flushed = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Ending::Stopped),
            flushed = self.stream.flush() => flushed,
        };
        flushed.map_err(|_| Ending::PeerClosed)
    }

    /// Waits for something, unless the peer closes or the Hub stops first.
    async fn until<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Ending> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Ending::Stopped),
            value = wait => Ok(value),
            () = closed(&mut self.stream, &mut self.buffer) => Err(Ending::PeerClosed),
        }
    }

    async fn end_badly(&mut self, stop: Stop) -> Ending {
        match stop {
            Stop::Stall => self
                .until(std::future::pending::<()>())
                .await
                .err()
                .unwrap_or(Ending::Stopped),
            Stop::Reset => {
                let early = self.until(tokio::time::sleep(BEFORE_RESET)).await.err();
                let set = rustix::net::sockopt::set_socket_linger(self.stream.tcp(), Some(Duration::ZERO));
                match (early, set) {
                    (Some(ending), _) => ending,
                    (None, Ok(())) => Ending::Reset,
                    (None, Err(error)) => self.unreadable(&error.into()),
                }
            }
            Stop::Cut | Stop::LastChunk => {
                self.stream.shutdown().await.ok();
                Ending::Cut
            }
        }
    }
}

/// A CDN must see no credentials.
pub(crate) fn note_credentials(world: &World, host: Host, request: &Request) {
    for name in ["authorization", "cookie"] {
        if host == Host::Cdn && request.headers.get(name).is_some() {
            world.journal.violation(format!(
                "the CDN saw a header {name}: {} {}",
                request.method, request.path
            ));
        }
    }
}

/// Returns when the peer has closed or reset. What it sends meanwhile is kept.
async fn closed(stream: &mut Stream, buffer: &mut BytesMut) {
    while buffer.len() < PIPELINE_LIMIT {
        if !matches!(stream.read_buf(buffer).await, Ok(count) if count > 0) {
            return;
        }
    }
    std::future::pending().await
}

/// The head as bytes, and whether its length is the body's.
fn head_text(response: &Response, bodiless: bool, is_head: bool, close: bool) -> (Bytes, bool) {
    let status = http::StatusCode::from_u16(response.status).ok();
    let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", response.status);
    for (name, value) in &response.headers.0 {
        // A line end inside a value would be a header of its own.
        let value: String = value.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')).collect();
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = response.body_len();
    let given = response.headers.get("content-length").map(str::to_owned);
    if response.chunked {
        if !is_head {
            text.push_str("Transfer-Encoding: chunked\r\n");
        }
    } else if given.is_none() && !bodiless {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    if close {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    (text.into(), given.is_none_or(|given| given == length.to_string()))
}
