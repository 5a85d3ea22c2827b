//! A client over a bare socket: sends what it is told and shows what came, byte for byte.

use std::io;

use hfetch_tests::sim::{Host, SimHub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One answer. `body` is what came before the connection ended or the announced length was reached.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How reading ended when it did not end in good order.
    pub(crate) error: Option<io::ErrorKind>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
            .unwrap_or_else(|| panic!("no Location: {self:?}"))
    }
}

pub(crate) async fn get(hub: &SimHub, path: &str) -> Answer {
    request(hub, Host::Hub, "GET", path, &[], "").await
}

pub(crate) async fn head(hub: &SimHub, path: &str) -> Answer {
    request(hub, Host::Hub, "HEAD", path, &[], "").await
}

pub(crate) async fn get_with(hub: &SimHub, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(hub, Host::Hub, "GET", path, headers, "").await
}

pub(crate) async fn get_as(hub: &SimHub, path: &str, secret: &str) -> Answer {
    get_with(hub, path, &[("Authorization", &format!("Bearer {secret}"))]).await
}

/// GETs a URL of either origin (or a path of the Hub).
pub(crate) async fn get_url(hub: &SimHub, url: &str, headers: &[(&str, &str)]) -> Answer {
    let (host, path) = match (url.strip_prefix(hub.cdn_endpoint()), url.strip_prefix(hub.endpoint())) {
        (Some(path), _) => (Host::Cdn, path),
        (_, Some(path)) => (Host::Hub, path),
        (None, None) => (Host::Hub, url),
    };
    request(hub, host, "GET", path, headers, "").await
}

/// GETs a file through all its redirects.
pub(crate) async fn follow(hub: &SimHub, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut answer = get_url(hub, path, headers).await;
    for _ in 0..10 {
        if !(300..400).contains(&answer.status) || answer.status == 304 {
            break;
        }
        let location = answer.location().to_owned();
        answer = get_url(hub, &location, headers).await;
    }
    answer
}

pub(crate) async fn request(
    hub: &SimHub,
    host: Host,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(hub.address(host)).await.expect("connect");
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        hub.address(host)
    );
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("\r\n{body}"));
    stream.write_all(text.as_bytes()).await.expect("write");
    read_answer(&mut stream, method == "HEAD").await
}

/// Reads until the connection ends, and takes the answer apart.
pub(crate) async fn read_answer(stream: &mut TcpStream, is_head: bool) -> Answer {
    let mut raw = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut error = None;
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(count) => raw.extend_from_slice(&buffer[..count]),
            Err(found) => {
                error = Some(found.kind());
                break;
            }
        }
    }
    let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") else {
        let error = error.or(Some(io::ErrorKind::UnexpectedEof));
        return Answer {
            status: 0,
            headers: Vec::new(),
            body: Vec::new(),
            error,
        };
    };
    let head = String::from_utf8(raw[..end].to_vec()).expect("head is text");
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .expect("status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: raw[end + 4..].to_vec(),
        error,
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        unchunk(&mut answer);
    } else if let Some(length) = answer
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok())
        && !is_head
        && answer.body.len() < length
        && answer.error.is_none()
    {
        answer.error = Some(io::ErrorKind::UnexpectedEof);
    }
    answer
}

fn unchunk(answer: &mut Answer) {
    let mut rest = std::mem::take(&mut answer.body);
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            answer.error = answer.error.or(Some(io::ErrorKind::UnexpectedEof));
            return;
        };
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("text"), 16).expect("chunk length");
        if length == 0 {
            return;
        }
        let data_end = (end + 2 + length).min(rest.len());
        answer.body.extend_from_slice(&rest[end + 2..data_end]);
        rest.drain(..(data_end + 2).min(rest.len()));
    }
}
