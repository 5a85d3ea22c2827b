//! Sends one request and follows its redirects; reads JSON answers whole and within limits.

use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Response;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::Credential;
use super::client::{Hub, Taken};
use super::clients::Traffic;
use super::endpoint::{Endpoint, host_of};
use super::error::HubError;
use super::redirect::{Trail, is_redirect};
use super::refusal::{About, Refusal, content_type};
use super::transport::NetworkFault;
use super::{scrub, transport};
use crate::model::Token;

/// Largest JSON answer.
const MAX_JSON: usize = 64 << 20;
/// How much of the body of a refusal is read.
const REFUSAL_BODY: usize = 4 << 10;
/// Bodies of redirects up to this length are read to their end, so that the connection can be used again.
const REDIRECT_BODY: u64 = 4 << 10;
/// Longest wait for a body that only helps.
const COURTESY: Duration = Duration::from_secs(2);

/// One request before it is sent.
pub(super) struct Call<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) token: Credential<'a>,
    pub(super) traffic: Traffic,
    pub(super) headers: HeaderMap,
    /// Asked for once more when the connection closes without an answer. Parts of large files are not: who downloads them
    /// counts what a host cuts off.
    pub(super) asks_twice: bool,
}

/// Where a call came to its end.
pub(super) struct Landed<'a> {
    pub(super) url: Url,
    pub(super) response: Response,
    /// The way of the last request.
    pub(super) taken: Taken,
    /// The token that went with the last request, if it did.
    pub(super) token: Credential<'a>,
    /// Headers of the last redirect, when there was one.
    pub(super) redirected_by: Option<HeaderMap>,
    /// When the last request was sent.
    pub(super) sent_at: Instant,
}

/// A JSON answer.
pub(super) struct Answer<T> {
    pub(super) value: T,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

impl<'a> Call<'a> {
    pub(super) fn metadata(endpoint: &'a Endpoint, token: Credential<'a>) -> Self {
        Self {
            endpoint,
            token,
            traffic: Traffic::Small,
            headers: HeaderMap::from_iter([
                (ACCEPT, HeaderValue::from_static("application/json")),
                (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            ]),
            asks_twice: true,
        }
    }
}

impl Hub {
    /// Sends, and follows redirects. Each hop has `limit` until its headers are there; `on_hop` sees the headers of every
    /// answer below 400 and may refuse it.
    pub(super) async fn follow<'a>(
        &self,
        call: &Call<'a>,
        first: Url,
        limit: Duration,
        mut on_hop: impl FnMut(&Url, &HeaderMap) -> Result<(), HubError>,
    ) -> Result<Landed<'a>, HubError> {
        let mut trail = Trail::new(&first);
        let mut url = first;
        let mut redirected_by = None;
        // The token goes to the endpoint's own origin, nowhere else, and never again once a redirect has led away from there.
        let mut token = call.token;
        loop {
            token = token.filter(|_| call.endpoint.owns(&url));
            let taken = self.take(call.endpoint, call.traffic, &url)?;
            let sent_at = Instant::now();
            let response = send(&taken, call, &url, token, limit)
                .await
                .inspect_err(|_| self.way_failed(&taken))?;
            self.answered(&url, response.remote_addr(), &taken);
            if response.status().as_u16() < 400 {
                on_hop(&url, response.headers())?;
            }
            if !is_redirect(response.status()) {
                return Ok(Landed {
                    url,
                    response,
                    taken,
                    token,
                    redirected_by,
                    sent_at,
                });
            }
            let next = trail
                .step(call.endpoint, &url, response.headers(), self.routes().allowed())
                .await
                .map_err(|why| HubError::Redirect {
                    host: host_of(&url),
                    why,
                })?;
            redirected_by = Some(response.headers().clone());
            read_away(response, &taken).await;
            url = next;
        }
    }

