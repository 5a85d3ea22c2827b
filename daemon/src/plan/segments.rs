//! Which bytes of one file are written, which are being fetched, and which come next.

use std::time::Duration;

use super::RangeSet;
use crate::model::ByteRange;

/// Segments begin at multiples of this, unless a resume point says otherwise.
const ALIGN: u64 = 1 << 20;
/// A request for less is not worth its round trip while more is missing.
const SMALLEST: u64 = 4 << 20;
/// A request for more holds too much of a file on one connection.
const LARGEST: u64 = 64 << 20;

/// A request that is answered in less time was too small.
const WORTH_MILLIS: u64 = 500;

/// Permission to fetch one segment; its number tells a late result from a current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseId(u64);

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    /// What it has still to write.
    range: ByteRange,
    source: usize,
}

/// The bytes of one file: written, leased, or missing. Every byte is in exactly one of the three.
#[derive(Debug)]
pub struct SegmentMap {
    size: u64,
    written: RangeSet,
    /// Which of the written bytes came from which source, as far as this run knows.
    came_from: Vec<RangeSet>,
    leases: Vec<Lease>,
    next_lease: u64,
    in_one_piece: bool,
}

/// How many bytes one request should ask for: an equal share of what is missing, so that `connections` end together; more
/// where a request costs much compared with its bytes, so that waiting for the first byte stays a small part of the time.
pub fn segment_bytes(missing: u64, connections: u32, bytes_per_sec: u64, first_byte: Duration) -> u64 {
    let millis = u64::try_from(first_byte.as_millis()).unwrap_or(u64::MAX);
    let worth = bytes_per_sec.saturating_mul(millis.saturating_mul(16).max(WORTH_MILLIS)) / 1000;
    let share = missing / u64::from(connections.max(1));
    share.max(worth).clamp(SMALLEST, LARGEST)
}

