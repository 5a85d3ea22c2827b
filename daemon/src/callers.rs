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
    known: Mutex<Known>,
}

struct Known {
    numbers: HashMap<String, u32>,
    /// Never given yet; one that could not be written down for certain is passed over.
    next: u32,
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
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut names: HashMap<u32, &str> = HashMap::new();
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
            if let Some(other) = names.insert(uid, name).filter(|other| *other != name) {
                let text = format!("line {} gives `{name}` the number of `{other}`", index + 1);
                return Err(fail(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            numbers.insert(name.to_owned(), uid);
        }
        let next = names.keys().max().map_or(FIRST, |last| last.saturating_add(1));
        if whole.len() < text.len() {
            let cut = OpenOptions::new().write(true).open(&path);
            cut.and_then(|file| file.set_len(whole.len() as u64)).map_err(fail)?;
        }
        let known = Mutex::new(Known { numbers, next });
        Ok(Self { path, known })
    }

    /// The number of a name; a new one is on the disk before it is told. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be written down, or there are too many names.
    pub fn number(&self, name: &str) -> Result<u32, CallersError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = known.numbers.get(name) {
            return Ok(*uid);
        }
        let fail = |source| CallersError {
            act: "write",
            path: self.path.clone(),
            source,
        };
        if !is_caller_name(name) || known.numbers.len() >= MOST || known.next == u32::MAX {
            return Err(fail(io::Error::other("no more names")));
        }
        let uid = known.next;
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(fail)?;
        let old_end = file.metadata().map_err(fail)?.len();
        // Its line may be on the disk whatever comes now: the number is nobody else's any more.
        known.next += 1;
        let written = file
            .write_all(format!("{uid} {name}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all()));
        if let Err(error) = written {
            // Half a line would spoil the next one.
            if let Err(error) = file.set_len(old_end) {
                tracing::error!(%error, path = %self.path.display(), "a line that was not finished stays");
            }
            return Err(fail(error));
        }
        known.numbers.insert(name.to_owned(), uid);
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
    fn a_number_that_may_be_written_is_never_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let callers = Callers::open(dir.path()).unwrap();
        let ann = callers.number("ann").unwrap();
        // The file goes away and a folder is in its place: nothing can be written.
        let (path, aside) = (dir.path().join("callers"), dir.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(callers.number("ben").is_err());
        fs::remove_dir(&path).unwrap();
        // Each append fails for want of room, after a part of the line or none.
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        assert!(callers.number("ben").is_err());
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        let cid = callers.number("cid").unwrap();
        assert!(cid > ann + 1, "{cid} may be ben's");
        let callers = Callers::open(dir.path()).unwrap();
        assert_eq!(
            (callers.number("ann").unwrap(), callers.number("cid").unwrap()),
            (ann, cid)
        );
    }

    #[test]
    fn a_damaged_file_is_told() {
        for text in ["0 ann\n", "x\n", "4026531840 a/b\n", "4026531840 ann\n4026531840 ben\n"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("callers"), text).unwrap();
            assert!(Callers::open(dir.path()).is_err(), "{text}");
        }
    }
}
