//! Bars on a terminal: two lines per job. Rates and times come from the daemon, which knows them; the bars only show them.

use std::collections::BTreeMap;
use std::time::Duration;

use hfetch_proto::v1::{Event, EventType, Job, JobState, ProgressSample};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::{BACK, LOST, numbers};
use super::{human, words};
use crate::follow::{Item, has_ended};

/// One two-line display per job.
pub(crate) struct Bars {
    multi: MultiProgress,
    jobs: BTreeMap<String, JobBar>,
    colour: bool,
    tells_warnings: bool,
}

struct JobBar {
    bar: ProgressBar,
    name: String,
    state: String,
    files: (u64, u64),
    detail: String,
    bytes: (u64, u64),
    rate: u64,
    eta_sec: Option<u64>,
    /// Its state lets bytes come: what a late sample says of speed counts.
    moves: bool,
}

impl Bars {
    pub(super) fn new(tells_warnings: bool) -> Bars {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Bars {
            multi,
            jobs: BTreeMap::new(),
            colour: super::stderr_has_colour(),
            tells_warnings,
        }
    }

    pub(super) fn take(&mut self, item: &Item) {
        match item {
            Item::Job(job) => self.job(job),
            Item::Event(event) => self.event(event),
            Item::Progress(sample) => self.progress(sample),
            Item::Lost => self.print(LOST),
            Item::Back => self.print(BACK),
            Item::Ready(_) | Item::Heartbeat(_) | Item::Pruned => {}
        }
    }

    fn job(&mut self, job: &Job) {
        if has_ended(job.state()) {
            return self.end(&job.id);
        }
        let entry = self.entry(&job.id, &words::repo_name(job.repo_type(), &job.repo_id));
        entry.state = human::state(job.state(), job.hold_reason());
        entry.files = (job.files_done, job.files_total);
        entry.detail = human::clean(&job.detail);
        entry.bytes = (job.bytes_done, job.bytes_total);
        entry.moves = moves(job.state());
        entry.speed(job.bytes_per_sec, job.eta_sec);
        entry.show();
    }

    fn event(&mut self, event: &Event) {
        if event.r#type() == EventType::Warning && self.tells_warnings {
            self.print(&human::event_text(event));
        }
        if has_ended(event.state()) {
            return self.end(&event.job_id);
        }
        let entry = self.entry(&event.job_id, &words::repo_name(event.repo_type(), &event.repo_id));
        entry.state = human::state(event.state(), event.hold_reason());
        if event.r#type() == EventType::Planned {
            entry.bytes.1 = event.bytes;
        }
        entry.moves = moves(event.state());
        if event.state() != JobState::Active {
            entry.speed(0, None);
        }
        if event.r#type() == EventType::StateChanged {
            entry.detail = human::clean(&event.detail);
        }
        entry.show();
    }

    fn progress(&mut self, sample: &ProgressSample) {
        // A sample may be overtaken by the event that ends its job; it must not bring the bar back.
        let Some(entry) = self.jobs.get_mut(&sample.job_id) else {
            return;
        };
        entry.files = (sample.files_done, sample.files_total);
        entry.bytes = (sample.bytes_done, sample.bytes_total);
        entry.speed(sample.bytes_per_sec, sample.eta_sec);
        entry.detail = human::clean(&sample.detail);
        entry.show();
    }

    fn entry(&mut self, id: &str, name: &str) -> &mut JobBar {
        let Bars {
            multi, jobs, colour, ..
        } = self;
        jobs.entry(id.to_owned()).or_insert_with(|| {
            // Of one byte, not of none: that would be shown as done until the plan is there.
            let bar = multi.add(ProgressBar::new(1));
            bar.set_style(style(*colour));
            bar.enable_steady_tick(Duration::from_millis(120));
            JobBar {
                bar,
                name: human::clean(name),
                state: String::new(),
                files: (0, 0),
                detail: String::new(),
                bytes: (0, 0),
                rate: 0,
                eta_sec: None,
                moves: false,
            }
        })
    }

    /// The answer of the command tells how it ended; the bar makes room for it.
    fn end(&mut self, id: &str) {
        if let Some(entry) = self.jobs.remove(id) {
            entry.bar.finish_and_clear();
            self.multi.remove(&entry.bar);
        }
    }

    /// Runs `print` while the bars are out of the way.
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.multi.suspend(print)
    }

    fn print(&self, text: &str) {
        // Through our own stderr, so that --color is heeded.
        self.multi.suspend(|| super::say(text));
    }
}

