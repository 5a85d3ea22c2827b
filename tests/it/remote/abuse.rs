//! What no honest client sends: the daemon ends the connection or the call, and goes on for everybody else.

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hfetch_proto::v1;
use hfetch_tests::{
    check,
    harness::{PATIENCE, memory},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tonic::Code;

use super::place::Place;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST https://x/y`, in HPACK's static table and plain letters.
fn request() -> Vec<u8> {
    [&[0x83, 0x87, 0x44, 2][..], b"/y", &[0x41, 1], b"x"].concat()
}

/// The next frame: kind and payload; `None` at the end of the connection.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

/// Reads until the daemon hangs up: the error codes of its GOAWAY frames.
async fn farewell(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Vec<u32>> {
    let read = async {
        let mut codes = Vec::new();
        while let Some((kind, payload)) = read_frame(stream).await {
            if kind == GOAWAY && payload.len() >= 8 {
                codes.push(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]));
            }
        }
        codes
    };
    timeout(PATIENCE, read).await.context("it does not hang up")
}

/// It answers from afar and here, and nothing in it broke.
async fn still_serves(place: &Place, port: u16) -> anyhow::Result<()> {
    place.hfctl(port, &["list"], &[("HFCTL_TOKEN", "of-ann")]).await?.ok()?;
    place.scratch.hfctl(["list"]).await?.ok()?;
    check::sound(&place.scratch, &[])
}

#[tokio::test]
async fn the_bounds_are_announced() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut over_tls = place.tls(port).await?;
    let mut here = UnixStream::connect(place.scratch.socket()).await?;
    for bounds in [settings(&mut over_tls).await?, settings(&mut here).await?] {
        let of = |id: u16| bounds.iter().find(|(known, _)| *known == id).map(|(_, value)| *value);
        assert_eq!((of(3), of(6)), (Some(128), Some(16 << 10)), "{bounds:?}");
    }
    daemon.stop().await?;
    Ok(())
}

