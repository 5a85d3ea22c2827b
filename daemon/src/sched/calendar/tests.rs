//! Tables of moments, and a slow second way to the same answers.

use jiff::{SignedDuration, civil::DateTime};
use proptest::prelude::*;

use super::*;
use crate::model::Weekdays;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(zone: &TimeZone, text: &str) -> Timestamp {
    let civil: DateTime = text.parse().unwrap();
    zone.to_timestamp(civil).unwrap()
}

fn period(first: u8, last: u8, start_minute: u16, end_minute: u16) -> Period {
    Period {
        days: Weekdays::through(first, last),
        start_minute,
        end_minute,
    }
}

fn clock(hour: u16, minute: u16) -> u16 {
    hour * 60 + minute
}

fn change(first: u8, last: u8, minute: u16, rate: Option<u64>) -> Change {
    Change {
        days: Weekdays::through(first, last),
        minute,
        bytes_per_sec: rate,
    }
}

/// `open 2026-..` or `closed 2026-..`, with the edge in UTC.
fn shown(opening: Opening) -> String {
    let edge = |edge: Option<Timestamp>| edge.map_or("never".to_owned(), |edge| edge.to_string());
    match opening {
        Opening::Open(until) => format!("open {}", edge(until)),
        Opening::Closed(until) => format!("closed {}", edge(until)),
    }
}

#[test]
fn windows_over_midnight_and_the_week() {
    let shanghai = zone("Asia/Shanghai");
    let night = [period(0, 4, clock(23, 0), clock(7, 0)), period(5, 6, 0, clock(9, 0))];
    let check = |now: &str, expected: &str| {
        assert_eq!(
            shown(window_at(&night, &shanghai, at(&shanghai, now))),
            expected,
            "{now}"
        );
    };
    // 2026-06-01 is a Monday.
    check("2026-06-01T22:59:59", "closed 2026-06-01T15:00:00Z");
    check("2026-06-01T23:00:00", "open 2026-06-01T23:00:00Z");
    check("2026-06-02T06:59:59", "open 2026-06-01T23:00:00Z");
    check("2026-06-02T07:00:00", "closed 2026-06-02T15:00:00Z");
    // Friday's night runs into Saturday's: one opening until nine.
    check("2026-06-05T23:30:00", "open 2026-06-06T01:00:00Z");
    // Sunday evening belongs to nobody.
    check("2026-06-07T23:30:00", "closed 2026-06-08T15:00:00Z");
    check("2026-06-07T08:59:59", "open 2026-06-07T01:00:00Z");
}

#[test]
fn windows_on_the_days_of_the_clock_change() {
    let berlin = zone("Europe/Berlin");
    let check = |periods: &[Period], now: &str, expected: &str| {
        let now: Timestamp = now.parse().unwrap();
        assert_eq!(shown(window_at(periods, &berlin, now)), expected, "{now}");
    };
    let night = [period(0, 6, clock(0, 30), clock(7, 0))];
    // 2026-03-29: 02:00 becomes 03:00, the night is an hour shorter.
    check(&night, "2026-03-28T23:30:00Z", "open 2026-03-29T05:00:00Z");
    check(&night, "2026-03-29T05:00:00Z", "closed 2026-03-29T22:30:00Z");
    // A start that does not exist: the moment of the jump. An end that does not exist: the same.
    let missing = [period(6, 6, clock(2, 30), clock(6, 0))];
    check(&missing, "2026-03-29T00:59:59Z", "closed 2026-03-29T01:00:00Z");
    check(&missing, "2026-03-29T01:00:00Z", "open 2026-03-29T04:00:00Z");
    let ends_in_the_gap = [period(6, 6, clock(1, 0), clock(2, 30))];
    check(&ends_in_the_gap, "2026-03-29T00:30:00Z", "open 2026-03-29T01:00:00Z");
    // 2026-10-25: 03:00 becomes 02:00, the night is an hour longer, and 02:30 counts the first time.
    check(&night, "2026-10-24T22:30:00Z", "open 2026-10-25T06:00:00Z");
    check(&ends_in_the_gap, "2026-10-24T23:00:00Z", "open 2026-10-25T00:30:00Z");
    check(&ends_in_the_gap, "2026-10-25T01:10:00Z", "closed 2026-11-01T00:00:00Z");
}

