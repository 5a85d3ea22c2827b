//! A cache: the tree byte for byte, and what happens when something is there already.

use crate::cache::Found;
use crate::cache::testkit::{Bench, commit, git_digest, sha256_digest};
use crate::model::{Manifest, ManifestEntry, Revision};

fn manifest() -> Manifest {
    Manifest {
        commit: commit(),
        entries: vec![ManifestEntry {
            path: "config.json".to_owned(),
            size: 6,
            blob_id: "ce013625030ba8dba906f756967f9e9ca394464a".to_owned(),
            lfs_sha256: None,
            xet_hash: None,
            xet_hash_masked: false,
        }],
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
