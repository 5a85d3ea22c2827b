//! Verify: do these bytes hash to that digest. Reads only.
//!
//! SHA-256 and git's SHA-1 need the bytes in order, while segments arrive in any order. So a [`Follower`] goes up to the
//! lowest byte that is contiguous from zero, reading what the file holds, not what the network said. Beside the digest it
//! makes a fast check of every block, which tells later which part of a file has changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use xxhash_rust::xxh3::Xxh3;

use super::error::CacheError;
use super::neighbour::PassingReader;
use crate::model::{ByteRange, Digest};
use crate::plan::blocks::{self, BlockCheck};

/// Bytes read at once: large enough for the disk, small enough to stay in the processor's cache.
const BUFFER_BYTES: usize = 1 << 20;
/// Blocks of 1 GiB together: who has to hash a part of a file again begins at one of these.
const STRIDE: u64 = 64;

/// First byte of a saved state; another one is not read.
const SAVED_VERSION: u8 = 1;

/// A hash half done.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    position: u64,
}

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Git(sha1::Sha1),
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Hasher {
    /// Of the same kind as `like`, for a file of `size` bytes (git hashes the size first).
    pub fn new(like: &Digest, size: u64) -> Self {
        let state = match like {
            Digest::Sha256(_) => State::Sha256(sha2::Sha256::new()),
            Digest::GitSha1(_) => State::Git(sha1::Sha1::new_with_prefix(format!("blob {size}\0"))),
        };
        Self { state, position: 0 }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hash) => hash.update(bytes),
            State::Git(hash) => hash.update(bytes),
        }
        self.position += bytes.len() as u64;
    }

    /// How many bytes of the file were taken.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The digest of what was taken.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(hash) => Digest::Sha256(hash.finalize().into()),
            State::Git(hash) => Digest::GitSha1(hash.finalize().into()),
        }
    }

    /// The state as bytes, to go on in another process. Good only for the same file, unchanged: the caller stores it
    /// with the file's identity and guards both with a checksum. `None` when this kind cannot be saved.
    pub fn save(&self) -> Option<Vec<u8>> {
        let (kind, state) = match &self.state {
            State::Sha256(hash) => (0, hash.serialize().to_vec()),
            State::Git(hash) => (1, hash.serialize().to_vec()),
        };
        let mut bytes = vec![SAVED_VERSION, kind];
        bytes.extend(self.position.to_le_bytes());
        bytes.extend(state);
        Some(bytes)
    }

    /// Goes on from saved bytes; `None` when they are not such a state.
    pub fn restore(bytes: &[u8]) -> Option<Self> {
        let (&[version, kind], rest) = bytes.split_first_chunk()?;
        let (position, state) = rest.split_first_chunk()?;
        if version != SAVED_VERSION {
            return None;
        }
        let state = match kind {
            0 => State::Sha256(revive(state)?),
            1 => State::Git(revive(state)?),
            _ => return None,
        };
        Some(Self {
            state,
            position: u64::from_le_bytes(*position),
        })
    }
}

fn revive<H: SerializableState>(bytes: &[u8]) -> Option<H> {
    let state: &SerializedState<H> = bytes.try_into().ok()?;
    H::deserialize(state).ok()
}

/// An open file to be read, with the name that errors show.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The file; read at offsets only.
    pub file: &'a File,
    /// For error texts.
    pub path: &'a Path,
    /// What is read does not stay in the page cache.
    pub passing: bool,
}