#[test]
fn windows_without_an_end_and_on_a_leap_day() {
    let utc = TimeZone::UTC;
    let always = [period(0, 6, 0, 1440)];
    assert_eq!(
        window_at(&always, &utc, at(&utc, "2026-06-03T12:00:00")),
        Opening::Open(None)
    );
    let day = [period(3, 3, 0, 1440)];
    // 2024-02-29 was a Thursday.
    let now = at(&utc, "2024-02-29T23:59:59");
    assert_eq!(shown(window_at(&day, &utc, now)), "open 2024-03-01T00:00:00Z");
    assert_eq!(window_at(&[], &utc, now), Opening::Closed(None));
    let overlapping = [
        period(3, 3, clock(10, 0), clock(12, 0)),
        period(3, 3, clock(11, 0), clock(15, 0)),
    ];
    let now = at(&utc, "2024-02-29T10:30:00");
    assert_eq!(shown(window_at(&overlapping, &utc, now)), "open 2024-02-29T15:00:00Z");
}

#[test]
fn timetables() {
    let shanghai = zone("Asia/Shanghai");
    // Mon-Fri 08:00,10 Mon-Fri 19:00,off Sat-Sun 00:00,off
    let table = Limit::Timetable(vec![
        change(0, 4, clock(8, 0), Some(10)),
        change(0, 4, clock(19, 0), None),
        change(5, 6, 0, None),
    ]);
    let check = |now: &str, rate: Option<u64>, next: &str, after: Option<u64>| {
        let expected = InForce {
            bytes_per_sec: rate,
            next: Some((at(&shanghai, next), after)),
        };
        assert_eq!(limit_at(&table, &shanghai, at(&shanghai, now)), expected, "{now}");
    };
    check("2026-06-01T07:59:59", None, "2026-06-01T08:00:00", Some(10));
    check("2026-06-01T08:00:00", Some(10), "2026-06-01T19:00:00", None);
    // Midnight of Saturday changes nothing: the next edge is Monday's.
    check("2026-06-05T19:00:00", None, "2026-06-08T08:00:00", Some(10));
    // One change a week holds all week.
    let weekly = Limit::Timetable(vec![change(2, 2, clock(12, 0), Some(5))]);
    let monday = at(&shanghai, "2026-06-01T00:00:00");
    assert_eq!(
        limit_at(&weekly, &shanghai, monday),
        InForce {
            bytes_per_sec: Some(5),
            next: None
        }
    );
    // Of two at one moment the later one holds.
    let twice = Limit::Timetable(vec![change(0, 6, 0, Some(5)), change(0, 0, 0, Some(7))]);
    assert_eq!(limit_at(&twice, &shanghai, monday).bytes_per_sec, Some(7));
    let sunday = at(&shanghai, "2026-06-07T23:00:00");
    assert_eq!(
        limit_at(&twice, &shanghai, sunday).next,
        Some((at(&shanghai, "2026-06-08T00:00:00"), Some(7)))
    );
}

/// A night in a zone without changes of the clock, judged minute by minute.
fn by_the_minute(periods: &[Period], civil: DateTime) -> bool {
    let minute = u16::try_from(civil.hour()).unwrap() * 60 + u16::try_from(civil.minute()).unwrap();
    let today = weekday(civil.date());
    periods.iter().any(|period| {
        let (start, end) = (period.start_minute, period.end_minute);
        let over_midnight = end <= start;
        let first = period.days.contains(today) && minute >= start && (over_midnight || minute < end);
        let second = over_midnight && period.days.contains((today + 6) % 7) && minute < end;
        first || second
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Both ways agree on every moment, and each edge that is told is the first one.
    #[test]
    fn edges_agree_with_a_look_at_every_minute(
        spans in prop::collection::vec((0_u8..7, 0_u8..7, 0_u16..1440, 1_u16..1441), 1..4),
        begin in 0_i64..10_000,
    ) {
        let periods: Vec<Period> = spans
            .into_iter()
            .filter(|(.., start, end)| start != end)
            .map(|(first, last, start, end)| period(first, last, start, end))
            .collect();
        let zone = zone("Asia/Shanghai");
        let origin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let begin = origin + SignedDuration::from_mins(begin);
        let opening = window_at(&periods, &zone, begin);
        let (open, edge) = match opening {
            Opening::Open(until) => (true, until),
            Opening::Closed(until) => (false, until),
        };
        let mut now = begin;
        let end = edge.unwrap_or(begin + SignedDuration::from_hours(24 * 8));
        while now < end {
            prop_assert_eq!(by_the_minute(&periods, zone.to_datetime(now)), open, "{} {:?}", now, opening);
            now += SignedDuration::from_mins(1);
        }
        if edge.is_some() {
            prop_assert_eq!(by_the_minute(&periods, zone.to_datetime(now)), !open, "{}", now);
        }
    }
}
