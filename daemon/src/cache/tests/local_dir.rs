//! A local directory: plain files and the metadata by which Python believes them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use bytes::Bytes;

use crate::cache::testkit::{Bench, commit, git_digest, no_patience, path, sha256_digest, tree};
use crate::cache::touched::Touched;
use crate::cache::{ErrorKind, Found, Ready};
use crate::model::{CommitHash, Digest, Manifest, Revision};

fn metadata_path(bench: &Bench, name: &str) -> PathBuf {
    bench
        .root()
        .join(format!(".cache/huggingface/download/{name}.metadata"))
}

fn lines(bench: &Bench, name: &str) -> Vec<String> {
    let text = fs::read_to_string(metadata_path(bench, name)).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn published(bench: &Bench, name: &str, digest: &Digest, size: usize) -> bool {
    matches!(bench.find(name, digest, size), Ok(Found::Published(_)))
}

fn present(bench: &Bench, name: &str, digest: &Digest, size: usize) -> bool {
    matches!(bench.find(name, digest, size), Ok(Found::BlobPresent(_)))
}

#[test]
fn a_published_directory_is_the_tree_of_the_python_client() {
    let bench = Bench::local();
    let manifest = Manifest {
        commit: commit(),
        entries: Vec::new(),
    };
    bench.store.prepare(&manifest).unwrap();
    bench.store.prepare(&manifest).unwrap();
    bench
        .publish("config.json", &git_digest(b"hello\n"), b"hello\n")
        .unwrap();
    bench
        .publish("vae/model.safetensors", &sha256_digest(b"weights"), b"weights")
        .unwrap();
    bench.store.write_ref(&Revision::main(), &commit()).unwrap();
    assert!(bench.store.remove_empty_staging().unwrap());
    assert_eq!(
        bench.tree(),
        "\
.cache/
.cache/huggingface/
.cache/huggingface/.gitignore 0644 1
.cache/huggingface/CACHEDIR.TAG 0644 191
.cache/huggingface/download/
.cache/huggingface/download/config.json.lock 0664 0
.cache/huggingface/download/config.json.metadata 0644 100
.cache/huggingface/download/vae/
.cache/huggingface/download/vae/model.safetensors.lock 0664 0
.cache/huggingface/download/vae/model.safetensors.metadata 0644 124
.cache/huggingface/trees/
.cache/huggingface/trees/1111111111111111111111111111111111111111.json 0644 38
config.json 0644 6
vae/
vae/model.safetensors 0644 7
"
    );
    assert_eq!(
        fs::read_to_string(bench.root().join(".cache/huggingface/.gitignore")).unwrap(),
        "*"
    );
    assert_eq!(bench.store.snapshot_path(&commit()), bench.root());
    let vae = bench.store.final_path(&commit(), &path("vae/x"));
    assert_eq!(vae, bench.root().join("vae/x"));
}

#[test]
fn metadata_names_commit_etag_and_a_time_not_before_the_file() {
    let bench = Bench::local();
    let digest = git_digest(b"hello\n");
    let stamp = bench.publish("config.json", &digest, b"hello\n").unwrap();
    let lines = lines(&bench, "config.json");
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], commit().as_str());
    assert_eq!(lines[1], digest.to_string());
    let (seconds, micros) = lines[2].split_once('.').unwrap();
    assert_eq!(micros.len(), 6);
    let time_us: i64 = format!("{seconds}{micros}").parse().unwrap();
    assert!(time_us * 1000 >= stamp.mtime_ns);
    assert!(published(&bench, "config.json", &digest, 6));
}

#[test]
fn a_file_without_valid_metadata_is_hashed_and_described() {
    let bench = Bench::local();
    let digest = git_digest(b"hello\n");
    fs::write(bench.root().join("config.json"), b"hello\n").unwrap();
    // Python fetches such a file again when its etag is a git hash; the bytes say that it is right.
    assert!(present(&bench, "config.json", &digest, 6));
    let link = || {
        let Ok(Found::BlobPresent(stamp)) = bench.find("config.json", &digest, 6) else {
            panic!("not found");
        };
        let linked = bench
            .store
            .link(&commit(), &path("config.json"), &digest, stamp, &no_patience());
        linked.unwrap();
        assert!(published(&bench, "config.json", &digest, 6));
    };
    link();
    // Touched since: the metadata is valid no longer, the bytes are right still.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let mut writable = fs::File::options();
    let file = writable.write(true).open(bench.root().join("config.json")).unwrap();
    file.set_modified(later).unwrap();
    assert!(present(&bench, "config.json", &digest, 6));
    link();
    for broken in ["", "one line", "a\nb\nc\n"] {
        fs::write(metadata_path(&bench, "config.json"), broken).unwrap();
        assert!(present(&bench, "config.json", &digest, 6));
    }
    link();
}

