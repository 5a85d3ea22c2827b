//! The screen, from what is known. Draws into whatever it is given: a terminal, or a test's.

use hfetch_proto::v1::{Endpoint, EndpointState, GlobalLimit, Job, JobState, Priority, Window};
use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Clear, Paragraph, Row, Sparkline, Table, TableState},
};

use super::model::{Mode, Top, bars};
use crate::view::{bandwidth, human, words};

/// What is needed to show anything that makes sense.
const LEAST: (u16, u16) = (60, 18);
/// Columns of a job's rates.
const TREND: usize = 8;

const KEYS: &str = "p pause  c cancel  +/- priority  l limit  L limit of all  ? help  q quit";
const HELP: [&str; 9] = [
    "up, down, j, k   choose a job",
    "p                pause it, or let it go on",
    "c                cancel it; y to be sure",
    "+  -             raise or lower its priority",
    "l                limit its rate: 10MiB/s, off",
    "L                limit all downloads together:",
    "                 a rate, a timetable, off",
    "?                this",
    "q, Esc, Ctrl-C   leave; the jobs go on",
];

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top, now: Timestamp, colour: bool) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.render_widget(Paragraph::new("make the terminal larger; q quits"), area);
        return;
    }
    let [head, rates, limits, list, chosen, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(u16::from(!top.reading.windows.is_empty()) + 2),
        Constraint::Min(4),
        Constraint::Length(6),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(header(top, area.width)), head);
    let newest = top.total.newest(usize::from(rates.width));
    frame.render_widget(
        Sparkline::default().data(newest).style(paint(colour, Color::Cyan)),
        rates,
    );
    let mut lines = vec![Line::from(format!("limit      {}", limit(&top.reading.limit, now)))];
    if !top.reading.windows.is_empty() {
        let windows: Vec<String> = top.reading.windows.iter().map(|one| window(one, now)).collect();
        lines.push(Line::from(format!("windows    {}", windows.join(" · "))));
    }
    lines.push(endpoints(top, colour));
    frame.render_widget(Paragraph::new(lines), limits);
    jobs(frame, top, list, colour);
    details(frame, top, chosen, now);
    frame.render_widget(Paragraph::new(footer(top)), foot);
    if top.mode == Mode::Help {
        help(frame, area);
    }
}

/// A colour, where colours are wanted.
fn paint(colour: bool, wanted: Color) -> Style {
    if colour { Style::new().fg(wanted) } else { Style::new() }
}

/// `hfetchd 0.1.0   2 active  1 queued   120 MiB/s`, the rate at the right edge.
fn header(top: &Top, width: u16) -> Line<'static> {
    let info = &top.reading.info;
    let counts = [
        (info.jobs_active, "active"),
        (info.jobs_queued, "queued"),
        (info.jobs_held, "held"),
    ];
    let counts: Vec<String> = counts.iter().map(|(count, word)| format!("{count} {word}")).collect();
    let left = format!("hfetchd {}   {}", human::clean(&info.version), counts.join("  "));
    let right = human::rate(info.bytes_per_sec);
    let room = usize::from(width).saturating_sub(left.chars().count());
    Line::styled(format!("{left}{right:>room$}"), Modifier::BOLD)
}

/// `10.0 MiB/s, set for 1h 59m; off in 2h 10m`: what `hfctl limit` tells, for one line.
fn limit(limit: &GlobalLimit, now: Timestamp) -> String {
    let ahead = |at| human::seconds(human::age_sec(now, at));
    let mut text = bandwidth::rate(limit.bytes_per_sec);
    if limit.source == "set" {
        text.push_str(", set");
    }
    if let Some(until) = human::time(limit.until.as_ref()) {
        text.push_str(&format!(" for {}", ahead(until)));
    }
    if let Some(at) = human::time(limit.next_change_at.as_ref()) {
        text.push_str(&format!(
            "; {} in {}",
            bandwidth::rate(limit.next_bytes_per_sec),
            ahead(at)
        ));
    }
    match limit.giving_way.as_ref().map(|way| way.bytes_per_sec) {
        Some(Some(rate)) => text.push_str(&format!("; gives way: {} at most", human::rate(rate))),
        Some(None) => text.push_str("; gives way"),
        None => {}
    }
    text
}

