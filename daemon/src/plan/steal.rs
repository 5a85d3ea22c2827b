//! The end of a file: a connection that has nothing left to do takes over a part of what the slowest other one has still to
//! fetch, so that all end together and no slow tail holds the file. What is taken over is asked for anew; nothing comes twice
//! but what was under way.

use std::time::Duration;

use super::LeaseId;

/// Less than this is not worth a request of its own: what is under way to the first owner comes twice.
const LEAST: u64 = 1 << 20;
/// Nor is what is done so soon anyway, beside the time for the first byte.
const SOON: Duration = Duration::from_millis(500);
/// A connection without a byte for so long, or four times as long as a first byte takes, is taken for one that stands still.
const STANDS_STILL: Duration = Duration::from_secs(1);

/// One connection at work.
#[derive(Debug, Clone, Copy)]
pub struct AtWork {
    /// What it fetches.
    pub lease: LeaseId,
    /// Bytes that have not come yet.
    pub left: u64,
    /// How fast they come; 0 when nothing is known.
    pub bytes_per_sec: u64,
    /// Time since its last byte, or since it asked for the first.
    pub idle: Duration,
}

/// What a connection that would take over can do.
#[derive(Debug, Clone, Copy)]
pub struct Helper {
    /// Usual speed of one connection to its source; 0 when nothing is known.
    pub bytes_per_sec: u64,
    /// Usual time to the first byte.
    pub first_byte: Duration,
}

/// Whose lease is shared, and how many of its bytes the owner keeps; `None` when nobody needs help.
pub fn steal(at_work: &[AtWork], helper: Helper) -> Option<(LeaseId, u64)> {
    let setup = helper.first_byte.as_secs_f64();
    let (slowest, speed, ends_in) = at_work
        .iter()
        .filter(|one| one.left >= LEAST)
        .map(|one| {
            let still = one.idle > STANDS_STILL.max(helper.first_byte * 4);
            let speed = match (still, one.bytes_per_sec) {
                (true, _) => 0.0,
                (false, 0) => real(helper.bytes_per_sec),
                (false, known) => real(known),
            };
            (one, speed, real(one.left) / speed)
        })
        // Nothing is known of either: infinitely long, but it has just begun.
        .filter(|(one, speed, _)| *speed > 0.0 || one.idle > STANDS_STILL)
        .max_by(|(.., one), (.., other)| one.total_cmp(other))?;
    if ends_in <= 2.0 * setup + SOON.as_secs_f64() {
        return None;
    }
    let own = match helper.bytes_per_sec {
        0 => speed,
        known => real(known),
    };
    // Both end at the same moment: keep / speed = setup + (left - keep) / own.
    let keep = if speed <= 0.0 {
        0
    } else {
        whole(speed * (setup * own + real(slowest.left)) / (own + speed)).min(slowest.left)
    };
    (slowest.left - keep >= LEAST).then_some((slowest.lease, keep))
}

/// What the owner of a lease keeps, so that nothing comes twice: of the bytes that are left to it, `unread` lie in its socket
/// already, and what the line carries during one answer is under way. `None` when the rest is not worth a request.
pub fn spare(left: u64, keep: u64, unread: u64, bytes_per_sec: u64, first_byte: Duration) -> Option<u64> {
    let keep = match (keep, unread) {
        // It stands still: nothing is under way.
        (0, 0) => 0,
        _ => keep.max(unread.saturating_add(whole(real(bytes_per_sec) * first_byte.as_secs_f64()))),
    };
    (keep.saturating_add(LEAST) <= left).then_some(keep)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn real(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what a u64 holds"
)]
fn whole(bytes: f64) -> u64 {
    bytes.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::ByteRange, plan::SegmentMap};

    const MIB: u64 = 1 << 20;

    fn leases() -> (LeaseId, LeaseId) {
        let mut map = SegmentMap::new(64 * MIB, std::iter::empty::<ByteRange>().collect());
        (map.lease(0, 8 * MIB).unwrap().0, map.lease(0, 8 * MIB).unwrap().0)
    }

    fn at_work(lease: LeaseId, left: u64, bytes_per_sec: u64, idle_ms: u64) -> AtWork {
        AtWork {
            lease,
            left,
            bytes_per_sec,
            idle: Duration::from_millis(idle_ms),
        }
    }

    const HELPER: Helper = Helper {
        bytes_per_sec: 10 * MIB,
        first_byte: Duration::from_millis(20),
    };

    #[test]
    fn the_one_that_would_end_last_shares_so_that_both_end_together() {
        let (fast, slow) = leases();
        let (lease, keep) = steal(
            &[at_work(fast, 20 * MIB, 10 * MIB, 5), at_work(slow, 8 * MIB, MIB, 5)],
            HELPER,
        )
        .unwrap();
        assert_eq!(lease, slow);
        let (own, other) = (
            keep as f64 / MIB as f64,
            (8 * MIB - keep) as f64 / (10.0 * MIB as f64) + 0.02,
        );
        assert!((own - other).abs() < 0.001, "{own} {other}");
    }

    #[test]
    fn who_stands_still_gives_all() {
        let (one, _) = leases();
        assert_eq!(steal(&[at_work(one, 8 * MIB, 10 * MIB, 1200)], HELPER), Some((one, 0)));
        assert_eq!(steal(&[at_work(one, 8 * MIB, 0, 1200)], HELPER), Some((one, 0)));
        let nothing_known = Helper {
            bytes_per_sec: 0,
            ..HELPER
        };
        assert_eq!(steal(&[at_work(one, 8 * MIB, 0, 1200)], nothing_known), Some((one, 0)));
        assert_eq!(steal(&[at_work(one, 8 * MIB, 0, 100)], nothing_known), None);
    }

    #[test]
    fn what_is_done_soon_or_small_is_left_alone() {
        let (one, other) = leases();
        for (left, rate) in [(2 * MIB, 10 * MIB), (100 << 10, 1000)] {
            assert_eq!(
                steal(&[at_work(one, left, rate, 1), at_work(other, 10, 1, 1)], HELPER),
                None
            );
        }
        assert_eq!(steal(&[], HELPER), None);
    }

    #[test]
    fn what_has_come_already_is_never_given_away() {
        let spare = |left, keep, unread| spare(left, keep, unread, 10 * MIB, Duration::from_millis(100));
        assert_eq!(spare(20 * MIB, 8 * MIB, 0), Some(8 * MIB));
        assert_eq!(
            spare(20 * MIB, 8 * MIB, 12 * MIB),
            Some(13 * MIB),
            "and one MiB is on the line"
        );
        assert_eq!(spare(20 * MIB, 8 * MIB, 18 * MIB + 1), None);
        assert_eq!(spare(20 * MIB, 0, 0), Some(0), "it stands still");
        assert_eq!(
            spare(20 * MIB, 0, 5 * MIB),
            Some(6 * MIB),
            "we are slow, not the server"
        );
        assert_eq!(spare(MIB / 2, 0, 0), None);
    }

    #[test]
    fn a_slow_helper_takes_a_small_part() {
        let (one, _) = leases();
        let slow = Helper {
            bytes_per_sec: MIB,
            ..HELPER
        };
        let (_, keep) = steal(&[at_work(one, 60 * MIB, 10 * MIB, 1)], slow).unwrap();
        assert!(keep > 54 * MIB, "{keep}");
    }
}
