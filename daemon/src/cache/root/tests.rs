//! Roots that must lie below another folder.

use super::*;

#[test]
fn a_planted_link_does_not_lead_out_of_the_base() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    let outside = dir.path().join("outside");
    std::fs::create_dir_all(&base).unwrap();
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    std::os::unix::fs::symlink(&outside, base.join("link")).unwrap();
    for path in ["link", "link/deep", "link/new"] {
        let refused = Root::open_below(&base, &base.join(path)).err().unwrap();
        assert!(matches!(refused, CacheError::UnsafePath { .. }), "{path}: {refused}");
    }
    assert!(!outside.join("new").exists());
    assert!(matches!(
        Root::open_below(&base, &outside),
        Err(CacheError::UnsafePath { .. })
    ));
    let made = Root::open_below(&base, &base.join("a/b")).unwrap();
    assert!(made.folder("").is_ok() && base.join("a/b").is_dir());
}
