//! What a file's bytes must hash to, and what servers claim about it.

use std::fmt;

/// The identity of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-256 over the content: LFS files.
    Sha256([u8; 32]),
    /// SHA-1 over `"blob " + length + NUL + content`: plain git files.
    GitSha1([u8; 20]),
}

impl Digest {
    /// Reads 64 (SHA-256) or 40 (git) lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            64 => from_hex(text).map(Self::Sha256),
            40 => from_hex(text).map(Self::GitSha1),
            _ => None,
        }
    }

    /// Reads 64 lower-case hex digits.
    pub fn parse_sha256(text: &str) -> Option<Self> {
        Self::parse(text).filter(|digest| matches!(digest, Self::Sha256(_)))
    }

    /// Reads 40 lower-case hex digits.
    pub fn parse_git(text: &str) -> Option<Self> {
        Self::parse(text).filter(|digest| matches!(digest, Self::GitSha1(_)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha256(bytes) => bytes,
            Self::GitSha1(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A validator as a server sent it, normalised as the Python client does. Compared, never a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    /// Strips a weak mark from the left and quotes from both ends.
    pub fn normalise(header: &str) -> Self {
        Self(header.trim_start_matches(['W', '/']).trim_matches('"').to_owned())
    }

    /// The text between the quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of the content, when it is one: 40 or 64 hex digits after a compressing proxy's suffix is cut.
    pub fn digest(&self) -> Option<Digest> {
        let bare = self
            .0
            .strip_suffix("-gzip")
            .or_else(|| self.0.strip_suffix(";gzip"))
            .unwrap_or(&self.0);
        Digest::parse(bare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_follow_the_table() {
        let check = |header, expected| assert_eq!(Etag::normalise(header).as_str(), expected, "{header}");
        check("\"abc\"", "abc");
        check("W/\"abc\"", "abc");
        check("abc", "abc");
        check("\"abc-gzip\"", "abc-gzip");
        check("\"W/abc\"", "W/abc");
        check("\"\"", "");
    }

    #[test]
    fn only_full_hex_is_an_identity() {
        let sha = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        assert_eq!(
            Etag::normalise(&format!("W/\"{sha}-gzip\"")).digest(),
            Digest::parse_git(sha)
        );
        assert_eq!(Digest::parse(sha).unwrap().to_string(), sha);
        for none in [
            "abc",
            "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391",
            "../../../etc/passwd",
            "",
        ] {
            assert!(Etag::normalise(none).digest().is_none(), "{none}");
        }
    }
}
