//! A cache: the tree byte for byte, and what happens when something is there already.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::cache::testkit::{Bench, GO_ON, commit, git_digest, no_patience, path, sha256_digest};
use crate::cache::{Check, ErrorKind, Found, Ready};
use crate::model::{CommitHash, Digest, Manifest, ManifestEntry, Revision};

fn manifest() -> Manifest {
    Manifest {
        commit: commit(),
        entries: vec![ManifestEntry::new(
            "config.json".to_owned(),
            6,
            "ce013625030ba8dba906f756967f9e9ca394464a",
            None,
            None,
        )],
    }
}

#[test]
fn a_published_snapshot_is_the_tree_of_the_python_client() {
    let bench = Bench::cache();
    bench.store.prepare(&manifest()).unwrap();
    let (small, large) = (git_digest(b"hello\n"), sha256_digest(&[1, 2, 3, 4].repeat(50_000)));
    bench.publish("config.json", &small, b"hello\n").unwrap();
    bench
        .publish("sub dir/model.safetensors", &large, &[1, 2, 3, 4].repeat(50_000))
        .unwrap();
    bench.publish("empty", &git_digest(b""), b"").unwrap();
    bench.store.write_ref(&Revision::main(), &commit()).unwrap();
    assert!(bench.store.remove_empty_staging().unwrap());
    assert_eq!(
        bench.tree(),
        "\
.locks/
.locks/models--org--tiny/
.locks/models--org--tiny/ce013625030ba8dba906f756967f9e9ca394464a.lock 0664 0
.locks/models--org--tiny/e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332.lock 0664 0
.locks/models--org--tiny/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391.lock 0664 0
CACHEDIR.TAG 0644 191
models--org--tiny/
models--org--tiny/blobs/
models--org--tiny/blobs/ce013625030ba8dba906f756967f9e9ca394464a 0644 6
models--org--tiny/blobs/e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332 0644 200000
models--org--tiny/blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 0644 0
models--org--tiny/refs/
models--org--tiny/refs/main 0644 40
models--org--tiny/snapshots/
models--org--tiny/snapshots/1111111111111111111111111111111111111111/
models--org--tiny/snapshots/1111111111111111111111111111111111111111/config.json -> ../../blobs/ce013625030ba8dba906f756967f9e9ca394464a
models--org--tiny/snapshots/1111111111111111111111111111111111111111/empty -> ../../blobs/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391
models--org--tiny/snapshots/1111111111111111111111111111111111111111/sub dir/
models--org--tiny/snapshots/1111111111111111111111111111111111111111/sub dir/model.safetensors -> ../../../blobs/e26ebbd9e1a1f874f6f32b79ab8c02a1e112081446ef6506320e73d3dbc50332
models--org--tiny/trees/
models--org--tiny/trees/1111111111111111111111111111111111111111.json 0644 134
"
    );
    for (name, digest, size) in [
        ("config.json", small, 6),
        ("sub dir/model.safetensors", large, 200_000),
        ("empty", git_digest(b""), 0),
    ] {
        let found = bench.find(name, &digest, size).unwrap();
        assert!(matches!(found, Found::Published(_)), "{name}: {found:?}");
    }
    assert_eq!(
        std::fs::read_to_string(bench.repo().join("refs/main")).unwrap(),
        "1".repeat(40)
    );
}

/// A folder in which `blobs/<digest>` holds these bytes, whoever wrote them.
fn blob_by_others(bench: &Bench, digest: &Digest, bytes: &[u8]) -> PathBuf {
    let blobs = bench.repo().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let blob = blobs.join(digest.to_string());
    fs::write(&blob, bytes).unwrap();
    blob
}

fn quarantined(bench: &Bench) -> Vec<String> {
    let folder = fs::read_dir(bench.repo().join(".hfetch"));
    folder
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".bad-"))
        .collect()
}

