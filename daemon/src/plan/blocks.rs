//! Blocks: the parts of a file that are told apart when its digest is wrong. Each has a fast check; which of them are fetched
//! again, and in which order, is decided here.

use crate::model::ByteRange;

/// Bytes of a block; the last one of a file may be shorter.
pub const BLOCK_BYTES: u64 = 16 << 20;

/// A fast check of one block's bytes. It tells accidents, not attackers: whether a file is right only its digest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCheck(pub u128);

/// The bytes of a block of a file of `size` bytes; empty behind its end.
pub fn range(index: u64, size: u64) -> ByteRange {
    let start = index.saturating_mul(BLOCK_BYTES).min(size);
    ByteRange::new(start, start.saturating_add(BLOCK_BYTES).min(size))
}

/// How many blocks a file of `size` bytes has.
pub fn count(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES)
}

/// A block that may be the wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Number of the block.
    pub block: u64,
    /// The source that its bytes came from, or one of several; `None` when they came in an earlier run.
    pub source: Option<usize>,
}

/// All blocks of a file, the likeliest to be wrong first. `came_from` has the ranges by source, each at most once;
/// `distrust` tells of every source how little it is trusted, 0 being the best. What nobody knows the source of comes
/// before the bytes of a source of rank 0, and after all others.
pub fn suspects(size: u64, came_from: &[(usize, Vec<ByteRange>)], distrust: &[u32]) -> Vec<Suspect> {
    let rank = |source: usize| distrust.get(source).copied().unwrap_or(u32::MAX);
    let mut suspects: Vec<(u32, bool, Suspect)> = (0..count(size))
        .map(|block| {
            let bytes = range(block, size);
            let touches = |known: &ByteRange| known.start < bytes.end && bytes.start < known.end;
            let brought = came_from.iter().filter(|(_, ranges)| touches_any(ranges, bytes, touches));
            // Of several the least trusted one: it is the one not to ask again.
            let source = brought.map(|(source, _)| *source).max_by_key(|source| rank(*source));
            let suspect = Suspect { block, source };
            (source.map_or(0, rank), source.is_none(), suspect)
        })
        .collect();
    suspects.sort_by_key(|(rank, unknown, suspect)| {
        (std::cmp::Reverse(*rank), std::cmp::Reverse(*unknown), suspect.source, suspect.block)
    });
    suspects.into_iter().map(|(_, _, suspect)| suspect).collect()
}

/// Looks only where it may be: the ranges are sorted and disjoint, and a file may have many.
fn touches_any(ranges: &[ByteRange], bytes: ByteRange, touches: impl Fn(&ByteRange) -> bool) -> bool {
    let first = ranges.partition_point(|known| known.end <= bytes.start);
    ranges.get(first).is_some_and(touches)
}

/// Blocks as ranges for people: `16.0..48.0 MiB` rather than every number.
pub fn merged(blocks: &[u64], size: u64) -> Vec<ByteRange> {
    let set: super::RangeSet = blocks.iter().map(|block| range(*block, size)).collect();
    set.ranges().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn blocks_cover_a_file_once() {
        for size in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 1 << 40, (1 << 40) + 5] {
            let mut end = 0;
            let mut walk = |index| {
                let bytes = range(index, size);
                assert_eq!(bytes.start, end, "{size}");
                assert!(!bytes.is_empty() && bytes.len() <= BLOCK_BYTES);
                end = bytes.end;
            };
            (0..count(size)).for_each(&mut walk);
            assert_eq!(end, size);
            assert!(range(count(size), size).is_empty());
        }
    }

    #[test]
    fn who_is_trusted_least_is_suspected_first() {
        let check = |came_from: &[(usize, &[(u64, u64)])], distrust: &[u32], expected: &[(u64, Option<usize>)]| {
            let came_from: Vec<_> = came_from
                .iter()
                .map(|(source, ranges)| {
                    let ranges = ranges.iter().map(|(start, end)| ByteRange::new(start * MIB, end * MIB));
                    (*source, ranges.collect())
                })
                .collect();
            let found: Vec<_> = suspects(60 * MIB, &came_from, distrust)
                .into_iter()
                .map(|suspect| (suspect.block, suspect.source))
                .collect();
            assert_eq!(found, expected, "{came_from:?} {distrust:?}");
        };
        // Nothing is known: all of them, in order.
        check(&[], &[0], &[(0, None), (1, None), (2, None), (3, None)]);
        // One source.
        check(&[(0, &[(0, 60)])], &[0], &[(0, Some(0)), (1, Some(0)), (2, Some(0)), (3, Some(0))]);
        // The mirror's bytes first; a block of both counts for the mirror.
        check(
            &[(0, &[(0, 20), (36, 60)]), (1, &[(20, 36)])],
            &[0, 1],
            &[(1, Some(1)), (2, Some(1)), (0, Some(0)), (3, Some(0))],
        );
        // What came in an earlier run lies between.
        check(
            &[(0, &[(0, 16)]), (1, &[(48, 60)])],
            &[0, 1],
            &[(3, Some(1)), (1, None), (2, None), (0, Some(0))],
        );
        // Equally trusted ones, one after the other, so that each can be left out in turn.
        check(
            &[(0, &[(0, 16), (32, 48)]), (1, &[(16, 32), (48, 60)])],
            &[1, 1],
            &[(0, Some(0)), (2, Some(0)), (1, Some(1)), (3, Some(1))],
        );
        // Ranges that touch do not overlap.
        check(
            &[(1, &[(0, 16)]), (0, &[(16, 60)])],
            &[0, 1],
            &[(0, Some(1)), (1, Some(0)), (2, Some(0)), (3, Some(0))],
        );
    }

    #[test]
    fn neighbours_are_told_of_together() {
        let mib = |range: ByteRange| (range.start / MIB, range.end / MIB);
        let found: Vec<_> = merged(&[3, 0, 1], 60 * MIB).into_iter().map(mib).collect();
        assert_eq!(found, [(0, 32), (48, 60)]);
    }
}
