//! Verify: do these bytes hash to that digest. Reads only.
//!
//! SHA-256 and git's SHA-1 need the bytes in order, while segments arrive in any order. So a [`Hasher`] follows the
//! lowest byte that is contiguous from zero ([`advance`]), reading what the file holds, not what the network said.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

use super::error::CacheError;
use crate::model::Digest;

/// Bytes read at once: large enough for the disk, small enough to stay in the processor's cache.
const BUFFER_BYTES: usize = 1 << 20;

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
    advance(&mut hasher, content, size, cancel, progress)?;
    Ok(hasher.finish())
}

/// Feeds the hasher from its position up to byte `end` of the file. When it fails, the hasher stands at the last
/// byte that it took, and can go on from there.
///
/// # Errors
/// As [`hash`].
pub fn advance(
    hasher: &mut Hasher,
    content: Content<'_>,
    end: u64,
    cancel: &AtomicBool,
    progress: &dyn Fn(u64),
) -> Result<(), CacheError> {
    let mut buffer = vec![
        0;
        usize::try_from(end.saturating_sub(hasher.position))
            .map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES))
    ];
    while hasher.position < end {
        if cancel.load(Ordering::Relaxed) {
            return Err(CacheError::Cancelled {
                path: content.path.to_owned(),
            });
        }
        let want = usize::try_from(end - hasher.position).map_or(buffer.len(), |left| left.min(buffer.len()));
        let got = match content.file.read_at(&mut buffer[..want], hasher.position) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Err(source) if source.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other,
        };
        let got = got.map_err(|source| CacheError::Io {
            act: "read",
            path: content.path.to_owned(),
            source,
        })?;
        hasher.update(&buffer[..got]);
        progress(hasher.position);
    }
    Ok(())
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
            let content = Content {
                file: file.as_file(),
                path: file.path(),
            };
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
        let content = Content {
            file: file.as_file(),
            path: file.path(),
        };
        let like = sha256_digest(b"");
        let stopped = hash(content, &like, 6, &AtomicBool::new(true), &|_| ());
        assert!(matches!(stopped, Err(CacheError::Cancelled { .. })));
        let short = hash(content, &like, 7, &AtomicBool::new(false), &|_| ());
        assert!(matches!(short, Err(CacheError::Io { .. })));
    }
}