/// `night opens in 3h 10m`, `day open for 2h 00m at 10.0 MiB/s`.
fn window(window: &Window, now: Timestamp) -> String {
    let ahead = human::time(window.next_change_at.as_ref()).map(|at| human::seconds(human::age_sec(now, at)));
    let told = match (window.open, ahead) {
        (true, Some(ahead)) => format!("open for {ahead}"),
        (true, None) => "open".to_owned(),
        (false, Some(ahead)) => format!("opens in {ahead}"),
        (false, None) => "never opens".to_owned(),
    };
    let rate = window.bytes_per_sec.map(|rate| format!(" at {}", human::rate(rate)));
    format!("{} {told}{}", human::clean(&window.name), rate.unwrap_or_default())
}

fn endpoints(top: &Top, colour: bool) -> Line<'static> {
    let mut line = vec![Span::raw("endpoints  ")];
    for (index, endpoint) in top.reading.endpoints.iter().enumerate() {
        if index > 0 {
            line.push(Span::raw(" · "));
        }
        let (word, shade) = judged(endpoint);
        line.push(Span::raw(format!("{} ", human::clean(&endpoint.name))));
        line.push(Span::styled(human::clean(word), paint(colour, shade)));
        if let Some(rate) = endpoint.bytes_per_sec {
            line.push(Span::raw(format!(" {}", human::rate(rate))));
        }
    }
    Line::from(line)
}

fn judged(endpoint: &Endpoint) -> (&str, Color) {
    match endpoint.state() {
        EndpointState::Good => ("good", Color::Green),
        EndpointState::Bad if endpoint.fault.is_empty() => ("bad", Color::Red),
        EndpointState::Bad => (&endpoint.fault, Color::Red),
        EndpointState::Unknown | EndpointState::Unspecified => ("not probed", Color::DarkGray),
    }
}

fn jobs(frame: &mut Frame<'_>, top: &Top, area: Rect, colour: bool) {
    let widths = [
        Constraint::Length(10),
        Constraint::Length(13),
        Constraint::Length(4),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(4),
        Constraint::Min(10),
    ];
    let head = ["ID", "STATE", "DONE", "     SPEED", "", "LEFT", "REPOSITORY"];
    let rows = top.reading.jobs.iter().map(|job| {
        let done = human::percent(job.bytes_done, job.bytes_total, job.state());
        let speed = (job.bytes_per_sec > 0).then(|| human::rate(job.bytes_per_sec));
        let left = job.eta_sec.map(human::seconds_short).unwrap_or_default();
        Row::new([
            Line::raw(human::clean(&job.id)),
            Line::styled(narrow_state(job), paint(colour, shade(job.state()))),
            Line::raw(format!("{done}%")).right_aligned(),
            Line::raw(speed.unwrap_or_default()).right_aligned(),
            Line::styled(bars(&top.rates(&job.id, TREND)), paint(colour, Color::Cyan)),
            Line::raw(left).right_aligned(),
            Line::raw(format!("{}{}", mark(job.priority()), repository(job))),
        ])
    });
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Modifier::UNDERLINED))
        .row_highlight_style(Modifier::REVERSED);
    let mut state = TableState::default().with_selected(top.row());
    frame.render_stateful_widget(table, area, &mut state);
}

/// `held:disk`.
fn narrow_state(job: &Job) -> String {
    match words::reason_of(job.state(), job.hold_reason()) {
        Some("rate_limited") => "held:rate".to_owned(),
        Some(reason) => format!("held:{reason}"),
        None => words::state(job.state()).to_owned(),
    }
}

