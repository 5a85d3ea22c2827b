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

/// Bytes of one block, all from one source, that may be the wrong ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Which bytes.
    pub range: ByteRange,
    /// Where they came from; `None` when they came in an earlier run.
    pub source: Option<usize>,
}

/// Cuts a range where it came from other sources. `came_from` has the ranges by source, sorted, each byte at most once.
pub fn pieces(range: ByteRange, came_from: &[(usize, Vec<ByteRange>)]) -> Vec<Suspect> {
    let mut pieces = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let mut end = range.end;
        let mut source = None;
        for (index, ranges) in came_from {
            // Only where it may be: a file may have many ranges.
            match ranges.get(ranges.partition_point(|known| known.end <= at)) {
                Some(known) if known.start <= at => {
                    source = Some(*index);
                    end = end.min(known.end);
                }
                Some(known) => end = end.min(known.start),
                None => {}
            }
        }
        let range = ByteRange::new(at, end);
        pieces.push(Suspect { range, source });
        at = end;
    }
    pieces
}

/// All bytes of a file of `size` bytes in pieces of a block and a source, the likeliest to be wrong first. `distrust` tells of
/// every source how little it is trusted, 0 being the best. What nobody knows the source of comes before the bytes of a
/// source of rank 0, and after all others.
pub fn suspects(size: u64, came_from: &[(usize, Vec<ByteRange>)], distrust: &[u32]) -> Vec<Suspect> {
    let rank = |source: usize| distrust.get(source).copied().unwrap_or(u32::MAX);
    let mut suspects: Vec<Suspect> = (0..count(size))
        .flat_map(|block| pieces(range(block, size), came_from))
        .collect();
    suspects.sort_by_key(|suspect| {
        let distrust = suspect.source.map_or(0, rank);
        (std::cmp::Reverse(distrust), suspect.source, suspect.range.start)
    });
    suspects
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn blocks_cover_a_file_once() {
        for size in [
            0,
            1,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            1 << 40,
            (1 << 40) + 5,
        ] {
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
        type Piece = (u64, u64, Option<usize>);
        let check = |came_from: &[(usize, &[(u64, u64)])], distrust: &[u32], expected: &[Piece]| {
            let came_from: Vec<_> = came_from
                .iter()
                .map(|(source, ranges)| {
                    let ranges = ranges.iter().map(|(start, end)| ByteRange::new(start * MIB, end * MIB));
                    (*source, ranges.collect())
                })
                .collect();
            let found: Vec<Piece> = suspects(60 * MIB, &came_from, distrust)
                .into_iter()
                .map(|suspect| (suspect.range.start / MIB, suspect.range.end / MIB, suspect.source))
                .collect();
            assert_eq!(found, expected, "{came_from:?} {distrust:?}");
            let mut covered: Vec<_> = found.iter().map(|(start, end, _)| (*start, *end)).collect();
            covered.sort_unstable();
            assert_eq!((covered[0].0, covered[covered.len() - 1].1), (0, 60));
            assert!(covered.windows(2).all(|two| two[0].1 == two[1].0), "{covered:?}");
        };
        // Nothing is known: all of them, in order.
        check(
            &[],
            &[0],
            &[(0, 16, None), (16, 32, None), (32, 48, None), (48, 60, None)],
        );
        // One source.
        check(
            &[(0, &[(0, 60)])],
            &[0],
            &[
                (0, 16, Some(0)),
                (16, 32, Some(0)),
                (32, 48, Some(0)),
                (48, 60, Some(0)),
            ],
        );
        // The mirror's bytes first, cut where they begin and end.
        check(
            &[(0, &[(0, 20), (36, 60)]), (1, &[(20, 36)])],
            &[0, 1],
            &[
                (20, 32, Some(1)),
                (32, 36, Some(1)),
                (0, 16, Some(0)),
                (16, 20, Some(0)),
                (36, 48, Some(0)),
                (48, 60, Some(0)),
            ],
        );
        // What came in an earlier run lies between.
        check(
            &[(0, &[(0, 16)]), (1, &[(48, 60)])],
            &[0, 1],
            &[(48, 60, Some(1)), (16, 32, None), (32, 48, None), (0, 16, Some(0))],
        );
        // Equally trusted ones, one after the other, so that each can be left out in turn.
        check(
            &[(0, &[(0, 16), (32, 48)]), (1, &[(16, 32), (48, 60)])],
            &[1, 1],
            &[
                (0, 16, Some(0)),
                (32, 48, Some(0)),
                (16, 32, Some(1)),
                (48, 60, Some(1)),
            ],
        );
    }
}
