//! Opens one range of one file: resolves it, or goes straight to where an earlier range found it.

use http::header::{ACCEPT, ACCEPT_ENCODING, ETAG, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::client::Hub;
use super::clients::Traffic;
use super::endpoint::{Endpoint, host_of, is_hub_host};
use super::error::{Changed, HubError};
use super::ratelimit::RateState;
use super::refusal::{About, Asked, Refusal};
use super::request::{Call, Landed, beginning};
use super::{Body, Credential, Link, range as ranges, scrub};
use crate::model::{ByteRange, CommitHash, Digest, Etag, RepoId, RepoKind, RepoPath};

/// Files of fewer bytes are small.
pub const SMALL_FILE: u64 = 1 << 20;

/// One file as planned. Every answer is compared with it.
#[derive(Debug, Clone)]
pub struct FileTarget {
    /// Kind of repository.
    pub kind: RepoKind,
    /// The repository.
    pub repo_id: RepoId,
    /// Always a commit, never a branch: a push in between must not mix two versions.
    pub commit: CommitHash,
    /// The file.
    pub path: RepoPath,
    /// Bytes of the content. An empty file needs no request at all.
    pub size: u64,
    /// What the content hashes to.
    pub digest: Digest,
}

/// A range about to be read.
#[derive(Debug)]
pub struct Opened {
    /// Where the bytes lie: hand it in for further ranges of the same file.
    pub link: Link,
    /// The bytes.
    pub body: Body,
    /// The server answered with the whole file. The body still holds the asked range only, and only a range that begins at 0
    /// gets this far; further ranges from there are pointless.
    pub ranges_ignored: bool,
    /// What the endpoint said about its quota.
    pub rate: Option<RateState>,
}

impl Hub {
    /// Asks for `range` of the file, at `known` when given, else by resolving. `Range` and `Accept-Encoding: identity` are
    /// always sent. Safe to cancel and to repeat.
    ///
    /// # Errors
    /// [`HubError::LinkRefused`] when the place where the bytes lie refuses: resolve again, without `known`.
    /// [`HubError::BadRange`] for an empty range or one beyond the file. Else as the answer deserves.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        target: &FileTarget,
        range: ByteRange,
        known: Option<&Link>,
    ) -> Result<Opened, HubError> {
        self.open_watched(endpoint, token, target, range, known, |_| {}).await
    }

    /// The same; `on_hop` sees the address of every answer below 400.
    pub(super) async fn open_watched(
        &self,
        endpoint: &Endpoint,
        token: Credential<'_>,
        target: &FileTarget,
        range: ByteRange,
        known: Option<&Link>,
        mut on_hop: impl FnMut(&Url) + Send,
    ) -> Result<Opened, HubError> {
        if range.is_empty() || range.end > target.size {
            return Err(HubError::BadRange {
                range,
                size: target.size,
            });
        }
        let first = match known {
            Some(link) => link.url.reveal().clone(),
            None => endpoint.resolve_url(target.kind, &target.repo_id, &target.commit, &target.path),
        };
        let traffic = traffic_of(range, target.size);
        let call = Call {
            endpoint,
            token,
            traffic,
            headers: file_headers(range),
            asks_twice: traffic == Traffic::Small,
        };
        let mut rate = None;
        let stall_timeout = self.options().stall_timeout;
        let landed = self
            .follow(&call, first, stall_timeout, |url, headers| {
                rate = RateState::read(headers).or_else(|| rate.take());
                on_hop(url);
                ranges::check_claims(url, headers, target)
            })
            .await
            .map_err(stalled)?;
        if !matches!(landed.response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(refusal(landed, endpoint, target, range, known).await);
        }
        let Landed {
            url,
            response,
            taken,
            redirected_by,
            ..
        } = landed;
        let headers = response.headers();
        let admitted = ranges::admit(&url, response.status(), headers, target, range)?;
        let link = match known.filter(|known| *known.url.reveal() == url) {
            Some(known) => {
                check_validator(known, &url, headers)?;
                known.clone()
            }
            None => Link::new(endpoint, &url, headers, redirected_by.as_ref()),
        };
        let cut_short = admitted.ranges_ignored;
        let body = Body::new(
            self.clone(),
            response,
            &url,
            taken,
            range.len(),
            cut_short,
            stall_timeout,
        );
        Ok(Opened {
            link,
            body,
            ranges_ignored: admitted.ranges_ignored,
            rate,
        })
    }
}

/// What comes whole and is small shares a connection with others of its kind.
fn traffic_of(range: ByteRange, size: u64) -> Traffic {
    match range.len() == size && size < SMALL_FILE {
        true => Traffic::Small,
        false => Traffic::Bulk,
    }
}

