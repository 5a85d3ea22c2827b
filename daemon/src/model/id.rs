//! Identifiers of jobs.

use std::fmt;

/// Crockford's base32 in lower case: no i, l, o, u, so that an id read aloud is typed right.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 10;

/// Ten characters of base32, drawn at random; the store makes them unique.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

/// The text is no job id, nor the beginning of one.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a job id: expected up to {LENGTH} characters of 0-9 and a-z without i, l, o, u")]
pub struct BadJobId(String);

impl JobId {
    /// Draws a new id.
    pub fn random(random: &mut fastrand::Rng) -> Self {
        Self(
            (0..LENGTH)
                .map(|_| char::from(ALPHABET[random.usize(0..ALPHABET.len())]))
                .collect(),
        )
    }

    /// Checks a full id.
    ///
    /// # Errors
    /// When the length or a character is wrong.
    pub fn parse(text: &str) -> Result<Self, BadJobId> {
        let id = Self::parse_prefix(text)?;
        if id.len() == LENGTH {
            Ok(Self(id))
        } else {
            Err(BadJobId(text.to_owned()))
        }
    }

    /// Checks the beginning of an id, at least one character, and gives it in canonical case.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a foreign character.
    pub fn parse_prefix(text: &str) -> Result<String, BadJobId> {
        let lower = text.to_ascii_lowercase();
        let fits = !lower.is_empty() && lower.len() <= LENGTH && lower.bytes().all(|byte| ALPHABET.contains(&byte));
        // Hostile input may be long; the message quotes its beginning only.
        fits.then_some(lower)
            .ok_or_else(|| BadJobId(text.chars().take(40).collect()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_parse_back() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1000 {
            let id = JobId::random(&mut random);
            assert_eq!(JobId::parse(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "abc", "abcdefghij", "0123456789a", "ÄÄ", "../../etc/"] {
            assert!(JobId::parse(text).is_err(), "{text}");
        }
        assert_eq!(JobId::parse_prefix("AB").unwrap(), "ab");
    }
}
