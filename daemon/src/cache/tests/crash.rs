//! Crash points: a publish is stopped after each of its steps, everything in memory is lost, and looking again is
//! enough to complete it. (Which of two names survives a power cut before a folder's sync is the file system's choice;
//! both answers are constructed here.)

use std::fs;

use crate::cache::publish::Ready;
use crate::cache::testkit::{Bench, commit, git_digest, no_patience, open, path, tree};
use crate::cache::touched::Touched;
use crate::cache::{Found, InMemory, Store};
use crate::model::{Destination, Manifest, ManifestEntry, Revision};

const NAME: &str = "sub/config.json";
const BYTES: &[u8] = b"hello\n";

fn manifest() -> Manifest {
    Manifest {
        commit: commit(),
        entries: vec![ManifestEntry::new(
            NAME.to_owned(),
            6,
            &git_digest(BYTES).to_string(),
            None,
            None,
        )],
    }
}

/// How far the first process came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Cut {
    Nothing,
    Prepared,
    PartialMade,
    DataWritten,
    Sealed,
    Placed,
    Announced,
    RefWritten,
}

const CUTS: [Cut; 8] = [
    Cut::Nothing,
    Cut::Prepared,
    Cut::PartialMade,
    Cut::DataWritten,
    Cut::Sealed,
    Cut::Placed,
    Cut::Announced,
    Cut::RefWritten,
];

/// The steps of one file, up to and with `cut`.
fn run_until(bench: &Bench, cut: Cut) {
    let digest = git_digest(BYTES);
    let store = &bench.store;
    if cut >= Cut::Prepared {
        store.prepare(&manifest()).unwrap();
    }
    if cut < Cut::PartialMade {
        return;
    }
    let staging = store.stage(&digest, &path(NAME), 6, "job").unwrap();
    if cut >= Cut::DataWritten {
        staging.write_at(0, &[bytes::Bytes::from_static(BYTES)]).unwrap();
    }
    if cut >= Cut::Sealed {
        staging.seal(None).unwrap();
    }
    let ready = Ready {
        path: path(NAME),
        digest,
        staging: Some(staging),
        found: None,
    };
    let mut touched = Touched::new();
    if cut >= Cut::Placed {
        let (stamp, lock) = store.place(&commit(), &ready, &no_patience(), &mut touched).unwrap();
        drop(lock);
        if cut >= Cut::Announced {
            store
                .announce(&commit(), &ready, &stamp, &no_patience(), &mut touched)
                .unwrap();
        }
    }
    if cut >= Cut::RefWritten {
        store.write_ref(&Revision::main(), &commit()).unwrap();
    }
}

fn remove_partials(store: &Store) {
    for partial in store.list_partials().unwrap() {
        let idle = store.hold_partial(&partial).unwrap().unwrap();
        assert!(idle.remove().unwrap());
    }
}

/// What a new process does: look, do what is missing.
fn recover(store: &Store) {
    let digest = git_digest(BYTES);
    store.prepare(&manifest()).unwrap();
    let check = crate::cache::Check {
        vouched: &|_| false,
        cancel: &crate::cache::testkit::GO_ON,
        progress: &|_| (),
    };
    match store.find(&commit(), &path(NAME), 6, &digest, &check).unwrap() {
        Found::Published(_) => remove_partials(store),
        Found::BlobPresent(found) => {
            remove_partials(store);
            store
                .link(&commit(), &path(NAME), &digest, found, &no_patience())
                .unwrap();
        }
        Found::Absent | Found::Corrupt { .. } => {
            let staging = store.stage(&digest, &path(NAME), 6, "job").unwrap();
            staging.write_at(0, &[bytes::Bytes::from_static(BYTES)]).unwrap();
            store
                .publish(staging, &commit(), &path(NAME), &digest, &no_patience())
                .unwrap();
        }
    }
    store.write_ref(&Revision::main(), &commit()).unwrap();
    store.remove_empty_staging().unwrap();
}

/// A tree without what differs by nature: the time in metadata has a fixed length, so sizes may be compared.
fn whole(make: fn() -> Bench) -> String {
    let bench = make();
    recover(&bench.store);
    bench.tree()
}

fn reopened(bench: &Bench) -> Store {
    let destination = match bench.root().ends_with("hub") {
        true => Destination::Cache(bench.root()),
        false => Destination::LocalDir(bench.root()),
    };
    open(&destination).unwrap()
}

#[test]
fn after_any_cut_looking_again_completes_the_file() {
    for make in [Bench::cache as fn() -> Bench, Bench::local] {
        let expected = whole(make);
        for cut in CUTS {
            let bench = make();
            run_until(&bench, cut);
            recover(&reopened(&bench));
            assert_eq!(bench.tree(), expected, "cut after {cut:?}");
        }
    }
}

#[test]
fn after_any_two_cuts_too() {
    for make in [Bench::cache as fn() -> Bench, Bench::local] {
        let expected = whole(make);
        let pairs = CUTS.iter().flat_map(|first| CUTS.map(|second| (*first, second)));
        for (first, second) in pairs.filter(|(first, second)| first <= second) {
            let bench = make();
            run_until(&bench, first);
            run_until(&bench, second);
            recover(&reopened(&bench));
            assert_eq!(bench.tree(), expected, "cuts after {first:?} and {second:?}");
        }
    }
}

