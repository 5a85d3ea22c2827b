//! Disks that are full, elsewhere, read-only or missing. Tests that mount something run in a process with mounts of its
//! own, which vanish with it; where that is not allowed they say so in one line.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;

use crate::cache::testkit::{Bench, commit, git_digest, no_patience, open, path, sha256_digest, spawn};
use crate::cache::{CacheError, ErrorKind, FileStamp, Found, Options, Store};
use crate::model::{Destination, Manifest, RepoId, RepoKind};

/// Set in the process that has its own mounts.
const INSIDE: &str = "HFETCH_TEST_OWN_MOUNTS";

/// Whether to go on. The first call runs the named test again in a process with its own mounts, and answers no.
fn own_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // A user who is not root may mount as the root of a user namespace.
    let flags = if rustix::process::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args([flags, "--propagation", "private"]);
        command
    };
    let mut probe = unshare();
    probe
        .args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stderr(Stdio::null());
    let allowed = spawn(&mut probe).is_ok_and(|mut child| child.wait().unwrap().success());
    if !allowed {
        // No program is missing, so this is no failure anywhere.
        writeln!(std::io::stderr(), "SKIPPED: {test}: mounting is not allowed here").unwrap();
        return false;
    }
    let mut inside = unshare();
    inside
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("cache::tests::disk::{test}")])
        .env(INSIDE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = spawn(&mut inside).unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "no such test: {text}");
    false
}

fn mount(at: &Path, options: &str) {
    fs::create_dir_all(at).unwrap();
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
    assert!(command.status().unwrap().success());
}

/// A cache on a tmpfs of its own.
fn on_tmpfs(options: &str) -> (tempfile::TempDir, PathBuf, Store) {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    mount(&disk, options);
    let store = open(&Destination::Cache(disk.join("hub"))).unwrap();
    (dir, disk, store)
}

fn publish(store: &Store, name: &str, bytes: &str) -> Result<FileStamp, CacheError> {
    let digest = git_digest(bytes.as_bytes());
    let staging = store.stage(&digest, &path(name), bytes.len() as u64, "job")?;
    staging.write_at(0, &[Bytes::from(bytes.to_owned())])?;
    store.publish(staging, &commit(), &path(name), &digest, &no_patience())
}

