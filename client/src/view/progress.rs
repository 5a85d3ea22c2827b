//! Progress on stderr while jobs are followed: bars on a terminal, elsewhere a plain line per change and minute, nothing with
//! `--quiet`. Rates and times come from the daemon, which knows them; the bars only show them.

use std::collections::BTreeMap;
use std::time::Duration;

use hfetch_proto::v1::{Event, EventType, JobState, ProgressSample};
use tokio::time::Instant;

use super::{Out, bars::Bars, human};
use crate::follow::{Item, has_ended};

/// Shows followed jobs.
pub(crate) enum Monitor {
    /// A terminal.
    Bars(Bars),
    /// A log or a pipe.
    Lines(Log),
    /// `--quiet`.
    Silent,
}

impl Monitor {
    /// Chooses by the stream.
    pub(crate) fn new(out: &Out) -> Monitor {
        if out.quiet {
            Monitor::Silent
        } else if out.may_draw() {
            Monitor::Bars(Bars::new(true))
        } else {
            Monitor::Lines(Log::new(out, true))
        }
    }

    /// For a command that tells every event itself: bars on a terminal, else a line a minute.
    pub(crate) fn beside_lines(out: &Out) -> Monitor {
        if out.quiet {
            Monitor::Silent
        } else if out.may_draw() {
            Monitor::Bars(Bars::new(false))
        } else {
            Monitor::Lines(Log::new(out, false))
        }
    }

    /// How often the daemon should send samples; 0 when nobody shows them.
    pub(crate) fn interval_ms(&self) -> u32 {
        match self {
            Monitor::Bars(_) => 250,
            Monitor::Lines(_) => 5000,
            Monitor::Silent => 0,
        }
    }

    /// Shows what happened.
    pub(crate) fn take(&mut self, item: &Item) {
        match self {
            Monitor::Bars(bars) => bars.take(item),
            Monitor::Lines(log) => {
                if let Some(line) = log.line(item, Instant::now()) {
                    note_with_time(&log.out, &line);
                }
            }
            Monitor::Silent => {}
        }
    }

    /// Runs `print` while the bars are out of the way, so that stdout and bars share one terminal.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match self {
            Monitor::Bars(bars) => bars.suspend(print),
            Monitor::Lines(_) | Monitor::Silent => print(),
        }
    }
}

/// A message for a log, which is read afterwards: when was that?
pub(crate) fn note_with_time(out: &Out, line: &str) {
    out.note(&format!("{}  {line}", human::clock(jiff::Timestamp::now())));
}

/// Lines for a log.
pub(crate) struct Log {
    out: Out,
    /// Whether nobody else tells of changes.
    tells_changes: bool,
    /// When a line told of a job's bytes, or the job was first seen.
    told: BTreeMap<String, Instant>,
    /// Jobs in the queue, and what was told of why they wait.
    queued: BTreeMap<String, String>,
}

impl Log {
    fn new(out: &Out, tells_changes: bool) -> Log {
        Log {
            out: out.clone(),
            tells_changes,
            told: BTreeMap::new(),
            queued: BTreeMap::new(),
        }
    }

    fn line(&mut self, item: &Item, now: Instant) -> Option<String> {
        match item {
            Item::Job(job) => self.note_queued(&job.id, job.state(), &job.detail),
            Item::Event(event) => self.note_queued(&event.job_id, event.state(), &event.detail),
            _ => {}
        }
        match item {
            Item::Progress(sample) if self.has_news(sample) => Some(sample_line(sample)),
            Item::Progress(sample) => {
                let told = self.told.entry(sample.job_id.clone()).or_insert(now);
                if now.duration_since(*told) < BETWEEN_LINES {
                    return None;
                }
                *told = now;
                Some(sample_line(sample))
            }
            _ if self.tells_changes => plain_line(item),
            _ => None,
        }
    }

    fn note_queued(&mut self, id: &str, state: JobState, detail: &str) {
        match state {
            JobState::Queued => self.queued.insert(id.to_owned(), detail.to_owned()),
            _ => self.queued.remove(id),
        };
    }

    /// A queued job waits for something else than was told. That comes once, and no bytes with it. A place that is free for a
    /// moment is no news, and what is told of afterwards is told already.
    fn has_news(&mut self, sample: &ProgressSample) -> bool {
        let Some(told) = self.queued.get_mut(&sample.job_id) else {
            return false;
        };
        if sample.detail.is_empty() || *told == sample.detail {
            return false;
        }
        told.clone_from(&sample.detail);
        true
    }
}

/// From one line about a job's bytes to the next: a night leaves some hundreds.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// A job's bytes, for a log.
fn sample_line(sample: &ProgressSample) -> String {
    let mut parts = vec![human::clean(&sample.job_id)];
    if sample.bytes_total > 0 {
        let bytes = (sample.bytes_done, sample.bytes_total);
        parts.push(numbers(bytes, sample.bytes_per_sec, sample.eta_sec));
    }
    if !sample.detail.is_empty() {
        parts.push(human::clean(&sample.detail));
    }
    parts.join("  ")
}

