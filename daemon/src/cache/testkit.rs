//! What the tests of this module share: a store in a fresh folder, digests of bytes, a tree as text.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::hasher::Hasher;
use super::verify::Content;
use super::{AfterLimit, CacheError, Check, FileStamp, Found, Options, Patience, Staging, Store};
use crate::model::{CommitHash, Destination, Digest, RepoId, RepoKind, RepoPath};

/// Never set.
pub(super) static GO_ON: AtomicBool = AtomicBool::new(false);

pub(super) fn hashed(like: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(like, bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

pub(super) fn sha256_digest(bytes: &[u8]) -> Digest {
    hashed(&Digest::Sha256([0; 32]), bytes)
}

pub(super) fn git_digest(bytes: &[u8]) -> Digest {
    hashed(&Digest::GitSha1([0; 20]), bytes)
}

pub(super) fn commit() -> CommitHash {
    CommitHash::parse(&"1".repeat(40)).unwrap()
}

pub(super) fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

/// No wait for locks: a held one fails at once.
pub(super) fn no_patience() -> Patience<'static> {
    Patience {
        limit: Duration::ZERO,
        then: AfterLimit::Fail,
        cancel: &GO_ON,
        waiting: &|_| (),
    }
}

/// A child process holds copies of our locked files between its fork and its exec, so a lock that was released can look
/// held for a moment. Whoever starts a process waits until no other test has locks.
/// (No `RwLock`: a test with two benches must not wait for a writer that waits for its first one.)
static BENCHES: Mutex<usize> = Mutex::new(0);
static FEWER: Condvar = Condvar::new();

/// Starts a process while no test has a [`Bench`]; not to be called by one that has.
pub(super) fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let benches = BENCHES.lock().unwrap();
    let _none = FEWER.wait_while(benches, |count| *count > 0).unwrap();
    command.spawn()
}

/// Counts one bench.
struct InUse;

impl InUse {
    fn new() -> Self {
        *BENCHES.lock().unwrap() += 1;
        Self
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *BENCHES.lock().unwrap() -= 1;
        FEWER.notify_all();
    }
}

/// A store in a folder of its own.
pub(super) struct Bench {
    _in_use: InUse,
    pub(super) dir: TempDir,
    pub(super) store: Store,
}

impl Bench {
    pub(super) fn cache() -> Self {
        Self::new(|root| Destination::Cache(root.join("hub")))
    }

    pub(super) fn local() -> Self {
        Self::new(|root| Destination::LocalDir(root.join("dir")))
    }

    fn new(destination: fn(&Path) -> Destination) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&destination(dir.path())).unwrap();
        Self {
            _in_use: InUse::new(),
            dir,
            store,
        }
    }

    /// The root of the store.
    pub(super) fn root(&self) -> std::path::PathBuf {
        self.store.root().path("")
    }

    /// The repository folder of a cache.
    pub(super) fn repo(&self) -> std::path::PathBuf {
        self.root().join("models--org--tiny")
    }

    /// A whole, synced partial file.
    pub(super) fn staged(&self, name: &str, digest: &Digest, bytes: &[u8]) -> Staging {
        let staging = self
            .store
            .stage(digest, &path(name), bytes.len() as u64, "job")
            .unwrap();
        staging.write_at(0, &[Bytes::copy_from_slice(bytes)]).unwrap();
        staging.sync().unwrap();
        staging
    }

    pub(super) fn publish(&self, name: &str, digest: &Digest, bytes: &[u8]) -> Result<FileStamp, CacheError> {
        let staging = self.staged(name, digest, bytes);
        self.store
            .publish(staging, &commit(), &path(name), digest, &no_patience())
    }

    pub(super) fn find(&self, name: &str, digest: &Digest, size: usize) -> Result<Found, CacheError> {
        let check = Check {
            vouched: &|_| false,
            cancel: &GO_ON,
            progress: &|_| (),
        };
        self.store.find(&commit(), &path(name), size as u64, digest, &check)
    }

    pub(super) fn tree(&self) -> String {
        tree(&self.root())
    }
}

pub(super) fn open(destination: &Destination) -> Result<Store, CacheError> {
    let repo = RepoId::parse("org/tiny").unwrap();
    Store::open(destination, RepoKind::Model, &repo, Options::default())
}

/// Everything below a folder, sorted: path, then mode and size of a file or target of a link. A file that has the mode of
/// any new file is shown as 0644, whatever umask the tests run with.
pub(super) fn tree(root: &Path) -> String {
    let mut text = String::new();
    list(root, root, &mut text);
    text
}

fn list(root: &Path, folder: &Path, text: &mut String) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let meta = entry.symlink_metadata().unwrap();
        let name = entry.strip_prefix(root).unwrap().display().to_string();
        if meta.is_symlink() {
            writeln!(text, "{name} -> {}", entry.read_link().unwrap().display()).unwrap();
        } else if meta.is_dir() {
            writeln!(text, "{name}/").unwrap();
            list(root, &entry, text);
        } else {
            let mode = match meta.mode() & 0o7777 {
                mode if mode == 0o666 & !umask() => 0o644,
                other => other,
            };
            writeln!(text, "{name} {mode:04o} {}", meta.len()).unwrap();
        }
    }
}

fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    u32::from_str_radix(line.unwrap().trim(), 8).unwrap()
}

/// A file with these bytes.
pub(super) fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// It, as what is to be read.
pub(super) fn content(file: &tempfile::NamedTempFile) -> Content<'_> {
    Content {
        file: file.as_file(),
        path: file.path(),
        passing: true,
    }
}
