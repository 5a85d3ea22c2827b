//! Verify: do these bytes hash to that digest. Reads only.
//!
//! SHA-256 and git's SHA-1 need the bytes in order, while segments arrive in any order. So a [`Follower`](super::Follower) goes up to the
//! lowest byte that is contiguous from zero, reading what the file holds, not what the network said. Beside the digest it
//! makes a fast check of every block, which tells later which part of a file has changed.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use twox_hash::XxHash3_128;

use super::error::CacheError;
use super::hasher::Hasher;
use super::neighbour::PassingReader;
use crate::model::{ByteRange, Digest};
use crate::plan::blocks::BlockCheck;

/// Bytes read at once: large enough for the disk, small enough to stay in the processor's cache.
const BUFFER_BYTES: usize = 1 << 20;

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
    pub(super) fn read(
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
        progress(hasher.position());
        ControlFlow::Continue(())
    })?;
    Ok(hasher.finish())
}

/// The fast check of some bytes as the file holds them now.
///
/// # Errors
/// As [`hash`].
pub fn check_range(content: Content<'_>, range: ByteRange, cancel: &AtomicBool) -> Result<BlockCheck, CacheError> {
    let mut check = XxHash3_128::new();
    content.read(range, cancel, |bytes| {
        check.write(bytes);
        ControlFlow::Continue(())
    })?;
    Ok(BlockCheck(check.finish_128()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::testkit::{content, on_disk, sha256_digest};

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

    /// Checks lie in users' databases: another library has to come to the same ones.
    #[test]
    fn checks_are_those_of_xxh3() {
        let long = [1, 2, 3, 4].repeat(50_000);
        for (bytes, expected) in [
            (&b""[..], 0x99aa_06d3_0147_98d8_6001_c324_468d_497f),
            (&long, 0xbae0_fc07_3272_65b3_174a_0428_f03d_479e),
        ] {
            let file = on_disk(bytes);
            let range = ByteRange::new(0, bytes.len() as u64);
            let check = check_range(content(&file), range, &AtomicBool::new(false));
            assert_eq!(check.unwrap(), BlockCheck(expected));
        }
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
}
