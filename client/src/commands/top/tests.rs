//! The screen in a test's terminal, and keys as somebody presses them.

use hfetch_proto::v1::{
    Endpoint, EndpointState, Failure, GetServerInfoResponse, GlobalLimit, HoldReason, Job, JobRoute,
};
use hfetch_proto::v1::{GivingWay, JobState, Priority, RepoType, Window};
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::draw;
use super::model::{Mode, Reading, Top, Wish, bars};

/// A moment.
const NOW: i64 = 1_785_585_600;

fn job(id: &str, state: JobState, repo: &str) -> Job {
    Job {
        id: id.to_owned(),
        repo_id: repo.to_owned(),
        state: state.into(),
        user: "ann".to_owned(),
        priority: Priority::Normal.into(),
        ..Job::default()
    }
}

/// What README shows.
fn reading(tick: u64) -> Reading {
    let rate = [20, 35, 50, 64, 70, 76, 80, 78, 80][usize::try_from(tick % 9).unwrap_or(0)] << 20;
    let mut big = job("5d2k8q0x1a", JobState::Active, "org/big-model");
    (big.bytes_done, big.bytes_total, big.bytes_per_sec) = (5 << 30, 13 << 30, rate);
    (big.files_done, big.files_total, big.eta_sec) = (3, 12, Some(102));
    big.set_priority(Priority::High);
    big.window = "night".to_owned();
    big.limit_bytes_per_sec = Some(80 << 20);
    let mut held = job("5d2k8q0x1c", JobState::Held, "org/corpus");
    held.set_repo_type(RepoType::Dataset);
    held.set_hold_reason(HoldReason::Disk);
    held.detail = "12.0 GiB are missing on /data".to_owned();
    let mut failed = job("5d2k8q0x0z", JobState::Failed, "org/closed");
    failed.failure = Some(Failure {
        kind: "gated".to_owned(),
        message: "its terms must be accepted".to_owned(),
        hint: String::new(),
    });
    let mut done = job("5d2k8q0x0y", JobState::Done, "gpt2");
    (done.bytes_done, done.bytes_total) = (548 << 20, 548 << 20);
    let endpoint = |name: &str, state: EndpointState, bytes_per_sec| Endpoint {
        name: name.to_owned(),
        state: state.into(),
        bytes_per_sec,
        ..Endpoint::default()
    };
    let route = |host: &str, way: &str, bytes, requests, rule: &str| JobRoute {
        host: host.to_owned(),
        way: way.to_owned(),
        rule: rule.to_owned(),
        requests,
        bytes,
    };
    Reading {
        info: GetServerInfoResponse {
            version: "0.1.0".to_owned(),
            jobs_active: 1,
            jobs_queued: 1,
            jobs_held: 1,
            bytes_per_sec: rate,
            ..GetServerInfoResponse::default()
        },
        jobs: vec![
            done,
            failed,
            held,
            job("5d2k8q0x1b", JobState::Queued, "org/small"),
            big,
        ],
        limit: GlobalLimit {
            bytes_per_sec: Some(100 << 20),
            source: "set".to_owned(),
            current_bytes_per_sec: rate,
            ..GlobalLimit::default()
        },
        windows: vec![Window {
            name: "night".to_owned(),
            open: true,
            next_change_at: Some(prost_types::Timestamp {
                seconds: NOW + 11_400,
                nanos: 0,
            }),
            bytes_per_sec: Some(80 << 20),
        }],
        endpoints: vec![
            endpoint("hf-mirror", EndpointState::Good, Some(80 << 20)),
            endpoint("hub", EndpointState::Unknown, None),
        ],
        routes: Some((
            "5d2k8q0x1a".to_owned(),
            vec![
                route("hf-mirror.com", "DIRECT", 3 << 20, 14, "DOMAIN-SUFFIX,hf-mirror.com"),
                route("cdn-lfs.hf.co", "clash", 5 << 30, 120, "MATCH"),
            ],
        )),
    }
}

fn shown() -> Top {
    let mut top = Top::default();
    (0..9).for_each(|tick| top.hear(reading(tick)));
    top
}

