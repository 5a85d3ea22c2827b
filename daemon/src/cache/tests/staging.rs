//! The partial file: found again, never shared, never more than asked for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::cache::testkit::{Bench, GO_ON, commit, git_digest, no_patience, path, sha256_digest, tree};
use crate::cache::{ErrorKind, Found, Partial, Staging, verify};
use crate::model::Digest;

fn stage(bench: &Bench, digest: &Digest, size: u64, tag: &str) -> Staging {
    bench.store.stage(digest, &path("a"), size, tag).unwrap()
}

#[test]
fn a_partial_file_is_found_again_with_its_bytes() {
    let bench = Bench::cache();
    let digest = sha256_digest(b"0123456789");
    let first = stage(&bench, &digest, 10, "job");
    assert!(!first.existed());
    first.write_at(4, &[Bytes::from_static(b"45")]).unwrap();
    first.sync().unwrap();
    let stamp = first.stamp().unwrap();
    assert_eq!(stamp.size, 10, "its length is final from the start");
    assert_eq!(first.path(), bench.repo().join(format!(".hfetch/{digest}.part")));
    drop(first);
    let second = stage(&bench, &digest, 10, "job");
    assert!(second.existed());
    assert!(second.stamp().unwrap().same_file(&stamp));
    let mut bytes = [0; 20];
    assert_eq!(second.read_at(0, &mut bytes).unwrap(), 10);
    assert_eq!(&bytes[..10], b"\0\0\0\x0045\0\0\0\0");
}

#[test]
fn a_partial_file_of_another_length_is_begun_anew() {
    let bench = Bench::cache();
    let digest = sha256_digest(b"x");
    for length in [0, 3, 30] {
        let first = stage(&bench, &digest, 10, "job");
        first.write_at(0, &[Bytes::from_static(b"stale")]).unwrap();
        let part = fs::OpenOptions::new().write(true).open(first.path()).unwrap();
        drop(first);
        part.set_len(length).unwrap();
        let second = stage(&bench, &digest, 10, "job");
        assert!(!second.existed());
        let mut bytes = [1; 10];
        second.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 10]);
        second.discard().unwrap();
    }
}

#[test]
fn two_transfers_of_one_content_do_not_share_a_file() {
    let bench = Bench::cache();
    let digest = sha256_digest(b"x");
    let first = stage(&bench, &digest, 4, "one");
    let second = stage(&bench, &digest, 4, "two/../");
    assert_eq!(
        second.path().file_name().unwrap().to_str().unwrap(),
        format!("{digest}.two____.part")
    );
    let busy = bench.store.stage(&digest, &path("a"), 4, "two/../").unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy);
    // After a restart each finds a file again, and begun ones go before new ones.
    let second_stamp = second.stamp().unwrap();
    drop(second);
    first.discard().unwrap();
    let again = stage(&bench, &digest, 4, "two/../");
    assert!(again.existed() && again.stamp().unwrap().same_file(&second_stamp));
}

#[test]
fn a_partial_file_that_was_published_meanwhile_is_never_opened_for_writing() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    bench.publish("a", &digest, b"hello\n").unwrap();
    let staging = stage(&bench, &digest, 6, "job");
    assert!(!staging.existed());
    staging.write_at(0, &[Bytes::from_static(b"wrong!")]).unwrap();
    assert!(matches!(bench.find("a", &digest, 6), Ok(Found::Published(_))));
}

#[test]
fn writes_are_whole_and_stay_inside() {
    let bench = Bench::cache();
    // More buffers than one call takes, empty ones among them.
    let buffers: Vec<Bytes> = (0..3000_u32)
        .map(|i| Bytes::from(vec![(i % 251) as u8; (i % 3) as usize]))
        .collect();
    let whole: Vec<u8> = buffers.iter().flatten().copied().collect();
    let digest = sha256_digest(&whole);
    let size = whole.len() as u64;
    let staging = stage(&bench, &digest, size, "job");
    staging.write_at(0, &buffers).unwrap();
    let hashed = verify::hash(staging.content(), &digest, size, &GO_ON, &|_| ());
    assert_eq!(hashed.unwrap(), digest);
    staging.write_at::<Bytes>(size, &[]).unwrap();
    staging.write_at(size, &[Bytes::new()]).unwrap();
    for (offset, length) in [(size, 1), (size - 1, 2), (u64::MAX, 1), (0, whole.len() + 1)] {
        let refused = staging.write_at(offset, &[Bytes::from(vec![0; length])]);
        assert!(refused.is_err(), "{offset}");
    }
    assert_eq!(staging.stamp().unwrap().size, size);
}