#[test]
fn another_version_is_absent_and_a_spoilt_one_is_corrupt() {
    let bench = Bench::local();
    let (old, new) = (git_digest(b"old one"), git_digest(b"new one"));
    bench.publish("a", &old, b"old one").unwrap();
    assert_eq!(bench.find("a", &new, 7).unwrap(), Found::Absent);
    // Bytes changed without the time telling: what a failing disk does.
    let file = bench.root().join("a");
    let time = file.metadata().unwrap().modified().unwrap();
    fs::write(&file, b"old onE").unwrap();
    let reopened = fs::File::options().write(true).open(&file).unwrap();
    reopened.set_modified(time).unwrap();
    assert_eq!(bench.find("a", &old, 7).unwrap(), Found::Corrupt { path: file.clone() });
    let stamp = bench.publish("a", &new, b"new one").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"new one");
    assert_eq!(lines(&bench, "a")[1], new.to_string());
    // The same bytes at another commit: only the metadata is new.
    let next = CommitHash::parse(&"2".repeat(40)).unwrap();
    bench
        .store
        .link(&next, &path("a"), &new, stamp, &no_patience())
        .unwrap();
    assert_eq!(lines(&bench, "a")[0], next.as_str());
}

#[test]
fn metadata_never_speaks_of_a_file_that_another_job_has_replaced() {
    let bench = Bench::local();
    let (ours, theirs) = (git_digest(b"our one"), git_digest(b"the other"));
    let ready = |digest, bytes: &[u8]| Ready {
        path: path("a"),
        digest,
        staging: Some(bench.staged("a", &digest, bytes)),
        found: None,
    };
    let mut touched = Touched::new();
    let first = ready(ours, b"our one");
    let (stamp, lock) = bench
        .store
        .place(&commit(), &first, &no_patience(), &mut touched)
        .unwrap();
    drop(lock);
    // Between our two steps.
    let other = CommitHash::parse(&"2".repeat(40)).unwrap();
    let second = ready(theirs, b"the other");
    bench
        .store
        .publish(second.staging.unwrap(), &other, &path("a"), &theirs, &no_patience())
        .unwrap();
    let refused = bench
        .store
        .announce(&commit(), &first, &stamp, &no_patience(), &mut touched)
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Vanished);
    assert_eq!(lines(&bench, "a")[..2], [other.to_string(), theirs.to_string()]);
    // The same for a file that was found, and replaced before it was described.
    let refused = bench.store.link(&commit(), &path("a"), &ours, stamp, &no_patience());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Vanished);
    assert_eq!(lines(&bench, "a")[1], theirs.to_string());
}

#[test]
fn the_old_file_stays_until_the_new_one_is_whole() {
    let bench = Bench::local();
    let (old, new) = (git_digest(b"old"), git_digest(b"newer"));
    bench.publish("a", &old, b"old").unwrap();
    let staging = bench.staged("a", &new, b"newer");
    assert_eq!(fs::read(bench.root().join("a")).unwrap(), b"old");
    assert!(published(&bench, "a", &old, 3));
    bench
        .store
        .publish(staging, &commit(), &path("a"), &new, &no_patience())
        .unwrap();
    assert_eq!(fs::read(bench.root().join("a")).unwrap(), b"newer");
}

#[test]
fn what_is_in_the_way_is_refused_and_left_alone() {
    let bench = Bench::local();
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    symlink(&outside, bench.root().join("vae")).unwrap();
    symlink(outside.join("kept"), bench.root().join("link")).unwrap();
    fs::create_dir(bench.root().join("folder")).unwrap();
    fs::write(bench.root().join("file"), "").unwrap();
    let digest = git_digest(b"x");
    for name in ["vae/model", "link", "folder", "file/below"] {
        let found = bench.find(name, &digest, 1).unwrap_err();
        assert_eq!(found.kind(), ErrorKind::UnsafePath, "{name}");
        let staged = bench.store.stage(&digest, &path(name), 1, "job");
        let refused = staged.and_then(|staging| {
            staging.write_at(0, &[Bytes::from_static(b"x")])?;
            bench
                .store
                .publish(staging, &commit(), &path(name), &digest, &no_patience())
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::UnsafePath, "{name}");
    }
    assert_eq!(tree(&outside), "kept 0644 4\n");
    let link = bench.root().join("link").symlink_metadata().unwrap();
    assert!(link.is_symlink());
}

#[test]
fn python_holding_the_path_is_respected() {
    let bench = Bench::local();
    let lock = bench.root().join(".cache/huggingface/download/a.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let holder = fs::File::create(lock).unwrap();
    holder.lock().unwrap();
    let digest = git_digest(b"x");
    let refused = bench.publish("a", &digest, b"x").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LockTimeout);
    drop(holder);
    bench.publish("a", &digest, b"x").unwrap();
}