#[test]
fn preparing_twice_changes_nothing() {
    let bench = Bench::cache();
    bench.store.prepare(&manifest()).unwrap();
    let file = bench.repo().join("trees").join(format!("{}.json", commit()));
    let (before, tree) = (file.metadata().unwrap(), bench.tree());
    bench.store.prepare(&manifest()).unwrap();
    assert_eq!(file.metadata().unwrap().ino(), before.ino());
    assert_eq!(bench.tree(), tree);
    // Another listing of the same commit, from a reader with less access: the complete one stays.
    let mut masked = manifest();
    masked.entries[0].xet_hash_masked = true;
    bench.store.prepare(&masked).unwrap();
    assert_eq!(bench.tree(), tree);
}

#[test]
fn a_foreign_blob_is_believed_only_after_hashing() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let blob = blob_by_others(&bench, &digest, b"hello\n");
    let Found::BlobPresent(stamp) = bench.find("config.json", &digest, 6).unwrap() else {
        panic!("not found");
    };
    bench
        .store
        .link(&commit(), &path("config.json"), &digest, stamp, &no_patience())
        .unwrap();
    assert!(matches!(bench.find("config.json", &digest, 6), Ok(Found::Published(_))));
    // Right size, wrong bytes; then wrong size; then nothing in it.
    for wrong in [&b"hellO\n"[..], b"hell", b""] {
        fs::write(&blob, wrong).unwrap();
        let found = bench.find("config.json", &digest, 6).unwrap();
        assert_eq!(found, Found::Corrupt { path: blob.clone() });
    }
}

#[test]
fn what_was_verified_before_is_not_hashed_again() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let published = bench.publish("a", &digest, b"hello\n").unwrap();
    let hashed = std::cell::Cell::new(0);
    let find = |cancel: &AtomicBool| {
        let check = Check {
            vouched: &|stamp| *stamp == published,
            cancel,
            progress: &|bytes| hashed.set(bytes),
        };
        bench.store.find(&commit(), &path("a"), 6, &digest, &check)
    };
    assert_eq!(find(&GO_ON).unwrap(), Found::Published(published));
    assert_eq!(hashed.get(), 0);
    // Same size, same name, other bytes: the stamp differs, and they are read.
    fs::write(bench.store.content_path(&path("a"), &digest), b"hellO\n").unwrap();
    assert!(matches!(find(&GO_ON).unwrap(), Found::Corrupt { .. }));
    assert_eq!(hashed.get(), 6);
    let cancelled = find(&AtomicBool::new(true));
    assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_wrong_blob_is_replaced_and_kept() {
    for wrong in [&b"hellO\n"[..], b"hell", b""] {
        let bench = Bench::cache();
        let digest = git_digest(b"hello\n");
        let blob = blob_by_others(&bench, &digest, wrong);
        let stamp = bench.publish("config.json", &digest, b"hello\n").unwrap();
        assert_eq!(fs::read(&blob).unwrap(), b"hello\n");
        assert_eq!(stamp.ino, blob.metadata().unwrap().ino());
        let bad = quarantined(&bench);
        assert_eq!(bad.len(), 1);
        assert!(bad[0].starts_with(&format!("{digest}.bad-")));
        assert_eq!(fs::read(bench.repo().join(".hfetch").join(&bad[0])).unwrap(), wrong);
        assert!(!bench.store.remove_empty_staging().unwrap(), "kept for an hour");
        assert!(bench.store.list_partials().unwrap().is_empty());
    }
}

#[test]
fn an_equal_blob_that_appears_meanwhile_is_used() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let staging = bench.staged("config.json", &digest, b"hello\n");
    let blob = blob_by_others(&bench, &digest, b"hello\n");
    let theirs = blob.metadata().unwrap().ino();
    let stamp = bench
        .store
        .publish(staging, &commit(), &path("config.json"), &digest, &no_patience())
        .unwrap();
    assert_eq!(stamp.ino, theirs);
    assert_eq!(blob.metadata().unwrap().ino(), theirs);
    assert!(quarantined(&bench).is_empty());
    assert!(bench.store.remove_empty_staging().unwrap(), "ours is gone");
}

