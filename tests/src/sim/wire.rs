//! HTTP/1.1 as far as a server of files needs it: reading a request, and answers as plain data.
//!
//! Written by hand, for a library would repair what the faults must break: lengths that lie, bodies that end early,
//! resets in mid-body, and the count of bytes that really went into the socket.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::content::Content;

const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 16 * 1024 * 1024;
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'/');
const SEGMENT: &AsciiSet = &PATH.add(b'/');

/// Quotes a path of a repository for a URL, `/` kept.
pub fn quote_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Quotes one segment or query value, `/` included.
pub fn quote_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

pub(crate) fn unquote(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Header fields in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.0.push((name.to_owned(), value.into()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Percent-encoded, without query, beginning with `/`.
    pub(crate) path: String,
    /// Without `?`; empty when there is none.
    pub(crate) query: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Decoded query pairs, `+` read as a blank.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        form_pairs(&self.query)
    }

    pub(crate) fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs()
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// A boolean as any version of the Python client spells it.
    pub(crate) fn query_flag(&self, name: &str) -> bool {
        matches!(self.query_value(name).as_deref(), Some("true" | "True" | "1"))
    }

    pub(crate) fn wants_close(&self) -> bool {
        self.headers
            .get("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

pub(crate) fn form_pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let decode = |part: &str| unquote(&part.replace('+', " "));
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Reads one request; `None` when the peer closed before its first byte. What follows it stays in `buffer`.
pub(crate) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<Request>> {
    let head_end = loop {
        if let Some(position) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break position + 4;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(malformed("request head too long"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() {
                Ok(None)
            } else {
                Err(malformed("request head cut"))
            };
        }
    };
    let head = buffer.split_to(head_end);
    let mut request = parse_head(&head)?;
    if request.headers.get("transfer-encoding").is_some() {
        return Err(malformed("chunked requests are not read"));
    }
    let length = request.headers.get("content-length").map_or(Ok(0), str::parse::<usize>);
    let length = length.map_err(|_| malformed("bad content-length"))?;
    if length > BODY_LIMIT {
        return Err(malformed("request body too long"));
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(malformed("request body cut"));
        }
    }
    request.body = buffer.copy_to_bytes(length).to_vec();
    Ok(Some(request))
}

fn parse_head(head: &[u8]) -> io::Result<Request> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(_version), None) = (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(malformed("bad request line"));
    };
    let mut headers = Headers::default();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("bad header line"))?;
        headers.0.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    // A client that takes us for its proxy sends the absolute form.
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A stretch of a body.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    File { content: Arc<Content>, range: Range<u64> },
}

impl Part {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { range, .. } => range.end - range.start,
        }
    }

    /// Up to `max` bytes from `offset` of this part.
    pub(crate) fn slice(&self, offset: u64, max: u64) -> io::Result<Bytes> {
        let max = max.min(self.len() - offset);
        match self {
            Self::Bytes(bytes) => {
                let (start, length) = (super::content::index(offset), super::content::index(max));
                Ok(bytes.slice(start..start + length))
            }
            Self::File { content, range } => content.slice(range.start + offset, max),
        }
    }
}

/// Which file a request is about; for the journal, the gates and the faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileTag {
    pub(crate) repo: String,
    pub(crate) path: String,
}

/// One answer as data, before faults and before the socket.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<Part>,
    /// The file that the request is about, also when the answer does not hold its bytes.
    pub(crate) file: Option<FileTag>,
    /// The body is the file's own bytes from this offset on.
    pub(crate) offset: Option<u64>,
    /// Sent with chunked framing and without a length.
    pub(crate) chunked: bool,
}

impl Response {
    pub(crate) fn new(status: u16) -> Self {
        let headers = Headers::default();
        Self {
            status,
            headers,
            body: Vec::new(),
            file: None,
            offset: None,
            chunked: false,
        }
    }

    pub(crate) fn text(status: u16, text: impl Into<Bytes>) -> Self {
        Self::new(status)
            .with("Content-Type", "text/plain; charset=utf-8")
            .with_body(text)
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        let text = value.to_string();
        let etag = format!(
            "W/\"{:x}-{}\"",
            text.len(),
            &super::digest::sha1_hex(text.as_bytes())[..27]
        );
        Self::new(200)
            .with("Content-Type", "application/json; charset=utf-8")
            .with("ETag", etag)
            .with_body(text)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.set(name, value);
        self
    }

    #[must_use]
    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = vec![Part::Bytes(body.into())];
        self.offset = None;
        self
    }

    #[must_use]
    pub(crate) fn about(mut self, repo: &str, path: &str) -> Self {
        self.file = Some(FileTag {
            repo: repo.to_owned(),
            path: path.to_owned(),
        });
        self
    }

    pub(crate) fn body_len(&self) -> u64 {
        self.body.iter().map(Part::len).sum()
    }
}
