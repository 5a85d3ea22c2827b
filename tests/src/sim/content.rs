//! What the bytes of a file are: held in memory, lying on disk, or a pure function of (seed, offset).
//!
//! A seeded file of any size costs neither memory nor disk: it is a sequence of blocks, each a window into one
//! shared pool of random bytes, so that serving copies nothing. The first bytes of a block are a stamp of seed and
//! block number, so that a block written at the wrong place never equals the right one.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::digest;

/// Length of one block of a seeded file.
pub const SEED_BLOCK: u64 = 256 * 1024;
const STAMP: u64 = 16;
const WINDOWS: u64 = 2 * 1024 * 1024;
/// A slice taken from disk at a time.
const DISK_SLICE: u64 = 1024 * 1024;

/// The bytes of one file.
#[derive(Debug)]
pub struct Content {
    source: Source,
    size: u64,
    sha256: OnceLock<String>,
    git_blob: OnceLock<String>,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Seed(u64),
    Disk { path: PathBuf, file: File },
}

/// Digests of seeded files by (seed, size), so that each is computed once in a process.
static SEEDED_SHA256: Mutex<Option<HashMap<(u64, u64), String>>> = Mutex::new(None);

impl Content {
    /// Bytes held in memory.
    pub fn memory(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(bytes.len() as u64, Source::Memory(bytes))
    }

    /// `size` bytes that follow from `seed`.
    pub fn seeded(seed: u64, size: u64) -> Self {
        Self::new(size, Source::Seed(seed))
    }

    /// As [`Content::seeded`], with a SHA-256 that is taken on trust: for files too long to be hashed in a test.
    pub fn seeded_with_sha256(seed: u64, size: u64, sha256: &str) -> Self {
        let content = Self::seeded(seed, size);
        content.sha256.get_or_init(|| sha256.to_owned());
        content
    }

    /// A file on disk, opened now and read when asked for.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn disk(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self::new(
            size,
            Source::Disk {
                path: path.to_owned(),
                file,
            },
        ))
    }

    fn new(size: u64, source: Source) -> Self {
        Self {
            source,
            size,
            sha256: OnceLock::new(),
            git_blob: OnceLock::new(),
        }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `offset`: at least one unless `offset` is at the end, at most `max`, cheap for memory and seed.
    ///
    /// # Errors
    /// When the disk cannot be read or the file became shorter.
    pub fn slice(&self, offset: u64, max: u64) -> io::Result<Bytes> {
        let length = max.min(self.size.saturating_sub(offset));
        if length == 0 {
            return Ok(Bytes::new());
        }
        match &self.source {
            Source::Memory(bytes) => Ok(bytes.slice(index(offset)..index(offset + length))),
            Source::Seed(seed) => Ok(seeded_slice(*seed, offset, length)),
            Source::Disk { file, .. } => {
                let mut buffer = vec![0; index(length.min(DISK_SLICE))];
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
        }
    }

    /// A range as one buffer; for tests and small files.
    ///
    /// # Errors
    /// As [`Content::slice`].
    pub fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(index(length.min(self.size)));
        while (out.len() as u64) < length {
            let piece = self.slice(offset + out.len() as u64, length - out.len() as u64)?;
            if piece.is_empty() {
                break;
            }
            out.extend_from_slice(&piece);
        }
        Ok(out)
    }

    /// SHA-256 of the whole, 64 hex digits; computed once, which takes as long as hashing takes.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn sha256(&self) -> io::Result<&str> {
        if self.sha256.get().is_none() {
            let known = if let Source::Seed(seed) = self.source {
                seeded_sha256(seed, self.size)
            } else {
                None
            };
            let text = match known {
                Some(text) => text,
                None => {
                    let mut hasher = Sha256::new();
                    self.feed(|bytes| hasher.update(bytes))?;
                    digest::hex(&hasher.finalize())
                }
            };
            if let Source::Seed(seed) = self.source {
                remember_seeded_sha256(seed, self.size, &text);
            }
            self.sha256.get_or_init(|| text);
        }
        Ok(self.sha256.get().map_or("", String::as_str))
    }

    /// Git's blob id of the whole, 40 hex digits; computed once.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn git_blob(&self) -> io::Result<&str> {
        if self.git_blob.get().is_none() {
            let mut hasher = digest::git_blob_hasher(self.size);
            self.feed(|bytes| hasher.update(bytes))?;
            let text = digest::hex(&hasher.finalize());
            self.git_blob.get_or_init(|| text);
        }
        Ok(self.git_blob.get().map_or("", String::as_str))
    }

    /// A text that differs when the content differs, known without reading it: what commit ids are made of.
    pub(crate) fn identity(&self) -> String {
        match &self.source {
            Source::Memory(bytes) => digest::git_blob_hex(bytes),
            Source::Seed(seed) => format!(
                "seed:{seed}:{}:{}",
                self.size,
                self.sha256.get().map_or("", String::as_str)
            ),
            Source::Disk { path, file } => {
                let modified = file.metadata().and_then(|meta| meta.modified()).ok();
                let name = path.file_name().unwrap_or_default();
                format!("disk:{name:?}:{}:{modified:?}", self.size)
            }
        }
    }

    fn feed(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut offset = 0;
        while offset < self.size {
            let piece = self.slice(offset, self.size - offset)?;
            each(&piece);
            offset += piece.len() as u64;
        }
        Ok(())
    }
}

