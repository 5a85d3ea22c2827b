//! Callers over TCP: what they are called, and by which tokens they are known. Of a token only its hash is kept.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

/// Longest name of a caller in bytes.
const LONGEST_NAME: usize = 64;

/// Whether a text can be the name of a caller: letters, digits and `._@-`, and a letter or a digit first.
pub fn is_caller_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    text.len() <= LONGEST_NAME
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(inner)
}

/// The accepted bearer tokens.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bearers(Vec<(String, [u8; 32])>);

impl Bearers {
    /// Reads lines of `name:sha256-of-token`; blank lines and lines that begin with `#` say nothing. A name may have several
    /// tokens.
    ///
    /// # Errors
    /// Every line that is none, with its number, and never quoted: it may hold a token in clear.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut bearers, mut faults) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match one(line) {
                Ok(bearer) => bearers.push(bearer),
                Err(why) => faults.push(format!("line {}: {why}", number + 1)),
            }
        }
        if faults.is_empty() {
            Ok(Self(bearers))
        } else {
            Err(faults)
        }
    }

    /// Whose token that is. Takes as long for a wrong one as for a right one.
    pub fn holder_of(&self, token: &[u8]) -> Option<&str> {
        let shown: [u8; 32] = Sha256::digest(token).into();
        let mut found = u64::MAX;
        for (index, (_, hash)) in (0u64..).zip(&self.0) {
            found.conditional_assign(&index, shown.ct_eq(hash));
        }
        let (name, _) = self.0.get(usize::try_from(found).ok()?)?;
        Some(name)
    }

    /// Everybody who has one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl fmt::Debug for Bearers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

fn one(line: &str) -> Result<(String, [u8; 32]), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("must be `name:sha256-of-token`")?;
    let (name, hash) = (name.trim(), hash.trim());
    if !is_caller_name(name) {
        return Err("a name has letters, digits and `._@-`, and begins with a letter or a digit");
    }
    if name == "root" {
        return Err("`root` does not call over TCP: name an operator in control.operators");
    }
    let bad = "behind the colon must be the SHA-256 of the token, 64 hexadecimal digits";
    if hash.len() != 64 || !hash.is_ascii() {
        return Err(bad);
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hash[at..at + 2], 16).map_err(|_| bad)?;
    }
    // What an unset variable leaves behind in a script that makes these lines.
    if bytes == <[u8; 32]>::from(Sha256::digest(b"")) {
        return Err("this is the SHA-256 of nothing");
    }
    Ok((name.to_owned(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn tokens_have_holders() {
        let other = "0".repeat(64);
        let text = format!(
            "# ours\n\nann:{OF_ABC}\n ben : {} \nann:{other}\n",
            OF_ABC.replace("ba", "bb")
        );
        let bearers = Bearers::parse(&text).unwrap();
        assert_eq!(bearers.holder_of(b"abc"), Some("ann"));
        for wrong in [&b"abd"[..], b"", b"abc\n", OF_ABC.as_bytes()] {
            assert_eq!(bearers.holder_of(wrong), None);
        }
        assert_eq!(bearers.names().collect::<Vec<_>>(), ["ann", "ben", "ann"]);
        assert!(!format!("{bearers:?}").contains("ba78"));
        assert_eq!(Bearers::default().holder_of(b""), None);
    }

    #[test]
    fn every_wrong_line_is_told_and_none_is_quoted() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            "ann:secret\nsecret\n-x:{OF_ABC}\nroot:{OF_ABC}\nok:{OF_ABC}\nann:{empty}\nann:{}",
            "é".repeat(32)
        );
        let faults = Bearers::parse(&text).unwrap_err();
        let expected = [
            ("line 1", "64 hex"),
            ("line 2", "name:sha256"),
            ("line 3", "letters"),
            ("line 4", "operators"),
        ];
        let expected = expected
            .into_iter()
            .chain([("line 6", "nothing"), ("line 7", "64 hex")]);
        assert_eq!(faults.len(), 6, "{faults:?}");
        for (fault, (line, why)) in faults.iter().zip(expected) {
            assert!(
                fault.starts_with(line) && fault.contains(why) && !fault.contains("secret"),
                "{fault}"
            );
        }
    }

    #[test]
    fn names_of_callers() {
        for good in ["ann", "gpu7.lab", "a@b.c", "7", &"x".repeat(64)] {
            assert!(is_caller_name(good), "{good}");
        }
        for bad in ["", ".x", "-x", "a b", "a/b", "a:b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_caller_name(bad), "{bad}");
        }
    }
}
