//! Hash strings as the Hub prints them. Pure functions over bytes.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// SHA-256 of some bytes, 64 hex digits: the identity of a linked file.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-1 of some bytes, 40 hex digits.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}

/// Git's blob id of some bytes, 40 hex digits: the identity of a plain file.
pub fn git_blob_hex(bytes: &[u8]) -> String {
    let mut hasher = git_blob_hasher(bytes.len() as u64);
    hasher.update(bytes);
    hex(&hasher.finalize())
}

/// A SHA-1 state that has seen git's blob header for `size` bytes.
pub(crate) fn git_blob_hasher(size: u64) -> Sha1 {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {size}\0"));
    hasher
}

/// The text that git holds in place of a linked file.
pub fn lfs_pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// The stand-in for a Xet hash: 64 hex digits that are not the SHA-256, yet depend on it alone.
pub fn fake_xet_hash(sha256: &str) -> String {
    sha256_hex(format!("xet:{sha256}").as_bytes())
}

/// Base64 in the variant of CloudFront (`-` for `+`, `~` for `/`, `_` for `=`), which needs no escaping in a query.
pub(crate) fn cloudfront_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = 0_u32;
        for index in 0..3 {
            word = word << 8 | u32::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            if index <= group.len() {
                out.push(char::from(LETTERS[(word >> (18 - 6 * index) & 63) as usize]));
            } else {
                out.push('_');
            }
        }
    }
    out
}

/// The reverse of [`cloudfront_base64`]; `None` for anything it did not write.
pub(crate) fn from_cloudfront_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|letter| *letter != b'_') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'~' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits & 255) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_reference() {
        assert_eq!(git_blob_hex(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(git_blob_hex(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(
            sha256_hex(b"hello\n"),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
        let pointer = lfs_pointer(
            "e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332",
            200_000,
        );
        assert_eq!(pointer.len(), 131);
        assert_eq!(
            git_blob_hex(pointer.as_bytes()),
            "ce4d6976e6d936539306326057908f7ee096467f"
        );
    }

    #[test]
    fn base64_there_and_back() {
        for text in ["", "a", "ab", "abc", "abcd", "{\"x\":\"\u{e9}?>\"}"] {
            let coded = cloudfront_base64(text.as_bytes());
            assert_eq!(coded.len() % 4, 0);
            assert_eq!(from_cloudfront_base64(&coded).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(from_cloudfront_base64("a+b"), None);
    }
}
