//! The tables, in Markdown.

use std::fmt::Write as _;

use crate::{
    measure::{Outcome, Used},
    rows::{MIB, Row},
    run::Results,
    say,
    tools::Tool,
};

/// One figure, and what it should be.
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) found: String,
    pub(crate) goal: &'static str,
}

/// The table of some figures; tells each line on the way.
pub(crate) fn table_of(figures: Vec<Figure>) -> String {
    let mut table = "| what | found | goal |\n| --- | --- | --- |\n".to_owned();
    for figure in figures {
        let line = format!("| {} | {} | {} |\n", figure.what, figure.found, figure.goal);
        say(line.trim_end());
        table.push_str(&line);
    }
    table
}

/// Medians of all rows so far.
pub(crate) struct Table {
    columns: Vec<Tool>,
    runs: usize,
    divide: u64,
    rows: Vec<(Row, Results)>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Tool>, runs: usize, divide: u64) -> Self {
        Self {
            columns,
            runs,
            divide,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: Row, results: Results) {
        self.rows.push((row, results));
    }

    /// Both tables.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let runs = self.runs;
        text.push_str(&format!("Seconds, median of {runs}"));
        if self.divide > 1 {
            text.push_str(&format!("; all sizes and numbers divided by {}", self.divide));
        }
        text.push_str(":\n\n");
        self.head(&mut text);
        for (row, results) in &self.rows {
            let best = best(results);
            self.line(&mut text, *row, results, |tool, outcomes| {
                time_cell(tool, outcomes, best)
            });
        }
        text.push_str(
            "\nCPU seconds per GiB (the daemon's included), peak memory, bytes sent beyond the files' own:\n\n",
        );
        self.head(&mut text);
        for (row, results) in &self.rows {
            let bytes: u64 = row.files(self.divide).iter().map(|(_, size)| size).sum();
            self.line(&mut text, *row, results, |_, outcomes| used_cell(*row, outcomes, bytes));
        }
        text
    }

    fn head(&self, text: &mut String) {
        let names: Vec<&str> = self.columns.iter().map(|tool| tool.name()).collect();
        text.push_str(&format!(
            "| row | {} |\n| --- |{}\n",
            names.join(" | "),
            " --- |".repeat(names.len())
        ));
    }

    fn line(&self, text: &mut String, row: Row, results: &Results, cell: impl Fn(Tool, &[Outcome]) -> String) {
        text.push_str(&format!("| {} |", row.title()));
        for (tool, outcomes) in results {
            text.push_str(&format!(" {} |", cell(*tool, outcomes)));
        }
        text.push('\n');
    }
}

/// The run in the middle by its time, when all went well.
fn median(outcomes: &[Outcome]) -> Result<Used, Outcome> {
    let mut runs = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Did(used) => runs.push(*used),
            other => return Err(other.clone()),
        }
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = runs.len().saturating_sub(1) / 2;
    runs.get(middle).copied().ok_or(Outcome::Cannot(String::new()))
}

fn best(results: &Results) -> f64 {
    results
        .iter()
        .filter(|(tool, _)| !tool.is_floor())
        .filter_map(|(_, outcomes)| Some(median(outcomes).ok()?.seconds))
        .fold(f64::INFINITY, f64::min)
}

fn time_cell(tool: Tool, outcomes: &[Outcome], best: f64) -> String {
    match median(outcomes) {
        Ok(used) if tool.is_floor() => format!("{:.2}", used.seconds),
        Ok(used) if used.seconds <= best => format!("**{:.2}**", used.seconds),
        Ok(used) => format!("{:.2} ({:.2} x)", used.seconds, used.seconds / best),
        Err(outcome) => refusal(&outcome),
    }
}

fn used_cell(row: Row, outcomes: &[Outcome], bytes: u64) -> String {
    let Ok(used) = median(outcomes) else {
        return String::new();
    };
    let mut cell = String::new();
    if matches!(row, Row::Small | Row::Warm | Row::Kill) {
        // Not a matter of bytes.
        write!(cell, "{:.2} s in all", used.cpu_seconds).ok();
    } else {
        write!(cell, "{:.2} s", used.cpu_seconds * (1024 * MIB) as f64 / bytes as f64).ok();
    }
    write!(cell, ", {} MiB", used.peak_bytes.div_ceil(MIB)).ok();
    if let (Some(sent), Some(requests)) = (used.sent_bytes, used.requests) {
        write!(cell, ", +{} MiB", sent.saturating_sub(bytes) / MIB).ok();
        write!(cell, ", {requests} requests").ok();
    }
    cell
}

fn refusal(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Did(_) => String::new(),
        Outcome::Failed(why) => {
            let why: String = why.chars().filter(|c| *c != '|').take(60).collect();
            format!("fails: {why}")
        }
        Outcome::TooSlow(limit) => format!("not done after {} s", limit.as_secs()),
        Outcome::Cannot(why) if why.is_empty() => String::new(),
        Outcome::Cannot(why) => format!("cannot: {why}"),
    }
}
