//! When a connection that brings nothing is cut: soon when the same server serves others meanwhile, late when nothing shows
//! that it would serve a new one. One long timer for all would hold a file for half a minute at each of its stalls.

use std::time::Duration;

/// The shortest patience, when others are served.
const LEAST: Duration = Duration::from_secs(1);
/// And when nobody is: doubled each time that it was of no use, up to the stall timeout.
const ALONE: Duration = Duration::from_secs(5);
/// Under this part of what a connection usually brings, one is cut as well, while others are served.
const DRIP: u64 = 16;
/// It is judged by its speed only after so long.
const DRIP_AFTER: Duration = Duration::from_secs(10);

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
}

/// Whether to cut it now and ask anew.
pub fn is_stalled(flow: &Flow, stall_timeout: Duration) -> bool {
    if flow.idle >= stall_timeout {
        return true;
    }
    let drips = flow.age >= DRIP_AFTER && flow.bytes_per_sec < flow.usual / DRIP && flow.source_idle < LEAST;
    if drips {
        return true;
    }
    // Others got bytes while this one waited.
    let others_served = flow.source_idle < flow.idle / 2;
    let patience = if others_served { LEAST } else { ALONE };
    let patience = patience.max(flow.first_byte * 8);
    flow.idle >= patience.saturating_mul(1 << flow.in_vain.min(10)).min(stall_timeout)
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
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// (idle, idle of the source, in vain) -> cut.
    #[test]
    fn silence() {
        for (idle, source_idle, in_vain, cut) in [
            (0.0, 0.0, 0, false),
            (0.9, 0.0, 0, false),
            (1.1, 0.0, 0, true),
            (1.1, 0.0, 1, false),
            (2.1, 0.0, 1, true),
            // Nobody is served: the line may be down, a new connection would not help.
            (1.1, 1.1, 0, false),
            (4.9, 4.9, 0, false),
            (5.1, 5.1, 0, true),
            (5.1, 5.1, 1, false),
            (29.0, 29.0, 9, false),
            (30.0, 30.0, 9, true),
            (30.0, 0.0, 9, true),
        ] {
            let flow = Flow {
                idle: seconds(idle),
                source_idle: seconds(source_idle),
                in_vain,
                ..flow()
            };
            assert_eq!(is_stalled(&flow, TIMEOUT), cut, "{idle} {source_idle} {in_vain}");
        }
    }

    #[test]
    fn a_slow_first_byte_is_waited_for() {
        let slow = Flow {
            first_byte: seconds(2.0),
            idle: seconds(10.0),
            ..flow()
        };
        assert!(!is_stalled(&slow, TIMEOUT));
        assert!(is_stalled(
            &Flow {
                idle: seconds(16.5),
                ..slow
            },
            TIMEOUT
        ));
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
