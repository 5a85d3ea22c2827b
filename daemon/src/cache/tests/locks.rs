//! Lock files, shared with Python clients.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cache::testkit::{Bench, GO_ON, commit, git_digest, no_patience, path, spawn};
use crate::cache::{AfterLimit, ErrorKind, Found, LockWait, Patience};

const BYTES: &[u8] = b"hello\n";
const HOUR: Duration = Duration::from_secs(3600);

fn lock_path(bench: &Bench) -> PathBuf {
    let folder = bench.root().join(".locks/models--org--tiny");
    fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{}.lock", git_digest(BYTES)))
}

fn publish(bench: &Bench, patience: &Patience<'_>) -> Result<(), ErrorKind> {
    let digest = git_digest(BYTES);
    let staging = bench.staged("a", &digest, BYTES);
    let published = bench.store.publish(staging, &commit(), &path("a"), &digest, patience);
    published.map(|_| ()).map_err(|error| error.kind())
}

#[test]
fn a_held_lock_is_waited_for_as_long_as_the_caller_says() {
    let bench = Bench::cache();
    let holder = fs::File::create(lock_path(&bench)).unwrap();
    holder.lock().unwrap();
    assert_eq!(publish(&bench, &no_patience()), Err(ErrorKind::LockTimeout));
    assert_eq!(bench.find("a", &git_digest(BYTES), 6).unwrap(), Found::Absent);
    let heard: Mutex<Vec<LockWait>> = Mutex::default();
    let waiting = |wait: &LockWait| heard.lock().unwrap().push(wait.clone());
    let patience = |limit, then, cancel| Patience {
        limit,
        then,
        cancel,
        waiting: &waiting,
    };
    let stop = AtomicBool::new(true);
    assert_eq!(
        publish(&bench, &patience(HOUR, AfterLimit::Fail, &stop)),
        Err(ErrorKind::Cancelled)
    );
    assert!(heard.lock().unwrap().is_empty());
    let soon = Duration::from_millis(60);
    assert_eq!(
        publish(&bench, &patience(soon, AfterLimit::Fail, &GO_ON)),
        Err(ErrorKind::LockTimeout)
    );
    let first = heard.lock().unwrap()[0].clone();
    assert_eq!((first.path, first.waited), (lock_path(&bench), Duration::ZERO));
    // A lock that is never given back does not stop us for ever.
    assert_eq!(publish(&bench, &patience(soon, AfterLimit::GoOn, &GO_ON)), Ok(()));
}

#[test]
fn publishing_goes_on_when_the_lock_is_released() {
    let bench = Bench::cache();
    let holder = fs::File::create(lock_path(&bench)).unwrap();
    holder.lock().unwrap();
    // The first word of the wait lets the holder go.
    let holder = Mutex::new(Some(holder));
    let patience = Patience {
        limit: HOUR,
        then: AfterLimit::Fail,
        cancel: &GO_ON,
        waiting: &|_| drop(holder.lock().unwrap().take()),
    };
    assert_eq!(publish(&bench, &patience), Ok(()));
    fs::File::open(lock_path(&bench)).unwrap().try_lock().unwrap();
}

#[test]
fn python_holding_the_lock_is_respected() {
    let script = "import fcntl, os, sys\n\
        fd = os.open(sys.stdin.readline().strip(), os.O_RDWR | os.O_CREAT, 0o664)\n\
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n\
        print('held', flush=True)\n\
        sys.stdin.read()\n";
    let mut python = Command::new("python3");
    python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = spawn(&mut python) else {
        return hfetch_tests::python::skip("no python3");
    };
    let bench = Bench::cache();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", lock_path(&bench).display()).unwrap();
    let mut line = String::new();
    let mut words = BufReader::new(child.stdout.take().unwrap());
    words.read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    assert_eq!(publish(&bench, &no_patience()), Err(ErrorKind::LockTimeout));
    drop(stdin);
    child.wait().unwrap();
    assert_eq!(publish(&bench, &no_patience()), Ok(()));
}

#[test]
fn lock_files_stay_group_writable_and_untouched() {
    let bench = Bench::cache();
    publish(&bench, &no_patience()).unwrap();
    let meta = fs::metadata(lock_path(&bench)).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.len()), (0o664, 0));
    // One that somebody wrote into is neither truncated nor a hindrance.
    fs::write(lock_path(&bench), "left by an old version").unwrap();
    publish(&bench, &no_patience()).unwrap();
    assert_eq!(fs::metadata(lock_path(&bench)).unwrap().len(), 22);
}

#[test]
fn a_link_in_place_of_the_lock_is_refused() {
    let bench = Bench::cache();
    let victim = bench.root().join("victim");
    symlink(&victim, lock_path(&bench)).unwrap();
    assert_eq!(publish(&bench, &no_patience()), Err(ErrorKind::UnsafePath));
    assert!(!victim.exists());
}

/// Versions 3.21 to 3.29 of Python's filelock remove the file while they hold it.
#[test]
fn a_lock_file_removed_by_its_holder_is_made_anew() {
    let bench = Bench::cache();
    let lock = lock_path(&bench);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| remove_for_ever(&lock, &stop));
        let patience = Patience {
            limit: HOUR,
            then: AfterLimit::Fail,
            cancel: &GO_ON,
            waiting: &|_| (),
        };
        let results: Vec<_> = (0..20).map(|_| publish(&bench, &patience)).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    });
}

fn remove_for_ever(lock: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(file) = fs::File::create(lock) else { continue };
        if file.try_lock().is_ok() {
            // Somebody else may have been faster.
            drop(fs::remove_file(lock));
        }
    }
}
