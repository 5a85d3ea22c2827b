//! Which bytes of one file are written, which are being fetched, and which come next.

use super::RangeSet;
use crate::model::ByteRange;

/// Segments begin at multiples of this, unless a resume point says otherwise.
const ALIGN: u64 = 1 << 20;
/// A request for less is not worth its round trip while more is missing.
const SMALLEST: u64 = 4 << 20;
/// A request for more holds too much of a file on one connection.
const LARGEST: u64 = 64 << 20;

/// Permission to fetch one segment; its number tells a late result from a current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(u64);

/// The bytes of one file: written, leased, or missing. Every byte is in exactly one of the three.
#[derive(Debug)]
pub struct SegmentMap {
    size: u64,
    written: RangeSet,
    leases: Vec<(LeaseId, ByteRange)>,
    next_lease: u64,
    in_one_piece: bool,
}

impl SegmentMap {
    /// A file of `size` bytes of which some are there already.
    pub fn new(size: u64, written: RangeSet) -> Self {
        Self {
            size,
            written,
            leases: Vec::new(),
            next_lease: 0,
            in_one_piece: false,
        }
    }

    /// A file of which nothing is there, to be leased as a whole: for servers that give no parts.
    pub fn in_one_piece(size: u64) -> Self {
        Self {
            in_one_piece: true,
            ..Self::new(size, RangeSet::default())
        }
    }

    /// Takes the next missing segment for one of `connections`: the lowest, so that what is written grows from the front.
    /// Segments shrink towards the end of the file, so that the connections finish together.
    pub fn lease(&mut self, connections: u32) -> Option<(LeaseId, ByteRange)> {
        let gap = self.first_missing()?;
        let missing = self.size - self.written.len() - self.leased();
        let wanted = (missing / (2 * u64::from(connections.max(1)))).clamp(SMALLEST, LARGEST);
        let end = if self.in_one_piece || gap.len() <= wanted + SMALLEST / 2 {
            gap.end
        } else {
            // Round down to the grid, but never to nothing.
            ((gap.start + wanted) / ALIGN * ALIGN).max(gap.start + SMALLEST.min(gap.len()))
        };
        let segment = ByteRange::new(gap.start, end);
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.leases.push((id, segment));
        Some((id, segment))
    }

    /// Records that the first `bytes` of what is left of a lease are in the file. False when the lease was withdrawn.
    pub fn wrote(&mut self, id: LeaseId, bytes: u64) -> bool {
        let Some((_, range)) = self.leases.iter_mut().find(|(known, _)| *known == id) else {
            return false;
        };
        let end = (range.start + bytes).min(range.end);
        self.written.add(ByteRange::new(range.start, end));
        range.start = end;
        true
    }

    /// Ends a lease; what it did not write is missing again.
    pub fn release(&mut self, id: LeaseId) {
        self.leases.retain(|(known, _)| *known != id);
    }

    /// Bytes in the file.
    pub fn written(&self) -> &RangeSet {
        &self.written
    }

    /// Every byte is in the file.
    pub fn is_complete(&self) -> bool {
        self.written.len() == self.size
    }

    fn leased(&self) -> u64 {
        self.leases.iter().map(|(_, range)| range.len()).sum()
    }

    fn first_missing(&self) -> Option<ByteRange> {
        let mut from = 0;
        loop {
            let gap = self.written.first_gap(from, self.size)?;
            // Leases are few (one a connection): walking them beats keeping a second set in step.
            let covering = self
                .leases
                .iter()
                .find(|(_, range)| range.start <= gap.start && gap.start < range.end);
            if let Some((_, range)) = covering {
                from = range.end;
                continue;
            }
            let end = self
                .leases
                .iter()
                .map(|(_, range)| range)
                .filter(|range| !range.is_empty() && range.start > gap.start)
                .map(|range| range.start)
                .fold(gap.end, u64::min);
            return Some(ByteRange::new(gap.start, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever connections do - write some, fail, be withdrawn - every byte is written exactly once.
        #[test]
        fn every_byte_exactly_once(
            size in 0_u64..(300 << 20),
            connections in 1_u32..20,
            resumed in proptest::collection::vec((0_u64..300, 0_u64..40), 0..5),
            script in proptest::collection::vec((any::<u8>(), any::<u16>()), 0..200),
        ) {
            let written: RangeSet = resumed
                .into_iter()
                .map(|(start, len)| ByteRange::new((start << 20).min(size), ((start + len) << 20).min(size)))
                .collect();
            let mut count = written.len();
            let mut map = SegmentMap::new(size, written);
            let mut open: Vec<(LeaseId, ByteRange)> = Vec::new();
            let mut script = script.into_iter();
            loop {
                // When the script is over everything succeeds, so that it comes to an end.
                let (what, share) = script.next().unwrap_or((0, u16::MAX));
                while open.len() < connections as usize {
                    let Some(lease) = map.lease(connections) else { break };
                    prop_assert!(!lease.1.is_empty());
                    for (_, other) in &open {
                        prop_assert!(lease.1.end <= other.start || other.end <= lease.1.start);
                    }
                    open.push(lease);
                }
                if open.is_empty() {
                    break;
                }
                let index = usize::from(what) % open.len();
                let (id, range) = open[index];
                let bytes = if share == u16::MAX { range.len() } else { range.len() * u64::from(share) / 65_536 };
                prop_assert!(map.wrote(id, bytes));
                count += bytes;
                if what % 3 == 0 || bytes == range.len() {
                    map.release(id);
                    open.swap_remove(index);
                } else {
                    open[index].1 = ByteRange::new(range.start + bytes, range.end);
                }
                prop_assert_eq!(map.written().len(), count);
            }
            prop_assert!(map.is_complete());
            prop_assert_eq!(count, size);
        }
    }

    #[test]
    fn a_late_result_is_told_apart() {
        let mut map = SegmentMap::new(10 << 20, RangeSet::default());
        let (id, _) = map.lease(1).unwrap();
        map.release(id);
        assert!(!map.wrote(id, 5));
        assert!(map.written().is_empty());
    }

    #[test]
    fn a_small_file_is_one_segment() {
        let mut map = SegmentMap::new(3 << 20, RangeSet::default());
        assert_eq!(map.lease(8).unwrap().1, ByteRange::new(0, 3 << 20));
        assert!(map.lease(8).is_none());
    }
}
