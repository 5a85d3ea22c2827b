//! What another repository has: linked, or copied, and never believed by its name.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::cache::testkit::{Bench, GO_ON, commit, no_patience, path, sha256_digest};
use crate::cache::{Check, Found, Shared, Store};
use crate::model::{Destination, Digest, RepoId, RepoKind};

const BYTES: &[u8] = b"the weights of a base";

fn check() -> Check<'static> {
    Check {
        vouched: &|_| false,
        cancel: &GO_ON,
        progress: &|_| (),
    }
}

/// Lets another repository of a cache have a blob of this name; gives its path.
fn put(cache: PathBuf, folder: &str, digest: &Digest, bytes: &[u8]) -> PathBuf {
    let blobs = cache.join(folder).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let blob = blobs.join(digest.to_string());
    fs::write(&blob, bytes).unwrap();
    blob
}

fn look(store: &Store, caches: &[PathBuf], digest: &Digest) -> Option<crate::cache::Elsewhere> {
    let mut found = store.look_elsewhere(caches, (BYTES.len() as u64, digest), &GO_ON);
    assert!(found.len() < 2);
    found.pop()
}

#[test]
fn a_blob_of_another_repository_gets_a_second_name() {
    let bench = Bench::cache();
    let digest = sha256_digest(BYTES);
    assert!(look(&bench.store, &[], &digest).is_none());
    let theirs = put(bench.root(), "datasets--org--base", &digest, BYTES);
    let found = look(&bench.store, &[], &digest).unwrap();
    let size = BYTES.len() as u64;
    let shared = bench
        .store
        .share(&found, (size, &digest), &check(), &no_patience())
        .unwrap();
    let Shared::Linked(stamp) = shared else {
        panic!("{shared:?}")
    };
    let name = path("model.bin");
    let stamp = bench
        .store
        .link(&commit(), &name, &digest, stamp, &no_patience())
        .unwrap();
    assert_eq!(
        bench.find("model.bin", &digest, BYTES.len()).unwrap(),
        Found::Published(stamp)
    );
    assert_eq!(fs::metadata(&theirs).unwrap().nlink(), 2);
    fs::remove_file(&theirs).unwrap();
    assert_eq!(fs::read(bench.store.final_path(&commit(), &name)).unwrap(), BYTES);
}

#[test]
fn a_name_alone_is_not_believed() {
    let bench = Bench::cache();
    let digest = sha256_digest(BYTES);
    let size = BYTES.len() as u64;
    put(bench.root(), "models--org--base", &digest, b"the weights of a bate");
    let found = look(&bench.store, &[], &digest).unwrap();
    let shared = bench
        .store
        .share(&found, (size, &digest), &check(), &no_patience())
        .unwrap();
    assert_eq!(shared, Shared::Wrong);
    assert!(!bench.repo().join("blobs").join(digest.to_string()).exists());
    let staging = bench.store.stage(&digest, &path("model.bin"), size, "job").unwrap();
    assert!(!staging.fill_from(&found.twin, &digest, &GO_ON, &|_| ()).unwrap());
}

#[test]
fn what_is_not_a_blob_of_another_repository_is_not_looked_at() {
    let bench = Bench::cache();
    let digest = sha256_digest(BYTES);
    // Its own, of another size, a link, a folder of another program.
    let own = put(bench.root(), "models--org--tiny", &digest, BYTES);
    put(bench.root(), "models--org--short", &digest, b"short");
    let linked = put(bench.root(), "models--org--linked", &digest, BYTES);
    fs::remove_file(&linked).unwrap();
    symlink(&own, &linked).unwrap();
    put(bench.root(), "version--a--b", &digest, BYTES);
    assert!(look(&bench.store, &[], &digest).is_none());
}

#[test]
fn a_blob_of_other_rights_is_copied() {
    let bench = Bench::cache();
    let digest = sha256_digest(BYTES);
    let options = crate::cache::Options {
        mode: Some(0o640),
        ..Default::default()
    };
    let destination = Destination::Cache(bench.root());
    let repo = RepoId::parse("org/tiny").unwrap();
    let store = Store::open(&destination, RepoKind::Model, &repo, options).unwrap();
    let theirs = put(bench.root(), "models--org--base", &digest, BYTES);
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    let found = look(&store, &[], &digest).unwrap();
    let size = BYTES.len() as u64;
    let shared = store.share(&found, (size, &digest), &check(), &no_patience());
    assert_eq!(shared.unwrap(), Shared::Refused);
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o640)).unwrap();
    let shared = store.share(&found, (size, &digest), &check(), &no_patience());
    assert!(matches!(shared.unwrap(), Shared::Linked(_)));
    assert!(store.remove_empty_staging().unwrap());
}