#[test]
fn threads_write_disjoint_ranges_at_once() {
    let bench = Bench::cache();
    let whole: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 253) as u8).collect();
    let digest = sha256_digest(&whole);
    let staging = stage(&bench, &digest, 1 << 20, "job");
    let bytes = Bytes::from(whole);
    std::thread::scope(|scope| {
        for part in 0..8_usize {
            let (staging, bytes) = (&staging, &bytes);
            scope.spawn(move || {
                for piece in 0..16 {
                    let at = (part * 16 + piece) * 8192;
                    staging.write_at(at as u64, &[bytes.slice(at..at + 8192)]).unwrap();
                }
                staging.sync().unwrap();
            });
        }
    });
    bench
        .store
        .publish(staging, &commit(), &path("a"), &digest, &no_patience())
        .unwrap();
    assert!(matches!(bench.find("a", &digest, 1 << 20), Ok(Found::Published(_))));
}

#[test]
fn a_partial_file_removed_or_swapped_under_us_is_not_published() {
    let digest = git_digest(b"hello\n");
    type Meddle = fn(&Path);
    let meddlers: [(Meddle, ErrorKind); 4] = [
        (|part| fs::remove_file(part).unwrap(), ErrorKind::Vanished),
        (
            |part| {
                fs::remove_file(part).unwrap();
                fs::write(part, "wrong!").unwrap();
            },
            ErrorKind::Vanished,
        ),
        (
            |part| fs::hard_link(part, part.with_extension("second")).unwrap(),
            ErrorKind::UnsafePath,
        ),
        // What `hf cache rm` does to the whole repository folder.
        (
            |part| fs::remove_dir_all(part.parent().unwrap()).unwrap(),
            ErrorKind::Vanished,
        ),
    ];
    for (meddle, expected) in meddlers {
        let bench = Bench::cache();
        let staging = bench.staged("a", &digest, b"hello\n");
        meddle(staging.path());
        let refused = bench
            .store
            .publish(staging, &commit(), &path("a"), &digest, &no_patience())
            .unwrap_err();
        assert_eq!(refused.kind(), expected, "{refused}");
        assert_eq!(bench.find("a", &digest, 6).unwrap(), Found::Absent);
        if expected == ErrorKind::Vanished {
            bench.publish("a", &digest, b"hello\n").unwrap();
        }
    }
}

/// The only partial file, once it is not as it was before: the clock of a file system may tick slowly.
fn listed_after(bench: &Bench, before: &Partial, change: impl Fn()) -> Partial {
    loop {
        change();
        let listed = bench.store.list_partials().unwrap().remove(0);
        if listed.stamp != before.stamp {
            return listed;
        }
    }
}

#[test]
fn a_partial_file_that_is_not_as_it_was_listed_is_not_held() {
    let bench = Bench::cache();
    let digest = sha256_digest(b"one");
    let open = || stage(&bench, &digest, 1 << 20, "job");
    drop(open());
    let first = bench.store.list_partials().unwrap().remove(0);
    // Somebody went on with it, and has it open no more.
    let second = listed_after(&bench, &first, || open().write_at(0, &[b"x"]).unwrap());
    assert!(second.stamp.same_file(&first.stamp));
    assert!(bench.store.hold_partial(&first).unwrap().is_none());
    // Begun anew: it may have the same inode.
    let third = listed_after(&bench, &second, || {
        fs::remove_file(&second.path).unwrap();
        drop(open());
    });
    assert!(bench.store.hold_partial(&second).unwrap().is_none());
    let idle = bench.store.hold_partial(&third).unwrap();
    assert!(idle.unwrap().remove().unwrap());
}

