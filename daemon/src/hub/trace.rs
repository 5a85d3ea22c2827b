//! Follows one call hop by hop and tells of each: the rule, the way, whether it answered. And measures one address by one way.

use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::client::Hub;
use super::clients::Traffic;
use super::endpoint::{Endpoint, host_of};
use super::error::HubError;
use super::fetch::FileTarget;
use super::redirect::{Trail, is_redirect};
use super::request::{Call, send};
use super::routes::{Decision, Way};
use super::{Credential, ratelimit, transport};
use crate::model::{RepoId, RepoKind, Revision, SignedUrl};

/// Most bytes of one measurement.
const SAMPLE: u64 = 8 << 20;
/// And its longest time after the headers.
const SAMPLE_TIME: Duration = Duration::from_secs(3);
/// Fewer bytes in less time tell nothing about speed.
const TELLING: u64 = 64 << 10;

/// One hop of a call.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The host, with its port when it is not the usual one.
    pub host: String,
    /// The address, to measure it by other ways.
    pub url: SignedUrl,
    /// What the rules say.
    pub decision: Decision,
    /// The way that was taken; `None` when there was none.
    pub way: Option<Way>,
    /// The token went along.
    pub saw_token: bool,
    /// Time to the headers of the answer.
    pub first_byte: Option<Duration>,
    /// What time it has.
    pub clock: Option<Timestamp>,
    /// Why it did not answer, or what it answered.
    pub error: Option<String>,
    /// Whether it answered itself, and did not lead elsewhere.
    pub is_last: bool,
}

impl Hop {
    /// An address that nobody was asked for.
    pub fn unasked(url: &Url, decision: Decision) -> Self {
        Self {
            host: host_of(url),
            url: SignedUrl::new(url.clone()),
            decision,
            way: None,
            saw_token: false,
            first_byte: None,
            clock: None,
            error: None,
            is_last: true,
        }
    }
}

/// What one way delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Time to the headers, the connection included.
    pub first_byte: Option<Duration>,
    /// Bytes that came.
    pub bytes: u64,
    /// Bytes per second after the headers; `None` when too few came.
    pub bytes_per_sec: Option<u64>,
    /// Why nothing came.
    pub error: Option<String>,
}

impl Hub {
    /// The way to a repository's description. Makes one try; what fails is in the last hop.
    pub async fn trace_info(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        kind: RepoKind,
        repo_id: &RepoId,
        revision: &Revision,
    ) -> Vec<Hop> {
        let call = Call::metadata(endpoint, token);
        self.trace(&call, endpoint.info_url(kind, repo_id, Some(revision)))
            .await
    }

    /// The way to the bytes of a file.
    pub async fn trace_file(&self, endpoint: &Endpoint, token: Credential<'_>, target: &FileTarget) -> Vec<Hop> {
        let url = endpoint.resolve_url(target.kind, &target.repo_id, &target.commit, &target.path);
        let call = Call {
            endpoint,
            token,
            traffic: Traffic::Bulk,
            headers: sample_headers(1),
            asks_twice: true,
        };
        self.trace(&call, url).await
    }

    /// The way to the endpoint's own address, without a token.
    pub async fn trace_base(&self, endpoint: &Endpoint) -> Vec<Hop> {
        let call = Call {
            endpoint,
            token: None,
            traffic: Traffic::Bulk,
            headers: sample_headers(1),
            asks_twice: true,
        };
        self.trace(&call, endpoint.base().clone()).await
    }

    /// Whether the proxy of a way takes connections, and how fast. A direct way has none and is fine.
    ///
    /// # Errors
    /// With why not, for people.
    pub async fn knock(&self, way: &Way) -> Result<Duration, String> {
        let began = Instant::now();
        let Some(point) = way.proxy() else {
            return Ok(Duration::ZERO);
        };
        let (Some(host), Some(port)) = (point.url().host_str(), point.url().port_or_known_default()) else {
            return Err("its address names no host or no port".to_owned());
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match timeout(self.options().connect_timeout, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Ok(began.elapsed()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }

    async fn trace(&self, call: &Call<'_>, first: Url) -> Vec<Hop> {
        let limit = self.options().metadata_timeout;
        let mut trail = Trail::new(&first);
        let mut hops: Vec<Hop> = Vec::new();
        let mut next = Some(first);
        let mut token = call.token;
        while let Some(url) = next.take() {
            token = token.filter(|_| call.endpoint.owns(&url));
            let mut hop = Hop {
                saw_token: token.is_some(),
                ..Hop::unasked(&url, self.routes().decide(&url))
            };
            let began = Instant::now();
            let answered = async {
                let taken = self.take(call.endpoint, call.traffic, &url)?;
                hop.way = Some(taken.way.clone());
                send(&taken, call, &url, token, limit).await
            };
            match answered.await {
                Err(error) => {
                    hop.saw_token &= hop.way.is_some();
                    hop.error = Some(error.to_string());
                }
                Ok(response) => {
                    hop.first_byte = Some(began.elapsed());
                    hop.clock = ratelimit::server_time(response.headers());
                    let status = response.status();
                    if is_redirect(status) {
                        match trail
                            .step(call.endpoint, &url, response.headers(), self.routes().allowed())
                            .await
                        {
                            Ok(url) => {
                                hop.is_last = false;
                                next = Some(url);
                            }
                            Err(why) => hop.error = Some(format!("{} redirects {why}", hop.host)),
                        }
                    } else if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
                        hop.error = Some(format!("{} answers {status}", hop.host));
                    }
                }
            }
            hops.push(hop);
        }
        hops
    }

    /// Takes some megabytes of an address by one way, whatever the rules say. A token goes along only where it went before.
    pub async fn measure(&self, endpoint: &Endpoint, token: Credential<'_>, hop: &Hop, way: &Way) -> Reading {
        let url = hop.url.reveal();
        let mut reading = Reading {
            first_byte: None,
            bytes: 0,
            bytes_per_sec: None,
            error: None,
        };
        if let Err(error) = self
            .sample(endpoint, token.filter(|_| hop.saw_token), url, way, &mut reading)
            .await
        {
            reading.error = Some(error.to_string());
        }
        reading
    }

    async fn sample(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        url: &Url,
        way: &Way,
        reading: &mut Reading,
    ) -> Result<(), HubError> {
        let call = Call {
            endpoint,
            token: token.filter(|_| endpoint.owns(url)),
            traffic: Traffic::Bulk,
            headers: sample_headers(SAMPLE),
            asks_twice: true,
        };
        let taken = self.take_way(endpoint, call.traffic, url, way)?;
        let limit = self.options().connect_timeout;
        let began = Instant::now();
        let mut response = send(&taken, &call, url, call.token, limit).await?;
        reading.first_byte = Some(began.elapsed());
        let from = Instant::now();
        let deadline = from + SAMPLE_TIME;
        while reading.bytes < SAMPLE {
            match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    taken.charge.got(chunk.len());
                    reading.bytes += chunk.len() as u64;
                }
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(error)) => return Err(transport::fault(error, url, taken.via())),
            }
        }
        let millis = from.elapsed().as_millis().max(1);
        let per_sec = u128::from(reading.bytes) * 1000 / millis;
        reading.bytes_per_sec = (reading.bytes >= TELLING).then(|| u64::try_from(per_sec).unwrap_or(u64::MAX));
        Ok(())
    }
}

fn sample_headers(bytes: u64) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("*/*")),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ]);
    if let Ok(value) = HeaderValue::from_str(&format!("bytes=0-{}", bytes - 1)) {
        headers.insert(RANGE, value);
    }
    headers
}
