//! The key that the service manager hands out, and what is sealed with it: a copy of the disk alone then tells no token.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The credential's name: of its own, and as a file of `/etc/hfetch/credentials`.
const NAMES: [&str; 2] = ["token-key", "hfetch_token-key"];
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// The only cipher of version 1.
const CIPHER: &str = "AES-256-GCM";

/// Seals and opens. Shows nothing of itself.
pub struct SealKey {
    key: RandomizedNonceKey,
    /// Tells another key from damage.
    id: String,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(***)")
    }
}

/// Why there is no key though one was given.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// It cannot be read.
    #[error("the key of the token store cannot be read: {}", path.display())]
    Unreadable {
        /// The credential.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is no key.
    #[error("{} is no key of the token store: it has {found} bytes, and must have {KEY_BYTES} (`head -c {KEY_BYTES} /dev/urandom`)", path.display())]
    Length {
        /// The credential.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
}

/// A sealed text, as it stands in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sealed {
    cipher: String,
    /// Which key it was.
    key: String,
    nonce: String,
    data: String,
}

/// Why a sealed text stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    OtherKey,
    Damaged,
}

impl SealKey {
    /// The key among the credentials of this process (`$CREDENTIALS_DIRECTORY`), if it was given one.
    ///
    /// # Errors
    /// When it cannot be read, or has another length.
    pub fn of_credentials(folder: &Path) -> Result<Option<Self>, BadKey> {
        for name in NAMES {
            let path = folder.join(name);
            match fs::read(&path).map(Zeroizing::new) {
                Ok(bytes) => {
                    let found = bytes.len();
                    let key = Self::new(&bytes).ok_or(BadKey::Length { path, found });
                    return key.map(Some);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(BadKey::Unreadable { path, source }),
            }
        }
        Ok(None)
    }

    /// Of 32 bytes; `None` when there are more or fewer.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let id = Sha256::new()
            .chain_update(b"hfetch token key")
            .chain_update(bytes)
            .finalize();
        Some(Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, bytes).ok()?,
            id: to_hex(&id[..8]),
        })
    }

    /// Seals a user's file; it opens for the same user alone.
    pub(super) fn seal(&self, uid: u32, text: &[u8]) -> Option<Sealed> {
        // Room for the tag, so that no copy of the text is left behind where the buffer was before.
        let mut data = Vec::with_capacity(text.len() + AES_256_GCM.tag_len());
        data.extend_from_slice(text);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(bound(uid)), &mut data)
            .ok()?;
        Some(Sealed {
            cipher: CIPHER.to_owned(),
            key: self.id.clone(),
            nonce: to_hex(nonce.as_ref()),
            data: to_hex(&data),
        })
    }

    /// Opens what was sealed with this key for this user.
    pub(super) fn open(&self, uid: u32, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Closed> {
        if sealed.cipher != CIPHER {
            return Err(Closed::Damaged);
        }
        if sealed.key != self.id {
            return Err(Closed::OtherKey);
        }
        let nonce = from_hex(&sealed.nonce).ok_or(Closed::Damaged)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| Closed::Damaged)?;
        let mut data = Zeroizing::new(from_hex(&sealed.data).ok_or(Closed::Damaged)?);
        let opened = self
            .key
            .open_in_place(Nonce::from(&nonce), Aad::from(bound(uid)), &mut data);
        let length = opened.map_err(|_| Closed::Damaged)?.len();
        data.truncate(length);
        Ok(data)
    }
}

/// What is authenticated beside the text: a file that is given to another user does not open.
fn bound(uid: u32) -> Vec<u8> {
    format!("hfetch tokens 1 uid {uid}").into_bytes()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::new(&[byte; KEY_BYTES]).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_user_with_its_key_alone() {
        let (one, text) = (key(1), b"hf_secret".as_slice());
        let sealed = one.seal(7, text).unwrap();
        let written = serde_json::to_string(&sealed).unwrap();
        assert!(
            !written.contains("hf_secret") && !written.contains(&to_hex(text)),
            "{written}"
        );
        assert_eq!(*one.open(7, &sealed).unwrap(), text);
        assert_eq!(one.open(8, &sealed).unwrap_err(), Closed::Damaged);
        assert_eq!(key(2).open(7, &sealed).unwrap_err(), Closed::OtherKey);
        // Every sealing has a number of its own: the same text never looks the same.
        assert_ne!(one.seal(7, text).unwrap().data, sealed.data);
        assert_eq!(format!("{one:?}"), "SealKey(***)");
    }

    #[test]
    fn no_bit_can_be_changed() {
        let one = key(1);
        let sealed = || one.seal(7, b"hf_secret").unwrap();
        let flipped = |text: &str, at: usize| {
            let mut bytes = from_hex(text).unwrap();
            bytes[at] ^= 1;
            to_hex(&bytes)
        };
        for at in 0..9 + 16 {
            let mut sealed = sealed();
            sealed.data = flipped(&sealed.data, at);
            assert_eq!(one.open(7, &sealed).unwrap_err(), Closed::Damaged, "{at}");
        }
        for change in [
            |sealed: &mut Sealed| sealed.nonce = "00".repeat(NONCE_BYTES),
            |sealed: &mut Sealed| sealed.nonce.push('0'),
            |sealed: &mut Sealed| sealed.data.truncate(10),
            |sealed: &mut Sealed| sealed.data.push_str("zz"),
            |sealed: &mut Sealed| sealed.data.clear(),
            |sealed: &mut Sealed| "none".clone_into(&mut sealed.cipher),
        ] {
            let mut sealed = sealed();
            change(&mut sealed);
            assert_eq!(one.open(7, &sealed).unwrap_err(), Closed::Damaged, "{sealed:?}");
        }
    }

    #[test]
    fn the_key_is_a_credential_of_32_bytes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SealKey::of_credentials(dir.path()).unwrap().is_none());
        for (name, byte) in [(NAMES[1], 2), (NAMES[0], 1)] {
            fs::write(dir.path().join(name), [byte; KEY_BYTES]).unwrap();
            let found = SealKey::of_credentials(dir.path()).unwrap().unwrap();
            assert_eq!(found.id, key(byte).id, "the one of its own comes first");
        }
        fs::write(dir.path().join(NAMES[0]), [b'x'; 33]).unwrap();
        let told = SealKey::of_credentials(dir.path()).unwrap_err().to_string();
        assert!(
            told.contains("33 bytes") && told.contains("32") && !told.contains("xxx"),
            "{told}"
        );
    }
}
