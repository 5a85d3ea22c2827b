//! Whether a budget is spent, and when it begins anew. Pure: the moment and the zone are parameters.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use crate::model::{Budget, BudgetPeriod};

/// The day or month that a budget is for at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// What came from this local day on counts.
    pub first_day: Date,
    /// When the budget begins anew.
    pub resets_at: Timestamp,
}

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// So many bytes may come still; never 0.
    Left(u64),
    /// None until then.
    SpentUntil(Timestamp),
}

/// The term of a period at a moment. A midnight that the clock jumps over is the first moment after it.
pub fn term(period: BudgetPeriod, zone: &TimeZone, now: Timestamp) -> Term {
    let today = zone.to_datetime(now).date();
    let (first_day, next) = match period {
        BudgetPeriod::Day => (today, today.tomorrow()),
        BudgetPeriod::Month => (today.first_of_month(), today.first_of_month().checked_add(1.month())),
    };
    let midnight = next.and_then(|day| day.to_zoned(zone.clone()));
    Term {
        first_day,
        resets_at: midnight.map_or(Timestamp::MAX, |midnight| midnight.timestamp()),
    }
}

/// How a budget stands when so many bytes have come in its term.
pub fn standing(budget: Budget, used_bytes: u64, term: Term) -> Standing {
    match budget.bytes.saturating_sub(used_bytes) {
        0 => Standing::SpentUntil(term.resets_at),
        left => Standing::Left(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_begin_and_end_at_local_midnights() {
        let check = |zone: &str, period, now: &str, first_day: &str, resets_at: &str| {
            let zone = TimeZone::get(zone).unwrap();
            let term = term(period, &zone, now.parse().unwrap());
            let told = (term.first_day.to_string(), term.resets_at.to_string());
            assert_eq!(told, (first_day.to_owned(), resets_at.to_owned()), "{now} {period:?}");
        };
        use BudgetPeriod::{Day, Month};
        check("UTC", Day, "2026-03-01T00:00:00Z", "2026-03-01", "2026-03-02T00:00:00Z");
        check("UTC", Day, "2026-02-28T23:59:59Z", "2026-02-28", "2026-03-01T00:00:00Z");
        check(
            "UTC",
            Month,
            "2026-02-28T23:59:59Z",
            "2026-02-01",
            "2026-03-01T00:00:00Z",
        );
        check(
            "UTC",
            Month,
            "2028-02-29T12:00:00Z",
            "2028-02-01",
            "2028-03-01T00:00:00Z",
        );
        check(
            "UTC",
            Month,
            "2026-12-31T23:59:59Z",
            "2026-12-01",
            "2027-01-01T00:00:00Z",
        );
        // The day there is another one than here.
        check(
            "Asia/Shanghai",
            Day,
            "2026-03-31T16:00:00Z",
            "2026-04-01",
            "2026-04-01T16:00:00Z",
        );
        check(
            "Asia/Shanghai",
            Month,
            "2026-03-31T15:59:59Z",
            "2026-03-01",
            "2026-03-31T16:00:00Z",
        );
        // Days of 23 and 25 hours, and the months that hold them.
        check(
            "Europe/Berlin",
            Day,
            "2026-03-29T00:30:00Z",
            "2026-03-29",
            "2026-03-29T22:00:00Z",
        );
        check(
            "Europe/Berlin",
            Day,
            "2026-10-25T00:30:00Z",
            "2026-10-25",
            "2026-10-25T23:00:00Z",
        );
        check(
            "Europe/Berlin",
            Month,
            "2026-03-15T00:00:00Z",
            "2026-03-01",
            "2026-03-31T22:00:00Z",
        );
        check(
            "Europe/Berlin",
            Month,
            "2026-10-15T00:00:00Z",
            "2026-10-01",
            "2026-10-31T23:00:00Z",
        );
        // Here the clock jumps at midnight: the day begins at one.
        check(
            "Asia/Beirut",
            Day,
            "2026-03-28T12:00:00Z",
            "2026-03-28",
            "2026-03-28T22:00:00Z",
        );
        check(
            "Asia/Beirut",
            Day,
            "2026-03-28T22:00:00Z",
            "2026-03-29",
            "2026-03-29T21:00:00Z",
        );
    }

    #[test]
    fn the_line_is_the_last_byte() {
        let budget = Budget {
            bytes: 100,
            period: BudgetPeriod::Day,
        };
        let term = term(budget.period, &TimeZone::UTC, Timestamp::UNIX_EPOCH);
        for (used, expected) in [
            (0, Standing::Left(100)),
            (99, Standing::Left(1)),
            (100, Standing::SpentUntil(term.resets_at)),
            (u64::MAX, Standing::SpentUntil(term.resets_at)),
        ] {
            assert_eq!(standing(budget, used, term), expected, "{used}");
        }
    }
}