fn shade(state: JobState) -> Color {
    match state {
        JobState::Active => Color::Cyan,
        JobState::Held | JobState::Paused => Color::Yellow,
        JobState::Failed => Color::Red,
        JobState::Done => Color::Green,
        JobState::Queued | JobState::Cancelled | JobState::Unspecified => Color::Reset,
    }
}

/// What is not as usual.
fn mark(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "↑ ",
        Priority::Low => "↓ ",
        Priority::Normal | Priority::Unspecified => "",
    }
}

fn repository(job: &Job) -> String {
    human::clean(&words::repo_name(job.repo_type(), &job.repo_id))
}

/// The chosen job: what it waits for, its limits and its routes.
fn details(frame: &mut Frame<'_>, top: &Top, area: Rect, now: Timestamp) {
    let Some(job) = top.chosen() else {
        let block = Block::new().borders(Borders::TOP);
        frame.render_widget(Paragraph::new("no jobs: hfctl submit NAME").block(block), area);
        return;
    };
    let title = format!(" {} {} of {} ", job.id, repository(job), human::clean(&job.user));
    let block = Block::new().borders(Borders::TOP).title(title);
    let done = format!(
        "{} of {}, {} of {}",
        human::bytes(job.bytes_done),
        human::bytes(job.bytes_total),
        job.files_done,
        human::plural(job.files_total, "file")
    );
    let mut terms = vec![format!("priority {}", words::priority(job.priority()))];
    terms.extend(
        job.limit_bytes_per_sec
            .map(|limit| format!("limit {}", human::rate(limit))),
    );
    terms.extend((!job.window.is_empty()).then(|| format!("window {}", human::clean(&job.window))));
    let mut lines = vec![done, terms.join(" · ")];
    lines.extend(why(job, now));
    let room = usize::from(area.height).saturating_sub(1 + lines.len());
    for route in top.routes().iter().take(room) {
        lines.push(format!(
            "{} by {} ({}): {}, {}",
            human::clean(&route.host),
            human::clean(&route.way),
            human::clean(&route.rule),
            human::bytes(route.bytes),
            human::plural(route.requests, "request")
        ));
    }
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// What it waits for, or how it ended, or when it will be ready.
fn why(job: &Job, now: Timestamp) -> Option<String> {
    if let Some(failure) = &job.failure {
        return Some(human::clean(&failure.message));
    }
    if job.state() == JobState::Held {
        let again = human::time(job.next_attempt_at.as_ref());
        let again = again.map(|at| format!(" (looks again in {})", human::seconds(human::age_sec(now, at))));
        return Some(format!("{}{}", human::clean(&job.detail), again.unwrap_or_default()));
    }
    (!job.forecast.is_empty()).then(|| human::clean(&job.forecast))
}

fn footer(top: &Top) -> Line<'static> {
    match &top.mode {
        Mode::Typing { job: Some(id), text } => Line::raw(format!("limit of {id}, a rate or off: {text}_")),
        Mode::Typing { job: None, text } => Line::raw(format!("limit of all, a rate, a timetable or off: {text}_")),
        Mode::Sure(id) => Line::styled(format!("cancel {id}? y for yes, any other key for no"), Modifier::BOLD),
        Mode::Looking | Mode::Help if top.lost => Line::styled(
            "hfetchd does not answer; what is here is old; trying again",
            Modifier::BOLD,
        ),
        Mode::Looking | Mode::Help if !top.message.is_empty() => {
            Line::styled(human::clean(&top.message), Modifier::BOLD)
        }
        Mode::Looking | Mode::Help => Line::raw(KEYS),
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (52, u16::try_from(HELP.len()).unwrap_or(0) + 2);
    let place = Rect {
        x: area.width.saturating_sub(width) / 2,
        y: area.height.saturating_sub(height) / 2,
        width,
        height,
    };
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::raw(format!(" {line}"))).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}
