//! Hashing that keeps pace with a growing file and remembers its blocks.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use twox_hash::XxHash3_128;

use super::error::CacheError;
use super::hasher::Hasher;
use super::verify::Content;
use crate::model::{ByteRange, Digest};
use crate::plan::blocks::{self, BlockCheck};

/// Blocks of 1 GiB together: who has to hash a part of a file again begins at one of these.
const STRIDE: u64 = 64;

/// Follows a file from its first byte on: hashes it, and makes a fast check of every block that it passes. At the beginning
/// of a block its state can be saved.
#[derive(Clone)]
pub struct Follower {
    size: u64,
    hasher: Hasher,
    /// Of the block that the hasher is in.
    block: XxHash3_128,
    /// The state at the beginning of that block.
    at_block: Hasher,
    /// Of all blocks before it.
    checks: Vec<BlockCheck>,
    /// What some of the blocks ahead were when they were hashed before.
    expected: BTreeMap<u64, BlockCheck>,
    /// The state at the beginning of every [`STRIDE`]th block, to begin again there.
    strides: Vec<Hasher>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// How a [`Follower`] came along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// It is where it was to go.
    Reached,
    /// This block is not what it was when it was hashed before. The follower stands at its beginning and expects nothing of
    /// it any more.
    Changed(u64),
}

impl Follower {
    /// At the beginning of a file of `size` bytes, to be hashed as `like`.
    pub fn new(like: &Digest, size: u64) -> Self {
        let hasher = Hasher::new(like, size);
        Self {
            size,
            block: XxHash3_128::new(),
            at_block: hasher.clone(),
            checks: Vec::new(),
            expected: BTreeMap::new(),
            strides: vec![hasher.clone()],
            hasher,
        }
    }

    /// Goes on from a state that [`Follower::saved`] gave and the checks of the blocks before it; `None` when they do not go
    /// together.
    pub fn resume(like: &Digest, size: u64, saved: &[u8], mut checks: Vec<BlockCheck>) -> Option<Self> {
        let hasher = Hasher::restore(saved)?;
        let passed = usize::try_from(hasher.position() / blocks::BLOCK_BYTES).ok()?;
        let at_border = hasher.position() % blocks::BLOCK_BYTES == 0 && hasher.position() <= size;
        if !hasher.is_like(like) || !at_border || checks.len() < passed {
            return None;
        }
        checks.truncate(passed);
        Some(Self {
            at_block: hasher.clone(),
            hasher,
            checks,
            ..Self::new(like, size)
        })
    }

    /// Expects blocks ahead to be what they were before.
    #[must_use]
    pub fn expecting(mut self, checks: BTreeMap<u64, BlockCheck>) -> Self {
        self.expected = checks;
        self.expected.retain(|block, _| *block >= self.checks.len() as u64);
        self
    }

    /// How many bytes of the file were taken.
    pub fn position(&self) -> u64 {
        self.hasher.position()
    }

    /// The checks of the blocks that were passed; of all of them at the end of the file.
    pub fn checks(&self) -> &[BlockCheck] {
        &self.checks
    }

    /// The same, and what is expected of those that follow without a gap.
    pub fn known_checks(&self) -> Vec<BlockCheck> {
        let ahead = (self.checks.len() as u64..).map_while(|block| self.expected.get(&block).copied());
        self.checks.iter().copied().chain(ahead).collect()
    }

    /// The digest of what was taken.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// The state at the beginning of the present block, to go on in another process; empty before the first.
    pub fn saved(&self) -> Vec<u8> {
        match self.at_block.position() {
            0 => Vec::new(),
            _ => self.at_block.save().unwrap_or_default(),
        }
    }

    /// Goes back so that everything from block `index` on is taken again.
    pub fn rewind(&mut self, index: u64) {
        if index.saturating_mul(blocks::BLOCK_BYTES) >= self.position() {
            return;
        }
        // A resumed one has no states before its beginning.
        let stride = usize::try_from(index / STRIDE).unwrap_or(usize::MAX);
        let stride = stride.min(self.strides.len() - 1);
        self.strides.truncate(stride + 1);
        self.hasher = self.strides[stride].clone();
        let passed = usize::try_from(self.hasher.position() / blocks::BLOCK_BYTES).unwrap_or(usize::MAX);
        self.checks.truncate(passed);
        self.begin_block();
    }

    fn begin_block(&mut self) {
        self.at_block = self.hasher.clone();
        self.block = XxHash3_128::new();
    }

    fn take(&mut self, bytes: &[u8]) -> Option<u64> {
        self.hasher.update(bytes);
        self.block.write(bytes);
        let at = self.position();
        if !at.is_multiple_of(blocks::BLOCK_BYTES) && at != self.size {
            return None;
        }
        let index = self.checks.len() as u64;
        let check = BlockCheck(self.block.finish_128());
        if self.expected.remove(&index).is_some_and(|expected| expected != check) {
            self.hasher = self.at_block.clone();
            self.block = XxHash3_128::new();
            return Some(index);
        }
        self.checks.push(check);
        self.begin_block();
        // Without a gap: one that was resumed in the middle keeps only the beginning.
        if (index + 1).is_multiple_of(STRIDE) && (index + 1) / STRIDE == self.strides.len() as u64 {
            self.strides.push(self.hasher.clone());
        }
        None
    }

