//! Floor 2: the token store. One file per user below `tokens/`, mode 0600; jobs hold a reference, never the token.
//!
//! A stored token is bound to one user and one origin. There is no call that lists or prints one, and no fallback from
//! one user's token to another's. With a key of the service manager the files are sealed.

mod file;
mod seal;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
};

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use self::file::{Entry, Kept, UserFile};
pub use self::seal::{BadKey, SealKey};
use crate::model::Token;

/// Tokens of one user that are kept at most, unless open jobs need more.
const KEPT: usize = 256;

/// A token of no open job is kept for so long after it was brought: its job may be about to be stored.
const YOUNG: SignedDuration = SignedDuration::from_mins(10);

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

    /// Who has a file. Blocks on the disk.
    pub fn users(&self) -> Vec<u32> {
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
    pub fn keep(
        &self,
        uid: u32,
        bound: &BoundToken,
        in_use: &HashSet<String>,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = self.read(uid)?;
        let known = file
            .tokens
            .iter_mut()
            .find(|(_, entry)| entry.origin == bound.origin && entry.token == bound.token.reveal());
        if let Some((reference, entry)) = known {
            let reference = reference.clone();
            // Who submits by the hundred does not wait for the disk by the hundred.
            let aged = entry.at <= seconds_before(now, YOUNG / 2);
            if aged {
                entry.at = now.as_second();
                self.replace(uid, &file)?;
            }
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
            at: now.as_second(),
        };
        file.tokens.insert(reference.clone(), entry);
        self.replace(uid, &file)?;
        Ok(reference)
    }

    /// Forgets the tokens of a user that are not `in_use` and were not brought just now; tells how many. Durable when it
    /// returns. Blocks on the disk.
    ///
    /// # Errors
    /// When the user's file cannot be read or replaced.
    pub fn forget(&self, uid: u32, in_use: &HashSet<String>, now: Timestamp) -> Result<usize, TokenError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut file = self.read(uid)?;
        let (before, young) = (file.tokens.len(), seconds_before(now, YOUNG));
        file.tokens
            .retain(|reference, entry| in_use.contains(reference) || entry.at > young);
        let gone = before - file.tokens.len();
        if gone > 0 {
            self.replace(uid, &file)?;
        }
        Ok(gone)
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

fn seconds_before(now: Timestamp, time: SignedDuration) -> i64 {
    now.as_second().saturating_sub(time.as_secs())
}