impl Content<'_> {
    /// Reads `range` in order and hands the pieces on, none of which crosses a multiple of [`BUFFER_BYTES`]. `take` may say
    /// stop.
    fn read(
        self,
        range: ByteRange,
        cancel: &AtomicBool,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), CacheError> {
        let most = BUFFER_BYTES as u64;
        let mut reader = PassingReader::new(self.file, self.passing);
        let mut buffer = vec![0; usize::try_from(range.len()).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES))];
        let mut at = range.start;
        while at < range.end {
            if cancel.load(Ordering::Relaxed) {
                return Err(CacheError::Cancelled {
                    path: self.path.to_owned(),
                });
            }
            let want = usize::try_from((range.end - at).min(most - at % most)).unwrap_or(BUFFER_BYTES);
            let got = match reader.read_at(&mut buffer[..want], at) {
                Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let got = got.map_err(|source| CacheError::Io {
                act: "read",
                path: self.path.to_owned(),
                source,
            })?;
            at += got as u64;
            if take(&buffer[..got]).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The digest, of the kind of `like`, of the first `size` bytes. `progress` hears how many are hashed so far.
///
/// Safe to repeat and to cancel: nothing is changed.
///
/// # Errors
/// `Cancelled` when the flag is set; `Io` when the file cannot be read or is shorter.
pub fn hash(
    content: Content<'_>,
    like: &Digest,
    size: u64,
    cancel: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<Digest, CacheError> {
    let mut hasher = Hasher::new(like, size);
    content.read(ByteRange::new(0, size), cancel, |bytes| {
        hasher.update(bytes);
        progress(hasher.position);
        ControlFlow::Continue(())
    })?;
    Ok(hasher.finish())
}

/// The fast check of some bytes as the file holds them now.
///
/// # Errors
/// As [`hash`].
pub fn check_range(content: Content<'_>, range: ByteRange, cancel: &AtomicBool) -> Result<BlockCheck, CacheError> {
    let mut check = Xxh3::new();
    content.read(range, cancel, |bytes| {
        check.update(bytes);
        ControlFlow::Continue(())
    })?;
    Ok(BlockCheck(check.digest128()))
}

/// Follows a file from its first byte on: hashes it, and makes a fast check of every block that it passes. At the beginning
/// of a block its state can be saved.
#[derive(Clone)]
pub struct Follower {
    size: u64,
    hasher: Hasher,
    /// Of the block that the hasher is in.
    block: Xxh3,
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
            block: Xxh3::new(),
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
        let same_kind = matches!(
            (&hasher.state, like),
            (State::Sha256(_), Digest::Sha256(_)) | (State::Git(_), Digest::GitSha1(_))
        );
        let passed = usize::try_from(hasher.position / blocks::BLOCK_BYTES).ok()?;
        let at_border = hasher.position % blocks::BLOCK_BYTES == 0 && hasher.position <= size;
        if !same_kind || !at_border || checks.len() < passed {
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
        self.hasher.position
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
        match self.at_block.position {
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
        let passed = usize::try_from(self.hasher.position / blocks::BLOCK_BYTES).unwrap_or(usize::MAX);
        self.checks.truncate(passed);
        self.begin_block();
    }

    fn begin_block(&mut self) {
        self.at_block = self.hasher.clone();
        self.block.reset();
    }

    fn take(&mut self, bytes: &[u8]) -> Option<u64> {
        self.hasher.update(bytes);
        self.block.update(bytes);
        let at = self.position();
        if at % blocks::BLOCK_BYTES != 0 && at != self.size {
            return None;
        }
        let index = self.checks.len() as u64;
        let check = BlockCheck(self.block.digest128());
        if self.expected.remove(&index).is_some_and(|expected| expected != check) {
            self.hasher = self.at_block.clone();
            self.block.reset();
            return Some(index);
        }
        self.checks.push(check);
        self.begin_block();
        // Without a gap: one that was resumed in the middle keeps only the beginning.
        if (index + 1) % STRIDE == 0 && (index + 1) / STRIDE == self.strides.len() as u64 {
            self.strides.push(self.hasher.clone());
        }
        None
    }

    /// Takes the bytes of the file from its position up to byte `end`. When it fails, it stands at the last byte that it took,
    /// and can go on from there.
    ///
    /// # Errors
    /// As [`hash`].
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
    use crate::cache::testkit::{git_digest, sha256_digest};

    fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn content(file: &tempfile::NamedTempFile) -> Content<'_> {
        Content {
            file: file.as_file(),
            path: file.path(),
            passing: true,
        }
    }

    #[test]
    fn digests_follow_the_vectors() {
        let pattern = [1, 2, 3, 4].repeat(50_000);
        for (bytes, expected) in [
            (&b""[..], "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
            (
                b"hello\n",
                "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            ),
            (
                &pattern,
                "e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332",
            ),
        ] {
            let expected = Digest::parse(expected).unwrap();
            let file = on_disk(bytes);
            let content = content(&file);
            let got = hash(content, &expected, bytes.len() as u64, &AtomicBool::new(false), &|_| ());
            assert_eq!(got.unwrap(), expected);
        }
    }

    #[test]
    fn a_saved_state_goes_on_to_the_same_digest() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        for expected in [sha256_digest(&bytes), git_digest(&bytes)] {
            for cut in [0, 1, 63, 64, 65, 100_000, bytes.len()] {
                let mut first = Hasher::new(&expected, bytes.len() as u64);
                first.update(&bytes[..cut]);
                let saved = first.save().unwrap();
                let mut second = Hasher::restore(&saved).unwrap();
                assert_eq!(second.position(), cut as u64);
                second.update(&bytes[cut..]);
                assert_eq!(second.finish(), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_damaged_state_is_not_restored() {
        let saved = Hasher::new(&sha256_digest(b""), 0).save().unwrap();
        assert!(Hasher::restore(&saved[..saved.len() - 1]).is_none());
        assert!(Hasher::restore(&[]).is_none());
        let mut other = saved.clone();
        other[0] = 9;
        assert!(Hasher::restore(&other).is_none());
        let mut other = saved;
        other[1] = 1;
        assert!(Hasher::restore(&other).is_none(), "a SHA-256 state is no SHA-1 state");
    }

    #[test]
    fn hashing_stops_when_cancelled_and_says_so_when_the_file_is_short() {
        let file = on_disk(b"hello\n");
        let content = content(&file);
        let like = sha256_digest(b"");
        let stopped = hash(content, &like, 6, &AtomicBool::new(true), &|_| ());
        assert!(matches!(stopped, Err(CacheError::Cancelled { .. })));
        let short = hash(content, &like, 7, &AtomicBool::new(false), &|_| ());
        assert!(matches!(short, Err(CacheError::Io { .. })));
    }

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
