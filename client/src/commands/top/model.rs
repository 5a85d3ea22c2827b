//! What the screen shows and what keys mean: pure, so that tests press keys and read the screen without a terminal.

use std::collections::{HashMap, VecDeque};

use hfetch_proto::v1::{Endpoint, GetServerInfoResponse, GlobalLimit, Job, JobRoute, JobState, Priority, Window};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Samples of a rate that are kept: as many as the widest screen shows.
const SAMPLES: usize = 240;

/// What the daemon said at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) info: GetServerInfoResponse,
    pub(super) jobs: Vec<Job>,
    pub(super) limit: GlobalLimit,
    pub(super) windows: Vec<Window>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Of the chosen job, when there was one.
    pub(super) routes: Option<(String, Vec<JobRoute>)>,
}

/// What somebody at the keys wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Pause(String),
    Resume(String),
    Cancel(String),
    Prioritise(String, Priority),
    LimitJob(String, String),
    LimitAll(String),
}

/// What the keys are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Looking,
    /// The keys are told.
    Help,
    /// A limit is typed: of a job, or of all.
    Typing { job: Option<String>, text: String },
    /// Whether to cancel a job.
    Sure(String),
}

/// Rates of the last minutes, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct History(VecDeque<u64>);

impl History {
    fn push(&mut self, rate: u64) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(rate);
    }

    /// The newest ones, the oldest of them first.
    pub(super) fn newest(&self, most: usize) -> Vec<u64> {
        let skipped = self.0.len().saturating_sub(most);
        self.0.iter().skip(skipped).copied().collect()
    }
}

/// The screen.
#[derive(Debug, Default)]
pub(super) struct Top {
    pub(super) reading: Reading,
    pub(super) mode: Mode,
    /// What came of the last wish.
    pub(super) message: String,
    /// The daemon did not answer the last time.
    pub(super) lost: bool,
    pub(super) total: History,
    rates: HashMap<String, History>,
    chosen: Option<String>,
}

impl Top {
    /// Takes in what the daemon said.
    pub(super) fn hear(&mut self, mut reading: Reading) {
        // Where the eye looks first: what moves, then what waits, then what is over; stable from one moment to the next.
        reading.jobs.sort_by_key(|job| rank(job.state()));
        self.total.push(reading.info.bytes_per_sec);
        self.rates.retain(|id, _| reading.jobs.iter().any(|job| job.id == *id));
        for job in reading.jobs.iter().filter(|job| job.state() == JobState::Active) {
            self.rates.entry(job.id.clone()).or_default().push(job.bytes_per_sec);
        }
        let gone = |id: &String| !reading.jobs.iter().any(|job| job.id == *id);
        if self.chosen.as_ref().is_none_or(gone) {
            self.chosen = reading.jobs.first().map(|job| job.id.clone());
        }
        self.reading = reading;
        self.lost = false;
    }

    /// The chosen job.
    pub(super) fn chosen(&self) -> Option<&Job> {
        self.reading.jobs.get(self.row()?)
    }

    /// Where in the list it is.
    pub(super) fn row(&self) -> Option<usize> {
        let id = self.chosen.as_ref()?;
        self.reading.jobs.iter().position(|job| job.id == *id)
    }

    /// Where its bytes come from, once that is known.
    pub(super) fn routes(&self) -> &[JobRoute] {
        match &self.reading.routes {
            Some((id, routes)) if Some(id) == self.chosen.as_ref() => routes,
            _ => &[],
        }
    }

    /// Whether another job was chosen than the one whose routes are known.
    pub(super) fn lacks_routes(&self) -> bool {
        let known = self.reading.routes.as_ref().map(|(id, _)| id);
        self.chosen.is_some() && self.chosen.as_ref() != known
    }

