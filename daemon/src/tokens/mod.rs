//! Floor 2: the token store. One file per user below `tokens/`, mode 0600; jobs hold a reference, never the token.
//!
//! A stored token is bound to one user and one origin. There is no call that lists or prints one, and no fallback from
//! one user's token to another's. With a key of the service manager the files are sealed.

mod file;
mod seal;

use std::{
    collections::HashSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

use zeroize::Zeroizing;

use self::file::{Entry, Kept, UserFile};
pub use self::seal::{BadKey, SealKey};
use crate::model::Token;

/// Tokens of one user that are kept at most, unless open jobs need more.
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

impl TokenError {
    /// Whether the file is there and tells nothing: sealed with a key that we do not have, or damaged.
    pub fn is_unreadable(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidData
    }

    /// Whether it is about the file of this user.
    pub fn is_of(&self, uid: u32) -> bool {
        self.path
            .file_name()
            .is_some_and(|name| *name == *format!("{uid}.json"))
    }
}

/// The tokens of all users, on disk.
pub struct TokenStore {
    dir: PathBuf,
    key: Option<SealKey>,
    // A file is read, changed and replaced as a whole: one at a time.
    writing: Mutex<()>,
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
    /// Opens the store in a state directory; makes `tokens/` (0700) on first use only. With a key, what is written is sealed.
    pub fn new(state_dir: &Path, key: Option<SealKey>) -> Self {
        Self {
            dir: state_dir.join("tokens"),
            key,
            writing: Mutex::new(()),
        }
    }

    /// Whether files are sealed.
    pub fn is_sealed(&self) -> bool {
        self.key.is_some()
    }

    /// Seals the files that are not, as far as there is a key, and tells of those that cannot be read. Blocks on the disk.
    pub fn put_in_order(&self) -> Vec<TokenError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seal = |uid| match self.read_kept(uid)? {
            (file, Kept::Clear) if self.key.is_some() => self.replace(uid, &file),
            _ => Ok(()),
        };
        self.users().into_iter().filter_map(|uid| seal(uid).err()).collect()
    }

    /// The files that cannot be read, and why. Blocks on the disk.
    pub fn unreadable(&self) -> Vec<TokenError> {
        self.users()
            .into_iter()
            .filter_map(|uid| self.read(uid).err())
            .collect()
    }

    /// Who has a file.
    fn users(&self) -> Vec<u32> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect()
    }

    /// Keeps a token for a user and gives the reference for a job. The same token for the same origin keeps its
    /// reference. When there are too many, the oldest go whose references are not `in_use`. Durable when it returns. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read or replaced.
    pub fn keep(&self, uid: u32, bound: &BoundToken, in_use: &HashSet<String>) -> Result<String, TokenError> {
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
        let mut too_many = (file.tokens.len() + 1).saturating_sub(KEPT);
        file.tokens.retain(|reference, _| {
            let goes = too_many > 0 && !in_use.contains(reference);
            too_many -= usize::from(goes);
            !goes
        });
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
        Ok(file.tokens.remove(reference).and_then(|mut entry| {
            Token::new(&entry.token).map(|token| BoundToken {
                origin: std::mem::take(&mut entry.origin),
                token,
            })
        }))
    }

    /// Keeps a token for a user's jobs that bring none, in place of an earlier one for the same origin. Durable when it
    /// returns. Blocks on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read or replaced.
    pub fn log_in(&self, uid: u32, bound: &BoundToken) -> Result<(), TokenError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = self.read(uid)?;
        file.logins
            .insert(bound.origin.clone(), bound.token.reveal().to_owned());
        self.replace(uid, &file)
    }

    /// Forgets it, and every job's reference to the same token; false when there was none. Blocks on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read or replaced.
    pub fn log_out(&self, uid: u32, origin: &str) -> Result<bool, TokenError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = self.read(uid)?;
        let Some(token) = file.logins.remove(origin) else {
            return Ok(false);
        };
        file.tokens
            .retain(|_, entry| entry.origin != origin || entry.token != token);
        self.replace(uid, &file)?;
        Ok(true)
    }

    /// The token that a user has left for an origin. Blocks on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read.
    pub fn login(&self, uid: u32, origin: &str) -> Result<Option<Token>, TokenError> {
        let file = self.read(uid)?;
        Ok(file.logins.get(origin).and_then(|token| Token::new(token)))
    }

    fn path(&self, uid: u32) -> PathBuf {
        self.dir.join(format!("{uid}.json"))
    }

    fn read(&self, uid: u32) -> Result<UserFile, TokenError> {
        self.read_kept(uid).map(|(file, _)| file)
    }

    fn read_kept(&self, uid: u32) -> Result<(UserFile, Kept), TokenError> {
        let path = self.path(uid);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) => file::parse(&bytes, uid, self.key.as_ref()).map_err(|why| TokenError {
                act: "understand",
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, why),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((UserFile::default(), Kept::Clear)),
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
        let text = file::format(file, uid, self.key.as_ref());
        let text = text.map_err(io::Error::other).map_err(fail("write", &temporary))?;
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

    impl TokenStore {
        fn keep_unused(&self, uid: u32, bound: &BoundToken) -> Result<String, TokenError> {
            self.keep(uid, bound, &HashSet::new())
        }
    }

    #[test]
    fn a_token_is_private_to_its_user_and_survives() {
        let dir = tempfile::tempdir().unwrap();
        let reference = TokenStore::new(dir.path(), None)
            .keep_unused(7, &bound("hf_a", "https://huggingface.co"))
            .unwrap();
        let store = TokenStore::new(dir.path(), None);
        assert_eq!(
            store.keep_unused(7, &bound("hf_a", "https://huggingface.co")).unwrap(),
            reference
        );
        assert_ne!(
            store.keep_unused(7, &bound("hf_a", "https://other.example")).unwrap(),
            reference
        );
        assert_eq!(store.get(7, &reference).unwrap().unwrap().token.reveal(), "hf_a");
        assert!(store.get(8, &reference).unwrap().is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("tokens")), 0o700);
        assert_eq!(mode(&dir.path().join("tokens/7.json")), 0o600);
    }

    #[test]
    fn a_login_is_for_one_user_and_one_origin() {
        let dir = tempfile::tempdir().unwrap();
        let store = TokenStore::new(dir.path(), None);
        let origin = "https://huggingface.co";
        store.log_in(7, &bound("hf_old", origin)).unwrap();
        store.log_in(7, &bound("hf_a", origin)).unwrap();
        let reference = store.keep_unused(7, &bound("hf_a", origin)).unwrap();
        let other = store.keep_unused(7, &bound("hf_b", origin)).unwrap();
        let found = |uid, origin: &str| store.login(uid, origin).unwrap().map(|token| token.reveal().to_owned());
        assert_eq!(found(7, origin).as_deref(), Some("hf_a"));
        assert_eq!((found(8, origin), found(7, "https://hf-mirror.com")), (None, None));
        assert!(store.log_out(7, origin).unwrap() && !store.log_out(7, origin).unwrap());
        assert_eq!(found(7, origin), None);
        // Jobs lose it too; another token of the same user stays.
        assert!(store.get(7, &reference).unwrap().is_none());
        assert!(store.get(7, &other).unwrap().is_some());
    }

    #[test]
    fn only_so_many_are_kept_and_numbers_are_not_reused() {
        let dir = tempfile::tempdir().unwrap();
        let store = TokenStore::new(dir.path(), None);
        let first = store.keep_unused(1, &bound("hf_0", "o")).unwrap();
        let all: Vec<String> = (1..=KEPT)
            .map(|n| store.keep_unused(1, &bound(&format!("hf_{n}"), "o")).unwrap())
            .collect();
        assert!(store.get(1, &first).unwrap().is_none());
        assert!(!all.contains(&first));
        // What an open job needs stays, whatever its age.
        let in_use = HashSet::from([all[0].clone()]);
        store.keep(1, &bound("hf_new", "o"), &in_use).unwrap();
        assert!(store.get(1, &all[0]).unwrap().is_some() && store.get(1, &all[1]).unwrap().is_none());
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
        let error = TokenStore::new(dir.path(), None)
            .keep_unused(1, &bound("hf_b", "o"))
            .unwrap_err();
        assert!(!format!("{error:?}").contains("hf_secret"));
    }

    #[test]
    fn with_a_key_nothing_is_in_the_clear_and_without_it_nothing_is_readable() {
        let dir = tempfile::tempdir().unwrap();
        let origin = "https://huggingface.co";
        let key = |byte| SealKey::new(&[byte; 32]);
        let on_disk = || fs::read_to_string(dir.path().join("tokens/7.json")).unwrap();
        fs::create_dir(dir.path().join("tokens")).unwrap();
        let before =
            "{\"next\":1,\"tokens\":{\"t0000000000\":{\"origin\":\"https://huggingface.co\",\"token\":\"hf_old\"}}}";
        fs::write(dir.path().join("tokens/7.json"), before).unwrap();
        let sealing = TokenStore::new(dir.path(), key(1));
        assert!(
            sealing.put_in_order().is_empty() && !on_disk().contains("hf_old"),
            "{}",
            on_disk()
        );
        sealing.log_in(7, &bound("hf_new", origin)).unwrap();
        assert!(on_disk().starts_with("{\"version\":1,\"sealed\":"), "{}", on_disk());
        assert!(
            !on_disk().contains("hf_") && !on_disk().contains("huggingface"),
            "{}",
            on_disk()
        );
        let read = |store: &TokenStore| {
            let old = store
                .get(7, "t0000000000")?
                .map(|bound| bound.token.reveal().to_owned());
            let new = store.login(7, origin)?.map(|token| token.reveal().to_owned());
            Ok::<_, TokenError>((old, new))
        };
        let both = (Some("hf_old".to_owned()), Some("hf_new".to_owned()));
        assert_eq!(read(&TokenStore::new(dir.path(), key(1))).unwrap(), both);
        for (other, word) in [(None, "no key"), (key(2), "another key")] {
            let store = TokenStore::new(dir.path(), other);
            let told = |error: &TokenError| error.source.to_string();
            assert!(told(&read(&store).unwrap_err()).contains(word));
            let error = store.log_in(7, &bound("hf_newer", origin)).unwrap_err();
            assert!(told(&error).contains("token-key"), "{error:?}");
            assert_eq!(store.put_in_order().len(), 1);
            assert_eq!(store.unreadable().len(), 1);
        }
        assert_eq!(read(&TokenStore::new(dir.path(), key(1))).unwrap(), both);
        // One user's file is nobody else's.
        fs::copy(dir.path().join("tokens/7.json"), dir.path().join("tokens/8.json")).unwrap();
        assert_eq!(TokenStore::new(dir.path(), key(1)).unreadable().len(), 1);
        fs::write(dir.path().join("tokens/8.json"), "{\"version\":2,\"anything\":[]}").unwrap();
        let newer = TokenStore::new(dir.path(), None).login(8, origin).unwrap_err();
        assert!(format!("{newer:?}").contains("newer"), "{newer:?}");
    }
}
