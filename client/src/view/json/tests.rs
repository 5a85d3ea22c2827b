//! The shape that scripts rely on.

use super::*;
use hfetch_proto::v1::{EventType, HoldReason, JobState, Priority, RepoType};
use prost_types::Timestamp as WireTime;

fn job() -> Job {
    Job {
        id: "5d2k8q0x1a".to_owned(),
        repo_id: "org/x".to_owned(),
        repo_type: RepoType::Dataset.into(),
        revision: "main".to_owned(),
        state: JobState::Held.into(),
        hold_reason: HoldReason::RateLimited.into(),
        priority: Priority::High.into(),
        user: "ann".to_owned(),
        created_at: Some(WireTime {
            seconds: 1_785_585_600,
            nanos: 0,
        }),
        files: vec!["a".to_owned()],
        uid: 1000,
        ..Job::default()
    }
}

#[test]
fn a_job_has_all_keys_in_order_and_null_for_what_is_absent() {
    let text = serde_json::to_string(&JobJson::new(job())).expect("plain data");
    insta::assert_snapshot!(text, @r#"{"id":"5d2k8q0x1a","repo_id":"org/x","repo_type":"dataset","revision":"main","commit":null,"state":"held","reason":"rate_limited","priority":"high","user":"ann","bytes_total":0,"bytes_done":0,"bytes_per_sec":0,"eta_sec":null,"files_total":0,"files_done":0,"path":null,"created_at":"2026-08-01T12:00:00Z","started_at":null,"ended_at":null,"failure":null,"detail":null,"files":["a"],"include":[],"exclude":[],"local_dir":null,"cache_dir":null,"endpoints":[],"bytes_reused":0,"next_attempt_at":null,"trust":null,"uid":1000,"limit":null,"window":null,"start_at":null,"ready_by":null,"forecast_at":null,"late":false,"forecast":null,"hold_above":null,"files_to_fetch":null,"bytes_to_fetch":null,"schedule":null}"#);
}

#[test]
fn reason_is_null_unless_held() {
    let mut job = job();
    job.set_state(JobState::Active);
    let value = serde_json::to_value(JobJson::new(job).existing(true)).expect("plain data");
    assert_eq!(
        (&value["reason"], &value["existing"]),
        (&serde_json::Value::Null, &serde_json::Value::Bool(true))
    );
}

#[test]
fn a_failure_has_kind_message_hint() {
    let failure = v1::Failure {
        kind: "gated".to_owned(),
        message: "m".to_owned(),
        hint: String::new(),
    };
    let mut job = job();
    job.failure = Some(failure);
    job.set_state(JobState::Failed);
    let value = serde_json::to_value(JobJson::new(job)).expect("plain data");
    assert_eq!(
        value["failure"],
        serde_json::json!({"kind": "gated", "message": "m", "hint": null})
    );
}

#[test]
fn files_become_objects_when_listed() {
    let file = v1::File {
        path: "a".to_owned(),
        size: 3,
        digest: "00".to_owned(),
        ..v1::File::default()
    };
    let value = serde_json::to_value(JobJson::new(job()).with_files(vec![file])).expect("plain data");
    assert_eq!(value["files"][0]["path"], "a");
    assert_eq!(value["files"][0]["size"], 3);
}

#[test]
fn watch_lines() {
    let mut event = Event {
        seq: 7,
        job_id: "j".to_owned(),
        repo_id: "o/r".to_owned(),
        ..Event::default()
    };
    event.set_type(EventType::StateChanged);
    event.set_state(JobState::Active);
    let text = serde_json::to_string(&WatchJson::event(event)).expect("plain data");
    insta::assert_snapshot!(text, @r#"{"type":"event","seq":7,"time":null,"event":"state_changed","job":"j","repo_id":"o/r","repo_type":"model","user":"","state":"active","reason":null,"failure":null,"file":null,"detail":null,"commit":null,"bytes":null}"#);
    let sample = ProgressSample {
        job_id: "j".to_owned(),
        bytes_done: 1,
        bytes_total: 2,
        ..ProgressSample::default()
    };
    let text = serde_json::to_string(&WatchJson::progress(sample)).expect("plain data");
    insta::assert_snapshot!(text, @r#"{"type":"progress","job":"j","bytes_done":1,"bytes_total":2,"bytes_per_sec":0,"eta_sec":null,"files_done":0,"files_total":0,"connections":0,"detail":null}"#);
    let text = serde_json::to_string(&WatchJson::Ready { seq: 3 }).expect("plain data");
    assert_eq!(text, r#"{"type":"ready","seq":3}"#);
}

#[test]
fn a_list_has_jobs_and_a_token() {
    let list = ListJson {
        jobs: Vec::new(),
        next_page_token: None,
    };
    assert_eq!(
        serde_json::to_string(&list).expect("plain data"),
        r#"{"jobs":[],"next_page_token":null}"#
    );
}