fn file_headers(range: ByteRange) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([
        (ACCEPT, HeaderValue::from_static("*/*")),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ]);
    // Without a range very large files are refused with 400.
    if let Ok(value) = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end - 1)) {
        headers.insert(RANGE, value);
    }
    headers
}

/// For files, no headers in time is a stall before the first byte.
fn stalled(error: HubError) -> HubError {
    match error {
        HubError::TimedOut { host, after } => HubError::Stalled { host, got: 0, after },
        other => other,
    }
}

/// A place on the endpoint itself may change its content under the same address.
fn check_validator(known: &Link, url: &Url, headers: &HeaderMap) -> Result<(), HubError> {
    let now = headers
        .get(ETAG)
        .and_then(|etag| etag.to_str().ok())
        .map(Etag::normalise);
    match (&known.etag, now) {
        (Some(before), Some(now)) if *before != now => Err(HubError::ChangedUnderneath {
            host: host_of(url),
            what: Changed::Validator,
            expected: scrub::text(before.as_str(), None),
            actual: scrub::text(now.as_str(), None),
        }),
        _ => Ok(()),
    }
}

/// What an answer that is neither 200 nor 206 means.
async fn refusal(
    landed: Landed<'_>,
    endpoint: &Endpoint,
    target: &FileTarget,
    range: ByteRange,
    known: Option<&Link>,
) -> HubError {
    let Landed {
        url,
        mut response,
        taken,
        token,
        ..
    } = landed;
    let status = response.status();
    let headers = response.headers().clone();
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return unsatisfied(&url, &headers, target, range);
    }
    let body = beginning(&mut response, &taken).await;
    // Not from the Hub, or from a place found earlier: asking anew may help, and tells the reason if it does not.
    let at_link = known.is_some() || !speaks_for_hub(endpoint, &url, &headers);
    let code = xml_code(&body);
    let refused = match status.as_u16() {
        400 => code.is_some(),
        401 | 403 | 404 | 410 => true,
        _ => false,
    };
    if at_link && refused {
        return HubError::LinkRefused {
            host: host_of(&url),
            status: status.as_u16(),
            code_from_body: scrub::text(&code.unwrap_or_else(|| scrub::bytes(&body, token)), token),
            link_age: known.map(Link::age).unwrap_or_default(),
        };
    }
    let asked = Asked::File(target.path.to_string());
    let about = About::new(endpoint, target.kind, &target.repo_id, asked);
    HubError::Refused(Box::new(Refusal::read(&url, status, &headers, &body, about, token)))
}

/// 416: our range lies within the planned size, so the server's file is another one, or its ranges are broken.
fn unsatisfied(url: &Url, headers: &HeaderMap, target: &FileTarget, range: ByteRange) -> HubError {
    match ranges::unsatisfied_total(headers) {
        Some(total) if total != target.size => HubError::ChangedUnderneath {
            host: host_of(url),
            what: Changed::Size,
            expected: target.size.to_string(),
            actual: total.to_string(),
        },
        _ => HubError::WrongRange {
            host: host_of(url),
            asked: range,
            size: target.size,
            answered: "416 Range Not Satisfiable".to_owned(),
        },
    }
}

/// Whether an answer comes from the Hub or a mirror of it rather than from the place where bytes lie.
fn speaks_for_hub(endpoint: &Endpoint, url: &Url, headers: &HeaderMap) -> bool {
    endpoint.owns(url)
        || is_hub_host(url)
        || ["x-error-code", "x-repo-commit"]
            .iter()
            .any(|name| headers.contains_key(*name))
}

/// `<Code>` of an XML error with its `<Message>`; an empty text for XML without either.
fn xml_code(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\r', '\n', '\t']);
    if !text.starts_with("<?xml") && !text.starts_with("<Error") {
        return None;
    }
    let inside = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        let (inside, _) = rest.split_once('<')?;
        Some(inside.to_owned())
    };
    let parts: Vec<String> = [inside("Code"), inside("Message")].into_iter().flatten().collect();
    Some(parts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_xml_errors() {
        let check =
            |body: &str, expected: Option<&str>| assert_eq!(xml_code(body.as_bytes()).as_deref(), expected, "{body}");
        check(
            "<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>",
            Some("AccessDenied: Access denied"),
        );
        check(
            "<?xml version=\"1.0\"?>\n<Error><Code>Expired</Code></Error>",
            Some("Expired"),
        );
        check("<?xml version=\"1.0\"?><Other/>", Some(""));
        check("<Error><Code>Cut", Some(""));
        check("Auth failed: invalid range", None);
        check("<html><Code>x</Code></html>", None);
    }
}
