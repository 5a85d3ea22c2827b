//! A set of bytes of one file as sorted, disjoint, non-touching ranges.

use crate::model::ByteRange;

/// Bytes that are there (or are not). Adding is idempotent; the set never holds an empty range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<ByteRange>);

impl RangeSet {
    /// Adds bytes; joins what touches.
    pub fn add(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|known| known.end < range.start);
        let last = self.0.partition_point(|known| known.start <= range.end);
        let joined = self.0[first..last].iter().fold(range, |sum, known| {
            ByteRange::new(sum.start.min(known.start), sum.end.max(known.end))
        });
        self.0.splice(first..last, [joined]);
    }

    /// Takes bytes out.
    pub fn remove(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|known| known.end <= range.start);
        let last = self.0.partition_point(|known| known.start < range.end);
        let rest: Vec<ByteRange> = self.0[first..last]
            .iter()
            .flat_map(|known| {
                [
                    ByteRange::new(known.start, range.start.max(known.start)),
                    ByteRange::new(range.end.min(known.end), known.end),
                ]
            })
            .filter(|part| !part.is_empty())
            .collect();
        self.0.splice(first..last, rest);
    }

    /// Number of bytes in the set.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.len()).sum()
    }

    /// No byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How far the set reaches from 0 without a gap.
    pub fn front(&self) -> u64 {
        self.0
            .first()
            .filter(|range| range.start == 0)
            .map_or(0, |range| range.end)
    }

    /// Every byte of a range is in the set.
    pub fn covers(&self, range: ByteRange) -> bool {
        range.is_empty() || self.first_gap(range.start, range.end).is_none()
    }

    /// The ranges in order.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.0
    }

    /// The first range at or after `from` and below `limit` that is not in the set.
    pub fn first_gap(&self, from: u64, limit: u64) -> Option<ByteRange> {
        let index = self.0.partition_point(|known| known.end <= from);
        let (start, end) = match self.0.get(index) {
            Some(known) if known.start <= from => (known.end, self.0.get(index + 1).map_or(limit, |next| next.start)),
            Some(known) => (from, known.start),
            None => (from, limit),
        };
        let gap = ByteRange::new(start, end.min(limit));
        (start < limit && !gap.is_empty()).then_some(gap)
    }
}

impl FromIterator<ByteRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|range| set.add(range));
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: usize, end: usize) -> ByteRange {
        ByteRange::new(start as u64, end as u64)
    }

    proptest! {
        /// Against a set of single bytes.
        #[test]
        fn agrees_with_a_bitmap(
            changes in proptest::collection::vec((0_usize..64, 0_usize..20, proptest::bool::weighted(0.7)), 0..20),
            from in 0_usize..64,
        ) {
            let mut bits = [false; 128];
            let mut set = RangeSet::default();
            for (start, len, adds) in changes {
                let range = range(start, start + len);
                if adds { set.add(range) } else { set.remove(range) }
                bits[start..start + len].fill(adds);
            }
            prop_assert_eq!(set.len(), bits.iter().filter(|bit| **bit).count() as u64);
            for pair in set.ranges().windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
            let limit = 70;
            let start = (from..limit).find(|byte| !bits[*byte]);
            let expected = start.map(|start| {
                let end = (start..limit).find(|byte| bits[*byte]).unwrap_or(limit);
                range(start, end)
            });
            prop_assert_eq!(set.first_gap(from as u64, limit as u64), expected);
        }
    }
}
