//! When a cron expression is due. Pure: the moment and the zone are parameters.
//!
//! Times are those of a wall clock. A fixed time that the clock jumps over in spring is due when it jumps; one that comes twice in
//! autumn is due the first time. What recurs within the hour (`*/15 * * * *`) is due whenever the clock shows it: not in the hour
//! that is jumped over, and in both of the hours that come twice.

use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, tz::TimeZone};

/// Longest expression in bytes.
const LONGEST: usize = 200;

/// A checked cron expression.
#[derive(Debug, Clone)]
pub struct Expression(Cron);

/// Why a text is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is no cron expression: {why}; write five fields, minute hour day month weekday, such as '30 0 * * *'"
)]
pub struct BadExpression {
    text: String,
    why: String,
}

/// A parser's error without the parser's names.
fn what_is_wrong(error: CronError) -> String {
    let text = match error {
        CronError::EmptyPattern => return "it is empty".to_owned(),
        CronError::InvalidDate | CronError::TimeSearchLimitExceeded => return "there is no such day".to_owned(),
        CronError::InvalidTime => return "there is no such time".to_owned(),
        CronError::InvalidPattern(text) | CronError::IllegalCharacters(text) | CronError::ComponentError(text) => text,
    };
    if text.contains("fields") {
        return "it has not five fields".to_owned();
    }
    let text = text
        .trim_end_matches('.')
        .replace("CronPattern", "it")
        .replace("Pattern", "it");
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_lowercase().to_string());
    format!("{}{}", first.unwrap_or_default(), characters.as_str())
}

impl Expression {
    /// Reads five fields, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// With what is wrong; also when it is never due.
    pub fn parse(text: &str) -> Result<Self, BadExpression> {
        let bad = |why: String| BadExpression {
            text: text.chars().take(60).collect(),
            why,
        };
        if text.len() > LONGEST {
            return Err(bad(format!("it is longer than {LONGEST} bytes")));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let expression = Self(parser.parse(text).map_err(|error| bad(what_is_wrong(error)))?);
        // `0 0 30 2 *` is well formed.
        if expression.next_after(&TimeZone::UTC, Timestamp::UNIX_EPOCH).is_none() {
            return Err(bad("there is no such day".to_owned()));
        }
        Ok(expression)
    }

    /// When it is due next after a moment; `None`: never again.
    pub fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(zone.clone());
        let next = self.0.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp())
    }

    /// The next times after a moment, in order.
    pub fn upcoming<'a>(&'a self, zone: &'a TimeZone, after: Timestamp) -> impl Iterator<Item = Timestamp> + 'a {
        std::iter::successors(self.next_after(zone, after), move |last| self.next_after(zone, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(text: &str, zone: &str, after: &str, expected: &[&str]) {
        let (expression, zone) = (Expression::parse(text).unwrap(), TimeZone::get(zone).unwrap());
        let upcoming = expression.upcoming(&zone, after.parse().unwrap());
        let upcoming: Vec<String> = upcoming.take(expected.len()).map(|at| at.to_string()).collect();
        assert_eq!(upcoming, expected, "{text} in {zone:?} after {after}");
    }

    #[test]
    fn on_ordinary_days() {
        due(
            "30 0 * * *",
            "Asia/Shanghai",
            "2026-08-01T00:00:00Z",
            &["2026-08-01T16:30:00Z", "2026-08-02T16:30:00Z"],
        );
        // A moment at which it is due is not after itself.
        due("0 12 * * *", "UTC", "2026-08-01T12:00:00Z", &["2026-08-02T12:00:00Z"]);
        due("0 12 * * *", "UTC", "2026-08-01T11:59:59.9Z", &["2026-08-01T12:00:00Z"]);
        due("@weekly", "UTC", "2026-08-01T00:00:00Z", &["2026-08-02T00:00:00Z"]);
        due(
            "0 3 * * mon-fri",
            "UTC",
            "2026-08-01T00:00:00Z",
            &["2026-08-03T03:00:00Z"],
        );
        due(
            "0 0 29 2 *",
            "UTC",
            "2026-08-01T00:00:00Z",
            &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        );
    }

    #[test]
    fn on_the_day_that_is_an_hour_shorter() {
        // From 02:00 to 03:00 at once: what was due between is due then, once.
        due(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        );
        due(
            "15 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            &["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"],
        );
        due(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        );
    }

    #[test]
    fn on_the_day_that_is_an_hour_longer() {
        // 02:30 comes twice: it is due the first time.
        due(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        );
        due(
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
        );
        // Asked between the two, it is over for the day.
        due(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:45:00Z",
            &["2026-10-26T01:30:00Z"],
        );
        due(
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:30:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        );
    }

    #[test]
    fn what_is_none_is_told_with_the_way_to_write_it() {
        for bad in [
            "",
            "soon",
            "30 0 * *",
            "0 30 0 * * *",
            "60 0 * * *",
            "0 24 * * *",
            "0 0 30 2 *",
            "0 0 * * * 2027",
        ] {
            let told = Expression::parse(bad).unwrap_err().to_string();
            assert!(told.contains("five fields"), "{bad}: {told}");
        }
        assert!(Expression::parse(&"*,".repeat(200)).is_err());
    }
}