#[test]
fn a_blob_in_the_shared_store_is_used_and_never_written_through() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let shared = bench.root().join("blobs/e8/e864");
    fs::create_dir_all(shared.parent().unwrap()).unwrap();
    fs::write(&shared, b"hello\n").unwrap();
    let blob = bench.repo().join("blobs").join(digest.to_string());
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    symlink("../../blobs/e8/e864", &blob).unwrap();
    assert!(matches!(
        bench.find("config.json", &digest, 6),
        Ok(Found::BlobPresent(_))
    ));
    // Published over it with equal content: the link stays.
    bench.publish("config.json", &digest, b"hello\n").unwrap();
    assert!(blob.symlink_metadata().unwrap().is_symlink());
    assert!(matches!(bench.find("config.json", &digest, 6), Ok(Found::Published(_))));
    // The shared content goes bad: our name is replaced, the store is not touched.
    fs::write(&shared, b"hellO\n").unwrap();
    assert!(matches!(
        bench.find("config.json", &digest, 6),
        Ok(Found::Corrupt { .. })
    ));
    bench.publish("config.json", &digest, b"hello\n").unwrap();
    assert!(blob.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(&shared).unwrap(), b"hellO\n");
    // One that dangles counts as nothing and is replaced, too.
    fs::remove_file(&blob).unwrap();
    symlink("../../blobs/e8/gone", &blob).unwrap();
    assert_eq!(bench.find("config.json", &digest, 6).unwrap(), Found::Absent);
    bench.publish("config.json", &digest, b"hello\n").unwrap();
    assert!(matches!(bench.find("config.json", &digest, 6), Ok(Found::Published(_))));
}

#[test]
fn a_cache_without_links_is_read_and_repaired() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let entry = bench.store.final_path(&commit(), &path("config.json"));
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, b"hello\n").unwrap();
    assert!(matches!(bench.find("config.json", &digest, 6), Ok(Found::Published(_))));
    fs::write(&entry, b"edited by someone").unwrap();
    assert_eq!(
        bench.find("config.json", &digest, 6).unwrap(),
        Found::Corrupt { path: entry.clone() }
    );
    bench.publish("config.json", &digest, b"hello\n").unwrap();
    assert!(entry.symlink_metadata().unwrap().is_symlink());
    let bad = quarantined(&bench);
    assert_eq!(
        fs::read(bench.repo().join(".hfetch").join(&bad[0])).unwrap(),
        b"edited by someone"
    );
}

#[test]
fn a_wrong_link_is_replaced_and_a_folder_is_refused() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let entry = bench.store.final_path(&commit(), &path("config.json"));
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    for target in ["../../blobs/other", "/etc/passwd", "../../../../../../etc/passwd"] {
        symlink(target, &entry).unwrap();
        assert_eq!(
            bench.find("config.json", &digest, 6).unwrap(),
            Found::Absent,
            "{target}"
        );
        bench.publish("config.json", &digest, b"hello\n").unwrap();
        assert_eq!(
            entry.read_link().unwrap().to_str().unwrap(),
            format!("../../blobs/{digest}")
        );
        fs::remove_file(&entry).unwrap();
        fs::remove_file(bench.store.content_path(&path("config.json"), &digest)).unwrap();
    }
    fs::create_dir(&entry).unwrap();
    let refused = bench.publish("config.json", &digest, b"hello\n").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::UnsafePath);
}

#[test]
fn the_mark_of_a_missing_file_goes_when_the_file_comes() {
    let bench = Bench::cache();
    let marks = bench.repo().join(".no_exist").join(commit().as_str());
    fs::create_dir_all(marks.join("sub")).unwrap();
    fs::write(marks.join("sub/a.json"), "").unwrap();
    fs::write(marks.join("other.json"), "").unwrap();
    fs::write(marks.join("folder"), "").unwrap();
    for name in ["sub/a.json", "folder/b.json"] {
        bench.publish(name, &git_digest(b"x"), b"x").unwrap();
    }
    assert!(!marks.join("sub/a.json").exists());
    assert!(marks.join("other.json").exists());
}

