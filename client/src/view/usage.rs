//! The ledger for people and for scripts.

use hfetch_proto::v1::{Budget, GetUsageResponse, UsageLine};
use jiff::Timestamp;
use serde::Serialize;

use super::table::{plain, render};
use super::{Out, human};
use crate::cli::UsageByArg;

/// The answer of `usage --json`.
#[derive(Debug, Serialize)]
pub(crate) struct UsageJson {
    since: String,
    until: String,
    timezone: String,
    lines: Vec<LineJson>,
    total: LineJson,
    budgets: Vec<BudgetJson>,
}

#[derive(Debug, Serialize)]
struct BudgetJson {
    user: Option<String>,
    endpoint: Option<String>,
    budget: u64,
    used: u64,
    period: String,
    resets_at: Option<Timestamp>,
}

impl BudgetJson {
    fn new(budget: Budget) -> BudgetJson {
        let (user, endpoint) = match budget.of_endpoint {
            true => (None, Some(budget.name)),
            false => (Some(budget.name), None),
        };
        BudgetJson {
            user,
            endpoint,
            budget: budget.budget_bytes,
            used: budget.used_bytes,
            period: budget.period,
            resets_at: human::time(budget.resets_at.as_ref()),
        }
    }
}

#[derive(Debug, Serialize)]
struct LineJson {
    day: Option<String>,
    user: Option<String>,
    endpoint: Option<String>,
    host: Option<String>,
    route: Option<String>,
    requests: u64,
    bytes: u64,
    bytes_wasted: u64,
    bytes_repeated: u64,
}

fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl LineJson {
    fn new(line: UsageLine) -> LineJson {
        LineJson {
            day: said(line.day),
            user: said(line.user),
            endpoint: said(line.endpoint),
            host: said(line.host),
            route: said(line.way),
            requests: line.requests,
            bytes: line.bytes,
            bytes_wasted: line.wasted_bytes,
            bytes_repeated: line.repeated_bytes,
        }
    }
}

impl UsageJson {
    pub(crate) fn new(answer: GetUsageResponse) -> UsageJson {
        UsageJson {
            since: answer.since,
            until: answer.until,
            timezone: answer.timezone,
            lines: answer.lines.into_iter().map(LineJson::new).collect(),
            total: LineJson::new(answer.total.unwrap_or_default()),
            budgets: answer.budgets.into_iter().map(BudgetJson::new).collect(),
        }
    }
}

fn column(by: UsageByArg) -> (&'static str, fn(&UsageLine) -> &str) {
    match by {
        UsageByArg::Day => ("DAY", |line| &line.day),
        UsageByArg::User => ("USER", |line| &line.user),
        UsageByArg::Endpoint => ("ENDPOINT", |line| &line.endpoint),
        UsageByArg::Host => ("HOST", |line| &line.host),
        UsageByArg::Route => ("ROUTE", |line| &line.way),
    }
}

/// A line for each value of the keys, the sum, and the budgets below them.
pub(crate) fn table(out: &Out, by: &[UsageByArg], answer: &GetUsageResponse) -> String {
    let mut text = lines(out, by, answer);
    for budget in &answer.budgets {
        text.push_str(&format!("\n{}", spent(budget)));
    }
    text
}

/// `budget of ann: 1.2 GiB of 500.0 GiB this month; begins anew 2026-09-01 00:00:00`.
fn spent(budget: &Budget) -> String {
    let anew = human::time(budget.resets_at.as_ref()).map(human::local);
    format!(
        "budget of {}: {} of {} this {}; begins anew {}",
        human::clean(&budget.name),
        human::bytes(budget.used_bytes),
        human::bytes(budget.budget_bytes),
        human::clean(&budget.period),
        anew.unwrap_or_default()
    )
}

fn lines(out: &Out, by: &[UsageByArg], answer: &GetUsageResponse) -> String {
    let columns: Vec<_> = by.iter().map(|by| column(*by)).collect();
    let mut head: Vec<(&str, bool)> = columns.iter().map(|(name, _)| (*name, false)).collect();
    head.extend([
        ("BYTES", true),
        ("WASTED", true),
        ("REPEATED", true),
        ("REQUESTS", true),
    ]);
    let figures = |line: &UsageLine| {
        let bytes = [line.bytes, line.wasted_bytes, line.repeated_bytes].map(human::bytes);
        let mut cells: Vec<_> = bytes.iter().map(|text| plain(text)).collect();
        cells.push(plain(&human::count(line.requests)));
        cells
    };
    let mut rows = Vec::new();
    for line in &answer.lines {
        let mut row: Vec<_> = columns.iter().map(|(_, value)| plain(value(line))).collect();
        row.extend(figures(line));
        rows.push(row);
    }
    if let Some(total) = answer.total.as_ref().filter(|_| answer.lines.len() > 1) {
        let mut row: Vec<_> = columns.iter().map(|_| plain("")).collect();
        if let Some(first) = row.first_mut() {
            *first = plain("total");
        }
        row.extend(figures(total));
        rows.push(row);
    }
    if rows.is_empty() {
        return format!(
            "nothing came from {} to {} ({})",
            answer.since, answer.until, answer.timezone
        );
    }
    render(out, &head, rows)
}