#[test]
fn a_full_disk_is_found_before_one_byte_is_fetched() {
    if !own_mounts("a_full_disk_is_found_before_one_byte_is_fetched") {
        return;
    }
    let (_dir, disk, store) = on_tmpfs("size=1m");
    let digest = sha256_digest(b"large");
    let refused = store.stage(&digest, &path("a"), 10 << 20, "job").unwrap_err();
    assert!(
        matches!(&refused, CacheError::DiskFull { inodes: false, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("no free space"), "{refused}");
    assert!(store.list_partials().unwrap().is_empty(), "nothing is left behind");
    // A partial file that exists keeps its bytes while the disk is full.
    let staging = store.stage(&digest, &path("a"), 64 << 10, "job").unwrap();
    staging.write_at(0, &[Bytes::from(vec![7; 32 << 10])]).unwrap();
    drop(staging);
    let space = store.filesystem().unwrap();
    assert_eq!(space.total_bytes, 1 << 20);
    let filler = vec![0; usize::try_from(space.free_bytes).unwrap()];
    fs::write(disk.join("filler"), filler).unwrap();
    assert_eq!(store.filesystem().unwrap().free_bytes, 0);
    let staging = store.stage(&digest, &path("a"), 64 << 10, "job").unwrap();
    assert!(staging.existed());
    let mut byte = [0];
    staging.read_at((32 << 10) - 1, &mut byte).unwrap();
    assert_eq!(byte, [7]);
    // The space was reserved, so the rest can be written although the disk is full.
    staging.write_at(32 << 10, &[Bytes::from(vec![8; 32 << 10])]).unwrap();
}

#[test]
fn inodes_used_up_are_named_as_such() {
    if !own_mounts("inodes_used_up_are_named_as_such") {
        return;
    }
    let (_dir, _disk, store) = on_tmpfs("size=10m,nr_inodes=40");
    assert!(store.filesystem().unwrap().free_inodes.is_some());
    let refused = (0..100).find_map(|number| publish(&store, &format!("f{number}"), &format!("{number}")).err());
    let refused = refused.unwrap();
    assert!(
        matches!(refused, CacheError::DiskFull { inodes: true, .. }),
        "{refused:?}"
    );
}

#[test]
fn parts_on_different_disks_are_refused_by_name() {
    if !own_mounts("parts_on_different_disks_are_refused_by_name") {
        return;
    }
    for part in ["blobs", ".hfetch", "snapshots"] {
        let bench = Bench::cache();
        mount(&bench.repo().join(part), "size=1m");
        let reopened = open(&Destination::Cache(bench.root())).unwrap_err();
        assert_eq!(reopened.kind(), ErrorKind::CrossDevice, "{part}: {reopened}");
        // The store that was open before notices, too.
        let manifest = Manifest {
            commit: commit(),
            entries: Vec::new(),
        };
        let prepared = bench.store.prepare(&manifest).unwrap_err();
        assert_eq!(prepared.kind(), ErrorKind::CrossDevice, "{part}: {prepared}");
    }
    let bench = Bench::local();
    mount(&bench.root().join("sub"), "size=1m");
    let digest = git_digest(b"x");
    let staged = bench.store.stage(&digest, &path("sub/deep/a"), 1, "job").unwrap_err();
    assert_eq!(staged.kind(), ErrorKind::CrossDevice, "{staged}");
}

#[test]
fn a_cache_on_a_read_only_disk_can_be_used_but_not_written() {
    if !own_mounts("a_cache_on_a_read_only_disk_can_be_used_but_not_written") {
        return;
    }
    let (_dir, disk, store) = on_tmpfs("size=10m");
    let published = publish(&store, "a", "hello\n").unwrap();
    drop(store);
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,bind,ro"]).arg(&disk);
    assert!(remount.status().unwrap().success());
    let store = open(&Destination::Cache(disk.join("hub"))).unwrap();
    let check = crate::cache::Check {
        vouched: &|_| false,
        cancel: &crate::cache::testkit::GO_ON,
        progress: &|_| (),
    };
    let found = store.find(&commit(), &path("a"), 6, &git_digest(b"hello\n"), &check);
    assert_eq!(found.unwrap(), Found::Published(published));
    let refused = publish(&store, "b", "x").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly, "{refused}");
}

#[test]
fn the_place_of_a_missing_disk_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let repo = RepoId::parse("org/tiny").unwrap();
    let open = |place: &str, create_parents| {
        let options = Options {
            passing: true,
            create_parents,
            mode: None,
        };
        let destination = Destination::Cache(dir.path().join(place));
        Store::open(&destination, RepoKind::Model, &repo, options)
    };
    let refused = open("mnt/data/hub", false).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RootMissing);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let hub = open("mnt/data/hub", true).unwrap();
    open("mnt/data/other", false).unwrap();
    // Who only looks leaves nothing.
    assert!(!dir.path().join("mnt/data/hub/CACHEDIR.TAG").exists());
    let manifest = crate::model::Manifest {
        commit: commit(),
        entries: Vec::new(),
    };
    hub.prepare(&manifest).unwrap();
    assert!(dir.path().join("mnt/data/hub/CACHEDIR.TAG").exists());
    // A file in place of the root.
    for create_parents in [false, true] {
        let refused = open("mnt/data/hub/CACHEDIR.TAG", create_parents).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::UnsafePath, "{refused:?}");
    }
}

#[test]
fn published_files_get_the_mode_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        passing: true,
        create_parents: false,
        mode: Some(0o444),
    };
    let repo = RepoId::parse("org/tiny").unwrap();
    let destination = Destination::Cache(dir.path().join("hub"));
    let store = Store::open(&destination, RepoKind::Model, &repo, options).unwrap();
    publish(&store, "a", "x").unwrap();
    let meta = fs::metadata(store.content_path(&path("a"), &git_digest(b"x"))).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o444);
}
