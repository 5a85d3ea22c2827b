//! Where the bytes of a file really lie, and for how long that address is good.

use std::time::Duration;

use http::{HeaderMap, header};
use jiff::{Timestamp, civil};
use tokio::time::Instant;
use url::Url;

use super::endpoint::{Endpoint, host_of};
use super::ratelimit;
use crate::model::{Etag, SignedUrl};

/// Renewed this long before the end.
const MARGIN: Duration = Duration::from_secs(180);

/// An address found by resolving, to be used for further ranges of the same file.
#[derive(Debug, Clone)]
pub struct Link {
    /// The address.
    pub url: SignedUrl,
    /// Its host, perhaps with a port: safe to show.
    pub host: String,
    /// When it ends by our clock, judged by the clock of the server that made it; `None` when it does not say.
    pub expires: Option<Timestamp>,
    /// When it was obtained, by our clock.
    pub obtained_at: Timestamp,
    obtained: Instant,
    /// Validator of a place on the endpoint itself, whose address does not hold the content's hash.
    pub(super) etag: Option<Etag>,
}

impl Link {
    /// Notes where a call landed.
    pub(super) fn new(endpoint: &Endpoint, url: &Url, answer: &HeaderMap, redirect: Option<&HeaderMap>) -> Self {
        let now = Timestamp::now();
        let issued = redirect.and_then(ratelimit::server_time).unwrap_or(now);
        Self {
            host: host_of(url),
            expires: expiry(url).and_then(|end| now.checked_add(ratelimit::between(issued, end)).ok()),
            obtained_at: now,
            obtained: Instant::now(),
            etag: endpoint
                .owns(url)
                .then(|| {
                    answer
                        .get(header::ETAG)
                        .and_then(|etag| etag.to_str().ok())
                        .map(Etag::normalise)
                })
                .flatten(),
            url: SignedUrl::new(url.clone()),
        }
    }

    /// Time since it was obtained.
    pub fn age(&self) -> Duration {
        self.obtained.elapsed()
    }

    /// Whether it ends within minutes, so that a new one should be asked for first.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| ratelimit::between(now, end) <= MARGIN)
    }
}

/// The end of a signed address: `Expires=<unix>`, or `X-Amz-Date` with `X-Amz-Expires`.
fn expiry(url: &Url) -> Option<Timestamp> {
    let value = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    if let Some(unix) = value("Expires") {
        return Timestamp::from_second(unix.parse().ok()?).ok();
    }
    let made = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", value("X-Amz-Date")?).ok()?;
    let made = made.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    made.checked_add(Duration::from_secs(value("X-Amz-Expires")?.parse().ok()?))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read() {
        let check = |query: &str, expected: Option<&str>| {
            let url = Url::parse(&format!("https://cdn/x?{query}")).unwrap();
            assert_eq!(expiry(&url), expected.map(|text| text.parse().unwrap()), "{query}");
        };
        check("Expires=1790000000&Signature=x", Some("2026-09-21T14:13:20Z"));
        check(
            "X-Amz-Date=20260401T120000Z&X-Amz-Expires=3600",
            Some("2026-04-01T13:00:00Z"),
        );
        check("X-Amz-Date=20260401T120000Z", None);
        check("X-Amz-Date=bad&X-Amz-Expires=3600", None);
        check("Expires=soon", None);
        check("Expires=99999999999999999999", None);
        check("", None);
    }

    #[test]
    fn the_servers_clock_counts() {
        let endpoint = Endpoint::parse("e", "https://h").unwrap();
        // The server's day is far from ours; the address lives one hour by the server's own reckoning.
        let url = Url::parse("https://cdn/x?Expires=946688400").unwrap();
        let date = HeaderMap::from_iter([(header::DATE, "Sat, 01 Jan 2000 00:00:00 GMT".parse().unwrap())]);
        let link = Link::new(&endpoint, &url, &HeaderMap::new(), Some(&date));
        let life = ratelimit::between(link.obtained_at, link.expires.unwrap());
        assert_eq!(life, Duration::from_secs(3600));
        assert!(!link.is_stale(link.obtained_at));
        assert!(link.is_stale(link.obtained_at.checked_add(Duration::from_secs(3500)).unwrap()));
        assert!(!format!("{link:?}").contains("Expires"));
    }
}