impl SegmentMap {
    /// A file of `size` bytes of which some are there already.
    pub fn new(size: u64, written: RangeSet) -> Self {
        Self {
            size,
            written,
            came_from: Vec::new(),
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

    /// Takes the next missing segment of about `wanted` bytes, to be fetched from a source: the lowest, so that what is
    /// written grows from the front.
    pub fn lease(&mut self, source: usize, wanted: u64) -> Option<(LeaseId, ByteRange)> {
        let gap = self.first_missing()?;
        let wanted = wanted.max(1);
        let end = if self.in_one_piece || gap.len() <= wanted + wanted.min(SMALLEST) / 2 {
            gap.end
        } else {
            // Round down to the grid, but never to nothing.
            ((gap.start + wanted) / ALIGN * ALIGN).max(gap.start + wanted.min(gap.len()).min(ALIGN))
        };
        Some(self.add(source, ByteRange::new(gap.start, end)))
    }

    /// Gives the second part of a lease, from byte `at` on, to another one. The first keeps what lies before. `None` when
    /// there is nothing to give. The caller has made sure that the first never writes from `at` on.
    pub fn split(&mut self, id: LeaseId, at: u64, source: usize) -> Option<(LeaseId, ByteRange)> {
        if self.in_one_piece {
            return None;
        }
        let lease = self.leases.iter_mut().find(|lease| lease.id == id)?;
        if at < lease.range.start || at >= lease.range.end {
            return None;
        }
        let second = ByteRange::new(at, lease.range.end);
        lease.range.end = at;
        Some(self.add(source, second))
    }

    fn add(&mut self, source: usize, range: ByteRange) -> (LeaseId, ByteRange) {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.leases.push(Lease { id, range, source });
        (id, range)
    }

    /// Records that the first `bytes` of what is left of a lease are in the file. False when the lease has ended.
    pub fn wrote(&mut self, id: LeaseId, bytes: u64) -> bool {
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.id == id) else {
            return false;
        };
        let end = (lease.range.start + bytes).min(lease.range.end);
        let range = ByteRange::new(lease.range.start, end);
        lease.range.start = end;
        self.written.add(range);
        if self.came_from.len() <= lease.source {
            self.came_from.resize_with(lease.source + 1, RangeSet::default);
        }
        self.came_from[lease.source].add(range);
        true
    }

    /// Ends a lease; what it did not write is missing again.
    pub fn release(&mut self, id: LeaseId) {
        self.leases.retain(|lease| lease.id != id);
    }

    /// Takes bytes for not written, whoever wrote them: they are missing again.
    pub fn forget(&mut self, range: ByteRange) {
        self.written.remove(range);
        for from in &mut self.came_from {
            from.remove(range);
        }
    }

    /// Bytes in the file.
    pub fn written(&self) -> &RangeSet {
        &self.written
    }

    /// Bytes that came from a source in this run.
    pub fn came_from(&self, source: usize) -> &[ByteRange] {
        self.came_from.get(source).map_or(&[], RangeSet::ranges)
    }

    /// Every byte is in the file.
    pub fn is_complete(&self) -> bool {
        self.written.len() == self.size
    }

    /// Bytes that nobody has or fetches.
    pub fn missing(&self) -> u64 {
        self.size - self.written.len() - self.leased()
    }

    /// Bytes that a lease has still to write.
    pub fn left_of(&self, id: LeaseId) -> Option<ByteRange> {
        self.leases.iter().find(|lease| lease.id == id).map(|lease| lease.range)
    }

    fn leased(&self) -> u64 {
        self.leases.iter().map(|lease| lease.range.len()).sum()
    }

    fn first_missing(&self) -> Option<ByteRange> {
        let mut from = 0;
        loop {
            let gap = self.written.first_gap(from, self.size)?;
            // Leases are few (one a connection): walking them beats keeping a second set in step.
            let covering = |lease: &&Lease| lease.range.start <= gap.start && gap.start < lease.range.end;
            if let Some(lease) = self.leases.iter().find(covering) {
                from = lease.range.end;
                continue;
            }
            let end = self
                .leases
                .iter()
                .map(|lease| lease.range)
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
        /// Whatever connections do - write some, fail, be split, have their bytes thrown away - every byte ends up written once.
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
            let mut open: Vec<LeaseId> = Vec::new();
            let mut script = script.into_iter();
            loop {
                // When the script is over everything succeeds, so that it comes to an end.
                let (what, share) = script.next().unwrap_or((0, u16::MAX));
                while open.len() < connections as usize {
                    let wanted = segment_bytes(map.missing(), connections, u64::from(share) << 6, Duration::from_millis(20));
                    let Some((id, range)) = map.lease(usize::from(what % 3), wanted) else { break };
                    prop_assert!(!range.is_empty());
                    open.push(id);
                }
                let left: Vec<ByteRange> = open.iter().filter_map(|id| map.left_of(*id)).collect();
                for (index, one) in left.iter().enumerate() {
                    for other in left[..index].iter().filter(|other| !one.is_empty() && !other.is_empty()) {
                        prop_assert!(one.end <= other.start || other.end <= one.start);
                    }
                }
                prop_assert_eq!(map.missing() + map.written().len() + left.iter().map(|range| range.len()).sum::<u64>(), size);
                if open.is_empty() {
                    break;
                }
                let index = usize::from(what) % open.len();
                let id = open[index];
                let range = map.left_of(id).expect("it is open");
                let some = |all: u64| if share == u16::MAX { all } else { all * u64::from(share) / 65_536 };
                match what % 5 {
                    1 => {
                        let at = range.start + some(range.len());
                        if let Some((second, taken)) = map.split(id, at, 2) {
                            prop_assert_eq!((taken.start, taken.end), (at, range.end));
                            open.push(second);
                        }
                    }
                    2 => {
                        let start = some(size);
                        let gone = ByteRange::new(start, (start + (3 << 20)).min(size));
                        let before = map.written().len();
                        map.forget(gone);
                        count -= before - map.written().len();
                    }
                    _ => {
                        let bytes = some(range.len());
                        prop_assert!(map.wrote(id, bytes));
                        count += bytes;
                        if what % 3 == 0 || bytes == range.len() {
                            map.release(id);
                            open.swap_remove(index);
                        }
                    }
                }
                prop_assert_eq!(map.written().len(), count);
                let known: u64 = (0..3).flat_map(|source| map.came_from(source)).map(|range| range.len()).sum();
                prop_assert!(known <= count);
            }
            prop_assert!(map.is_complete());
            prop_assert_eq!(count, size);
        }
    }

    /// What is remembered of a file grows with the connections to it, not with its size.
    #[test]
    fn a_tebibyte_is_a_few_ranges() {
        const SIZE: u64 = 1 << 40;
        let mut map = SegmentMap::new(SIZE, RangeSet::default());
        let mut open: Vec<(LeaseId, ByteRange)> = Vec::new();
        let mut random = fastrand::Rng::with_seed(1);
        while !map.is_complete() {
            while open.len() < 64
                && let Some(lease) = map.lease(random.usize(..3), LARGEST)
            {
                open.push(lease);
            }
            let (id, range) = open.swap_remove(random.usize(..open.len()));
            let bytes = if random.bool() { range.len() } else { range.len() / 2 };
            assert!(map.wrote(id, bytes));
            map.release(id);
            // Gaps are filled from the front, so that those that stay are as many as the connections.
            assert!(map.written().ranges().len() <= 3 * 64, "{:?}", map.written());
        }
        assert_eq!(map.written().ranges().len(), 1);
    }

    #[test]
    fn a_late_result_is_told_apart() {
        let mut map = SegmentMap::new(10 << 20, RangeSet::default());
        let (id, _) = map.lease(0, 4 << 20).unwrap();
        map.release(id);
        assert!(!map.wrote(id, 5));
        assert!(map.written().is_empty());
    }

    #[test]
    fn a_small_file_is_one_segment() {
        let mut map = SegmentMap::new(3 << 20, RangeSet::default());
        assert_eq!(map.lease(0, 8 << 20).unwrap().1, ByteRange::new(0, 3 << 20));
        assert!(map.lease(0, 8 << 20).is_none());
    }

    #[test]
    fn a_split_lease_is_two() {
        let mut map = SegmentMap::new(32 << 20, RangeSet::default());
        let (first, _) = map.lease(0, 64 << 20).unwrap();
        assert!(map.wrote(first, 4 << 20));
        assert!(map.split(first, 2 << 20, 1).is_none(), "that is written already");
        let (second, range) = map.split(first, 20 << 20, 1).unwrap();
        assert_eq!(range, ByteRange::new(20 << 20, 32 << 20));
        assert!(map.wrote(second, 12 << 20) && map.wrote(first, 16 << 20));
        assert!(map.is_complete());
        assert_eq!(map.came_from(1), [range]);
        assert!(SegmentMap::in_one_piece(5).split(first, 1, 0).is_none());
    }

    #[test]
    fn segments_are_a_share_and_worth_their_request() {
        let check = |missing, connections, rate, first_byte, expected| {
            let bytes = segment_bytes(missing, connections, rate, Duration::from_millis(first_byte));
            assert_eq!(bytes, expected);
        };
        check(256 << 20, 32, 8_000_000, 1, 8 << 20);
        check(2 << 30, 8, 1_000_000, 1, 64 << 20);
        check(20 << 20, 32, 0, 0, SMALLEST);
        // At 50 MB/s and 40 ms a request of 4 MiB would wait a third of its time.
        check(20 << 20, 32, 50_000_000, 40, 32_000_000);
    }
}
