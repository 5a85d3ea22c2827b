//! What a user's file holds, in the clear or sealed, and how it is written. Version 1 is the only one; a file without a version is
//! of the time before there were any, and is the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::seal::{Closed, SealKey, Sealed};

const VERSION: u32 = 1;

/// The tokens of one user. No `Debug`: it would print secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct UserFile {
    #[serde(default)]
    version: u32,
    /// Counts up; makes references that are never used twice.
    pub(super) next: u64,
    pub(super) tokens: BTreeMap<String, Entry>,
    /// What the user has left for jobs that bring no token, by origin.
    #[serde(default)]
    pub(super) logins: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) origin: String,
    pub(super) token: String,
    /// When it was brought last, in seconds since 1970; files of the time before that was kept have none.
    #[serde(default)]
    pub(super) at: i64,
}

#[derive(Serialize, Deserialize)]
struct SealedFile {
    version: u32,
    sealed: Sealed,
}

/// Only the version, which is the same in all.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    version: u32,
    #[serde(default)]
    sealed: Option<serde::de::IgnoredAny>,
}

/// How a file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Clear,
    Sealed,
}

impl Default for UserFile {
    fn default() -> Self {
        Self {
            version: VERSION,
            next: 0,
            tokens: BTreeMap::new(),
            logins: BTreeMap::new(),
        }
    }
}

impl Drop for UserFile {
    fn drop(&mut self) {
        for token in self.logins.values_mut() {
            token.zeroize();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// Reads a file. What is wrong is said without a word of the content.
pub(super) fn parse(bytes: &[u8], uid: u32, key: Option<&SealKey>) -> Result<(UserFile, Kept), &'static str> {
    let strange = "it is not a token file of hfetch";
    let head: Versioned = serde_json::from_slice(bytes).map_err(|_| strange)?;
    if head.version > VERSION {
        return Err("a newer hfetch has written it");
    }
    if head.sealed.is_none() {
        let file = serde_json::from_slice(bytes).map_err(|_| strange)?;
        return Ok((file, Kept::Clear));
    }
    let file: SealedFile = serde_json::from_slice(bytes).map_err(|_| strange)?;
    let key = key.ok_or(
        "it is sealed, and the daemon was given no key: it needs the credential `token-key` with which it was sealed",
    )?;
    let text = key.open(uid, &file.sealed).map_err(|closed| match closed {
        Closed::OtherKey => "it is sealed with another key than the credential `token-key` of this daemon",
        Closed::Damaged => "it is sealed, and was changed since",
    })?;
    let file = serde_json::from_slice(&text).map_err(|_| strange)?;
    Ok((file, Kept::Sealed))
}

/// Writes a file: sealed when there is a key.
pub(super) fn format(file: &UserFile, uid: u32, key: Option<&SealKey>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let failed = "it cannot be written down";
    let text = Zeroizing::new(serde_json::to_vec(file).map_err(|_| failed)?);
    let Some(key) = key else { return Ok(text) };
    let sealed = SealedFile {
        version: VERSION,
        sealed: key.seal(uid, &text).ok_or("it cannot be sealed")?,
    };
    let sealed = serde_json::to_vec(&sealed).map_err(|_| failed)?;
    Ok(Zeroizing::new(sealed))
}
