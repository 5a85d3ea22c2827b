//! When a connection that brings nothing is cut: soon when the same server serves others meanwhile, late when nothing shows
//! that it would serve a new one. One long timer for all would hold a file for half a minute at each of its stalls.

use std::time::Duration;

/// The shortest patience, when others are served; doubled each time that it was of no use, up to the stall timeout.
const LEAST: Duration = Duration::from_millis(500);
/// And when nobody is, for all but the one that waits longest: that one finds out for the others.
const ALONE: Duration = Duration::from_secs(5);
/// Others are served when their last byte came so many first-byte times after ours, and not within this.
const LATER: (u32, Duration) = (4, Duration::from_millis(20));
/// Under this part of what a connection usually brings, one is cut as well, while others are served.
const DRIP: u64 = 16;
/// A source that sent something so recently is at work.
const RECENT: Duration = Duration::from_secs(1);
/// It is judged by its speed only after so long.
const DRIP_AFTER: Duration = Duration::from_secs(10);

/// Who is to give up what it brings must be so many times slower than another, and lose so much.
const BEATEN: (u32, Duration) = (2, Duration::from_secs(1));

/// What is known of a connection that is being fed, or not.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Time since its last byte, or since it asked for the first.
    pub idle: Duration,
    /// Time since any connection to the same source got a byte.
    pub source_idle: Duration,
    /// Time since it asked.
    pub age: Duration,
    /// How fast it is.
    pub bytes_per_sec: u64,
    /// How fast a connection to the same source usually is.
    pub usual: u64,
    /// Usual time to the first byte.
    pub first_byte: Duration,
    /// Cuts in a row that were of no use: the next connection stood still as well.
    pub in_vain: u32,
    /// Of all connections to the source it waits longest.
    pub longest: bool,
}

/// Whether to cut it now and ask anew.
pub fn is_stalled(flow: &Flow, stall_timeout: Duration) -> bool {
    if flow.idle >= stall_timeout {
        return true;
    }
    let drips = flow.age >= DRIP_AFTER && flow.bytes_per_sec < flow.usual / DRIP && flow.source_idle < RECENT;
    if drips {
        return true;
    }
    // Others got bytes while this one waited. When the line is down, all stop within moments.
    let others_served = flow.idle.saturating_sub(flow.source_idle) > LATER.1.max(flow.first_byte * LATER.0);
    let finds_out = flow.longest && !flow.first_byte.is_zero();
    let patience = match others_served || finds_out {
        true => LEAST.max(flow.first_byte * 16),
        false => ALONE.max(flow.first_byte * 16),
    };
    flow.idle >= patience.saturating_mul(1 << flow.in_vain.min(10)).min(stall_timeout)
}

/// Whether a file whose last `left` bytes come so slowly had better be asked for anew at another source, which would have the
/// whole of it in `elsewhere`. Only what moves is measured so: of one that stands still nobody knows when it will go on.
pub fn is_beaten(age: Duration, left: u64, bytes_per_sec: u64, elsewhere: Duration) -> bool {
    let (times, loss) = BEATEN;
    let left = left.saturating_mul(1000) / bytes_per_sec.max(1);
    bytes_per_sec > 0 && age >= loss && Duration::from_millis(left) > elsewhere * times + loss
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn flow() -> Flow {
        Flow {
            idle: Duration::ZERO,
            source_idle: Duration::ZERO,
            age: Duration::from_secs(4),
            bytes_per_sec: 1_000_000,
            usual: 1_000_000,
            first_byte: Duration::from_millis(50),
            in_vain: 0,
            longest: false,
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// (idle, idle of the source, in vain, waits longest) -> cut.
    #[test]
    fn silence() {
        for (idle, source_idle, in_vain, longest, cut) in [
            (0.0, 0.0, 0, true, false),
            (0.7, 0.0, 0, false, false),
            (0.9, 0.0, 0, false, true),
            (0.9, 0.6, 0, false, true),
            (1.1, 0.0, 1, false, false),
            (1.7, 0.0, 1, false, true),
            // Nobody is served: the line may be down, new connections would not help; one finds out.
            (1.1, 1.0, 0, false, false),
            (1.1, 1.0, 0, true, true),
            (4.9, 4.8, 0, false, false),
            (5.1, 5.0, 0, false, true),
            (5.1, 5.0, 1, false, false),
            (29.0, 28.9, 9, true, false),
            (30.0, 29.9, 9, true, true),
            (30.0, 0.0, 9, false, true),
        ] {
            let flow = Flow {
                idle: seconds(idle),
                source_idle: seconds(source_idle),
                in_vain,
                longest,
                ..flow()
            };
            assert_eq!(
                is_stalled(&flow, TIMEOUT),
                cut,
                "{idle} {source_idle} {in_vain} {longest}"
            );
        }
    }

    #[test]
    fn before_anything_is_known_of_a_source_it_is_given_time() {
        let first = Flow {
            idle: seconds(4.0),
            source_idle: seconds(4.0),
            first_byte: Duration::ZERO,
            longest: true,
            ..flow()
        };
        assert!(!is_stalled(&first, TIMEOUT));
        assert!(is_stalled(
            &Flow {
                idle: seconds(5.0),
                ..first
            },
            TIMEOUT
        ));
    }

    #[test]
    fn a_slow_first_byte_is_waited_for() {
        let slow = Flow {
            first_byte: seconds(2.0),
            idle: seconds(29.0),
            ..flow()
        };
        assert!(!is_stalled(&slow, TIMEOUT));
        let quicker = Flow {
            first_byte: seconds(1.0),
            ..slow
        };
        assert!(is_stalled(&quicker, TIMEOUT));
    }

    #[test]
    fn who_would_be_beaten_by_far_gives_up() {
        for (age, left, bytes_per_sec, elsewhere, beaten) in [
            (1.0, 500_000, 20_000, 0.5, true),
            // It has not had a chance yet, or has not begun.
            (0.9, 500_000, 20_000, 0.5, false),
            (9.0, 500_000, 0, 0.5, false),
            // They are much the same, or it is nearly done.
            (1.0, 500_000, 20_000, 12.1, false),
            (1.0, 20_000, 20_000, 0.0, false),
            (1.0, u64::MAX, 1, 0.5, true),
        ] {
            let (age, elsewhere) = (seconds(age), seconds(elsewhere));
            assert_eq!(
                is_beaten(age, left, bytes_per_sec, elsewhere),
                beaten,
                "{age:?} {left} {elsewhere:?}"
            );
        }
    }

    #[test]
    fn a_drip_is_cut_when_others_are_not_as_slow() {
        let drip = Flow {
            age: seconds(11.0),
            bytes_per_sec: 2_000,
            idle: seconds(0.1),
            ..flow()
        };
        assert!(is_stalled(&drip, TIMEOUT));
        assert!(
            !is_stalled(
                &Flow {
                    age: seconds(9.0),
                    ..drip
                },
                TIMEOUT
            ),
            "too early to tell"
        );
        assert!(
            !is_stalled(&Flow { usual: 3_000, ..drip }, TIMEOUT),
            "they are all slow"
        );
    }
}