/// A line for logs: changes of state, the plan, warnings, the connection. Files are left out: there may be thousands.
fn plain_line(item: &Item) -> Option<String> {
    match item {
        // How it ended is told by whoever follows it.
        Item::Job(job) => (!has_ended(job.state())).then(|| human::waiting_line(job)),
        Item::Event(event) => notable(event).then(|| human::event_text(event)),
        Item::Lost => Some(LOST.to_owned()),
        Item::Back => Some(BACK.to_owned()),
        Item::Ready(_) | Item::Progress(_) | Item::Heartbeat(_) | Item::Pruned => None,
    }
}

/// Said once per outage.
pub(crate) const LOST: &str = "the connection to hfetchd is lost, waiting for it to come back (it may be restarting)";
/// Said when the outage is over.
pub(crate) const BACK: &str = "hfetchd is back";

fn notable(event: &Event) -> bool {
    !matches!(event.r#type(), EventType::FileDone | EventType::Submitted)
}

/// ` 25%  512 MiB of 2.0 GiB  40.0 MiB/s  39s left`
pub(super) fn numbers((done, total): (u64, u64), bytes_per_sec: u64, eta_sec: Option<u64>) -> String {
    let percent = human::percent(done, total, JobState::Active);
    let mut text = format!("{percent:>3}%  {} of {}", human::bytes(done), human::bytes(total));
    if bytes_per_sec > 0 {
        text.push_str(&format!("  {}", human::rate(bytes_per_sec)));
    }
    if let Some(eta) = eta_sec {
        text.push_str(&format!("  {} left", human::seconds(eta)));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::ColorArg;

    pub(in crate::view) fn event(kind: EventType, state: JobState) -> Item {
        let mut event = Event {
            job_id: "j".to_owned(),
            repo_id: "o/r".to_owned(),
            ..Event::default()
        };
        event.set_type(kind);
        event.set_state(state);
        Item::Event(Box::new(event))
    }

    #[test]
    fn a_log_gets_a_line_per_change_and_none_per_file() {
        assert!(plain_line(&event(EventType::StateChanged, JobState::Active)).is_some());
        assert!(plain_line(&event(EventType::Warning, JobState::Active)).is_some());
        assert_eq!(plain_line(&event(EventType::FileDone, JobState::Active)), None);
        let mut job = hfetch_proto::v1::Job {
            id: "j".to_owned(),
            repo_id: "o/r".to_owned(),
            detail: "waiting for a place".to_owned(),
            ..Default::default()
        };
        job.set_state(JobState::Queued);
        let line = plain_line(&Item::Job(Box::new(job))).expect("a line");
        assert!(line.ends_with("o/r  waiting for a place"), "{line}");
        assert_eq!(plain_line(&Item::Lost).as_deref(), Some(LOST));
    }

    #[test]
    fn a_log_gets_a_line_of_bytes_a_minute() {
        let mut log = Log::new(&Out::new(false, false, ColorArg::Never, false), false);
        let sample = Item::Progress(ProgressSample {
            job_id: "j".to_owned(),
            bytes_done: 1 << 30,
            bytes_total: 4 << 30,
            bytes_per_sec: 10 << 20,
            eta_sec: Some(307),
            ..ProgressSample::default()
        });
        let begin = Instant::now();
        let mut line_after = |seconds| log.line(&sample, begin + Duration::from_secs(seconds));
        assert_eq!(line_after(0), None);
        assert_eq!(line_after(59), None);
        let told = "j   25%  1.0 GiB of 4.0 GiB  10.0 MiB/s  5m 07s left";
        assert_eq!(line_after(61).as_deref(), Some(told));
        assert_eq!(line_after(120), None);
        assert_eq!(line_after(121).as_deref(), Some(told));
        // Who prints events by itself is not told of them twice.
        assert_eq!(log.line(&event(EventType::StateChanged, JobState::Active), begin), None);
    }

    #[test]
    fn a_log_is_told_at_once_and_once_why_a_queued_job_waits() {
        let mut log = Log::new(&Out::new(false, false, ColorArg::Never, false), false);
        let now = Instant::now();
        let mut line = |item: &Item| log.line(item, now);
        let waits = |detail: &str| {
            Item::Progress(ProgressSample {
                job_id: "j".to_owned(),
                detail: detail.to_owned(),
                ..ProgressSample::default()
            })
        };
        // Of a job at work it comes with its bytes, a line a minute.
        assert_eq!(line(&waits("waiting for job i")), None);
        assert_eq!(line(&event(EventType::StateChanged, JobState::Queued)), None);
        let told = line(&waits("waiting for a place"));
        assert_eq!(told.as_deref(), Some("j  waiting for a place"));
        // As it comes again after the connection was lost.
        assert_eq!(line(&waits("waiting for a place")), None);
        assert!(line(&waits("waiting for the only place")).is_some());
        assert_eq!(line(&waits("")), None);
        assert_eq!(line(&event(EventType::StateChanged, JobState::Active)), None);
        assert_eq!(line(&waits("waiting for a place")), None);
    }
}
