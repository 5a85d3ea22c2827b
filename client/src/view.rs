//! From wire to text: the only part of the client that prints. stdout carries the answer, stderr progress and messages.
//! Text that came from the daemon loses its control characters before a terminal sees it.

pub(crate) mod bandwidth;
mod bars;
pub(crate) mod cache;
pub(crate) mod details;
pub(crate) mod doctor;
pub(crate) mod endpoints;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod routes;
pub(crate) mod schedule;
pub(crate) mod screen;
pub(crate) mod secret;
pub(crate) mod table;
pub(crate) mod usage;
pub(crate) mod words;

use std::io::{IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::cli::ColorArg;
use crate::error::CliError;

/// The way out of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    /// The answer is wanted as JSON.
    pub(crate) json: bool,
    /// No messages.
    pub(crate) quiet: bool,
    stdout_terminal: bool,
    stderr_terminal: bool,
    bars: bool,
}

impl Out {
    /// Looks at the process's streams and fixes the use of colours for this run. Without `bars` progress comes as lines
    /// even on a terminal.
    pub(crate) fn new(json: bool, quiet: bool, color: ColorArg, bars: bool) -> Out {
        match color {
            ColorArg::Auto => ColorChoice::Auto,
            ColorArg::Always => ColorChoice::AlwaysAnsi,
            ColorArg::Never => ColorChoice::Never,
        }
        .write_global();
        Out {
            json,
            quiet,
            stdout_terminal: std::io::stdout().is_terminal(),
            stderr_terminal: std::io::stderr().is_terminal(),
            bars,
        }
    }

    /// Whether stdout is a terminal.
    pub(crate) fn on_terminal(&self) -> bool {
        self.stdout_terminal
    }

    /// Whether a progress bar may be drawn.
    pub(crate) fn may_draw(&self) -> bool {
        self.stderr_terminal && self.bars && !self.quiet
    }

    /// Whether there is a terminal to fill and to hear keys from.
    pub(crate) fn may_fill_screen(&self) -> bool {
        self.stdout_terminal && !self.json && std::io::stdin().is_terminal()
    }

    /// Whether somebody is there to answer a question.
    pub(crate) fn may_ask(&self) -> bool {
        self.stderr_terminal && !self.quiet && !self.json && std::io::stdin().is_terminal()
    }

    /// Lines of the answer on stdout.
    ///
    /// # Errors
    /// When stdout does not take them; [`CliError::BrokenPipe`] when its reader went away.
    pub(crate) fn answer(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = anstream::stdout().lock();
        writeln!(stdout, "{}", text.trim_end_matches('\n'))?;
        stdout.flush()?;
        Ok(())
    }

    /// A path as the answer. A pipe gets it byte for byte, a terminal without control characters.
    ///
    /// # Errors
    /// As [`Out::answer`].
    pub(crate) fn answer_path(&self, path: &str) -> Result<(), CliError> {
        let cleaned = if self.stdout_terminal {
            human::clean(path)
        } else {
            path.to_owned()
        };
        // Not through anstream: it would strip what looks like an escape sequence from a piped path.
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{cleaned}")?;
        stdout.flush()?;
        Ok(())
    }

    /// One JSON document: indented on a terminal, else on one line.
    ///
    /// # Errors
    /// As [`Out::answer`].
    pub(crate) fn answer_json<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        let text = if self.stdout_terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.answer_raw(&text.map_err(std::io::Error::from)?)
    }

    /// One JSON document on one line, for streams.
    ///
    /// # Errors
    /// As [`Out::answer`].
    pub(crate) fn answer_json_line<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        self.answer_raw(&serde_json::to_string(value).map_err(std::io::Error::from)?)
    }

    /// Bytes of a file format (JSON, a completion script, a manual page), unchanged.
    ///
    /// # Errors
    /// As [`Out::answer`].
    pub(crate) fn answer_raw(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end_matches('\n'))?;
        stdout.flush()?;
        Ok(())
    }

    /// A message on stderr, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Something the user should know although the command goes on.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            let style = AnsiColor::Yellow.on_default().bold();
            say(&format!("{style}warning:{style:#} {}", human::clean(text)));
        }
    }

    /// An error that does not end the command at once, such as one refused job of several.
    pub(crate) fn problem(&self, text: &str, hint: Option<&str>) {
        problem(text, hint);
    }

    /// Asks for a number between 1 and `most`; `None` when the user wants none. Blocks: call it on a blocking thread.
    pub(crate) fn ask_number(most: usize) -> Option<usize> {
        let mut stderr = anstream::stderr();
        let range = if most > 1 { format!("1-{most}") } else { "1".to_owned() };
        write!(stderr, "Which one? [{range}, Enter for none] ").ok();
        stderr.flush().ok();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok()?;
        line.trim().parse().ok().filter(|number| (1..=most).contains(number))
    }
}

/// Whether stderr shows colours.
pub(crate) fn stderr_has_colour() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

/// Whether stdout shows colours.
pub(crate) fn stdout_has_colour() -> bool {
    AutoStream::choice(&std::io::stdout()) != ColorChoice::Never
}

/// The error that ends the run.
pub(crate) fn complain(error: &CliError) {
    match error {
        CliError::BrokenPipe => {}
        CliError::Said { message, hint, .. } => problem(message, hint.as_deref()),
    }
}

/// An extra line below a message of clap.
pub(crate) fn tip(text: &str) {
    let style = AnsiColor::Green.on_default();
    say(&format!("\n  {style}tip:{style:#} {text}"));
}

fn problem(text: &str, hint: Option<&str>) {
    let (red, bold) = (AnsiColor::Red.on_default().bold(), Style::new().bold());
    say(&format!("{red}hfctl:{red:#} {}", human::clean_lines(text)));
    if let Some(hint) = hint {
        say(&format!("  {bold}hint:{bold:#} {}", human::clean_lines(hint)));
    }
}

/// stderr may be closed; there is nobody left to tell then.
fn say(text: &str) {
    writeln!(anstream::stderr().lock(), "{text}").ok();
}
