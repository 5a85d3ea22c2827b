//! What is in a cache, what is sound of it, and what a sweep leaves.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use crate::cache::testkit::{Bench, GO_ON, commit, git_digest};
use crate::cache::{Learnt, OpenFiles, Removed, Survey, Swept, Verdict};
use crate::model::{CommitHash, Revision};

/// `config.json` and `a.txt` at the first commit, by `main`; `config.json` again and `b.txt` at the second, by none; a blob
/// that nobody needs.
fn bench() -> Bench {
    let bench = Bench::cache();
    bench
        .publish("config.json", &git_digest(b"hello\n"), b"hello\n")
        .unwrap();
    bench.publish("a.txt", &git_digest(b"aaa"), b"aaa").unwrap();
    bench.store.write_ref(&Revision::main(), &commit()).unwrap();
    let blob = |text: &[u8]| format!("../../blobs/{}", git_digest(text));
    fs::write(
        bench.repo().join("blobs").join(git_digest(b"bbbb").to_string()),
        b"bbbb",
    )
    .unwrap();
    fs::write(
        bench.repo().join("blobs").join(git_digest(b"loose").to_string()),
        b"loose",
    )
    .unwrap();
    let second = bench.repo().join("snapshots").join(other().as_str());
    fs::create_dir_all(&second).unwrap();
    symlink(blob(b"hello\n"), second.join("config.json")).unwrap();
    symlink(blob(b"bbbb"), second.join("b.txt")).unwrap();
    bench
}

fn other() -> CommitHash {
    CommitHash::parse(&"2".repeat(40)).unwrap()
}

fn survey(bench: &Bench) -> Survey {
    bench.store.survey().unwrap()
}

fn sweep(bench: &Bench, victims: &[CommitHash], open: &OpenFiles, dry_run: bool) -> Swept {
    let victims: BTreeSet<CommitHash> = victims.iter().cloned().collect();
    bench.store.sweep(&survey(bench), &victims, open, dry_run).unwrap()
}

fn nobody() -> OpenFiles {
    OpenFiles::default()
}

