//! Durations as people write them: `30s`, `10m`, `24h`, `7d`, `1h 30m`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadDuration {
    #[error("`{0}` is not a duration; write for example 30s, 10m, 24h, 7d or 1h 30m")]
    Unreadable(String),
    #[error("`{0}` lacks a unit: ms, s, m, h, d or w")]
    NoUnit(String),
    #[error("`{text}` has the unknown unit `{unit}`; known: ms, s, m, h, d, w")]
    UnknownUnit { text: String, unit: String },
    #[error("`{0}` is too long")]
    TooLong(String),
    #[error("must be longer than nothing")]
    Zero,
}

/// The longest that makes sense for a timer.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Reads a duration; it is longer than nothing.
pub(super) fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let shown = || text.chars().take(60).collect::<String>();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(BadDuration::Unreadable(shown()));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(BadDuration::Unreadable(shown()));
        }
        let number: u64 = number.parse().map_err(|_| BadDuration::TooLong(shown()))?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let factor_ms: u64 = match unit {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "" => return Err(BadDuration::NoUnit(shown())),
            unit => {
                return Err(BadDuration::UnknownUnit {
                    text: shown(),
                    unit: unit.chars().take(20).collect(),
                });
            }
        };
        let part = number.checked_mul(factor_ms).map(Duration::from_millis);
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= LONGEST)
            .ok_or_else(|| BadDuration::TooLong(shown()))?;
        rest = after.trim_start();
    }
    if total.is_zero() {
        return Err(BadDuration::Zero);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        let check = |text: &str, ms: u64| assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        check("250ms", 250);
        check("30s", 30_000);
        check(" 10 m ", 600_000);
        check("24h", 86_400_000);
        check("7d", 7 * 86_400_000);
        check("1w", 7 * 86_400_000);
        check("1h 30m", 5_400_000);
        check("1h30m5s", 5_405_000);
        for (bad, fragment) in [
            ("", "not a duration"),
            ("soon", "not a duration"),
            ("-1s", "not a duration"),
            ("1.5h", "lacks a unit"),
            ("30", "lacks a unit"),
            ("1h 30", "lacks a unit"),
            ("1 month", "unknown unit `month`"),
            ("0s", "longer than nothing"),
            ("1000000d", "too long"),
            ("99999999999999999999s", "too long"),
        ] {
            let why = parse_duration(bad).unwrap_err().to_string();
            assert!(why.contains(fragment), "{bad}: {why}");
        }
    }
}