fn seeded_sha256(seed: u64, size: u64) -> Option<String> {
    let known = SEEDED_SHA256.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref()?.get(&(seed, size)).cloned()
}

fn remember_seeded_sha256(seed: u64, size: u64, text: &str) {
    let mut known = SEEDED_SHA256.lock().unwrap_or_else(PoisonError::into_inner);
    known.get_or_insert_default().insert((seed, size), text.to_owned());
}

fn seeded_slice(seed: u64, offset: u64, length: u64) -> Bytes {
    let block = offset / SEED_BLOCK;
    let within = offset % SEED_BLOCK;
    if within < STAMP {
        let mut stamp = [0; 16];
        stamp[..8].copy_from_slice(&mix(seed, block).to_le_bytes());
        stamp[8..].copy_from_slice(&block.to_le_bytes());
        let end = (stamp.len() as u64).min(within + length);
        return Bytes::copy_from_slice(&stamp[index(within)..index(end)]);
    }
    let window = mix(seed ^ 0x5ee_d0ff, block) % WINDOWS;
    let end = SEED_BLOCK.min(within + length);
    pool().slice(index(window + within)..index(window + end))
}

/// The random bytes that all seeded files are cut from.
fn pool() -> &'static Bytes {
    static POOL: OnceLock<Bytes> = OnceLock::new();
    POOL.get_or_init(|| {
        let words = (WINDOWS + SEED_BLOCK) / 8;
        let mut bytes = Vec::with_capacity(index(words * 8));
        for word in 0..words {
            bytes.extend_from_slice(&mix(0x0068_6665_7463_6800, word).to_le_bytes());
        }
        bytes.into()
    })
}

/// One step of SplitMix64, written out here so that no library's next version changes the content of a seed.
pub(crate) fn mix(seed: u64, counter: u64) -> u64 {
    let mut word = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// A position inside one buffer. Buffers are far below `usize::MAX` on the 64-bit systems we build for.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_a_seed_equals_the_same_range_of_the_whole() {
        let content = Content::seeded(7, 3 * SEED_BLOCK + 1000);
        let whole = content.read(0, content.size()).expect("readable");
        assert_eq!(whole.len() as u64, content.size());
        for offset in [
            0,
            1,
            15,
            16,
            17,
            SEED_BLOCK - 1,
            SEED_BLOCK,
            SEED_BLOCK + 9,
            3 * SEED_BLOCK + 999,
        ] {
            for length in [1, 20, 5000, SEED_BLOCK + 30] {
                let end = (offset + length).min(content.size());
                let expected = &whole[index(offset)..index(end)];
                assert_eq!(
                    content.read(offset, length).expect("readable"),
                    expected,
                    "{offset}+{length}"
                );
            }
        }
        assert_eq!(content.sha256().expect("readable"), digest::sha256_hex(&whole));
        assert_eq!(content.git_blob().expect("readable"), digest::git_blob_hex(&whole));
    }

    #[test]
    fn blocks_and_seeds_differ() {
        let one = Content::seeded(1, 4 * SEED_BLOCK);
        let two = Content::seeded(2, 4 * SEED_BLOCK);
        assert_ne!(one.read(0, 64).expect("readable"), two.read(0, 64).expect("readable"));
        assert_ne!(
            one.read(0, 64).expect("readable"),
            one.read(SEED_BLOCK, 64).expect("readable")
        );
    }

    #[test]
    fn a_tebibyte_costs_nothing() {
        let tebibyte = 1 << 40;
        let content = Content::seeded_with_sha256(3, tebibyte, &"ab".repeat(32));
        assert_eq!(content.read(tebibyte - 5, 100).expect("readable").len(), 5);
        assert_eq!(content.sha256().expect("given"), "ab".repeat(32));
    }
}
