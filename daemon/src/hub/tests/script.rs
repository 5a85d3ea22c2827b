//! A server that plays a script: replies in order, requests recorded. A request beyond the script is answered with 599.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens after the bytes of a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    NextRequest,
    Close,
    Reset,
    Hang,
}

/// One reply: bytes, and how it ends.
#[derive(Clone)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

impl Reply {
    /// Status and headers with a body of the right length; the connection stays open.
    pub(super) fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let lower = head.to_ascii_lowercase();
        if !lower.contains("content-length:") && !lower.contains("transfer-encoding:") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut bytes = format!("{head}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Self {
            bytes,
            then: Then::NextRequest,
        }
    }

    pub(super) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[("content-type", "application/json; charset=utf-8")], body)
    }

    /// A redirect whose own body has a length of its own.
    pub(super) fn to(status: u16, location: &str) -> Self {
        let body = "Temporary Redirect. Redirecting elsewhere";
        Self::new(status, &[("location", location)], body)
    }

    pub(super) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self {
            bytes: bytes.as_ref().to_vec(),
            then: Then::Close,
        }
    }

    pub(super) fn then_close(mut self) -> Self {
        self.then = Then::Close;
        self
    }

    pub(super) fn then_reset(mut self) -> Self {
        self.then = Then::Reset;
        self
    }

    pub(super) fn then_hang(mut self) -> Self {
        self.then = Then::Hang;
        self
    }
}

/// The head of a request as it came.
#[derive(Clone)]
pub(super) struct Request(String);

impl Request {
    /// Method and target.
    pub(super) fn line(&self) -> &str {
        self.0.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.0.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn has_token(&self) -> bool {
        self.header("authorization").is_some()
    }
}

/// A running script; it ends with this value.
pub(super) struct Script {
    pub(super) base: String,
    requests: watch::Sender<Vec<Request>>,
    raw: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// Plays on 127.0.0.1.
pub(super) async fn script(replies: Vec<Reply>) -> Script {
    script_at("127.0.0.1", replies).await
}

/// Plays on one address of this machine.
pub(super) async fn script_at(address: &str, replies: Vec<Reply>) -> Script {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    script_on(listener, replies)
}

/// Plays on a socket that is bound already, so that replies can name its port.
pub(super) fn script_on(listener: TcpListener, replies: Vec<Reply>) -> Script {
    let base = format!("http://{}", listener.local_addr().unwrap());
    let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
    let requests = watch::Sender::new(Vec::new());
    let raw = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    let (seen, bytes) = (requests.clone(), Arc::clone(&raw));
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tasks.spawn(async move {
        let mut playing = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            playing.spawn(play(stream, Arc::clone(&replies), seen.clone(), Arc::clone(&bytes)));
        }
    });
    Script {
        base,
        requests,
        raw,
        connections,
        _tasks: tasks,
    }
}

impl Script {
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().map(|request| request.line().to_owned()).collect()
    }

    /// Whether the token was in any byte that came, in a request or not.
    pub(super) fn saw_token(&self) -> bool {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).contains("hf_topsecret")
    }

    /// Connections that were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often a text was in what came.
    pub(super) fn count_of(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).matches(text).count()
    }

    /// Waits until so many requests have come.
    pub(super) async fn received(&self, count: usize) {
        let mut seen = self.requests.subscribe();
        seen.wait_for(|requests| requests.len() >= count).await.unwrap();
    }
}

async fn play(
    mut stream: TcpStream,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: watch::Sender<Vec<Request>>,
    raw: Arc<Mutex<Vec<u8>>>,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte).await {
                Ok(0) | Err(_) => return,
                Ok(_) => head.push(byte[0]),
            }
            raw.lock().unwrap().push(byte[0]);
            // A TLS handshake: nobody speaks that here.
            if head == [0x16] {
                return;
            }
        }
        let reply = replies.lock().unwrap().pop_front();
        let reply = reply.unwrap_or_else(|| Reply::new(599, &[], "beyond the script"));
        requests.send_modify(|seen| seen.push(Request(String::from_utf8_lossy(&head).into_owned())));
        if stream.write_all(&reply.bytes).await.is_err() {
            return;
        }
        match reply.then {
            Then::NextRequest => {}
            Then::Close => return,
            Then::Reset => return stream.set_zero_linger().unwrap(),
            Then::Hang => std::future::pending().await,
        }
    }
}
