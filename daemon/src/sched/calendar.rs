//! What a timetable or a window says at a moment, and until when. Pure: the moment and the zone are parameters.
//!
//! Times are those of a wall clock. One that the clock jumps over in spring happens when it jumps; one that comes twice in
//! autumn happens the first time.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::model::{Change, Limit, Period};

/// Days around a moment that can matter: a week, and one for spans over midnight.
const BEFORE: i32 = 8;
const AFTER: i32 = 9;

/// A limit in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// Bytes per second; `None` is no limit.
    pub bytes_per_sec: Option<u64>,
    /// When another one holds, and which; `None`: never.
    pub next: Option<(Timestamp, Option<u64>)>,
}

/// A window at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Open until then; `None`: always.
    Open(Option<Timestamp>),
    /// Closed until then; `None`: for ever.
    Closed(Option<Timestamp>),
}

/// What a limit is at a moment.
pub fn limit_at(limit: &Limit, zone: &TimeZone, now: Timestamp) -> InForce {
    match limit {
        Limit::Off => InForce {
            bytes_per_sec: None,
            next: None,
        },
        Limit::Rate(rate) => InForce {
            bytes_per_sec: Some(*rate),
            next: None,
        },
        Limit::Timetable(changes) => timetable_at(changes, zone, now),
    }
}

fn timetable_at(changes: &[Change], zone: &TimeZone, now: Timestamp) -> InForce {
    let mut edges: Vec<(Timestamp, Option<u64>)> = Vec::new();
    for date in days_around(zone, now) {
        let today = changes.iter().filter(|change| change.days.contains(weekday(date)));
        edges.extend(today.filter_map(|change| Some((moment(zone, date, change.minute)?, change.bytes_per_sec))));
    }
    // A stable sort: of two at one moment the one that is written later holds.
    edges.sort_by_key(|(at, _)| *at);
    let passed = edges.partition_point(|(at, _)| *at <= now);
    let bytes_per_sec = passed.checked_sub(1).and_then(|last| edges[last].1);
    // The last one of those at the same moment is the one that counts.
    let next = edges[passed..].iter().find_map(|(at, _)| {
        let end = edges.partition_point(|(other, _)| other <= at);
        let after = edges[end - 1].1;
        (after != bytes_per_sec).then_some((*at, after))
    });
    InForce { bytes_per_sec, next }
}

/// Whether a window is open at a moment.
pub fn window_at(periods: &[Period], zone: &TimeZone, now: Timestamp) -> Opening {
    let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
    for date in days_around(zone, now) {
        for period in periods.iter().filter(|period| period.days.contains(weekday(date))) {
            let over_midnight = period.end_minute <= period.start_minute;
            let last_day = if over_midnight {
                date.tomorrow().ok()
            } else {
                Some(date)
            };
            let start = moment(zone, date, period.start_minute);
            let end = last_day.and_then(|day| moment(zone, day, period.end_minute));
            if let (Some(start), Some(end)) = (start, end)
                && start < end
            {
                spans.push((start, end));
            }
        }
    }
    spans.sort_unstable();
    let horizon = spans.last().map(|(start, _)| *start);
    let mut open_until: Option<Timestamp> = None;
    for (start, end) in &spans {
        let touches = match open_until {
            None => *start <= now && now < *end,
            Some(until) => *start <= until,
        };
        if touches {
            open_until = Some(open_until.map_or(*end, |until| until.max(*end)));
        }
    }
    match open_until {
        // It goes on for longer than a week: there is no end to it.
        Some(until) if horizon.is_some_and(|last| until >= last && last > now) && covers_week(now, until) => {
            Opening::Open(None)
        }
        Some(until) => Opening::Open(Some(until)),
        None => Opening::Closed(spans.iter().map(|(start, _)| *start).find(|start| *start > now)),
    }
}

fn covers_week(now: Timestamp, until: Timestamp) -> bool {
    until.duration_since(now) >= jiff::SignedDuration::from_hours(24 * 8)
}

/// The days that can matter at a moment, in order.
fn days_around(zone: &TimeZone, now: Timestamp) -> impl Iterator<Item = Date> {
    let today = zone.to_datetime(now).date();
    (-BEFORE..=AFTER).filter_map(move |days| today.checked_add(jiff::Span::new().days(days)).ok())
}

fn weekday(date: Date) -> u8 {
    date.weekday().to_monday_zero_offset().unsigned_abs()
}

/// When a clock of the zone shows a minute of a day; 1440 is the next midnight.
fn moment(zone: &TimeZone, date: Date, minute: u16) -> Option<Timestamp> {
    let minute = i16::try_from(minute).ok()?;
    let date = if minute >= 24 * 60 { date.tomorrow().ok()? } else { date };
    let (hour, minute) = (i8::try_from(minute / 60 % 24).ok()?, i8::try_from(minute % 60).ok()?);
    let ambiguous = zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
    if !ambiguous.is_ambiguous() {
        return ambiguous.compatible().ok();
    }
    let earlier = ambiguous.earlier().ok()?;
    let is_gap = matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Gap { .. });
    if is_gap {
        return zone.following(earlier).next().map(|jump| jump.timestamp());
    }
    Some(earlier)
}

#[cfg(test)]
mod tests;
