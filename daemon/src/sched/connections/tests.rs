use super::*;

/// A server: bytes per second of one connection, of all together, and how many it takes.
struct Server {
    each: u64,
    all: u64,
    takes: u32,
}

/// Runs it with endless demand; gives the limit at each of the seconds asked for.
fn run(server: &Server, most: u32, seconds: &[u64]) -> Vec<u32> {
    let mut limit = ConnectionLimit::new(most);
    let step = Duration::from_millis(25);
    let (mut now, mut bytes, mut seen) = (Duration::ZERO, 0, Vec::new());
    for second in seconds {
        while now < Duration::from_secs(*second) {
            now += step;
            let open = limit.get().min(server.takes);
            if limit.get() > server.takes {
                limit.refused(now, server.takes);
            }
            let rate = (server.each * u64::from(open)).min(server.all);
            bytes += rate * 25 / 1000;
            let reading = Reading {
                bytes,
                active: open,
                wanted_more: true,
                held_by_us: false,
                first_byte: Duration::from_millis(20),
            };
            limit.sample(now, &reading);
        }
        seen.push(limit.get());
    }
    seen
}

#[test]
fn doubles_within_a_second_when_each_connection_is_slow() {
    let server = Server {
        each: 8_000_000,
        all: u64::MAX,
        takes: 1000,
    };
    assert_eq!(run(&server, 32, &[1]), [32]);
}

/// One epoch that a busy machine has spoilt does not end the growth, and two that tell the same do.
#[test]
fn one_bad_epoch_is_looked_at_again() {
    for (rates, expected) in [
        (&[4.0, 8.0][..], 16),
        (&[4.0, 4.1], 8),
        (&[4.0, 4.1, 8.0], 16),
        (&[4.0, 4.1, 4.1], 4),
        (&[4.0, 4.1, 4.4], 8),
        (&[4.0, 4.1, 8.0, 8.1, 16.0], 32),
    ] {
        let mut limit = ConnectionLimit::new(64);
        for rate in rates {
            limit.judge(Duration::ZERO, *rate);
        }
        assert_eq!(limit.get(), expected, "{rates:?}");
    }
}

#[test]
fn stays_small_when_more_brings_nothing() {
    let server = Server {
        each: 50_000_000,
        all: 50_000_000,
        takes: 1000,
    };
    assert_eq!(run(&server, 32, &[1, 5, 9]), [4, 4, 4]);
}

#[test]
fn finds_the_number_that_fills_the_line() {
    let server = Server {
        each: 5_000_000,
        all: 50_000_000,
        takes: 1000,
    };
    let limits = run(&server, 64, &[2, 300, 900]);
    assert!((10..=16).contains(&limits[0]), "{limits:?}");
    assert!(
        (9..=12).contains(&limits[1]) && (9..=12).contains(&limits[2]),
        "{limits:?}"
    );
}

#[test]
fn a_refusal_teaches_the_number_and_is_rarely_repeated() {
    let mut limit = ConnectionLimit::new(32);
    limit.refused(Duration::ZERO, 3);
    assert_eq!(limit.get(), 3);
    let server = Server {
        each: 8_000_000,
        all: u64::MAX,
        takes: 4,
    };
    assert_eq!(run(&server, 32, &[2, 10]), [4, 4]);
}

#[test]
fn an_epoch_without_demand_or_held_by_us_says_nothing() {
    for (wanted_more, held_by_us) in [(false, false), (true, true)] {
        let mut limit = ConnectionLimit::new(32);
        for step in 0..400_u64 {
            let reading = Reading {
                bytes: step * 1_000_000,
                active: 4,
                wanted_more,
                held_by_us,
                first_byte: Duration::from_millis(20),
            };
            assert!(!limit.sample(Duration::from_millis(step * 25), &reading));
        }
        assert_eq!(limit.get(), START);
    }
}

#[test]
fn one_that_was_away_grows_as_quickly_as_a_new_one() {
    let mut limit = ConnectionLimit::new(32);
    for _ in 0..20 {
        limit.broke(Duration::ZERO);
    }
    assert_eq!(limit.get(), 1);
    limit.begin_anew();
    assert_eq!(limit.get(), START);
    let begun = Duration::from_secs(60);
    for step in 1..40_u64 {
        let reading = Reading {
            bytes: step * step * 1_000_000,
            active: limit.get(),
            wanted_more: true,
            held_by_us: false,
            first_byte: Duration::from_millis(20),
        };
        limit.sample(begun + Duration::from_millis(step * 25), &reading);
    }
    assert!(limit.get() > 8, "{}", limit.get());
}

#[test]
fn shrinks_but_never_to_nothing() {
    let mut limit = ConnectionLimit::new(16);
    for _ in 0..20 {
        limit.broke(Duration::ZERO);
        limit.rate_limited(Duration::ZERO);
    }
    assert_eq!(limit.get(), 1);
    limit.refused(Duration::ZERO, 0);
    assert_eq!(limit.get(), 1);
    limit.set_most(0);
    assert_eq!(limit.get(), 1);
}
