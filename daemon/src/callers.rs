//! Floor 2: the numbers of callers over TCP who are no users of this machine. Jobs, aliases and tokens belong to numbers, and
//! a number that was given once never belongs to another name: the file `callers` of the state directory remembers it.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::model::is_caller_name;

/// Above all that systems give to people: no uid of a process is ever one of these.
const FIRST: u32 = 0xF000_0000;
/// So many names, and then no more.
const MOST: usize = 100_000;

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}", path.display())]
pub struct CallersError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Name and number of every caller there ever was.
pub struct Callers {
    path: PathBuf,
    known: Mutex<HashMap<String, u32>>,
}

/// Whether a number belongs to a caller over TCP and to no user of the machine.
pub fn is_remote(uid: u32) -> bool {
    uid >= FIRST
}

impl Callers {
    /// Reads the file; there need not be one. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn open(state_dir: &Path) -> Result<Self, CallersError> {
        let path = state_dir.join("callers");
        let fail = |source| CallersError {
            act: "read",
            path: path.clone(),
            source,
        };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(fail)?,
        };
        let mut known = HashMap::new();
        // A line without its end was cut by a crash before anybody heard of its number.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        for (index, line) in whole.lines().enumerate() {
            let parsed = line.split_once(' ').and_then(|(uid, name)| {
                let uid: u32 = uid.parse().ok()?;
                (is_remote(uid) && is_caller_name(name)).then_some((uid, name))
            });
            let Some((uid, name)) = parsed else {
                let text = format!("line {} is no number with a name", index + 1);
                return Err(fail(io::Error::new(io::ErrorKind::InvalidData, text)));
            };
            known.insert(name.to_owned(), uid);
        }
        if whole.len() < text.len() {
            let cut = OpenOptions::new().write(true).open(&path);
            cut.and_then(|file| file.set_len(whole.len() as u64)).map_err(fail)?;
        }
        let known = Mutex::new(known);
        Ok(Self { path, known })
    }

    /// The number of a name; a new one is on the disk before it is told. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be written down, or there are too many names.
    pub fn number(&self, name: &str) -> Result<u32, CallersError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = known.get(name) {
            return Ok(*uid);
        }
        let fail = |source| CallersError {
            act: "write",
            path: self.path.clone(),
            source,
        };
        if !is_caller_name(name) || known.len() >= MOST {
            return Err(fail(io::Error::other("no more names")));
        }
        let uid = known.values().max().map_or(FIRST, |last| last + 1);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(fail)?;
        let written = file
            .write_all(format!("{uid} {name}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()));
        written.map_err(fail)?;
        known.insert(name.to_owned(), uid);
        Ok(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let callers = Callers::open(dir.path()).unwrap();
        let ann = callers.number("ann").unwrap();
        let ben = callers.number("ben").unwrap();
        assert!(ann != ben && is_remote(ann) && is_remote(ben) && !is_remote(65_534));
        assert_eq!(callers.number("ann").unwrap(), ann);
        assert!(callers.number("a b").is_err());
        // Cut by a crash: nobody was told, and the number is given again.
        let mut text = fs::read_to_string(dir.path().join("callers")).unwrap();
        text.push_str(&format!("{} ev", ben + 1));
        fs::write(dir.path().join("callers"), &text).unwrap();
        let callers = Callers::open(dir.path()).unwrap();
        assert_eq!(
            (callers.number("ben").unwrap(), callers.number("cid").unwrap()),
            (ben, ben + 1)
        );
        let callers = Callers::open(dir.path()).unwrap();
        assert_eq!(callers.number("cid").unwrap(), ben + 1);
    }

    #[test]
    fn a_damaged_file_is_told() {
        for text in ["0 ann\n", "x\n", "4026531840 a/b\n"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("callers"), text).unwrap();
            assert!(Callers::open(dir.path()).is_err(), "{text}");
        }
    }
}