#[test]
fn a_cut_before_the_folder_sync_may_leave_either_name_or_none() {
    let expected = whole(Bench::cache);
    // Placed, but the rename did not survive: the whole partial file is still there.
    let bench = Bench::cache();
    run_until(&bench, Cut::Placed);
    let blob = bench.store.content_path(&path(NAME), &git_digest(BYTES));
    let part = bench.repo().join(format!(".hfetch/{}.part", git_digest(BYTES)));
    rustix::fs::rename(&blob, &part).unwrap();
    recover(&reopened(&bench));
    assert_eq!(bench.tree(), expected);
    // Neither survived.
    let bench = Bench::cache();
    run_until(&bench, Cut::Placed);
    fs::remove_file(bench.store.content_path(&path(NAME), &git_digest(BYTES))).unwrap();
    recover(&reopened(&bench));
    assert_eq!(bench.tree(), expected);
    // Another program's link survived, the blob did not.
    let bench = Bench::cache();
    run_until(&bench, Cut::Announced);
    fs::remove_file(bench.store.content_path(&path(NAME), &git_digest(BYTES))).unwrap();
    recover(&reopened(&bench));
    assert_eq!(bench.tree(), expected);
}

#[test]
fn blocks_lost_under_a_published_name_are_found() {
    // Not from our order of steps, but disks lie: the name is there, the bytes are zeros or cut.
    for lost in [&b"\0\0\0\0\0\0"[..], b""] {
        let bench = Bench::cache();
        run_until(&bench, Cut::RefWritten);
        let blob = bench.store.content_path(&path(NAME), &git_digest(BYTES));
        fs::write(&blob, lost).unwrap();
        recover(&reopened(&bench));
        assert_eq!(fs::read(&blob).unwrap(), BYTES);
    }
}

#[test]
fn a_cut_between_swap_and_quarantine_leaves_the_right_blob() {
    let bench = Bench::cache();
    run_until(&bench, Cut::RefWritten);
    // The wrong blob has been swapped to the partial name and nothing more.
    let part = bench.repo().join(format!(".hfetch/{}.part", git_digest(BYTES)));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, "wrong!").unwrap();
    let store = reopened(&bench);
    // It looks like a partial file, but no claim names its inode, and nobody looks for one: the blob is right.
    assert_eq!(store.list_partials().unwrap().len(), 1);
    recover(&store);
    assert!(!tree(&bench.repo()).contains(".hfetch"));
}

#[test]
fn an_interrupted_update_of_a_local_file_is_never_believed() {
    let bench = Bench::local();
    let old = git_digest(b"older!");
    bench.publish(NAME, &old, b"older!").unwrap();
    run_until(&bench, Cut::Placed);
    // The new bytes have the name; the metadata that spoke of the old ones is gone before.
    let about = format!(".cache/huggingface/download/{NAME}.metadata");
    assert!(!bench.root().join(about).exists());
    assert_eq!(bench.find(NAME, &old, 6).unwrap(), Found::Absent);
    recover(&reopened(&bench));
    assert_eq!(bench.tree(), whole(Bench::local));
}

#[test]
fn a_batch_that_was_cut_is_completed_by_the_next_look() {
    for make in [Bench::cache as fn() -> Bench, Bench::local] {
        let names: Vec<String> = (0..20).map(|number| format!("d{}/{number}.json", number % 3)).collect();
        let contents: Vec<Vec<u8>> = (0..20).map(|number| format!("text {number}").into_bytes()).collect();
        let files = |range: std::ops::Range<usize>| -> Vec<InMemory> {
            let file = |number: usize| InMemory {
                path: path(&names[number]),
                digest: git_digest(&contents[number]),
                bytes: vec![bytes::Bytes::from(contents[number].clone())],
            };
            range.map(file).collect()
        };
        let publish = |store: &Store, batch: Vec<InMemory>| {
            for result in store.publish_in_memory(&commit(), batch, &no_patience()) {
                result.unwrap();
            }
        };
        let whole = make();
        publish(&whole.store, files(0..20));
        let staging = match whole.root().ends_with("hub") {
            true => whole.repo().join(".hfetch"),
            false => whole.root().join(".cache/huggingface/.hfetch"),
        };
        assert_eq!(fs::read_dir(staging).unwrap().count(), 0, "no temporary name is left");
        let expected = whole.tree();
        // The first process came as far as: some placed and announced, some placed only, some under temporary names only.
        let bench = make();
        publish(&bench.store, files(0..5));
        let mut temporaries = Vec::new();
        for (number, file) in (5..15).zip(files(5..15)) {
            let ready = bench.store.write_temporary(file).unwrap();
            bench.store.seal(&ready).unwrap();
            if number < 10 {
                let placed = bench
                    .store
                    .place(&commit(), &ready, &no_patience(), &mut Touched::new());
                drop(placed.unwrap());
            } else {
                temporaries.push(ready.staging.unwrap());
            }
        }
        let store = reopened(&bench);
        let missing = |number: &usize| {
            let found = store.glance(&commit(), &path(&names[*number]), &git_digest(&contents[*number]));
            found.unwrap().is_none()
        };
        let missing: Vec<usize> = (0..20).filter(missing).collect();
        assert_eq!(
            missing,
            (10..20).collect::<Vec<_>>(),
            "a temporary name is nothing to go by"
        );
        // All of it once more: what is in place stays.
        publish(&store, files(0..20));
        for temporary in temporaries {
            temporary.discard().unwrap();
        }
        assert_eq!(bench.tree(), expected);
    }
}