#[test]
fn partial_files_are_listed_and_removed_only_when_nobody_uses_them() {
    let bench = Bench::cache();
    assert!(bench.store.list_partials().unwrap().is_empty());
    let (one, two) = (sha256_digest(b"one"), git_digest(b"two"));
    let held = stage(&bench, &one, 3, "job");
    drop(stage(&bench, &two, 1 << 20, "job"));
    fs::write(bench.repo().join(".hfetch/not-ours"), "").unwrap();
    let listed = bench.store.list_partials().unwrap();
    assert_eq!(listed.len(), 2);
    for partial in &listed {
        let free = partial.digest == two;
        assert!(free || partial.digest == one);
        assert_eq!(partial.stamp.size, if free { 1 << 20 } else { 3 });
        let idle = bench.store.hold_partial(partial).unwrap();
        assert_eq!(idle.is_some(), free);
        if let Some(idle) = idle {
            // No transfer begins with it meanwhile, nor does another take it for unused.
            let other = stage(&bench, &two, 1 << 20, "job");
            assert_ne!(other.path(), partial.path);
            other.discard().unwrap();
            assert!(bench.store.hold_partial(partial).unwrap().is_none());
            assert!(idle.remove().unwrap());
        }
        assert!(bench.store.hold_partial(partial).unwrap().is_none());
    }
    assert!(!bench.store.remove_empty_staging().unwrap());
    held.discard().unwrap();
    fs::remove_file(bench.repo().join(".hfetch/not-ours")).unwrap();
    assert!(bench.store.remove_empty_staging().unwrap());
    assert!(!bench.store.remove_empty_staging().unwrap());
}

#[test]
fn leftovers_go_after_an_hour() {
    let bench = Bench::cache();
    let folder = bench.repo().join(".hfetch");
    fs::create_dir_all(&folder).unwrap();
    let digest = git_digest(b"x");
    let old = fs::File::create(folder.join("00000000.tmp")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write(folder.join("11111111.tmp"), "").unwrap();
    fs::write(folder.join(format!("{digest}.bad-1000")), "").unwrap();
    let now = fs::metadata(folder.join("11111111.tmp")).unwrap().mtime();
    fs::write(folder.join(format!("{digest}.bad-{now}")), "").unwrap();
    assert!(!bench.store.remove_empty_staging().unwrap());
    let expected = format!("11111111.tmp 0644 0\n{digest}.bad-{now} 0644 0\n");
    assert_eq!(tree(&folder), expected);
}

#[test]
fn the_staging_folder_may_be_removed_at_any_moment() {
    let bench = Bench::cache();
    let stop = AtomicBool::new(false);
    let store = &bench.store;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Not even an error here may hurt the other side.
                drop(store.remove_empty_staging());
            }
        });
        let results: Vec<_> = (0..50)
            .map(|number: u32| {
                let bytes = number.to_string();
                let digest = git_digest(bytes.as_bytes());
                let name = path(&format!("f{number}"));
                let staging = store.stage(&digest, &name, bytes.len() as u64, "job")?;
                staging.write_at(0, &[Bytes::from(bytes)])?;
                store.publish(staging, &commit(), &name, &digest, &no_patience())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
}

#[test]
fn a_failed_sync_is_final_for_the_handle() {
    let bench = Bench::cache();
    let digest = git_digest(b"hello\n");
    let staging = bench.staged("a", &digest, b"hello\n");
    let failed = staging.sync_with(|_| Err(std::io::ErrorKind::Other.into()));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::DiskError);
    // The kernel would say yes now, and be wrong.
    assert_eq!(staging.sync().unwrap_err().kind(), ErrorKind::DiskError);
    let refused = bench
        .store
        .publish(staging, &commit(), &path("a"), &digest, &no_patience())
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::DiskError);
    assert_eq!(bench.find("a", &digest, 6).unwrap(), Found::Absent);
    // Staged again and written again, it is as good as new.
    bench.publish("a", &digest, b"hello\n").unwrap();
}