fn screen(top: &Top, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal of a test");
    let now = Timestamp::from_second(NOW).expect("a time");
    terminal
        .draw(|frame| draw(frame, top, now, false))
        .expect("it is drawn");
    let buffer = terminal.backend().buffer().clone();
    let rows = (0..height).map(|y| {
        let row: String = (0..width)
            .filter_map(|x| Some(buffer.cell((x, y))?.symbol().to_owned()))
            .collect();
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn press(top: &mut Top, keys: &[KeyCode]) -> Option<Wish> {
    let press = |code: &KeyCode| top.press(KeyEvent::new(*code, KeyModifiers::NONE));
    keys.iter().map(press).last().flatten()
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

#[test]
fn readme_shows_the_screen() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let section = readme.split("\n### The full screen\n").nth(1).expect("the section");
    let block = section
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```").next());
    let drawn = screen(&shown(), 80, 24);
    assert_eq!(block.expect("the screen"), drawn, "README.md should show:\n{drawn}");
    let keys = section.split("\n### ").next().expect("a part");
    for key in ["`p`", "`c`", "`+`", "`-`", "`l`", "`L`", "`?`", "`q`"] {
        assert!(keys.contains(key), "README.md tells nothing of {key}");
    }
}

#[test]
fn every_size_is_drawn() {
    let mut top = shown();
    for mode in [Mode::Looking, Mode::Help, Mode::Sure("5d2k8q0x1a".to_owned())] {
        top.mode = mode;
        for (width, height) in [(1, 1), (20, 5), (59, 40), (80, 17), (60, 18), (80, 24), (300, 100)] {
            let text = screen(&top, width, height);
            let expected = if width < 60 || height < 18 { "make" } else { "hfetchd" };
            assert!(width == 1 || text.contains(expected), "{width}x{height}:\n{text}");
        }
    }
    // Nobody has anything to do.
    assert!(screen(&Top::default(), 80, 24).contains("no jobs"));
}

#[test]
fn what_moves_is_on_top_and_the_choice_stays() {
    let mut top = shown();
    let ids: Vec<&str> = top.reading.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(
        ids,
        ["5d2k8q0x1a", "5d2k8q0x1b", "5d2k8q0x1c", "5d2k8q0x0z", "5d2k8q0x0y"]
    );
    press(&mut top, &[KeyCode::Down, KeyCode::Down]);
    assert_eq!(top.row(), Some(2));
    assert!(top.lacks_routes() && !screen(&top, 80, 24).contains("hf-mirror.com"));
    assert!(screen(&top, 80, 24).contains("12.0 GiB are missing on /data"));
    // It is another row when others end, and still the same job.
    let mut later = reading(0);
    later.jobs.retain(|job| job.state() != JobState::Active);
    top.hear(later);
    assert_eq!(
        (top.row(), top.chosen().map(|job| job.id.as_str())),
        (Some(1), Some("5d2k8q0x1c"))
    );
    press(&mut top, &[KeyCode::End, KeyCode::Down]);
    assert_eq!(top.row(), Some(3));
    press(&mut top, &[KeyCode::PageUp]);
    assert_eq!(top.row(), Some(0));
    // Gone, the first one is chosen.
    press(&mut top, &[KeyCode::End]);
    let mut later = reading(0);
    later.jobs.retain(|job| job.state() != JobState::Done);
    top.hear(later);
    assert_eq!(top.row(), Some(0));
}

#[test]
fn keys_are_wishes() {
    let mut top = shown();
    let first = || "5d2k8q0x1a".to_owned();
    let key = KeyCode::Char;
    assert_eq!(press(&mut top, &[key('p')]), Some(Wish::Pause(first())));
    assert_eq!(
        press(&mut top, &[key('-')]),
        Some(Wish::Prioritise(first(), Priority::Normal))
    );
    assert_eq!(
        press(&mut top, &[key('+')]),
        Some(Wish::Prioritise(first(), Priority::High))
    );
    // A job is cancelled by two keys, and only by these.
    assert_eq!(press(&mut top, &[key('c'), key('c')]), None);
    assert_eq!(top.mode, Mode::Looking);
    assert_eq!(press(&mut top, &[key('c')]), None);
    assert!(screen(&top, 80, 24).contains("cancel 5d2k8q0x1a? y for yes"));
    assert_eq!(press(&mut top, &[key('y')]), Some(Wish::Cancel(first())));
    // What is typed is no command.
    let limit = [
        vec![key('l')],
        typed("10qM"),
        vec![KeyCode::Backspace, KeyCode::Backspace],
        typed("M"),
        vec![KeyCode::Enter],
    ];
    assert_eq!(
        press(&mut top, &limit.concat()),
        Some(Wish::LimitJob(first(), "10M".to_owned()))
    );
    let all = [vec![key('L')], typed("off")].concat();
    assert_eq!(press(&mut top, &all), None);
    assert!(screen(&top, 80, 24).contains("limit of all, a rate, a timetable or off: off_"));
    assert_eq!(
        press(&mut top, &[KeyCode::Enter]),
        Some(Wish::LimitAll("off".to_owned()))
    );
    assert_eq!(press(&mut top, &[key('L'), KeyCode::Enter]), None);
    assert_eq!(press(&mut top, &[key('L'), key('1'), KeyCode::Esc]), None);
    assert_eq!(top.mode, Mode::Looking);
    // Help goes with the next key, which does nothing else.
    assert_eq!(press(&mut top, &[key('?')]), None);
    assert!(screen(&top, 80, 24).contains("leave; the jobs go on"));
    assert_eq!(press(&mut top, &[key('q')]), None);
    assert_eq!(press(&mut top, &[key('q')]), Some(Wish::Quit));
    for mode in [Mode::Looking, Mode::Help, Mode::Sure(first())] {
        top.mode = mode;
        let control = KeyEvent::new(key('c'), KeyModifiers::CONTROL);
        assert_eq!(top.press(control), Some(Wish::Quit));
    }
    top.mode = Mode::Looking;
    // Nothing is to be had of what is over.
    press(&mut top, &[KeyCode::End]);
    for code in [key('p'), key('c'), key('l'), key('+')] {
        assert_eq!(press(&mut top, &[code]), None);
        assert_eq!(
            (top.mode.clone(), top.message.as_str()),
            (Mode::Looking, "5d2k8q0x0y is over")
        );
    }
    let mut paused = reading(0);
    paused.jobs = vec![job("5d2k8q0x1d", JobState::Paused, "a/b")];
    top.hear(paused);
    assert_eq!(
        press(&mut top, &[key('p')]),
        Some(Wish::Resume("5d2k8q0x1d".to_owned()))
    );
    assert_eq!(press(&mut Top::default(), &[key('p'), KeyCode::Down, key('c')]), None);
}

#[test]
fn limits_and_windows_fit_into_a_line() {
    let mut top = shown();
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let limit = &mut top.reading.limit;
    (limit.until, limit.next_change_at) = (at(NOW + 7140), at(NOW + 7800));
    limit.giving_way = Some(GivingWay {
        bytes_per_sec: Some(1 << 20),
        ..GivingWay::default()
    });
    let closed = |name: &str, next_change_at| Window {
        name: name.to_owned(),
        open: false,
        next_change_at,
        bytes_per_sec: None,
    };
    top.reading.windows = vec![closed("weekend", at(NOW + 60)), closed("leap", None)];
    let text = screen(&top, 80, 24);
    let told = [
        "limit      100 MiB/s, set for 1h 59m; off in 2h 10m; gives way: 1.0 MiB/s at most",
        "windows    weekend opens in 1m 00s · leap never opens",
    ];
    for line in told {
        assert!(text.contains(&line[..80.min(line.len())]), "no {line:?} in\n{text}");
    }
    // Where there are none, nothing is said of them.
    top.reading.windows.clear();
    assert!(!screen(&top, 80, 24).contains("windows"));
}

#[test]
fn a_daemon_that_is_gone_is_told_until_it_answers() {
    let mut top = shown();
    (top.lost, top.message) = (true, "5d2k8q0x1a goes on".to_owned());
    assert!(screen(&top, 80, 24).contains("hfetchd does not answer"));
    top.hear(reading(0));
    assert!(screen(&top, 80, 24).contains("5d2k8q0x1a goes on"));
}

#[test]
fn rates_are_bars_beside_the_largest() {
    assert_eq!(bars(&[]), "");
    assert_eq!(bars(&[0, 0]), "▁▁");
    assert_eq!(bars(&[0, 1, 2, 3, 4, 5, 6, 7]), "▁▂▃▄▅▆▇█");
    assert_eq!(bars(&[u64::MAX, u64::MAX / 2]), "█▄");
}

#[test]
fn what_the_daemon_says_cannot_move_the_cursor() {
    let mut top = Top::default();
    let mut evil = job("5d2k8q0x1a", JobState::Active, "o/\u{1b}[2Jx");
    evil.user = "a\u{7}b".to_owned();
    let mut reading = reading(0);
    reading.jobs = vec![evil];
    top.hear(reading);
    let text = screen(&top, 80, 24);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}
