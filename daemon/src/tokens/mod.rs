//! Floor 2: the token store. One file per user below `tokens/`, mode 0600; jobs hold a reference, never the token.
//!
//! A stored token is bound to one user and one origin. There is no call that lists or prints one, and no fallback from
//! one user's token to another's.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use crate::model::Token;

/// Tokens of one user that are kept at most; the oldest references go first.
const KEPT: usize = 256;

/// A failed file operation of the token store.
#[derive(Debug, thiserror::Error)]
#[error("{act} {}", path.display())]
pub struct TokenError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The tokens of all users, on disk.
pub struct TokenStore {
    dir: PathBuf,
    // A file is read, changed and replaced as a whole: one at a time.
    writing: Mutex<()>,
}

/// What a user's file holds. No `Debug`: it would print secrets.
#[derive(Default, Serialize, Deserialize)]
struct UserFile {
    /// Counts up; makes references that are never used twice.
    next: u64,
    tokens: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    origin: String,
    token: String,
}

/// A token and the one origin that may see it.
#[derive(Debug, Clone)]
pub struct BoundToken {
    /// Scheme, host and port.
    pub origin: String,
    /// The secret.
    pub token: Token,
}

impl TokenStore {
    /// Opens the store in a state directory; makes `tokens/` (0700) on first use only.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("tokens"),
            writing: Mutex::new(()),
        }
    }

    /// Keeps a token for a user and gives the reference for a job. The same token for the same origin keeps its
    /// reference. Durable when it returns. Blocks on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read or replaced.
    pub fn keep(&self, uid: u32, bound: &BoundToken) -> Result<String, TokenError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = self.read(uid)?;
        let known = file
            .tokens
            .iter()
            .find(|(_, entry)| entry.origin == bound.origin && entry.token == bound.token.reveal())
            .map(|(reference, _)| reference.clone());
        if let Some(reference) = known {
            return Ok(reference);
        }
        // Zero-padded, so that the order of the map is the order of age.
        let reference = format!("t{:010}", file.next);
        file.next += 1;
        while file.tokens.len() >= KEPT {
            file.tokens.pop_first();
        }
        let entry = Entry {
            origin: bound.origin.clone(),
            token: bound.token.reveal().to_owned(),
        };
        file.tokens.insert(reference.clone(), entry);
        self.replace(uid, &file)?;
        Ok(reference)
    }

    /// Looks a reference of a user up. `None` when it is not (or no longer) kept. Blocks on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read.
    pub fn get(&self, uid: u32, reference: &str) -> Result<Option<BoundToken>, TokenError> {
        let mut file = self.read(uid)?;
        Ok(file.tokens.remove(reference).and_then(|entry| {
            Token::new(&entry.token).map(|token| BoundToken {
                origin: entry.origin,
                token,
            })
        }))
    }

    fn path(&self, uid: u32) -> PathBuf {
        self.dir.join(format!("{uid}.json"))
    }

    fn read(&self, uid: u32) -> Result<UserFile, TokenError> {
        let path = self.path(uid);
        match fs::read(&path) {
            // The parser's message could quote the content: it is dropped.
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| TokenError {
                act: "understand",
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "it is not a token file of hfetch"),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(UserFile::default()),
            Err(source) => Err(TokenError {
                act: "read",
                path,
                source,
            }),
        }
    }

    fn replace(&self, uid: u32, file: &UserFile) -> Result<(), TokenError> {
        let path = self.path(uid);
        let fail = |act, path: &Path| {
            let path = path.to_owned();
            move |source| TokenError { act, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(fail("create", &self.dir))?;
        let temporary = self.dir.join(format!(".{uid}.new"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("remove", &temporary)(error)),
            _ => {}
        }
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(fail("create", &temporary))?;
        let text = serde_json::to_vec(file)
            .map_err(io::Error::other)
            .map_err(fail("write", &temporary))?;
        out.write_all(&text)
            .and_then(|()| out.sync_all())
            .map_err(fail("write", &temporary))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "not a cache file: the user's token file, synced just above"
        )]
        fs::rename(&temporary, &path).map_err(fail("replace", &path))?;
        fs::File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(fail("sync", &self.dir))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn bound(token: &str, origin: &str) -> BoundToken {
        BoundToken {
            origin: origin.into(),
            token: Token::new(token).unwrap(),
        }
    }

    #[test]
    fn a_token_is_private_to_its_user_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let reference = TokenStore::new(dir.path())
            .keep(7, &bound("hf_a", "https://huggingface.co"))
            .unwrap();
        let store = TokenStore::new(dir.path());
        assert_eq!(
            store.keep(7, &bound("hf_a", "https://huggingface.co")).unwrap(),
            reference
        );
        assert_ne!(
            store.keep(7, &bound("hf_a", "https://other.example")).unwrap(),
            reference
        );
        assert_eq!(store.get(7, &reference).unwrap().unwrap().token.reveal(), "hf_a");
        assert!(store.get(8, &reference).unwrap().is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("tokens")), 0o700);
        assert_eq!(mode(&dir.path().join("tokens/7.json")), 0o600);
    }

    #[test]
    fn only_so_many_are_kept_and_numbers_are_not_reused() {
        let dir = tempfile::tempdir().unwrap();
        let store = TokenStore::new(dir.path());
        let first = store.keep(1, &bound("hf_0", "o")).unwrap();
        let all: Vec<String> = (1..=KEPT)
            .map(|n| store.keep(1, &bound(&format!("hf_{n}"), "o")).unwrap())
            .collect();
        assert!(store.get(1, &first).unwrap().is_none());
        assert!(!all.contains(&first));
        assert_eq!(
            store.get(1, &all[KEPT - 1]).unwrap().unwrap().token.reveal(),
            format!("hf_{KEPT}")
        );
    }

    #[test]
    fn a_damaged_file_is_an_error_that_quotes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tokens")).unwrap();
        fs::write(dir.path().join("tokens/1.json"), "hf_secret").unwrap();
        let error = TokenStore::new(dir.path()).keep(1, &bound("hf_b", "o")).unwrap_err();
        assert!(!format!("{error:?}").contains("hf_secret"));
    }
}
