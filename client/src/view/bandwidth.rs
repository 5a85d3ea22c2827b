//! Limits for people and for scripts.

use hfetch_proto::v1::{GivingWay, GlobalLimit};
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
    /// Null: it is switched off.
    r#yield: Option<YieldJson>,
}

/// How the daemon gives way to others on the line.
#[derive(Debug, Serialize)]
struct YieldJson {
    /// Null: as much as comes.
    bytes_per_sec: Option<u64>,
    queueing_ms: Option<u64>,
    target_ms: Option<u64>,
    round_trip_ms: Option<u64>,
    hidden: bool,
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
            r#yield: limit.giving_way.map(|way| YieldJson {
                bytes_per_sec: way.bytes_per_sec,
                queueing_ms: way.queueing_ms,
                target_ms: way.target_ms,
                round_trip_ms: way.round_trip_ms,
                hidden: way.hidden,
            }),
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
    if let Some(way) = &limit.giving_way {
        text.push_str(&giving_way(way));
    }
    if limit.current_bytes_per_sec > 0 {
        text.push_str(&format!("; now {}", human::rate(limit.current_bytes_per_sec)));
    }
    text
}

/// `; gives way to others: 1.2 MiB/s at most, packets wait 80 ms`.
fn giving_way(way: &GivingWay) -> String {
    let waits = way.queueing_ms.map(|ms| format!("packets wait {ms} ms"));
    let hidden = "what comes through a proxy on the daemon's machine cannot be seen";
    let told = match (way.bytes_per_sec, waits) {
        (Some(rate), Some(waits)) => format!("{} at most, {waits}", human::rate(rate)),
        (Some(rate), None) => format!("{} at most", human::rate(rate)),
        (None, Some(waits)) => format!("nobody is in need, {waits}"),
        (None, None) if way.hidden => hidden.to_owned(),
        (None, None) => "nothing comes".to_owned(),
    };
    match way.hidden && way.queueing_ms.is_some() {
        true => format!("; gives way to others: {told}; {hidden}"),
        false => format!("; gives way to others: {told}"),
    }
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
        let way = |bytes_per_sec, queueing_ms, hidden| GlobalLimit {
            giving_way: Some(GivingWay {
                bytes_per_sec,
                queueing_ms,
                hidden,
                ..GivingWay::default()
            }),
            ..GlobalLimit::default()
        };
        let begin = "off, as configured; gives way to others: ";
        let hidden = "what comes through a proxy on the daemon's machine cannot be seen";
        check(&way(None, None, false), &format!("{begin}nothing comes"));
        check(&way(None, None, true), &format!("{begin}{hidden}"));
        check(
            &way(None, Some(3), false),
            &format!("{begin}nobody is in need, packets wait 3 ms"),
        );
        check(
            &way(Some(1 << 20), Some(80), false),
            &format!("{begin}1.0 MiB/s at most, packets wait 80 ms"),
        );
        check(
            &way(Some(1 << 20), Some(80), true),
            &format!("{begin}1.0 MiB/s at most, packets wait 80 ms; {hidden}"),
        );
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
