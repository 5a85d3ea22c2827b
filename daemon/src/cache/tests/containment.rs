//! Nothing leaves the root, however the folders below it are swapped for links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::testkit::{Bench, commit, git_digest, no_patience, path, tree};
use crate::cache::{ErrorKind, Found};
use crate::model::{Manifest, Revision};

const ROUNDS: u32 = 150;

fn outside(bench: &Bench) -> std::path::PathBuf {
    let outside = bench.dir.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    outside
}

#[test]
fn a_linked_folder_anywhere_on_the_way_is_refused() {
    let digest = git_digest(b"x");
    for linked in [
        "models--org--tiny",
        "models--org--tiny/blobs",
        "models--org--tiny/.hfetch",
        "models--org--tiny/snapshots",
        "models--org--tiny/refs",
        "models--org--tiny/trees",
        "models--org--tiny/snapshots/1111111111111111111111111111111111111111",
        "models--org--tiny/snapshots/1111111111111111111111111111111111111111/sub",
        ".locks",
        ".locks/models--org--tiny",
    ] {
        let bench = Bench::cache();
        let outside = outside(&bench);
        let link = bench.root().join(linked);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&outside, &link).unwrap();
        let manifest = Manifest {
            commit: commit(),
            entries: Vec::new(),
        };
        let all = [
            bench.store.prepare(&manifest),
            bench
                .store
                .stage(&digest, &path("sub/a"), 1, "job")
                .and_then(|staging| {
                    staging.write_at(0, &[bytes::Bytes::from_static(b"x")])?;
                    bench
                        .store
                        .publish(staging, &commit(), &path("sub/a"), &digest, &no_patience())
                })
                .map(|_| ()),
            bench.store.write_ref(&Revision::main(), &commit()),
        ];
        let refused: Vec<_> = all.into_iter().filter_map(Result::err).collect();
        assert!(!refused.is_empty(), "{linked}");
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::UnsafePath, "{linked}: {error}");
        }
        assert_eq!(tree(&outside), "", "{linked}");
    }
}

/// Swaps a folder for a link to the outside and back until told to stop. Each step may find the other side's work in
/// its way; then the next round goes on.
fn swap(folder: &Path, outside: &Path, stop: &AtomicBool) -> u32 {
    let aside = folder.with_extension("aside");
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        breathe(200 * (swaps % 20));
        if rename(folder, &aside) {
            swaps += u32::from(symlink(outside, folder).is_ok());
            breathe(10 * (swaps % 20));
            drop(fs::remove_file(folder));
            if !rename(&aside, folder) {
                drop(fs::remove_dir_all(&aside));
            }
        }
    }
    swaps
}

/// Lets the other side run for a while that differs from round to round.
fn breathe(turns: u32) {
    (0..turns).for_each(|_| std::thread::yield_now());
}

fn rename(from: &Path, to: &Path) -> bool {
    rustix::fs::rename(from, to).is_ok()
}

fn race(bench: &Bench, folder: &Path) {
    let outside = outside(bench);
    fs::create_dir_all(folder).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| swap(folder, &outside, &stop));
        for round in 0..ROUNDS {
            let bytes = round.to_string();
            let digest = git_digest(bytes.as_bytes());
            let name = format!("sub/deep/f{round}");
            let published = bench
                .store
                .stage(&digest, &path(&name), bytes.len() as u64, "job")
                .and_then(|staging| {
                    staging.write_at(0, &[bytes::Bytes::from(bytes)])?;
                    bench
                        .store
                        .publish(staging, &commit(), &path(&name), &digest, &no_patience())
                });
            // Refused, or its folder was moved away: both are fine, as long as nothing went elsewhere.
            drop(published);
        }
        stop.store(true, Ordering::Relaxed);
        let swaps = swapper.join().unwrap();
        assert!(swaps > 0);
    });
    assert_eq!(tree(&outside), "");
}

#[test]
fn a_snapshot_folder_swapped_for_a_link_leads_nowhere() {
    let bench = Bench::cache();
    let folder = bench.store.final_path(&commit(), &path("sub"));
    race(&bench, &folder);
}

#[test]
fn a_local_folder_swapped_for_a_link_leads_nowhere() {
    let bench = Bench::local();
    race(&bench, &bench.root().join("sub"));
}

#[test]
fn a_blob_folder_swapped_for_a_link_leads_nowhere() {
    let bench = Bench::cache();
    race(&bench, &bench.repo().join("blobs"));
}

#[test]
fn what_is_read_is_below_the_root_too() {
    let bench = Bench::cache();
    let outside = outside(&bench);
    fs::write(outside.join("secret"), "x").unwrap();
    let digest = git_digest(b"x");
    let blob = bench.store.content_path(&path("a"), &digest);
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    for target in ["../../../outside/secret", outside.join("secret").to_str().unwrap()] {
        symlink(target, &blob).unwrap();
        // Equal bytes, but not ours to vouch for.
        assert_eq!(bench.find("a", &digest, 1).unwrap(), Found::Absent);
        fs::remove_file(&blob).unwrap();
    }
    // A loop of links ends.
    symlink(blob.file_name().unwrap(), &blob).unwrap();
    assert_eq!(bench.find("a", &digest, 1).unwrap(), Found::Absent);
    bench.publish("a", &digest, b"x").unwrap();
    assert_eq!(fs::read(&blob).unwrap(), b"x");
}
