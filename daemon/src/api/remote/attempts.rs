//! Wrong tokens, counted by address: guessing is hopeless with 256 bits, but a short token in the file should not be found either.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::api::places::Key;

/// So many wrong tokens an address has.
const MOST: u32 = 5;
/// Then it is not listened to for so long; so long, too, a wrong one is remembered.
pub(super) const BAN: Duration = Duration::from_secs(300);
/// Addresses that are remembered.
const MOST_ADDRESSES: usize = 10_000;

/// Wrong tokens of late.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<Key, (u32, Instant)>);

impl Attempts {
    /// How long an address is not listened to.
    pub(super) fn banned(&self, key: Key, now: Instant) -> Option<Duration> {
        let (wrong, last) = self.0.get(&key)?;
        (*wrong >= MOST).then(|| (*last + BAN).checked_duration_since(now))?
    }

    /// A wrong token came.
    pub(super) fn failed(&mut self, key: Key, now: Instant) {
        if self.0.len() >= MOST_ADDRESSES {
            self.0.retain(|_, (_, last)| now < *last + BAN);
        }
        if self.0.len() >= MOST_ADDRESSES && !self.0.contains_key(&key) {
            return;
        }
        let (wrong, last) = self.0.entry(key).or_insert((0, now));
        if now >= *last + BAN {
            *wrong = 0;
        }
        (*wrong, *last) = (*wrong + 1, now);
    }

    /// A right one came.
    pub(super) fn succeeded(&mut self, key: Key) {
        self.0.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_wrong_ones_and_then_silence() {
        let key = Key::of("10.0.0.1".parse().unwrap());
        let mut attempts = Attempts::default();
        let start = Instant::now();
        for _ in 0..MOST {
            assert_eq!(attempts.banned(key, start), None);
            attempts.failed(key, start);
        }
        let second = start + Duration::from_secs(1);
        assert_eq!(attempts.banned(key, second), Some(BAN - Duration::from_secs(1)));
        assert_eq!(attempts.banned(Key::of("10.0.0.2".parse().unwrap()), second), None);
        let later = start + BAN + Duration::from_secs(1);
        assert_eq!(attempts.banned(key, later), None);
        attempts.failed(key, later);
        assert_eq!(attempts.banned(key, later), None, "it counts from the beginning");
    }

    #[test]
    fn a_right_one_forgives() {
        let key = Key::of("::1".parse().unwrap());
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        (1..MOST).for_each(|_| attempts.failed(key, now));
        attempts.succeeded(key);
        attempts.failed(key, now);
        assert_eq!(attempts.banned(key, now), None);
    }
}