#[test]
fn revisions_share_blobs_and_each_content_counts_once() {
    let bench = bench();
    let survey = survey(&bench);
    assert_eq!((survey.bytes, survey.loose_bytes), (6 + 3 + 4 + 5, 5));
    let lines: Vec<String> = survey
        .revisions
        .iter()
        .map(|one| {
            format!(
                "{} {:?} {} {} {}",
                &one.commit.as_str()[..1],
                one.refs,
                one.files,
                one.bytes,
                one.broken
            )
        })
        .collect();
    assert_eq!(lines, [r#"1 ["main"] 2 9 0"#, "2 [] 2 10 0"]);
    let found = crate::cache::repos(&bench.root()).unwrap();
    assert_eq!(found.len(), 1);
    assert!(crate::cache::repos(&bench.root().join("nowhere")).unwrap().is_empty());
}

#[test]
fn a_sweep_takes_what_nobody_else_needs() {
    let bench = bench();
    let before = bench.tree();
    let told = sweep(&bench, &[other()], &nobody(), true);
    assert_eq!(told.removed, [Removed::Revision(other()), Removed::Blobs(2)]);
    assert_eq!((told.bytes, bench.tree()), (9, before), "a dry run changes nothing");
    let done = sweep(&bench, &[other()], &nobody(), false);
    assert_eq!(done, told);
    let left = survey(&bench);
    assert_eq!((left.revisions.len(), left.bytes, left.loose_bytes), (1, 9, 0));
    assert_eq!(
        fs::read(
            bench
                .repo()
                .join("snapshots")
                .join(commit().as_str())
                .join("config.json")
        )
        .unwrap(),
        b"hello\n"
    );
    assert!(!bench.repo().join(".hfetch").exists(), "nothing of ours stays behind");
    // Once more there is nothing to do.
    assert_eq!(sweep(&bench, &[], &nobody(), false), Swept::default());
}

#[test]
fn the_last_revision_takes_the_repository_along() {
    let bench = bench();
    let done = sweep(&bench, &[commit(), other()], &nobody(), false);
    assert_eq!(done.bytes, 18);
    assert!(!bench.repo().exists(), "{}", bench.tree());
}

#[test]
fn pins_and_open_files_stay() {
    let bench = bench();
    assert!(bench.store.set_pin(&other(), true).unwrap() && !bench.store.set_pin(&other(), true).unwrap());
    let kept = sweep(&bench, &[other()], &nobody(), false);
    assert_eq!(
        (kept.kept[0].what.as_str(), kept.kept[0].why.as_str()),
        (other().as_str(), "it is pinned")
    );
    assert!(
        survey(&bench)
            .revisions
            .iter()
            .any(|one| one.commit == other() && one.pinned)
    );
    assert!(bench.store.set_pin(&other(), false).unwrap());
    let _reader = fs::File::open(bench.repo().join("blobs").join(git_digest(b"bbbb").to_string())).unwrap();
    let kept = sweep(&bench, &[other()], &OpenFiles::look(), false);
    assert!(kept.kept[0].why.contains("b.txt"), "{kept:?}");
    assert_eq!(survey(&bench).revisions.len(), 2);
}

#[test]
fn a_blob_whose_lock_another_program_holds_stays() {
    let bench = bench();
    let folder = bench.root().join(".locks").join(bench.repo().file_name().unwrap());
    fs::create_dir_all(&folder).unwrap();
    let lock = folder.join(format!("{}.lock", git_digest(b"loose")));
    let holder = fs::File::create(&lock).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let kept = sweep(&bench, &[], &nobody(), false);
    assert!(kept.kept[0].why.contains("lock") && kept.removed.is_empty(), "{kept:?}");
    drop(holder);
    assert_eq!(sweep(&bench, &[], &nobody(), false).removed, [Removed::Blobs(1)]);
}

#[test]
fn what_python_is_writing_stays_and_what_it_left_long_ago_goes() {
    let bench = bench();
    let name = format!("{}.0a1b2c3d.incomplete", git_digest(b"aaa"));
    let path = bench.repo().join("blobs").join(&name);
    fs::write(&path, b"aa").unwrap();
    let kept = sweep(&bench, &[], &nobody(), false);
    assert!(path.exists() && kept.kept[0].what == name, "{kept:?}");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(old)
        .unwrap();
    assert_eq!(sweep(&bench, &[], &nobody(), false).removed, [Removed::Blobs(1)]);
    assert!(!path.exists());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "plays the sweep that was killed")]
fn what_a_killed_sweep_put_aside_goes_with_the_next() {
    let bench = bench();
    let aside = bench.repo().join(".hfetch").join(format!("{}.removed", other()));
    fs::create_dir_all(aside.parent().unwrap()).unwrap();
    fs::rename(bench.repo().join("snapshots").join(other().as_str()), &aside).unwrap();
    let done = sweep(&bench, &[], &nobody(), false);
    assert_eq!(done.removed, [Removed::Blobs(2)]);
    assert!(!aside.exists() && !bench.repo().join(".hfetch").exists());
}

#[test]
fn what_lies_aside_is_not_in_the_way_of_the_same_revision() {
    let bench = bench();
    let aside = bench.repo().join(".hfetch").join(format!("{}.removed", other()));
    fs::create_dir_all(&aside).unwrap();
    fs::write(aside.join("own.txt"), b"x").unwrap();
    // It came again since, and goes again.
    let done = sweep(&bench, &[other()], &nobody(), false);
    assert_eq!(done.removed, [Removed::Revision(other()), Removed::Blobs(2)]);
    assert!(!bench.repo().join("snapshots").join(other().as_str()).exists() && !aside.exists());
}

#[test]
fn a_ref_that_means_another_commit_by_now_stays() {
    let bench = bench();
    let seen = survey(&bench);
    bench.store.write_ref(&Revision::main(), &other()).unwrap();
    bench
        .store
        .write_ref(&Revision::parse("refs/pr/1").unwrap(), &commit())
        .unwrap();
    bench.store.sweep(&seen, &[commit()].into(), &nobody(), false).unwrap();
    let main = bench.store.read_ref(&Revision::main()).unwrap().unwrap();
    assert_eq!(main.commit, other().as_str());
}

#[test]
fn a_link_that_another_program_makes_meanwhile_keeps_its_blob() {
    let bench = bench();
    let seen = survey(&bench);
    let loose = git_digest(b"loose").to_string();
    let late = bench.repo().join("snapshots").join(commit().as_str()).join("late");
    symlink(format!("../../blobs/{loose}"), &late).unwrap();
    let done = bench.store.sweep(&seen, &BTreeSet::new(), &nobody(), false).unwrap();
    assert!(done.removed.is_empty() && late.exists(), "{done:?}");
}

#[test]
fn links_out_of_the_cache_are_not_followed() {
    let bench = bench();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), b"x").unwrap();
    let snapshot = bench.repo().join("snapshots").join(other().as_str());
    symlink(outside.path(), snapshot.join("folder")).unwrap();
    symlink(outside.path().join("precious"), snapshot.join("file")).unwrap();
    sweep(&bench, &[other()], &nobody(), false);
    assert!(outside.path().join("precious").exists() && !snapshot.exists());
}

#[test]
fn every_file_is_held_against_its_hash() {
    let bench = bench();
    let blob = |text: &[u8]| bench.repo().join("blobs").join(git_digest(text).to_string());
    let verdicts = || {
        let mut found = Vec::new();
        let mut learnt = Learnt::default();
        for revision in &survey(&bench).revisions {
            for number in 0.. {
                let inspected = bench.store.inspect(revision, number, &mut learnt, &GO_ON).unwrap();
                let Some(file) = inspected else { break };
                found.push((file.path, file.verdict));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    };
    assert!(
        verdicts().iter().all(|(_, verdict)| *verdict == Verdict::Sound),
        "{:?}",
        verdicts()
    );
    // Same size, another byte: what a size alone does not show.
    fs::remove_file(blob(b"bbbb")).unwrap();
    fs::write(blob(b"bbbb"), b"bbxb").unwrap();
    fs::remove_file(blob(b"aaa")).unwrap();
    let own = bench.repo().join("snapshots").join(other().as_str()).join("own.txt");
    fs::write(own, b"no link").unwrap();
    let found = verdicts();
    let of = |name: &str| found.iter().find(|(path, _)| path == name).map(|(_, verdict)| *verdict);
    assert_eq!(of("b.txt"), Some(Verdict::Wrong));
    assert_eq!(of("a.txt"), Some(Verdict::Broken));
    assert_eq!(of("own.txt"), Some(Verdict::Unknown));
    assert_eq!(of("config.json"), Some(Verdict::Sound));
}
