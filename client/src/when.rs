//! Moments as people write them, on the clock of whoever types.

use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned, civil};

use crate::error::CliError;

/// `23:30` (the next one), `2026-08-01 23:30`, `2026-08-01T23:30:00+08:00`, `+2h`.
///
/// # Errors
/// A usage error with the ways to write it.
pub(crate) fn parse(text: &str) -> Result<Timestamp, CliError> {
    moment(text.trim(), &Zoned::now()).ok_or_else(|| {
        CliError::usage(format!(
            "`{text}` is no time; write 23:30, \"2026-08-01 23:30\", 2026-08-01T23:30:00Z, or +2h"
        ))
    })
}

fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Some(wait) = text.strip_prefix('+') {
        let wait: SignedDuration = wait.parse().ok()?;
        return now.timestamp().checked_add(wait).ok();
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let zone = now.time_zone();
    if text.contains('-') {
        let at: civil::DateTime = text.replacen(' ', "T", 1).parse().ok()?;
        return zone.to_timestamp(at).ok();
    }
    // `9:05` as well as `09:05`.
    let padded = if text.find(':') == Some(1) {
        format!("0{text}")
    } else {
        text.to_owned()
    };
    let time: civil::Time = padded.parse().ok().filter(|_| padded.contains(':'))?;
    let today = zone.to_timestamp(now.date().to_datetime(time)).ok()?;
    if today > now.timestamp() {
        return Some(today);
    }
    let tomorrow = now.date().checked_add(1.day()).ok()?;
    zone.to_timestamp(tomorrow.to_datetime(time)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let zone = jiff::tz::TimeZone::get("Asia/Shanghai").expect("a zone");
        let now = civil::date(2026, 8, 1).at(22, 0, 0, 0).to_zoned(zone).expect("a time");
        let check = |text: &str, expected: Option<&str>| {
            let found = moment(text, &now).map(|at| at.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("23:30", Some("2026-08-01T15:30:00Z"));
        check("22:00", Some("2026-08-02T14:00:00Z"));
        check("7:05", Some("2026-08-01T23:05:00Z"));
        check("2026-08-03 01:00", Some("2026-08-02T17:00:00Z"));
        check("2026-08-03T01:00:00+02:00", Some("2026-08-02T23:00:00Z"));
        check("+2h", Some("2026-08-01T16:00:00Z"));
        check("+90m", Some("2026-08-01T15:30:00Z"));
        for bad in ["", "noon", "25:00", "2330", "2026-13-01 01:00", "+", "08:00:"] {
            check(bad, None);
        }
    }
}