/// What the daemon says of itself at first.
async fn settings(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> anyhow::Result<Vec<(u16, u32)>> {
    stream.write_all(PREFACE).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    stream.flush().await?;
    let (kind, payload) = read_frame(stream).await.context("no frame")?;
    ensure!(kind == SETTINGS, "frame {kind}");
    let pairs = payload.chunks_exact(6);
    Ok(pairs
        .map(|pair| {
            let id = u16::from_be_bytes([pair[0], pair[1]]);
            (id, u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
        })
        .collect())
}

#[tokio::test]
async fn what_is_no_tls_gets_no_answer() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        PREFACE,
        &[0; 64],
        &[0xff; 300],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        // A TLS alert at most.
        let _ended = stream.read_to_end(&mut answer).await;
        assert!(answer.len() <= 16 && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    // HTTP/1 within TLS is no better.
    let mut stream = place.tls(port).await?;
    stream
        .write_all(b"POST /hfetch.v1.JobService/ListJobs HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&answer));
    still_serves(&place, port).await?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn calls_that_are_taken_back_at_once_are_counted() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for call in 0..2000 {
        let stream = 2 * call + 1;
        flood.extend(frame(HEADERS, END_HEADERS, stream, &request()));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut stream = place.tls(port).await?;
    // It may hang up before it has read all.
    let _sent = stream.write_all(&flood).await;
    let _flushed = stream.flush().await;
    let codes = farewell(&mut stream).await?;
    assert!(codes.iter().all(|code| *code == ENHANCE_YOUR_CALM), "{codes:?}");
    still_serves(&place, port).await?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn headers_without_end_are_not_read_to_the_end() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut stream = place.tls(port).await?;
    let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 0, 1, &request())].concat();
    // Each frame one more literal field, and never the last one.
    let field = [&[0x00, 1][..], b"a", &[100], &[b'x'; 100]].concat();
    for _ in 0..2000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field.repeat(100)));
    }
    let _sent = stream.write_all(&flood).await;
    let _flushed = stream.flush().await;
    // It hangs up although the headers never ended.
    farewell(&mut stream).await?;
    still_serves(&place, port).await?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_nothing_else_is() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut jobs = place.jobs(port, "of-ann").await?;
    let spec = |bytes: usize| v1::JobSpec {
        name: "org/x".into(),
        files: vec!["f".repeat(bytes)],
        ..v1::JobSpec::default()
    };
    let submit = |bytes| v1::SubmitJobRequest {
        spec: Some(spec(bytes)),
        ..v1::SubmitJobRequest::default()
    };
    let refused = jobs
        .submit_job(submit(3 << 20))
        .await
        .map(drop)
        .map_err(|status| status.code());
    assert_eq!(refused, Err(Code::OutOfRange));
    // Metadata beyond the bound for headers.
    let mut request = tonic::Request::new(v1::ListJobsRequest::default());
    request.metadata_mut().insert("x-large", "y".repeat(20 << 10).parse()?);
    assert!(jobs.list_jobs(request).await.is_err());
    // The same connection goes on, or is made anew.
    jobs.list_jobs(v1::ListJobsRequest::default()).await?;
    still_serves(&place, port).await?;
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_stranger_with_many_connections_shuts_nobody_else_out() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(TcpStream::connect(("127.0.0.1", port)).await?);
    }
    let mut one_more = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut answer = [0; 1];
    assert_eq!(one_more.read(&mut answer).await.unwrap_or(0), 0, "hung up");
    // From another address there is room; so there is by the socket.
    let elsewhere = tokio::net::TcpSocket::new_v4()?;
    elsewhere.bind(([127, 0, 0, 5], 0).into())?;
    let stream = elsewhere.connect(([127, 0, 0, 1], port).into()).await?;
    let connector = tokio_rustls::TlsConnector::from(place.authority.trusted()?);
    connector.connect("localhost".try_into()?, stream).await?;
    place.scratch.hfctl(["list"]).await?.ok()?;
    drop(held);
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn who_reads_nothing_costs_nothing() -> anyhow::Result<()> {
    let place = Place::new("http://127.0.0.1:9", "")?;
    let (daemon, port) = place.daemon().await?;
    let mut deaf = Vec::new();
    let mut events = v1::event_service_client::EventServiceClient::new(place.wire(port, "of-ann").await?);
    for _ in 0..100 {
        // Never read from.
        deaf.push(
            events
                .watch(v1::WatchRequest {
                    snapshot: true,
                    ..v1::WatchRequest::default()
                })
                .await?,
        );
    }
    // Held for all of them, the events would take three times what is allowed.
    const EVENTS: usize = 2000;
    const MOST: u64 = 24 << 20;
    // By a connection of its own: those who do not read stop theirs.
    let mut listener = v1::event_service_client::EventServiceClient::new(place.wire(port, "of-ann").await?);
    let mut heard = listener.watch(v1::WatchRequest::default()).await?.into_inner();
    let before = memory(daemon.pid());
    let jobs = place.jobs(port, "of-ann").await?;
    let submits = (0..EVENTS).map(|number| {
        let mut jobs = jobs.clone();
        let spec = v1::JobSpec {
            name: format!("org/{number}"),
            ..v1::JobSpec::default()
        };
        let submit = v1::SubmitJobRequest {
            spec: Some(spec),
            ..v1::SubmitJobRequest::default()
        };
        async move { jobs.submit_job(submit).await }
    });
    // Some at a time: they become durable together.
    let submitted: Vec<_> = stream::iter(submits).buffer_unordered(32).try_collect().await?;
    assert_eq!(submitted.len(), EVENTS);
    // Who reads has heard them all: they were there for the others, too.
    let mut count = 0;
    let read = async {
        while count < EVENTS {
            let message = heard.message().await?.context("the watch ended")?;
            count += usize::from(matches!(message.body, Some(v1::watch_response::Body::Event(_))));
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, read).await.context("not all events came")??;
    let grown = memory(daemon.pid()).saturating_sub(before);
    assert!(grown < MOST, "{} MiB for a hundred who do not read", grown >> 20);
    still_serves(&place, port).await?;
    drop(deaf);
    daemon.stop().await?;
    Ok(())
}
