//! What people read.

use super::*;
use hfetch_proto::v1::{Failure, HoldReason, RepoType};

#[test]
fn sizes_round_down_and_keep_three_digits() {
    let check = |count: u64, text: &str| assert_eq!(bytes(count), text, "{count}");
    check(0, "0 B");
    check(999, "999 B");
    check(1000, "0.9 KiB");
    check(1536, "1.5 KiB");
    check(13_476_839_424, "12.5 GiB");
    check(150 << 20, "150 MiB");
    check(u64::MAX, "15.9 EiB");
}

#[test]
fn times_and_counts() {
    assert_eq!(
        [0, 59, 60, 3599, 3600, 90_061].map(seconds),
        ["0s", "59s", "1m 00s", "59m 59s", "1h 00m", "1d 1h"]
    );
    assert_eq!(
        [5, 61, 7300, 100_000, 200_000].map(seconds_short),
        ["5s", "1m", "2h", "27h", "2d"]
    );
    assert_eq!([9999, 10_000, 1_250_000].map(count), ["9999", "10K", "1.2M"]);
    assert_eq!(
        (plural(1, "file"), plural(0, "file")),
        ("1 file".to_owned(), "0 files".to_owned())
    );
}

#[test]
fn percent_is_100_only_when_all_is_there() {
    let check = |done, total, state, expected| assert_eq!(percent(done, total, state), expected, "{done}/{total}");
    check(0, 0, JobState::Queued, 0);
    check(0, 0, JobState::Done, 100);
    check(999, 1000, JobState::Active, 99);
    check(u64::MAX - 1, u64::MAX, JobState::Active, 99);
    check(2000, 1000, JobState::Active, 100);
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    assert_eq!(clean("a\x1b[31mb\x07\r\n\u{9b}c\u{202e}d"), "a[31mbcd");
    assert_eq!(clean_lines("one\ntwo\x1b"), "one\ntwo");
    assert_eq!(clean("weights ü 模型.bin"), "weights ü 模型.bin");
}

#[test]
fn event_lines() {
    let event = |kind: EventType, state: JobState| Event {
        seq: 1,
        r#type: kind.into(),
        job_id: "5d2k8q0x1a".to_owned(),
        repo_id: "org/x".to_owned(),
        state: state.into(),
        ..Event::default()
    };
    let plain = |event: &Event| anstream::adapter::strip_str(&event_text(event)).to_string();
    let mut held = event(EventType::StateChanged, JobState::Held);
    held.set_hold_reason(HoldReason::RateLimited);
    held.detail = "the Hub asks for 30 s of rest".to_owned();
    assert_eq!(
        plain(&held),
        "5d2k8q0x1a  held (rate limited)  org/x  the Hub asks for 30 s of rest"
    );
    let mut file = event(EventType::FileDone, JobState::Active);
    file.file = "a\x1b.bin".to_owned();
    file.bytes = 2048;
    assert_eq!(plain(&file), "5d2k8q0x1a  file done     org/x  a.bin  2.0 KiB");
    let mut failed = event(EventType::StateChanged, JobState::Failed);
    failed.failure = Some(Failure {
        message: "no such repository".to_owned(),
        ..Failure::default()
    });
    assert_eq!(plain(&failed), "5d2k8q0x1a  failed        org/x  no such repository");
}

#[test]
fn ends() {
    let mut job = Job {
        id: "5d2k8q0x1a".to_owned(),
        repo_id: "org/x".to_owned(),
        repo_type: RepoType::Dataset.into(),
        state: JobState::Failed.into(),
        files_total: 1,
        bytes_total: 4096,
        bytes_reused: 1024,
        started_at: Some(WireTime { seconds: 100, nanos: 0 }),
        ended_at: Some(WireTime { seconds: 225, nanos: 0 }),
        failure: Some(Failure {
            kind: "gated".to_owned(),
            message: "access is gated".to_owned(),
            hint: "ask".to_owned(),
        }),
        ..Job::default()
    };
    let (text, hint) = bad_end(&job).expect("it failed");
    assert_eq!(text, "job 5d2k8q0x1a (datasets/org/x) failed: access is gated");
    assert_eq!(hint.as_deref(), Some("ask"));
    job.set_state(JobState::Done);
    assert_eq!(bad_end(&job), None);
    assert_eq!(
        good_end(&job),
        "datasets/org/x: 1 file, 4.0 KiB in 2m 05s (1.0 KiB were on this machine already)"
    );
}
