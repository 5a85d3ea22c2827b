//! What a server says about its limits: read here, obeyed by the caller.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// Longest wait that one header can ask for: a mistaken or hostile one must not park a job for days.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// A quota as told with an answer. Counted by the server per account, or per address for anonymous callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateState {
    /// Which quota: `api`, `resolvers`, `pages`.
    pub bucket: String,
    /// Requests left in the window.
    pub remaining: u64,
    /// Time until the window ends.
    pub reset_in: Duration,
    /// Requests per window, when told.
    pub quota: Option<u64>,
    /// Length of the window, when told.
    pub window: Option<Duration>,
}

impl RateState {
    /// Reads `RateLimit: "api";r=0;t=55` and `RateLimit-Policy: "fixed window";"api";q=500;w=300`.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let limit = headers.get("ratelimit")?.to_str().ok()?;
        let (bucket, remaining, reset) = (name(limit)?, number(limit, "r")?, number(limit, "t")?);
        let policy = headers.get("ratelimit-policy").and_then(|policy| policy.to_str().ok());
        Some(Self {
            bucket,
            remaining,
            reset_in: Duration::from_secs(reset),
            quota: policy.and_then(|policy| number(policy, "q")),
            window: policy.and_then(|policy| number(policy, "w")).map(Duration::from_secs),
        })
    }
}

/// How long a refused caller is asked to wait: to the end of an exhausted window, else `Retry-After` in either form.
pub(super) fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    // One second more than told, as the Python client waits: the server rounds down.
    let second = Duration::from_secs(1);
    let asked = match RateState::read(headers) {
        Some(state) if state.remaining == 0 => Some(state.reset_in.saturating_add(second)),
        Some(_) | None => retry_after(headers, now).map(|wait| wait.saturating_add(second)),
    };
    asked.map(|wait| wait.min(MAX_WAIT))
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = parse_date(text)?;
    // Against the server's own clock, so that ours may be wrong.
    Some(between(server_time(headers).unwrap_or(now), until))
}

/// The `Date` of an answer.
pub(super) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    parse_date(headers.get(DATE)?.to_str().ok()?)
}

/// Time from the one to the other, nothing when it lies in the past.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

fn parse_date(text: &str) -> Option<Timestamp> {
    const PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

/// The last quoted word before the parameters, with or without its quotes.
fn name(header: &str) -> Option<String> {
    header
        .split(';')
        .map(str::trim)
        .rfind(|part| !part.contains('='))
        .map(|part| {
            part.trim_matches('"')
                .chars()
                .filter(|c| !c.is_control())
                .take(40)
                .collect()
        })
}

fn number(header: &str, key: &str) -> Option<u64> {
    header
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .find(|(name, _)| name.trim() == key)
        .and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn waits_by_every_form() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let check = |pairs: &[(&'static str, &str)], expected: Option<u64>| {
            assert_eq!(
                wait(&headers(pairs), now),
                expected.map(Duration::from_secs),
                "{pairs:?}"
            );
        };
        check(&[("ratelimit", "\"api\";r=0;t=55")], Some(56));
        check(&[("ratelimit", "\"resolvers\";r=0;t=258")], Some(259));
        check(&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "7")], Some(56));
        check(&[("ratelimit", "\"api\";r=3;t=55"), ("retry-after", "7")], Some(8));
        check(&[("ratelimit", "\"api\";r=3;t=55")], None);
        check(&[("ratelimit", "nonsense"), ("retry-after", " 7 ")], Some(8));
        check(&[("retry-after", "0")], Some(1));
        check(&[("retry-after", "Sun, 22 Nov 2026 12:01:00 GMT")], Some(61));
        check(&[("retry-after", "Sun, 22 Nov 2026 11:01:00 GMT")], Some(1));
        check(
            &[
                ("retry-after", "Sat, 21 Nov 2026 10:00:30 GMT"),
                ("date", "Sat, 21 Nov 2026 10:00:00 GMT"),
            ],
            Some(31),
        );
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "-5")], None);
        check(&[("retry-after", "99999999999")], Some(3600));
        check(&[("ratelimit", "\"api\";r=0;t=18446744073709551615")], Some(3600));
        check(&[], None);
    }

    #[test]
    fn quotas_are_read_whole() {
        let state = RateState::read(&headers(&[
            ("ratelimit", "\"resolvers\";r=2997;t=258"),
            ("ratelimit-policy", "\"fixed window\";\"resolvers\";q=3000;w=300"),
        ]));
        assert_eq!(
            state,
            Some(RateState {
                bucket: "resolvers".to_owned(),
                remaining: 2997,
                reset_in: Duration::from_secs(258),
                quota: Some(3000),
                window: Some(Duration::from_secs(300)),
            })
        );
        assert!(RateState::read(&headers(&[("ratelimit", "\"api\";r=x;t=1")])).is_none());
        assert!(RateState::read(&headers(&[])).is_none());
    }
}
