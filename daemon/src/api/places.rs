//! How many connections there may be: of each caller, and of all. Who has one place too many is hung up on; nobody else waits.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Whom connections are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A user of this machine.
    User(Option<u32>),
    /// An address: of IPv6 the network of 64 bits, which one machine has for itself.
    Address(IpAddr),
}

impl Key {
    pub(super) fn of(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            address => address,
        })
    }
}

/// The places of one listener.
#[derive(Debug, Clone)]
pub(super) struct Places {
    most: usize,
    most_each: usize,
    taken: Arc<Mutex<HashMap<Key, usize>>>,
}

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    key: Key,
    taken: Arc<Mutex<HashMap<Key, usize>>>,
}

impl Places {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self {
            most,
            most_each,
            taken: Arc::default(),
        }
    }

    /// A place, if there is one.
    pub(super) fn take(&self, key: Key) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&key).copied().unwrap_or_default();
        if own >= self.most_each || taken.values().sum::<usize>() >= self.most {
            return None;
        }
        taken.insert(key, own + 1);
        Some(Place {
            key,
            taken: self.taken.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_some_and_all_have_more() {
        let places = Places::new(3, 2);
        let ann = || places.take(Key::User(Some(1)));
        let ben = || places.take(Key::User(Some(2)));
        let (first, _second) = (ann().unwrap(), ann().unwrap());
        assert!(ann().is_none());
        let _third = ben().unwrap();
        assert!(ben().is_none(), "all are taken");
        drop(first);
        let _fourth = ben().unwrap();
        assert!(ann().is_none());
    }

    #[test]
    fn a_machine_has_one_key() {
        let key = |text: &str| Key::of(text.parse().unwrap());
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
