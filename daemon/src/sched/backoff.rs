//! How long to wait before the next attempt: capped exponential with full jitter, or what the server asked for.

use std::time::Duration;

/// Mean of the first wait is half of this.
const BASE: Duration = Duration::from_secs(1);
/// No wait of our own choosing is longer.
const CAP: Duration = Duration::from_secs(60);
/// The longest for one source of several: who is back is noticed within the minute, a connection that hangs included.
const REST: Duration = Duration::from_secs(45);
/// A server may ask for more than our cap, but not for a day: then we look again ourselves.
const SERVER_CAP: Duration = Duration::from_secs(15 * 60);

/// The wait after `attempts_made` (>= 1) failures in a row. A server's own wish is kept, with up to a second of jitter on
/// top so that a crowd does not return at once.
pub fn wait(attempts_made: u32, server_wish: Option<Duration>, random: &mut fastrand::Rng) -> Duration {
    if let Some(wish) = server_wish {
        return wish.min(SERVER_CAP) + Duration::from_millis(random.u64(0..1000));
    }
    let ceiling = BASE
        .saturating_mul(1 << attempts_made.saturating_sub(1).min(10))
        .min(CAP);
    ceiling.mul_f64(random.f64())
}

/// The same for a source while others can be asked: it costs little to look for it, and much to miss it.
pub fn rest(attempts_made: u32, server_wish: Option<Duration>, random: &mut fastrand::Rng) -> Duration {
    let wait = wait(attempts_made, server_wish, random);
    match server_wish {
        Some(_) => wait,
        None => wait.min(REST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_rests_for_less_than_a_minute() {
        let mut random = fastrand::Rng::with_seed(1);
        let longest = (0..1000).map(|attempts| rest(attempts + 1, None, &mut random)).max();
        assert_eq!(longest, Some(REST));
        // Who asks for more gets it.
        let wish = Duration::from_secs(300);
        assert!(rest(1, Some(wish), &mut random) >= wish);
    }

    #[test]
    fn grows_to_the_cap_and_never_over() {
        let mut random = fastrand::Rng::with_seed(1);
        for attempts_made in 1..100 {
            let ceiling = Duration::from_secs(1 << (attempts_made - 1).min(6)).min(CAP);
            let mut longest = Duration::ZERO;
            for _ in 0..200 {
                let wait = wait(attempts_made, None, &mut random);
                assert!(wait <= ceiling, "{attempts_made}: {wait:?}");
                longest = longest.max(wait);
            }
            assert!(longest > ceiling / 2, "{attempts_made}: jitter must use the whole span");
        }
    }

    #[test]
    fn a_server_is_obeyed_within_reason() {
        let mut random = fastrand::Rng::with_seed(1);
        let wish = Duration::from_secs(56);
        let given = wait(1, Some(wish), &mut random);
        assert!(given >= wish && given < wish + Duration::from_secs(1));
        assert!(wait(1, Some(Duration::from_secs(1_000_000)), &mut random) <= SERVER_CAP + Duration::from_secs(1));
    }
}