    /// The newest rates of a job.
    pub(super) fn rates(&self, id: &str, most: usize) -> Vec<u64> {
        self.rates.get(id).map(|rates| rates.newest(most)).unwrap_or_default()
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Wish::Quit);
        }
        match std::mem::take(&mut self.mode) {
            Mode::Looking => self.look(key.code),
            Mode::Help => None,
            Mode::Sure(id) => matches!(key.code, KeyCode::Char('y')).then_some(Wish::Cancel(id)),
            Mode::Typing { job, text } => self.type_limit(job, text, key.code),
        }
    }

    fn look(&mut self, key: KeyCode) -> Option<Wish> {
        self.message.clear();
        let last = self.reading.jobs.len().saturating_sub(1);
        let row = self.row().unwrap_or(0);
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Quit),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Up | KeyCode::Char('k') => self.choose(row.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose((row + 1).min(last)),
            KeyCode::PageUp => self.choose(row.saturating_sub(10)),
            KeyCode::PageDown => self.choose((row + 10).min(last)),
            KeyCode::Home | KeyCode::Char('g') => self.choose(0),
            KeyCode::End | KeyCode::Char('G') => self.choose(last),
            KeyCode::Char('L') => {
                self.mode = Mode::Typing {
                    job: None,
                    text: String::new(),
                }
            }
            KeyCode::Char(key) => return self.act(key),
            _ => {}
        }
        None
    }

    fn choose(&mut self, row: usize) {
        self.chosen = self.reading.jobs.get(row).map(|job| job.id.clone());
    }

    /// Something is wanted of the chosen job.
    fn act(&mut self, key: char) -> Option<Wish> {
        let job = self.chosen()?;
        let (id, state, priority) = (job.id.clone(), job.state(), job.priority());
        let over = matches!(state, JobState::Done | JobState::Failed | JobState::Cancelled);
        match key {
            'p' if state == JobState::Paused => Some(Wish::Resume(id)),
            'p' | 'c' | 'l' | '+' | '-' if over => {
                self.message = format!("{id} is over");
                None
            }
            'p' => Some(Wish::Pause(id)),
            'c' => {
                self.mode = Mode::Sure(id);
                None
            }
            'l' => {
                let (job, text) = (Some(id), String::new());
                self.mode = Mode::Typing { job, text };
                None
            }
            '+' => Some(Wish::Prioritise(id, higher(priority))),
            '-' => Some(Wish::Prioritise(id, lower(priority))),
            _ => None,
        }
    }

    fn type_limit(&mut self, job: Option<String>, mut text: String, key: KeyCode) -> Option<Wish> {
        match key {
            KeyCode::Esc => return None,
            KeyCode::Enter if text.trim().is_empty() => return None,
            KeyCode::Enter => {
                return Some(match job {
                    Some(id) => Wish::LimitJob(id, text),
                    None => Wish::LimitAll(text),
                });
            }
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(key) => text.push(key),
            _ => {}
        }
        self.mode = Mode::Typing { job, text };
        None
    }
}

fn rank(state: JobState) -> u8 {
    match state {
        JobState::Active => 0,
        JobState::Queued => 1,
        JobState::Held => 2,
        JobState::Paused => 3,
        JobState::Failed => 4,
        JobState::Done | JobState::Cancelled | JobState::Unspecified => 5,
    }
}

fn higher(priority: Priority) -> Priority {
    match priority {
        Priority::Low => Priority::Normal,
        Priority::Unspecified | Priority::Normal | Priority::High => Priority::High,
    }
}

fn lower(priority: Priority) -> Priority {
    match priority {
        Priority::High => Priority::Normal,
        Priority::Unspecified | Priority::Normal | Priority::Low => Priority::Low,
    }
}

/// `▁▃█`: rates as bars, beside the largest of them; as wide as there are rates.
pub(super) fn bars(rates: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = rates.iter().copied().max().unwrap_or(0).max(1);
    let bar = |rate: &u64| {
        let height = u128::from(*rate) * 7 / u128::from(most);
        BARS[usize::try_from(height).unwrap_or(7)]
    };
    rates.iter().map(bar).collect()
}
