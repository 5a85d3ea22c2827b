//! What leaves the page cache, and what stays in it.

use std::fs::{self, File};
use std::io::{IoSliceMut, Write as _};

use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::cache::neighbour::drop_cached;
use crate::cache::testkit::{GO_ON, sha256_digest};
use crate::cache::verify::{self, Content};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 24 * MIB;

/// How many of the probed places of a file are in memory. Backwards and far apart: a probe may start a read ahead.
fn cached(file: &File) -> u64 {
    let places = (0..SIZE / (4 * MIB)).rev();
    let is_cached = |place: &u64| {
        let probe = preadv2(
            file,
            &mut [IoSliceMut::new(&mut [0])],
            place * 4 * MIB + MIB,
            ReadWriteFlags::NOWAIT,
        );
        matches!(probe, Ok(1))
    };
    places.filter(is_cached).count() as u64
}

/// The system can do what is tested: no memory file system, and a kernel with `RWF_DONTCACHE`.
fn able(file: &File) -> bool {
    let flag = ReadWriteFlags::from_bits_retain(0x80);
    let refused = preadv2(file, &mut [IoSliceMut::new(&mut [0])], 0, flag) == Err(Errno::OPNOTSUPP);
    if refused {
        println!("SKIPPED: the kernel or the file system has no RWF_DONTCACHE");
    }
    !refused
}

#[test]
fn hashing_leaves_memory_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at / 4096 % 251) as u8).collect();
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all(&bytes).unwrap();
    file.sync_all().unwrap();
    if !able(&file) {
        return;
    }
    let digest = sha256_digest(&bytes);
    let hash = |passing| {
        let content = Content {
            file: &file,
            path: &path,
            passing,
        };
        assert_eq!(verify::hash(content, &digest, SIZE, &GO_ON, &|_| ()).unwrap(), digest);
    };
    assert_eq!(cached(&file), 6, "just written");
    hash(true);
    assert_eq!(cached(&file), 6, "somebody else may want it");
    // What was read a moment ago may still be held by the processor that read it.
    for _ in 0..1000 {
        drop_cached(&file, SIZE, 0, SIZE);
        if cached(&file) == 0 {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(cached(&file), 0, "dropped");
    hash(true);
    assert_eq!(cached(&file), 0, "nobody wanted it before");
    hash(false);
    assert_eq!(cached(&file), 6);
    // A part, whose border lies anywhere.
    let mut left = 6;
    for _ in 0..1000 {
        drop_cached(&file, SIZE, 0, 10 * MIB + 77);
        left = cached(&file);
        if left < 6 {
            break;
        }
        std::thread::yield_now();
    }
    assert!((3..=5).contains(&left), "{left}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
