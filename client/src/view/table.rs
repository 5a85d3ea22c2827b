//! Tables: columns aligned by two blanks, no lines, so that they read well and grep well. On a terminal the last column
//! is shortened to the width; a pipe gets it whole.

use clap::builder::styling::{AnsiColor, Color as AnsiOr, Style};
use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use hfetch_proto::v1::{Alias, File, FileState, Job, JobState, RepoSummary};
use jiff::Timestamp;

use super::{Out, human, words};

/// Columns of `list`. Speed and time left only when something moves, users only when there are several, and what jobs wait for
/// only when some do.
pub(crate) fn jobs(out: &Out, jobs: &[Job], now: Timestamp) -> String {
    let moving = jobs.iter().any(|job| job.bytes_per_sec > 0 || job.eta_sec.is_some());
    let users = jobs.windows(2).any(|pair| pair[0].user != pair[1].user);
    let mut head = vec![("ID", false), ("STATE", false), ("DONE", true), ("SIZE", true)];
    head.extend(
        moving
            .then_some([("SPEED", true), ("LEFT", true)])
            .into_iter()
            .flatten(),
    );
    head.push(("AGE", true));
    head.extend(users.then_some(("USER", false)));
    head.push(("REPOSITORY", false));
    let waiting = jobs.iter().any(waits);
    head.extend(waiting.then_some(("DETAIL", false)));
    let rows = jobs.iter().map(|job| {
        let mut row = vec![
            plain(&job.id),
            styled(&narrow_state(job), human::state_style(job.state())),
            plain(&format!(
                "{}%",
                human::percent(job.bytes_done, job.bytes_total, job.state())
            )),
            plain(&if job.bytes_total == 0 {
                "-".to_owned()
            } else {
                human::bytes(job.bytes_total)
            }),
        ];
        if moving {
            let speed = (job.bytes_per_sec > 0).then(|| human::rate(job.bytes_per_sec));
            row.push(plain(&speed.unwrap_or_default()));
            row.push(plain(&job.eta_sec.map(human::seconds_short).unwrap_or_default()));
        }
        let created = human::time(job.created_at.as_ref());
        row.push(plain(
            &created
                .map(|then| human::seconds_short(human::age_sec(then, now)))
                .unwrap_or_default(),
        ));
        if users {
            row.push(plain(&job.user));
        }
        row.push(plain(&words::repo_name(job.repo_type(), &job.repo_id)));
        if waiting {
            row.push(plain(if waits(job) { &job.detail } else { "" }));
        }
        row
    });
    render(out, &head, rows.collect())
}

/// Whether nothing of a job moves, and it says why.
fn waits(job: &Job) -> bool {
    let may_move = matches!(job.state(), JobState::Queued | JobState::Active | JobState::Held);
    may_move && job.bytes_per_sec == 0 && !job.detail.is_empty()
}

/// `held:disk`: the state in as few columns as can be understood.
fn narrow_state(job: &Job) -> String {
    match words::reason_of(job.state(), job.hold_reason()) {
        Some("rate_limited") => "held:rate".to_owned(),
        Some(reason) => format!("held:{reason}"),
        None => words::state(job.state()).to_owned(),
    }
}

/// Columns of `show --files`.
pub(crate) fn files(out: &Out, files: &[File]) -> String {
    let head = [("STATE", false), ("DONE", true), ("SIZE", true), ("PATH", false)];
    let rows = files.iter().map(|file| {
        let (state, style) = match file.state() {
            FileState::Done if file.reused => ("present", AnsiColor::Green.on_default()),
            FileState::Done => ("done", AnsiColor::Green.on_default()),
            FileState::Failed => ("failed", AnsiColor::Red.on_default()),
            FileState::Active => ("active", AnsiColor::Cyan.on_default()),
            FileState::Pending | FileState::Unspecified => (words::file_state(file.state()), Style::new()),
        };
        let job_state = if file.state() == FileState::Done {
            JobState::Done
        } else {
            JobState::Active
        };
        let percent = format!("{}%", human::percent(file.bytes_done, file.size, job_state));
        vec![
            styled(state, style),
            plain(&percent),
            plain(&human::bytes(file.size)),
            plain(&file.path),
        ]
    });
    render(out, &head, rows.collect())
}

/// Columns of `--dry-run`.
pub(crate) fn plan(out: &Out, files: &[File]) -> String {
    let head = [("ACTION", false), ("SIZE", true), ("PATH", false)];
    let rows = files.iter().map(|file| {
        let action = if file.reused {
            styled("present", Style::new().dimmed())
        } else {
            plain("fetch")
        };
        vec![action, plain(&human::bytes(file.size)), plain(&file.path)]
    });
    render(out, &head, rows.collect())
}

/// Columns of `alias list`.
pub(crate) fn aliases(out: &Out, aliases: &[Alias]) -> String {
    let head = [("NAME", false), ("SOURCE", false), ("TARGET", false)];
    let rows = aliases.iter().map(|alias| {
        vec![
            plain(&alias.name),
            plain(words::name_source(alias.source())),
            plain(&alias.target),
        ]
    });
    render(out, &head, rows.collect())
}

/// Columns of `search`.
pub(crate) fn repos(out: &Out, repos: &[RepoSummary]) -> String {
    let head = [
        ("SIZE", true),
        ("DOWNLOADS", true),
        ("LIKES", true),
        ("TASK", false),
        ("REPOSITORY", false),
    ];
    let rows = repos.iter().map(|repo| {
        let gated = if repo.gated { " (gated)" } else { "" };
        vec![
            plain(&repo.bytes.map_or_else(|| "-".to_owned(), human::bytes)),
            plain(&human::count(repo.downloads)),
            plain(&human::count(repo.likes)),
            plain(&repo.task),
            plain(&format!("{}{gated}", words::repo_name(repo.repo_type(), &repo.repo_id))),
        ]
    });
    render(out, &head, rows.collect())
}