    /// Takes the bytes of the file from its position up to byte `end`. When it fails, it stands at the last byte that it took,
    /// and can go on from there.
    ///
    /// # Errors
    /// As [`super::verify::hash`].
    pub fn advance(
        &mut self,
        content: Content<'_>,
        end: u64,
        cancel: &AtomicBool,
        progress: &dyn Fn(u64),
    ) -> Result<Followed, CacheError> {
        let mut outcome = Followed::Reached;
        content.read(ByteRange::new(self.position(), end), cancel, |bytes| {
            let changed = self.take(bytes);
            progress(self.position());
            match changed {
                Some(index) => {
                    outcome = Followed::Changed(index);
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        })?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testkit::{content, git_digest, on_disk, sha256_digest};
    use crate::cache::verify::check_range;

    const BLOCK: usize = 16 << 20;
    static GO_ON: AtomicBool = AtomicBool::new(false);

    fn seen(follower: &mut Follower, file: &tempfile::NamedTempFile, end: usize) -> Followed {
        follower.advance(content(file), end as u64, &GO_ON, &|_| ()).unwrap()
    }

    fn bytes(size: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut bytes = vec![0; size];
        random.fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_follower_checks_every_block_and_goes_on_at_its_border() {
        let bytes = bytes(2 * BLOCK + 77);
        let (file, digest, size) = (on_disk(&bytes), sha256_digest(&bytes), bytes.len() as u64);
        let mut whole = Follower::new(&digest, size);
        assert_eq!(whole.saved(), [0; 0]);
        // In uneven turns, as a download makes them.
        for end in [5, BLOCK - 1, BLOCK + 3, 2 * BLOCK, 2 * BLOCK + 9] {
            assert_eq!(seen(&mut whole, &file, end), Followed::Reached);
        }
        let (saved, checks) = (whole.saved(), whole.checks().to_vec());
        assert_eq!(checks.len(), 2);
        assert_eq!(seen(&mut whole, &file, bytes.len()), Followed::Reached);
        assert_eq!((whole.digest(), whole.checks().len()), (digest, 3));
        for (index, check) in (0..).zip(whole.checks()) {
            let range = blocks::range(index, size);
            assert_eq!(check_range(content(&file), range, &GO_ON).unwrap(), *check);
        }
        let mut again = Follower::resume(&digest, size, &saved, checks.clone()).unwrap();
        assert_eq!(again.position(), 2 * BLOCK as u64);
        seen(&mut again, &file, bytes.len());
        assert_eq!((again.digest(), again.checks()), (digest, whole.checks()));
        assert!(
            Follower::resume(&digest, size, &saved, checks[..1].to_vec()).is_none(),
            "a check is missing"
        );
        assert!(
            Follower::resume(&git_digest(b""), size, &saved, checks).is_none(),
            "another kind of digest"
        );
    }

    #[test]
    fn a_changed_block_stops_the_follower_at_its_beginning() {
        let right = bytes(3 * BLOCK + 1);
        let (digest, size) = (sha256_digest(&right), right.len() as u64);
        let mut first = Follower::new(&digest, size);
        seen(&mut first, &on_disk(&right), right.len());
        for (changed, at) in [(0, 17), (1, BLOCK), (2, 3 * BLOCK - 1), (3, 3 * BLOCK)] {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            let file = on_disk(&wrong);
            let expected = (0..).zip(first.checks().iter().copied()).collect();
            let mut second = Follower::new(&digest, size).expecting(expected);
            assert_eq!(second.known_checks(), first.checks());
            assert_eq!(seen(&mut second, &file, right.len()), Followed::Changed(changed));
            assert_eq!(second.position(), changed * BLOCK as u64);
            // It came again, and right.
            std::fs::write(file.path(), &right).unwrap();
            assert_eq!(seen(&mut second, &file, right.len()), Followed::Reached);
            assert_eq!(second.digest(), digest);
        }
    }

    #[test]
    fn a_part_is_hashed_again() {
        let wrong = bytes(3 * BLOCK);
        let mut right = wrong.clone();
        right[2 * BLOCK + 5] ^= 8;
        let (digest, size) = (sha256_digest(&right), right.len() as u64);
        let file = on_disk(&wrong);
        let mut follower = Follower::new(&digest, size);
        seen(&mut follower, &file, wrong.len());
        assert_ne!(follower.digest(), digest);
        std::fs::write(file.path(), &right).unwrap();
        follower.rewind(2);
        assert!(follower.position() <= 2 * BLOCK as u64);
        seen(&mut follower, &file, wrong.len());
        assert_eq!((follower.digest(), follower.checks().len()), (digest, 3));
        follower.rewind(9);
        assert_eq!(follower.position(), size, "there is nothing behind");
    }
}
