//! Limits for people and for scripts.

use hfetch_proto::v1::GlobalLimit;
use jiff::Timestamp;
use serde::Serialize;

use super::human;

/// The answer of `limit --json`.
#[derive(Debug, Serialize)]
pub(crate) struct LimitJson {
    /// Bytes per second; null: no limit.
    limit: Option<u64>,
    source: String,
    text: Option<String>,
    until: Option<Timestamp>,
    next_change_at: Option<Timestamp>,
    next_limit: Option<u64>,
    bytes_per_sec: u64,
}

impl LimitJson {
    pub(crate) fn new(limit: GlobalLimit) -> LimitJson {
        LimitJson {
            limit: limit.bytes_per_sec,
            source: limit.source,
            text: (!limit.text.is_empty()).then_some(limit.text),
            until: human::time(limit.until.as_ref()),
            next_change_at: human::time(limit.next_change_at.as_ref()),
            next_limit: limit.next_bytes_per_sec,
            bytes_per_sec: limit.current_bytes_per_sec,
        }
    }
}

/// A rate, or that there is none.
pub(crate) fn rate(limit: Option<u64>) -> String {
    limit.map_or_else(|| "off".to_owned(), human::rate)
}

/// `10.0 MiB/s, set with hfctl limit until 2026-08-01 14:00:00 (in 1h 59m); now 9.9 MiB/s`.
pub(crate) fn limit(limit: &GlobalLimit, now: Timestamp) -> String {
    let mut text = rate(limit.bytes_per_sec);
    text.push_str(match limit.source.as_str() {
        "set" => ", set with `hfctl limit`",
        _ => ", as configured",
    });
    let when = |at: Timestamp| format!("{} (in {})", human::local(at), human::seconds(human::age_sec(now, at)));
    if let Some(until) = human::time(limit.until.as_ref()) {
        text.push_str(&format!(" until {}", when(until)));
    }
    if let Some(at) = human::time(limit.next_change_at.as_ref()) {
        text.push_str(&format!("; {} from {}", rate(limit.next_bytes_per_sec), when(at)));
    }
    if limit.current_bytes_per_sec > 0 {
        text.push_str(&format!("; now {}", human::rate(limit.current_bytes_per_sec)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_tells_why_and_until_when() {
        let check = |wire: &GlobalLimit, expected: &str| {
            let told = limit(wire, Timestamp::from_second(1_785_585_600).expect("a time"));
            assert_eq!(told, expected);
        };
        check(&GlobalLimit::default(), "off, as configured");
        let set = GlobalLimit {
            bytes_per_sec: Some(10 << 20),
            source: "set".to_owned(),
            current_bytes_per_sec: 9 << 20,
            ..GlobalLimit::default()
        };
        check(&set, "10.0 MiB/s, set with `hfctl limit`; now 9.0 MiB/s");
        let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let until = GlobalLimit {
            until: Some(at(1_785_585_600 + 7200)),
            next_change_at: Some(at(1_785_585_600 + 60)),
            ..set
        };
        let told = limit(&until, Timestamp::from_second(1_785_585_600).expect("a time"));
        assert!(
            told.contains("(in 2h 00m); off from ") && told.contains("(in 1m 00s)"),
            "{told}"
        );
    }
}