    /// Asks for JSON within the metadata limit; a server that says nothing for the stall timeout is given up sooner.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        url: Url,
        about: &About,
        what: &'static str,
    ) -> Result<Answer<T>, HubError> {
        let limit = self.options().metadata_timeout;
        let call = Call::metadata(endpoint, token);
        let silence = limit.min(self.options().stall_timeout);
        let landed = self.follow(&call, url, silence, |_, _| Ok(())).await?;
        if landed.response.status() != StatusCode::OK {
            return Err(refused(landed, about.clone()).await);
        }
        let Landed {
            url,
            response,
            taken,
            sent_at,
            ..
        } = landed;
        let headers = response.headers().clone();
        if content_type(&headers).starts_with("text/html") {
            return Err(HubError::BadAnswer {
                host: host_of(&url),
                what,
                detail: "it is a web page".to_owned(),
            });
        }
        let body = timeout_at(sent_at + limit, read_json(response, &url, &taken, silence))
            .await
            .map_err(|_| HubError::TimedOut {
                host: host_of(&url),
                after: limit,
            })??;
        let value = serde_json::from_slice(&body).map_err(|error| HubError::BadAnswer {
            host: host_of(&url),
            what,
            detail: scrub::text(&error.to_string(), token),
        })?;
        Ok(Answer { value, url, headers })
    }
}

async fn read_json(mut response: Response, url: &Url, taken: &Taken, silence: Duration) -> Result<Vec<u8>, HubError> {
    let mut body = Vec::new();
    while let Some(chunk) = timeout(silence, response.chunk())
        .await
        .map_err(|_| HubError::TimedOut {
            host: host_of(url),
            after: silence,
        })?
        .map_err(|error| transport::fault(error, url, taken.via()))?
    {
        taken.listed.add(chunk.len());
        taken.charge.got(chunk.len());
        if body.len() + chunk.len() > MAX_JSON {
            return Err(HubError::TooLarge {
                host: host_of(url),
                limit: MAX_JSON,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Sends one request and waits for the headers of its answer; dropping the future gives it up.
///
/// A server or proxy may close an idle connection at any time, and some close after each answer without saying so: a request
/// that went out just then says nothing about them. Nothing here changes anything, so it is sent once more.
pub(super) async fn send(
    taken: &Taken,
    call: &Call<'_>,
    url: &Url,
    token: Option<&Token>,
    limit: Duration,
) -> Result<Response, HubError> {
    let mut headers = call.headers.clone();
    if let Some(token) = token
        && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let ask = || taken.client.get(url.clone()).headers(headers.clone()).send();
    let answered = async {
        match ask().await {
            Err(error) if call.asks_twice && transport::fault_of(&error) == NetworkFault::Reset => {
                taken.charge.asked_again();
                ask().await
            }
            answered => answered,
        }
    };
    timeout(limit, answered)
        .await
        .map_err(|_| HubError::TimedOut {
            host: host_of(url),
            after: limit,
        })?
        .map_err(|error| transport::fault(error, url, taken.via()))
}

/// The refusal in an answer, with the beginning of its body.
pub(super) async fn refused(landed: Landed<'_>, about: About) -> HubError {
    let Landed {
        url,
        mut response,
        taken,
        token,
        ..
    } = landed;
    let body = beginning(&mut response, &taken).await;
    HubError::Refused(Box::new(Refusal::read(
        &url,
        response.status(),
        response.headers(),
        &body,
        about,
        token,
    )))
}

/// The first bytes of a body, as many as come in short time; errors end it.
pub(super) async fn beginning(response: &mut Response, taken: &Taken) -> Vec<u8> {
    let mut body = Vec::new();
    let deadline = Instant::now() + COURTESY;
    while body.len() < REFUSAL_BODY {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                taken.charge.got(chunk.len());
                taken.charge.wasted(chunk.len() as u64);
                body.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_BODY - body.len())]);
            }
            Ok(Ok(None) | Err(_)) | Err(_) => break,
        }
    }
    body
}

/// Takes a small body that nobody wants, so that its connection can be used again.
pub(super) async fn read_away(mut response: Response, taken: &Taken) {
    if response.content_length().is_some_and(|length| length <= REDIRECT_BODY) {
        let deadline = Instant::now() + COURTESY;
        while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
            taken.charge.got(chunk.len());
        }
    }
}