/// Text and its colour.
type Field = (String, Style);

pub(super) fn plain(text: &str) -> Field {
    (human::clean(text), Style::new())
}

pub(super) fn styled(text: &str, style: Style) -> Field {
    (human::clean(text), style)
}

pub(super) fn render(out: &Out, head: &[(&str, bool)], rows: Vec<Vec<Field>>) -> String {
    let mut table = Table::new();
    let room = out
        .on_terminal()
        .then(|| table.width())
        .flatten()
        .map(|width| room_for_last(head, &rows, width));
    // Colours are decided once, by --color and NO_COLOR, and not by the table.
    table.load_style(presets::NOTHING).force_no_tty();
    if super::stdout_has_colour() {
        table.enforce_styling();
    }
    table.set_header(head.iter().map(|(title, _)| Cell::new(title)).collect::<Vec<_>>());
    let last = head.len().saturating_sub(1);
    for row in rows {
        let cells = row.into_iter().enumerate().map(|(index, (text, style))| {
            let text = if index == last { shorten(text, room) } else { text };
            let cell = Cell::new(text);
            match style.get_fg_color() {
                Some(AnsiOr::Ansi(AnsiColor::Green)) => cell.fg(Color::DarkGreen),
                Some(AnsiOr::Ansi(AnsiColor::Red)) => cell.fg(Color::DarkRed),
                Some(AnsiOr::Ansi(AnsiColor::Cyan)) => cell.fg(Color::DarkCyan),
                Some(AnsiOr::Ansi(AnsiColor::Yellow)) => cell.fg(Color::DarkYellow),
                _ if style != Style::new() => cell.fg(Color::DarkGrey),
                _ => cell,
            }
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if head.get(index).is_some_and(|(_, right)| *right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// What the other columns leave for the last one; never so little that it says nothing.
fn room_for_last(head: &[(&str, bool)], rows: &[Vec<Field>], width: u16) -> usize {
    let taken: usize = (0..head.len().saturating_sub(1))
        .map(|column| {
            let title = head[column].0.len();
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|(text, _)| text.chars().count())
                .fold(title, usize::max)
                + 2
        })
        .sum();
    usize::from(width).saturating_sub(taken).max(16)
}

fn shorten(text: String, room: Option<usize>) -> String {
    match room {
        Some(room) if text.chars().count() > room => {
            let mut short: String = text.chars().take(room - 1).collect();
            short.push('…');
            short
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ColorArg;
    use hfetch_proto::v1::HoldReason;
    use prost_types::Timestamp as WireTime;

    fn job(id: &str, state: JobState, done: u64, total: u64) -> Job {
        Job {
            id: id.to_owned(),
            repo_id: "org/a-model".to_owned(),
            state: state.into(),
            bytes_done: done,
            bytes_total: total,
            user: "ann".to_owned(),
            created_at: Some(WireTime { seconds: 0, nanos: 0 }),
            ..Job::default()
        }
    }

    #[test]
    fn a_list_fits_80_columns() {
        let out = Out::new(false, false, ColorArg::Never, false);
        let mut active = job("5d2k8q0x1a", JobState::Active, 5 << 30, 13 << 30);
        active.bytes_per_sec = 80 << 20;
        active.eta_sec = Some(102);
        let mut held = job("5d2k8q0x1b", JobState::Held, 0, 0);
        held.set_hold_reason(HoldReason::RateLimited);
        held.repo_id = "o/d\x1b[31m".to_owned();
        active.detail = "downloading model.bin".to_owned();
        let now = Timestamp::from_second(7300).expect("a time");
        let text = jobs(
            &out,
            &[active, held, job("5d2k8q0x1c", JobState::Done, 1000, 1000)],
            now,
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
        ID          STATE      DONE      SIZE       SPEED  LEFT  AGE  REPOSITORY
        5d2k8q0x1a  active      38%  13.0 GiB  80.0 MiB/s    1m   2h  org/a-model
        5d2k8q0x1b  held:rate    0%         -                     2h  o/d[31m
        5d2k8q0x1c  done       100%   0.9 KiB                     2h  org/a-model
        ");
    }

    #[test]
    fn a_list_says_what_jobs_wait_for() {
        let out = Out::new(false, false, ColorArg::Never, false);
        let mut queued = job("5d2k8q0x1a", JobState::Queued, 0, 0);
        queued.detail = "waiting for a place".to_owned();
        let now = Timestamp::from_second(7300).expect("a time");
        let text = jobs(&out, &[queued, job("5d2k8q0x1c", JobState::Done, 1000, 1000)], now);
        insta::assert_snapshot!(text, @r"
        ID          STATE   DONE     SIZE  AGE  REPOSITORY   DETAIL
        5d2k8q0x1a  queued    0%        -   2h  org/a-model  waiting for a place
        5d2k8q0x1c  done    100%  0.9 KiB   2h  org/a-model
        ");
    }

    #[test]
    fn the_last_column_is_shortened_on_a_terminal_only() {
        assert_eq!(shorten("org/name".to_owned(), None), "org/name");
        assert_eq!(shorten("org/name".to_owned(), Some(8)), "org/name");
        assert_eq!(shorten("org/names".to_owned(), Some(8)), "org/nam…");
        let rows = [vec![plain("5d2k8q0x1a"), plain("x")]];
        assert_eq!(room_for_last(&[("ID", false), ("REPOSITORY", false)], &rows, 80), 68);
    }
}