#[test]
fn a_folder_of_plain_files_gets_a_copy_of_its_own() {
    let (bench, cache) = (Bench::local(), Bench::cache());
    let digest = sha256_digest(BYTES);
    let size = BYTES.len() as u64;
    let theirs = put(cache.root(), "models--org--base", &digest, BYTES);
    let missing = cache.root().join("no-such-cache");
    let found = look(&bench.store, &[missing.clone(), cache.root()], &digest).unwrap();
    assert!(!missing.exists());
    let shared = bench
        .store
        .share(&found, (size, &digest), &check(), &no_patience())
        .unwrap();
    assert_eq!(shared, Shared::Refused);
    let name = path("model.bin");
    let staging = bench.store.stage(&digest, &name, size, "job").unwrap();
    assert!(staging.fill_from(&found.twin, &digest, &GO_ON, &|_| ()).unwrap());
    bench
        .store
        .publish(staging, &commit(), &name, &digest, &no_patience())
        .unwrap();
    assert_eq!(fs::read(bench.store.final_path(&commit(), &name)).unwrap(), BYTES);
    assert_eq!(fs::metadata(&theirs).unwrap().nlink(), 1);
}

#[test]
fn of_many_each_file_is_told_once() {
    let (bench, cache) = (Bench::cache(), Bench::cache());
    let digest = sha256_digest(BYTES);
    let first = put(bench.root(), "models--org--a", &digest, BYTES);
    let second = put(bench.root(), "models--org--b", &digest, b"");
    fs::remove_file(&second).unwrap();
    fs::hard_link(&first, &second).unwrap();
    for other in ["c", "d"] {
        put(bench.root(), &format!("models--org--{other}"), &digest, BYTES);
    }
    for other in ["e", "f"] {
        put(cache.root(), &format!("models--org--{other}"), &digest, BYTES);
    }
    let found = bench
        .store
        .look_elsewhere(&[cache.root()], (BYTES.len() as u64, &digest), &GO_ON);
    let repos: Vec<_> = found
        .iter()
        .map(|one| one.twin.path().ancestors().nth(2).unwrap().file_name().unwrap())
        .collect();
    // Not all: each may have to be read.
    assert_eq!(
        repos,
        ["models--org--a", "models--org--c", "models--org--d", "models--org--e"]
    );
}

/// What a kill leaves between the temporary name and the blob's, and between that and the link of the snapshot.
#[test]
fn a_kill_between_the_names_costs_nothing() {
    let digest = sha256_digest(BYTES);
    let (size, name) = (BYTES.len() as u64, path("model.bin"));
    for renamed in [false, true] {
        let bench = Bench::cache();
        let theirs = put(bench.root(), "models--org--base", &digest, BYTES);
        let left = match renamed {
            false => bench.repo().join(".hfetch/00000000.tmp"),
            true => bench.repo().join("blobs").join(digest.to_string()),
        };
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::hard_link(&theirs, &left).unwrap();
        let stamp = match bench.find("model.bin", &digest, BYTES.len()).unwrap() {
            Found::BlobPresent(stamp) if renamed => stamp,
            Found::Absent if !renamed => {
                let found = look(&bench.store, &[], &digest).unwrap();
                match bench.store.share(&found, (size, &digest), &check(), &no_patience()) {
                    Ok(Shared::Linked(stamp)) => stamp,
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        };
        let patience = no_patience();
        bench.store.link(&commit(), &name, &digest, stamp, &patience).unwrap();
        // The temporary name goes by age, and takes nothing with it.
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        File::open(&theirs).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(bench.store.remove_empty_staging().unwrap(), !renamed);
        assert_eq!(fs::read(&theirs).unwrap(), BYTES);
        assert_eq!(fs::read(bench.store.final_path(&commit(), &name)).unwrap(), BYTES);
        assert_eq!(fs::metadata(&theirs).unwrap().nlink(), 2);
    }
}
