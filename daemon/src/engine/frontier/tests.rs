//! What is believed of a hash that an earlier process began.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{cache::verify, model::ByteRange};

const BLOCK: u64 = blocks::BLOCK_BYTES;

fn stamp(size: u64, ctime_ns: i64) -> FileStamp {
    FileStamp {
        dev: 1,
        ino: 2,
        size,
        mtime_ns: 0,
        ctime_ns,
    }
}

/// A file of two and a half blocks that is hashed up to its second border.
fn claim(size: u64, digest: &Digest) -> Claim {
    let mut follower = Follower::new(digest, size);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    let content = verify::Content {
        file: file.as_file(),
        path: file.path(),
        passing: false,
    };
    let cancel = AtomicBool::new(false);
    follower.advance(content, 2 * BLOCK + 5, &cancel, &|_| ()).unwrap();
    Claim {
        digest: *digest,
        size,
        dev: 1,
        ino: 2,
        ctime_ns: 3,
        ranges: vec![ByteRange::new(0, 2 * BLOCK + 9)],
        hash: follower.saved(),
        checks: NewChecks::after(0, follower.checks()),
        boot: "this".into(),
        job: "j".into(),
    }
}

#[test]
fn a_hash_is_believed_in_its_own_boot_only() {
    let (size, digest) = (2 * BLOCK + BLOCK / 2, Digest::Sha256([7; 32]));
    let claim = claim(size, &digest);
    let check = |boot, ctime_ns, written, position, doubtful: &[u64]| {
        let found = stamp(size, ctime_ns);
        let written: RangeSet = [ByteRange::new(0, written)].into_iter().collect();
        let frontier = Frontier::new((&digest, size), Some(&claim), &found, boot, &written);
        assert_eq!(frontier.position(), position, "{boot} {ctime_ns}");
        let found: Vec<u64> = lock(&frontier.doubtful).keys().copied().collect();
        assert_eq!(found, doubtful, "{boot} {ctime_ns}");
        // What the blocks were is known in any case, and need not be stored again.
        let expected = usize::try_from(written.front() / BLOCK).unwrap();
        assert_eq!(lock(&frontier.known).checks.len(), expected.min(2));
    };
    check("this", 3, size, 2 * BLOCK, &[]);
    // Written to since the claim, perhaps by us before we were killed.
    check("this", 4, size, 2 * BLOCK, &[0, 1]);
    // Only what is on the disk counts.
    check("other", 3, size, 0, &[]);
    check("", 3, size, 0, &[]);
    // The journal says that less is there.
    check("this", 3, BLOCK, 0, &[]);
}

/// Somebody changes a block after a kill, and the next process is killed before it has looked.
#[test]
fn a_claim_ends_no_doubts() {
    let (size, digest) = (2 * BLOCK + BLOCK / 2, Digest::Sha256([7; 32]));
    let mut claim = claim(size, &digest);
    let written: RangeSet = [ByteRange::new(0, size)].into_iter().collect();
    let mut doubts = |ctime_ns| {
        let found = stamp(size, ctime_ns);
        let frontier = Frontier::new((&digest, size), Some(&claim), &found, "this", &written);
        claim.ctime_ns = frontier.saved().stands_since(ctime_ns);
        lock(&frontier.doubtful).len()
    };
    assert_eq!([3, 4, 4, i64::MIN].map(&mut doubts), [0, 2, 2, 2]);
}

#[tokio::test]
async fn the_first_error_ends_what_goes_on_beside_it() {
    let fails = async || Err(JobStop::Cancelled);
    for first_fails in [true, false] {
        let ended = CancellationToken::new();
        let goes_on = async {
            ended.cancelled().await;
            Ok(())
        };
        let outcome = match first_fails {
            true => side_by_side(&ended, fails(), goes_on).await,
            false => side_by_side(&ended, goes_on, fails()).await,
        };
        assert!(matches!(outcome, Err(JobStop::Cancelled)));
    }
    let ended = CancellationToken::new();
    let fine = async || Ok(());
    assert!(side_by_side(&ended, fine(), fine()).await.is_ok() && !ended.is_cancelled());
}
