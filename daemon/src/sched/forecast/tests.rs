//! Tables of what is foreseen, and what holds of every forecast.

use proptest::prelude::*;

use super::*;
use crate::model::{Change, Weekdays};

const MIB: u64 = 1 << 20;

fn load(left_bytes: u64) -> Load {
    Load {
        user: 1,
        weight: 1,
        priority: Priority::Normal,
        left_bytes,
        limit: None,
        periods: None,
        not_before: None,
    }
}

fn night(from: u16, to: u16) -> Option<Vec<Period>> {
    Some(vec![Period {
        days: Weekdays::ALL,
        start_minute: from * 60,
        end_minute: to * 60,
    }])
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(queue: &[Load], wanted: usize, goodput: u64) -> f64 {
    let limit = Limit::Off;
    let road = Road {
        goodput: Some(goodput),
        limit: &limit,
        until: None,
        zone: &TimeZone::UTC,
        most_at_once: 4,
    };
    let now = at("2026-03-01T12:00:00Z");
    match forecast(&road, queue, wanted, now) {
        Outlook::Ready(ready) => ready.duration_since(now).as_secs_f64(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_line_is_shared_as_it_will_be() {
    let close = |queue: &[Load], wanted, expected: f64| {
        let found = seconds(queue, wanted, 10);
        assert!(
            (found - expected).abs() < 0.01,
            "{found} instead of {expected}: {queue:?}"
        );
    };
    close(&[load(100)], 0, 10.0);
    close(&[load(0)], 0, 0.0);
    // Two equals share until the smaller one is done.
    close(&[load(100), load(50)], 1, 10.0);
    close(&[load(100), load(50)], 0, 15.0);
    // Nine tenths for the higher priority.
    let high = Load {
        priority: Priority::High,
        ..load(90)
    };
    close(&[high.clone(), load(100)], 0, 10.0);
    close(&[high, load(100)], 1, 19.0);
    // Another user counts as one, whatever the number of jobs; three times the weight are three quarters.
    let other = |weight| Load {
        user: 2,
        weight,
        ..load(50)
    };
    close(&[load(25), load(25), other(1)], 2, 10.0);
    close(&[load(25), other(3)], 0, 7.5);
    // What its own limit leaves is somebody else's.
    let slow = Load {
        limit: Some(2),
        ..load(20)
    };
    close(&[slow.clone(), load(80)], 0, 10.0);
    close(&[slow, load(80)], 1, 10.0);
    // The fifth waits for a place.
    close(&[load(100), load(100), load(100), load(100), load(100)], 4, 50.0);
}

#[test]
fn windows_limits_and_beginnings_are_heeded() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let check = |load: Load, limit: &Limit, goodput, now: &str, expected: Outlook| {
        let road = Road {
            goodput,
            limit,
            until: None,
            zone: &zone,
            most_at_once: 4,
        };
        assert_eq!(forecast(&road, &[load], 0, at(now)), expected, "{now}");
    };
    let ready = |text: &str| Outlook::Ready(at(text));
    let windowed = |hours: u64| Load {
        periods: night(1, 5),
        ..load(hours * 3600 * MIB)
    };
    let off = Limit::Off;
    // Four hours a night at 1 MiB/s; of the night of the clock change, three.
    check(
        windowed(2),
        &off,
        Some(MIB),
        "2026-03-26T12:00:00Z",
        ready("2026-03-27T02:00:00Z"),
    );
    check(
        windowed(4),
        &off,
        Some(MIB),
        "2026-03-26T12:00:00Z",
        ready("2026-03-27T04:00:00Z"),
    );
    check(
        windowed(5),
        &off,
        Some(MIB),
        "2026-03-26T12:00:00Z",
        ready("2026-03-28T01:00:00Z"),
    );
    check(
        windowed(4),
        &off,
        Some(MIB),
        "2026-03-28T12:00:00Z",
        ready("2026-03-30T00:00:00Z"),
    );
    // In the middle of a night.
    check(
        windowed(1),
        &off,
        Some(MIB),
        "2026-03-27T01:30:00Z",
        ready("2026-03-27T02:30:00Z"),
    );
    let later = Load {
        not_before: Some(at("2026-03-26T18:00:00Z")),
        ..load(3600 * MIB)
    };
    check(
        later,
        &off,
        Some(MIB),
        "2026-03-26T12:00:00Z",
        ready("2026-03-26T19:00:00Z"),
    );
    // A timetable: 1 MiB/s by day, from 19:00 local four times that; and the line brings no more than it does.
    let change = |hour: u16, rate| Change {
        days: Weekdays::ALL,
        minute: hour * 60,
        bytes_per_sec: Some(rate),
    };
    let table = Limit::Timetable(vec![change(8, MIB), change(19, 4 * MIB)]);
    check(
        load(2 * 3600 * MIB),
        &table,
        Some(100 * MIB),
        "2026-03-26T17:00:00Z",
        ready("2026-03-26T18:15:00Z"),
    );
    check(
        load(2 * 3600 * MIB),
        &table,
        Some(2 * MIB),
        "2026-03-26T17:00:00Z",
        ready("2026-03-26T18:30:00Z"),
    );
    // Not measured: a limit is what is known, without one nothing is.
    check(
        load(3600 * MIB),
        &Limit::Rate(MIB),
        None,
        "2026-03-26T12:00:00Z",
        ready("2026-03-26T13:00:00Z"),
    );
    check(load(MIB), &off, None, "2026-03-26T12:00:00Z", Outlook::Unknown);
    check(load(u64::MAX), &off, Some(1), "2026-03-26T12:00:00Z", Outlook::Never);
    let never = Load {
        periods: Some(Vec::new()),
        ..load(1)
    };
    check(never, &off, Some(MIB), "2026-03-26T12:00:00Z", Outlook::Never);
    assert!(ready("2026-03-27T04:00:00Z").is_by(at("2026-03-27T04:00:00Z")));
    assert!(!ready("2026-03-27T04:00:01Z").is_by(at("2026-03-27T04:00:00Z")) && !Outlook::Never.is_by(Timestamp::MAX));
}

#[test]
fn thousands_of_windows_are_foreseen_together() {
    // An hour each, four at a time in four hours a night; the last ones are late, and none is left out.
    let jobs = 1200;
    let queue: Vec<Load> = (0..jobs)
        .map(|number| Load {
            periods: night(1, 5),
            user: number % 7,
            ..load(900 * MIB)
        })
        .collect();
    let limit = Limit::Off;
    let road = Road {
        goodput: Some(MIB),
        limit: &limit,
        until: None,
        zone: &TimeZone::UTC,
        most_at_once: 4,
    };
    let outlooks = forecast_all(&road, &queue, at("2026-03-01T12:00:00Z"));
    let ready: Vec<Timestamp> = outlooks
        .iter()
        .map(|outlook| match outlook {
            Outlook::Ready(at) => *at,
            other => panic!("{other:?}"),
        })
        .collect();
    // Sixteen a night: 75 nights.
    let last = ready.iter().max().unwrap();
    let expected = at("2026-05-15T05:00:00Z");
    assert!(
        last.duration_since(expected).abs() < SignedDuration::from_secs(60),
        "{last}"
    );
    for number in [0, 1, 599, 1199] {
        let alone = forecast(&road, &queue, number, at("2026-03-01T12:00:00Z"));
        assert_eq!(alone, outlooks[number], "{number}");
    }
}

#[test]
fn what_is_left_of_nothing_is_done_when_it_may_run() {
    let limit = Limit::Rate(10);
    let road = Road {
        goodput: None,
        limit: &limit,
        until: None,
        zone: &TimeZone::UTC,
        most_at_once: 1,
    };
    let now = at("2026-03-01T12:00:00Z");
    let windowed = Load {
        periods: night(13, 14),
        ..load(0)
    };
    let queue = [load(0), load(100), load(0), windowed];
    let after = |seconds: i64| Outlook::Ready(now + SignedDuration::from_secs(seconds));
    assert_eq!(
        forecast_all(&road, &queue, now),
        [after(0), after(10), after(10), after(3600)]
    );
    assert!(forecast_all(&road, &[], now).is_empty());
}

proptest! {
    /// More to do is never sooner, and all together take what the line needs for all of it.
    #[test]
    fn work_is_conserved(
        sizes in proptest::collection::vec((1_u64..1_000_000, 0_usize..3, 0_u32..3), 1..5),
        weights in proptest::array::uniform3(1_u32..4),
        more in 1_u64..1_000_000,
    ) {
        let queue: Vec<Load> = sizes.iter().map(|(bytes, priority, user)| Load {
            user: *user,
            weight: weights[*user as usize],
            priority: Priority::ALL[*priority],
            ..load(*bytes)
        }).collect();
        let all: u64 = queue.iter().map(|load| load.left_bytes).sum();
        let last = (0..queue.len()).map(|number| seconds(&queue, number, 1000)).fold(0.0, f64::max);
        let expected = all as f64 / 1000.0;
        prop_assert!((last - expected).abs() < 0.1 + expected / 1000.0, "{last} {expected}");
        // All together are what each is alone.
        let limit = Limit::Off;
        let road = Road { goodput: Some(1000), limit: &limit, until: None, zone: &TimeZone::UTC, most_at_once: 4 };
        let together = forecast_all(&road, &queue, at("2026-03-01T12:00:00Z"));
        for (number, outlook) in together.iter().enumerate() {
            prop_assert_eq!(*outlook, forecast(&road, &queue, number, at("2026-03-01T12:00:00Z")));
        }
        for number in 0..queue.len() {
            let before = seconds(&queue, number, 1000);
            let mut longer = queue.clone();
            longer[0].left_bytes += more;
            prop_assert!(seconds(&longer, number, 1000) >= before - 0.01);
        }
    }

    /// Shares add up to the rate, and nobody gets more than they can use.
    #[test]
    fn shares_are_the_rate(claims in proptest::collection::vec((0.1_f64..10.0, 0.0_f64..100.0), 1..10), rate in 0.0_f64..500.0) {
        let shares = share(rate, &claims);
        let wanted: f64 = claims.iter().map(|(_, bound)| bound).sum();
        let sum: f64 = shares.iter().sum();
        prop_assert!((sum - rate.min(wanted)).abs() < 1e-6, "{sum} {rate} {wanted}");
        for (share, (_, bound)) in shares.iter().zip(&claims) {
            prop_assert!(*share <= bound + 1e-9);
        }
    }
}
