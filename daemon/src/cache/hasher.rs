//! A digest half done: SHA-256 or git's SHA-1, whose state can be saved and goes on in another process.

use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

use crate::model::Digest;

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

    /// Whether it makes digests of this kind.
    pub fn is_like(&self, like: &Digest) -> bool {
        matches!(
            (&self.state, like),
            (State::Sha256(_), Digest::Sha256(_)) | (State::Git(_), Digest::GitSha1(_))
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testkit::{git_digest, sha256_digest};

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
}