#[test]
fn a_batch_publishes_what_it_can_and_answers_in_order() {
    let bench = Bench::cache();
    let other = git_digest(b"other");
    blob_by_others(&bench, &other, b"other");
    let ready = |name: &str, digest: Digest, staging| Ready {
        path: path(name),
        digest,
        staging,
        found: None,
    };
    let mut batch = Vec::new();
    for number in 0..20 {
        let bytes = format!("file {number}");
        let digest = sha256_digest(bytes.as_bytes());
        let staging = bench.staged("x", &digest, bytes.as_bytes());
        batch.push(ready(&format!("d{}/f{number}", number % 3), digest, Some(staging)));
    }
    let lost = sha256_digest(b"lost");
    let staging = bench.staged("lost", &lost, b"lost");
    fs::remove_file(staging.path()).unwrap();
    batch.insert(7, ready("lost", lost, Some(staging)));
    batch.push(ready("present", other, None));
    batch.push(ready("gone", git_digest(b"never there"), None));
    let results = bench.store.publish_batch(&commit(), batch, &no_patience());
    assert_eq!(results.len(), 23);
    for (at, result) in results.iter().enumerate() {
        match result {
            Err(error) => assert!([7, 22].contains(&at) && error.kind() == ErrorKind::Vanished, "{error}"),
            Ok(_) => assert!(![7, 22].contains(&at)),
        }
    }
    for number in 0..20 {
        let entry = bench
            .store
            .final_path(&commit(), &path(&format!("d{}/f{number}", number % 3)));
        assert_eq!(fs::read_to_string(entry).unwrap(), format!("file {number}"));
    }
    assert!(!bench.store.final_path(&commit(), &path("lost")).exists());
    assert!(bench.store.final_path(&commit(), &path("present")).exists());
}

#[test]
fn the_same_content_under_two_names_is_one_blob() {
    let bench = Bench::cache();
    let digest = git_digest(b"same");
    let first = bench.staged("a", &digest, b"same");
    let second = bench.staged("b", &digest, b"same");
    assert_ne!(first.path(), second.path());
    let mut stamps = Vec::new();
    for (name, staging) in [("a", first), ("b", second)] {
        let published = bench
            .store
            .publish(staging, &commit(), &path(name), &digest, &no_patience());
        stamps.push(published.unwrap());
    }
    assert_eq!(stamps[0], stamps[1]);
    assert!(bench.store.remove_empty_staging().unwrap());
}

#[test]
fn unverified_bytes_are_not_published_by_debug_builds() {
    let bench = Bench::cache();
    let refused = bench.publish("a", &git_digest(b"right"), b"wrong").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DigestMismatch);
    assert!(!bench.store.content_path(&path("a"), &git_digest(b"right")).exists());
}

#[test]
fn refs_nest_and_change_only_when_they_must() {
    let bench = Bench::cache();
    bench.store.prepare(&manifest()).unwrap();
    let write = |revision: &str, commit: &CommitHash| {
        let revision = Revision::parse(revision).unwrap();
        bench.store.write_ref(&revision, commit)
    };
    let other = CommitHash::parse(&"2".repeat(40)).unwrap();
    write("refs/pr/1", &commit()).unwrap();
    write("main", &other).unwrap();
    write("main", &commit()).unwrap();
    let main = bench.repo().join("refs/main");
    let before = main.metadata().unwrap().ino();
    write("main", &commit()).unwrap();
    assert_eq!(main.metadata().unwrap().ino(), before);
    write(commit().as_str(), &commit()).unwrap();
    let refs = crate::cache::testkit::tree(&bench.repo().join("refs"));
    assert_eq!(refs, "main 0644 40\nrefs/\nrefs/pr/\nrefs/pr/1 0644 40\n");
    assert_eq!(write("main/x", &commit()).unwrap_err().kind(), ErrorKind::UnsafePath);
    assert!(bench.store.remove_empty_staging().unwrap());
}
