//! Numbers, times and lines for people. Pure functions from values to text.

use clap::builder::styling::{AnsiColor, Style};
use hfetch_proto::v1::{Event, EventType, Job, JobState};
use jiff::Timestamp;
use prost_types::Timestamp as WireTime;

use super::words;

/// Without control characters and the marks that turn the direction of text: a file name must not be able to move the
/// cursor, recolour the terminal, or show in another order than it has.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_unsafe(*c)).collect()
}

/// As [`clean`], but keeps the line ends of a message of several lines.
pub(crate) fn clean_lines(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !is_unsafe(*c)).collect()
}

fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `0 B`, `999 B`, `1.5 KiB`, `13.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let (value, unit) = scaled(count);
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value} {}iB", UNITS[unit]),
    }
}

const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// Value with one decimal below 100, and the index of its unit. Integer arithmetic, rounded down, so that an unfinished
/// file never shows the size of a finished one.
fn scaled(count: u64) -> (String, usize) {
    let mut unit = 0;
    let mut size: u64 = 1;
    while unit + 1 < UNITS.len() && count / size >= 1000 {
        size <<= 10;
        unit += 1;
    }
    let whole = count / size;
    let tenth = u128::from(count % size) * 10 / u128::from(size);
    (
        if whole >= 100 {
            whole.to_string()
        } else {
            format!("{whole}.{tenth}")
        },
        unit,
    )
}

/// `45.2 MiB/s`.
pub(crate) fn rate(bytes_per_sec: u64) -> String {
    format!("{}/s", bytes(bytes_per_sec))
}

/// `42s`, `2m 05s`, `1h 05m`, `3d 4h`.
pub(crate) fn seconds(total: u64) -> String {
    match total {
        0..60 => format!("{total}s"),
        60..3600 => format!("{}m {:02}s", total / 60, total % 60),
        3600..86_400 => format!("{}h {:02}m", total / 3600, total % 3600 / 60),
        _ => format!("{}d {}h", total / 86_400, total % 86_400 / 3600),
    }
}

/// `42s`, `2m`, `5h`, `3d`: for narrow columns.
pub(crate) fn seconds_short(total: u64) -> String {
    match total {
        0..60 => format!("{total}s"),
        60..3600 => format!("{}m", total / 60),
        3600..172_800 => format!("{}h", total / 3600),
        _ => format!("{}d", total / 86_400),
    }
}

/// `1234`, `12K`, `3.4M`: counts of downloads and likes.
pub(crate) fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}K", number / 1000),
        _ => format!("{}.{}M", number / 1_000_000, number % 1_000_000 / 100_000),
    }
}

/// Whole percent, rounded down; a job without bytes is at 100 when it is done, else at 0.
pub(crate) fn percent(done: u64, total: u64, state: JobState) -> u64 {
    match (state, total) {
        (JobState::Done, _) => 100,
        (_, 0) => 0,
        _ => u64::try_from(u128::from(done.min(total)) * 100 / u128::from(total)).unwrap_or(100),
    }
}

/// A wire time, when it is one that exists.
pub(crate) fn time(wire: Option<&WireTime>) -> Option<Timestamp> {
    wire.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}

/// Seconds between a time and now, not below 0.
pub(crate) fn age_sec(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second() - then.as_second()).unwrap_or(0)
}

/// `2026-08-01 12:03:04` in the user's time zone.
pub(crate) fn local(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// `12:03:04` in the user's time zone.
pub(crate) fn clock(time: Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}

/// `held (disk)`, `active`.
pub(crate) fn state(state: JobState, reason: hfetch_proto::v1::HoldReason) -> String {
    match words::reason_of(state, reason) {
        Some(reason) => format!("held ({})", reason.replace('_', " ")),
        None => words::state(state).to_owned(),
    }
}

/// The colour of a state.
pub(crate) fn state_style(state: JobState) -> Style {
    match state {
        JobState::Done => AnsiColor::Green.on_default(),
        JobState::Failed => AnsiColor::Red.on_default(),
        JobState::Active => AnsiColor::Cyan.on_default(),
        JobState::Held | JobState::Paused => AnsiColor::Yellow.on_default(),
        JobState::Cancelled => Style::new().dimmed(),
        JobState::Queued | JobState::Unspecified => Style::new(),
    }
}

/// One line about an event: time, id, what, repository, detail.
pub(crate) fn event_line(event: &Event) -> String {
    let clock = time(event.time.as_ref()).map(clock).unwrap_or_default();
    format!("{clock}  {}", event_text(event))
}

/// [`event_line`] without the time.
pub(crate) fn event_text(event: &Event) -> String {
    let (what, style) = match event.r#type() {
        EventType::StateChanged | EventType::Unspecified => {
            (state(event.state(), event.hold_reason()), state_style(event.state()))
        }
        EventType::Submitted => ("submitted".to_owned(), Style::new()),
        EventType::Planned => ("planned".to_owned(), Style::new()),
        EventType::FileDone => ("file done".to_owned(), Style::new().dimmed()),
        EventType::Warning => ("warning".to_owned(), AnsiColor::Yellow.on_default()),
    };
    let mut tail = Vec::new();
    if !event.file.is_empty() {
        tail.push(clean(&event.file));
    }
    if event.bytes > 0 {
        tail.push(bytes(event.bytes));
    }
    match &event.failure {
        Some(failure) => tail.push(clean(&failure.message)),
        None if !event.detail.is_empty() => tail.push(clean(&event.detail)),
        None => {}
    }
    let line = format!(
        "{}  {style}{what:<12}{style:#}  {}  {}",
        clean(&event.job_id),
        clean(&words::repo_name(event.repo_type(), &event.repo_id)),
        tail.join("  ")
    );
    line.trim_end().to_owned()
}

/// One line about a job as it is now.
pub(crate) fn job_line(job: &Job) -> String {
    let style = state_style(job.state());
    let progress = match job.bytes_total {
        0 => String::new(),
        total => format!(
            "{}%  {} of {}",
            percent(job.bytes_done, total, job.state()),
            bytes(job.bytes_done),
            bytes(total)
        ),
    };
    let line = format!(
        "{}  {style}{:<12}{style:#}  {}  {progress}",
        clean(&job.id),
        state(job.state(), job.hold_reason()),
        clean(&words::repo_name(job.repo_type(), &job.repo_id)),
    );
    line.trim_end().to_owned()
}

/// [`job_line`] with what it waits for, of a job that is being followed.
pub(crate) fn waiting_line(job: &Job) -> String {
    let line = job_line(job);
    match job.state() {
        JobState::Queued | JobState::Held if !job.detail.is_empty() => format!("{line}  {}", clean(&job.detail)),
        _ => line,
    }
}

/// How a job ended badly: a sentence, and what to do. `None` for every other job.
pub(crate) fn bad_end(job: &Job) -> Option<(String, Option<String>)> {
    let name = words::repo_name(job.repo_type(), &job.repo_id);
    match (job.state(), &job.failure) {
        (JobState::Failed, Some(failure)) => {
            let hint = if failure.hint.is_empty() {
                format!("try again: hfctl retry {}", job.id)
            } else {
                failure.hint.clone()
            };
            Some((
                format!("job {} ({name}) failed: {}", job.id, failure.message),
                Some(hint),
            ))
        }
        (JobState::Failed, None) => Some((
            format!("job {} ({name}) failed", job.id),
            Some(format!("try again: hfctl retry {}", job.id)),
        )),
        (JobState::Cancelled, _) => {
            let hint = format!("queue it again: hfctl retry {}", job.id);
            Some((format!("job {} ({name}) was cancelled", job.id), Some(hint)))
        }
        _ => None,
    }
}

/// How a job ended well: `org/x: 12 files, 1.2 GiB in 2m 03s`.
pub(crate) fn good_end(job: &Job) -> String {
    let name = words::repo_name(job.repo_type(), &job.repo_id);
    let mut text = format!(
        "{}: {}, {}",
        clean(&name),
        plural(job.files_total, "file"),
        bytes(job.bytes_total)
    );
    if let (Some(from), Some(to)) = (time(job.started_at.as_ref()), time(job.ended_at.as_ref())) {
        text.push_str(&format!(" in {}", seconds(age_sec(from, to))));
    }
    if job.bytes_reused > 0 {
        text.push_str(&format!(" ({} were on this machine already)", bytes(job.bytes_reused)));
    }
    text
}

/// `1 file`, `2 files`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests;
