//! Addresses of names that did not answer lately: they are tried last, so that a dead one among several costs its patience once
//! and not for every connection.
//!
//! The HTTP library tries the addresses of a name in order, one family beside the other. Who was connected to the third one has
//! waited for the first two in vain.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An address that did not answer may be well again after so long.
const MEMORY: Duration = Duration::from_secs(5 * 60);
/// Names that are remembered.
const MOST: usize = 1024;

/// What is remembered. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// In which order they were last offered, by name.
    offered: HashMap<String, Vec<IpAddr>>,
    silent: HashMap<IpAddr, Instant>,
}

impl Addresses {
    /// Puts the addresses of a name into the order in which they should be tried.
    pub(super) fn in_order(&self, name: &str, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.silent.retain(|_, since| since.elapsed() < MEMORY);
        addresses.sort_by_key(|address| known.silent.contains_key(address));
        if addresses.len() > 1 {
            if known.offered.len() >= MOST {
                known.offered.clear();
            }
            known.offered.insert(name.to_owned(), addresses.clone());
        }
        addresses
    }

    /// A connection to a name was made with this address: those of its family before it did not answer.
    pub(super) fn answered(&self, name: &str, address: IpAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { offered, silent } = &mut *known;
        let Some(order) = offered.get(name).filter(|order| order.contains(&address)) else {
            return;
        };
        silent.remove(&address);
        let before = order.iter().take_while(|before| **before != address);
        for passed_over in before.filter(|before| before.is_ipv4() == address.is_ipv4()) {
            silent.insert(*passed_over, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_silent_comes_last_for_a_while() {
        let known = Addresses::default();
        let all = ips(&["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]);
        assert_eq!(known.in_order("h", all.clone()), all);
        // The other family was tried beside it, which tells nothing.
        known.answered("h", all[2]);
        let expected = ips(&["2001:db8::1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]);
        assert_eq!(known.in_order("h", all.clone()), expected);
        // The first of its family: nobody was passed over.
        known.answered("h", all[2]);
        assert_eq!(known.in_order("h", all.clone()), expected);
        // Strangers tell nothing.
        known.answered("other", all[3]);
        known.answered("h", ips(&["192.0.2.9"])[0]);
        assert_eq!(known.in_order("h", all.clone()), expected);
        tokio::time::advance(MEMORY).await;
        assert_eq!(known.in_order("h", all.clone()), all);
    }

    #[tokio::test]
    async fn what_answers_again_is_forgiven() {
        let known = Addresses::default();
        let both = ips(&["192.0.2.1", "192.0.2.2"]);
        known.in_order("h", both.clone());
        known.answered("h", both[1]);
        assert_eq!(known.in_order("h", both.clone()), ips(&["192.0.2.2", "192.0.2.1"]));
        known.answered("h", both[0]);
        assert_eq!(known.in_order("h", both.clone()), both);
    }
}
