//! Budgets in what is foreseen.

use super::*;
use crate::model::{Budget, BudgetPeriod};

/// A purse, in MiB: what there is in a term, and what is left.
fn purse(mib: u64, period: BudgetPeriod, left_mib: u64) -> Purse {
    Purse {
        budget: Budget {
            bytes: mib * MIB,
            period,
        },
        left_bytes: left_mib * MIB,
    }
}

/// A job of so many MiB that spends these purses.
fn spender(mib: u64, user: Option<usize>, endpoints: &[Option<usize>]) -> Load {
    Load {
        spends: Spends {
            user,
            endpoints: endpoints.to_vec(),
        },
        ..load(mib * MIB)
    }
}

#[test]
fn a_job_that_comes_to_the_end_of_a_budget_goes_on_when_it_begins_anew() {
    use BudgetPeriod::{Day, Month};
    let check_in = |zone: &str, purses: &[Purse], queue: &[Load], now: &str, expected: &str| {
        let road = Road {
            goodput: Some(MIB),
            limit: &Limit::Off,
            until: None,
            zone: &TimeZone::get(zone).unwrap(),
            most_at_once: 4,
            purses,
        };
        let found = forecast(&road, queue, 0, at(now));
        assert_eq!(
            found,
            Outlook::Ready(at(expected)),
            "{queue:?} at {now} with {purses:?}"
        );
    };
    let noon = "2026-03-01T12:00:00Z";
    let check = |purses: &[Purse], queue: &[Load], expected: &str| check_in("UTC", purses, queue, noon, expected);
    let days = [purse(10, Day, 4)];
    let mine = |mib| spender(mib, Some(0), &[None]);
    // Enough is left; the last byte of it; one more.
    check(&days, &[mine(3)], "2026-03-01T12:00:03Z");
    check(&days, &[mine(4)], "2026-03-01T12:00:04Z");
    check(&days, &[mine(5)], "2026-03-02T00:00:01Z");
    // 4 today, 10 on each of two days, and one more.
    check(&days, &[mine(25)], "2026-03-04T00:00:01Z");
    check(&[purse(10, Month, 0)], &[mine(5)], "2026-04-01T00:00:05Z");
    check(&[purse(10, Month, 0)], &[mine(15)], "2026-05-01T00:00:05Z");
    // What is there already costs nothing.
    check(&[purse(10, Day, 0)], &[mine(0)], noon);
    // Two jobs of one user spend it together; those of another do not.
    check(&[purse(10, Day, 6)], &[mine(5), mine(5)], "2026-03-02T00:00:04Z");
    let other = Load {
        user: 2,
        ..load(5 * MIB)
    };
    check(&[purse(10, Day, 3)], &[mine(3), other.clone()], "2026-03-01T12:00:06Z");
    check(&[purse(10, Day, 0)], &[other, mine(3)], "2026-03-01T12:00:05Z");
    // An endpoint's is everybody's, and what has another endpoint goes on with that.
    let at_endpoints = |mib, endpoints: &[Option<usize>]| spender(mib, None, endpoints);
    let two = [purse(10, Month, 3), purse(10, Day, 3)];
    check(&two, &[at_endpoints(5, &[Some(0), None])], "2026-03-01T12:00:05Z");
    check(&two, &[at_endpoints(5, &[Some(0), Some(1)])], "2026-03-01T12:00:05Z");
    check(&two, &[at_endpoints(7, &[Some(0), Some(1)])], "2026-03-02T00:00:01Z");
    check(&two, &[at_endpoints(5, &[Some(0)])], "2026-04-01T00:00:02Z");
    // The user's and the endpoint's: the later one counts.
    check(&two, &[spender(5, Some(1), &[Some(0)])], "2026-04-01T00:00:02Z");
    // It begins anew while it is spent: two seconds of the old day, ten of the new one.
    let late = "2026-03-01T23:59:58Z";
    check_in("UTC", &[purse(10, Day, 10)], &[mine(12)], late, "2026-03-02T00:00:10Z");
    check_in("UTC", &[purse(10, Day, 10)], &[mine(15)], late, "2026-03-03T00:00:03Z");
    // By the clock that counts, on the day of its change; and in the window.
    check_in(
        "Europe/Berlin",
        &days,
        &[mine(15)],
        "2026-03-28T12:00:00Z",
        "2026-03-29T22:00:01Z",
    );
    let by_night = Load {
        periods: night(1, 5),
        ..mine(15)
    };
    check(&days, &[by_night], "2026-03-03T01:00:05Z");
    // Nothing a day is never.
    let road = Road {
        goodput: Some(MIB),
        limit: &Limit::Off,
        until: None,
        zone: &TimeZone::UTC,
        most_at_once: 4,
        purses: &[purse(0, Day, 0)],
    };
    assert_eq!(forecast(&road, &[mine(1)], 0, at(noon)), Outlook::Never);
}

proptest! {
    /// A budget never makes anything ready sooner, and never lets more come in a day than it holds.
    #[test]
    fn budgets_hold(mib in 1_u64..200, daily in 1_u64..50, left in 0_u64..50, goodput in 1_u64..100) {
        let left = left.min(daily);
        let now = at("2026-03-01T12:00:00Z");
        let ready = |purses: &[Purse]| {
            let road = Road {
                goodput: Some(goodput * MIB),
                limit: &Limit::Off,
                until: None,
                zone: &TimeZone::UTC,
                most_at_once: 4,
                purses,
            };
            match forecast(&road, &[spender(mib, (!purses.is_empty()).then_some(0), &[None])], 0, now) {
                Outlook::Ready(at) => at,
                other => panic!("{other:?}"),
            }
        };
        let with = ready(&[purse(daily, BudgetPeriod::Day, left)]);
        prop_assert!(with >= ready(&[]));
        let nights = mib.saturating_sub(left).div_ceil(daily);
        let hours = i64::try_from(nights * 24).unwrap();
        let expected = if nights == 0 { now } else { at("2026-03-01T00:00:00Z") + SignedDuration::from_hours(hours) };
        let last_day = mib - left.min(mib) - nights.saturating_sub(1) * daily.min(mib);
        let takes = (if nights == 0 { mib } else { last_day }) as f64 / goodput as f64;
        let off = with.duration_since(expected).as_secs_f64() - takes;
        prop_assert!(off.abs() < 0.01, "{with} instead of {expected} and {takes} s");
    }
}
