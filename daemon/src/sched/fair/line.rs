//! Who is next among equals with weights: start-time fair queueing. Each serving moves one's place back by its bytes over one's
//! weight; the one whose place is lowest goes first. Who was away comes back at the present place, not at an old one.

use std::collections::{BTreeMap, BTreeSet};

/// Parts of a byte, so that weights divide well.
const FINE: u128 = 1 << 16;

/// A line of waiting children.
#[derive(Debug, Clone, Default)]
pub(super) struct Line<K: Ord + Copy> {
    /// Place of the one that was served last.
    now: u128,
    waiting: BTreeSet<(u128, K)>,
    /// Where each of them stands, or stood when it last waited.
    places: BTreeMap<K, u128>,
}

impl<K: Ord + Copy> Line<K> {
    /// A child begins to wait. `grace` bytes of what others got meanwhile are made up to it: who has to fetch its next bytes
    /// before it can ask for more has not left the line.
    pub(super) fn join(&mut self, child: K, grace: u64) {
        let place = self.places.get(&child).copied().unwrap_or(self.now);
        if self.waiting.contains(&(place, child)) {
            return;
        }
        let place = place.max(self.now.saturating_sub(u128::from(grace) * FINE));
        self.places.insert(child, place);
        self.waiting.insert((place, child));
    }

    pub(super) fn leave(&mut self, child: K) {
        if let Some(place) = self.places.get(&child) {
            self.waiting.remove(&(*place, child));
        }
    }

    /// A child is removed for good.
    pub(super) fn forget(&mut self, child: K) {
        self.leave(child);
        self.places.remove(&child);
    }

    /// Those that wait, the first in line first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = K> {
        self.waiting.iter().map(|(_, child)| *child)
    }

    /// A child got bytes. Whoever could not be served for long is not owed all of that time.
    pub(super) fn served(&mut self, child: K, bytes: u64, weight: u32, grace: u64) {
        let place = self.places.get(&child).copied().unwrap_or(self.now);
        let waits = self.waiting.remove(&(place, child));
        let from = place.max(self.now.saturating_sub(u128::from(grace) * FINE));
        self.now = self.now.max(from);
        let next = from + u128::from(bytes) * FINE / u128::from(weight.max(1));
        self.places.insert(child, next);
        if waits {
            self.waiting.insert((next, child));
        }
    }
}