/// An interrupted or failed command must not leave a half-drawn bar above its last words.
impl Drop for Bars {
    fn drop(&mut self) {
        for entry in self.jobs.values() {
            entry.bar.finish_and_clear();
        }
    }
}

/// Whether bytes may come in this state.
fn moves(state: JobState) -> bool {
    matches!(state, JobState::Active | JobState::Held)
}

impl JobBar {
    /// A sample may be older than the pause that it follows: then its speed is none.
    fn speed(&mut self, bytes_per_sec: u64, eta_sec: Option<u64>) {
        (self.rate, self.eta_sec) = if self.moves {
            (bytes_per_sec, eta_sec)
        } else {
            (0, None)
        };
    }

    fn show(&self) {
        let (done, total) = self.bytes;
        self.bar.set_length(total.max(1));
        self.bar.set_position(done.min(total));
        // The head is the field that is cut to the terminal's width: details can be long, numbers are not.
        self.bar.set_message(self.head());
        self.bar.set_prefix(self.numbers());
    }

    fn head(&self) -> String {
        let mut parts = vec![self.name.clone(), self.state.clone()];
        if self.files.1 > 0 {
            parts.push(format!("{} of {}", self.files.0, human::plural(self.files.1, "file")));
        }
        if !self.detail.is_empty() {
            parts.push(self.detail.clone());
        }
        parts.join("  ")
    }

    fn numbers(&self) -> String {
        if self.bytes.1 == 0 {
            return String::new();
        }
        numbers(self.bytes, self.rate, self.eta_sec)
    }
}

fn style(colour: bool) -> ProgressStyle {
    let template = if colour {
        "{spinner:.cyan} {wide_msg}\n  {bar:28.cyan/black.bright} {prefix}"
    } else {
        "{spinner} {wide_msg}\n  {bar:28} {prefix}"
    };
    // The template is a constant; the default bar is no worse than a panic in a client.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::progress::tests::event;

    #[test]
    fn the_numbers_of_a_bar() {
        let mut bar = JobBar {
            bar: ProgressBar::hidden(),
            name: "org/x".to_owned(),
            state: "active".to_owned(),
            files: (3, 12),
            detail: "downloading".to_owned(),
            bytes: (512 << 20, 2 << 30),
            rate: 40 << 20,
            eta_sec: Some(39),
            moves: true,
        };
        assert_eq!(bar.head(), "org/x  active  3 of 12 files  downloading");
        assert_eq!(bar.numbers(), " 25%  512 MiB of 2.0 GiB  40.0 MiB/s  39s left");
        (bar.bytes, bar.files, bar.detail) = ((0, 0), (0, 0), String::new());
        assert_eq!((bar.head().as_str(), bar.numbers().as_str()), ("org/x  active", ""));
    }

    #[test]
    fn a_paused_job_has_no_speed_whatever_a_late_sample_says() {
        let mut bars = Bars::new(true);
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        let sample = Item::Progress(ProgressSample {
            job_id: "j".to_owned(),
            bytes_done: 10,
            bytes_total: 100,
            bytes_per_sec: 5,
            eta_sec: Some(18),
            ..ProgressSample::default()
        });
        let mut speed_after = |state| {
            bars.take(&event(EventType::StateChanged, state));
            bars.take(&sample);
            let bar = &bars.jobs["j"];
            (bar.rate, bar.eta_sec, bar.bytes.0)
        };
        assert_eq!(speed_after(JobState::Active), (5, Some(18), 10));
        assert_eq!(speed_after(JobState::Paused), (0, None, 10));
        assert_eq!(speed_after(JobState::Queued), (0, None, 10));
        assert_eq!(speed_after(JobState::Active), (5, Some(18), 10));
    }

    #[test]
    fn an_ended_job_leaves_no_bar_and_a_late_sample_brings_none_back() {
        let mut bars = Bars::new(true);
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        bars.take(&event(EventType::StateChanged, JobState::Active));
        assert_eq!(bars.jobs.len(), 1);
        bars.take(&event(EventType::StateChanged, JobState::Done));
        bars.take(&Item::Progress(ProgressSample {
            job_id: "j".to_owned(),
            ..ProgressSample::default()
        }));
        assert!(bars.jobs.is_empty());
    }
}
