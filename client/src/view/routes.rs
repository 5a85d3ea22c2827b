//! Tables of routes: `route explain`, and the account of a job.

use clap::builder::styling::{AnsiColor, Style};
use hfetch_proto::v1::{HostRoute, JobRoute, WayReading};

use super::table::{plain, render, styled};
use super::{Out, human};

/// A host, and below it every way that was measured.
pub(crate) fn hosts(out: &Out, hosts: &[HostRoute]) -> String {
    let mut rows = Vec::new();
    for host in hosts {
        let way = match (host.way.as_str(), host.ways.is_empty()) {
            ("", true) => "REJECT".to_owned(),
            ("", false) => format!("({})", host.ways.join(", ")),
            (way, _) => way.to_owned(),
        };
        let token = if host.saw_token { " +token" } else { "" };
        rows.push(vec![
            plain(&host.host),
            plain(&format!("{}{token}", host.roles.join(","))),
            plain(&way),
            answer(host.answers, host.first_byte_ms, &host.error),
            plain(""),
            plain(&host.rule),
        ]);
        for reading in &host.readings {
            rows.push(measured(reading));
        }
    }
    let head = [
        ("HOST", false),
        ("FOR", false),
        ("WAY", false),
        ("ANSWERS", true),
        ("SPEED", true),
        ("RULE", false),
    ];
    let mut text = render(out, &head, rows);
    for host in hosts.iter().filter(|host| !host.error.is_empty()) {
        text.push_str(&format!("\n{}", human::clean(&host.error)));
    }
    text
}

fn measured(reading: &WayReading) -> Vec<(String, Style)> {
    let speed = reading.bytes_per_sec.map(human::rate);
    let mark = if reading.chosen { "by the rule" } else { "" };
    vec![
        plain(""),
        plain("  measured"),
        plain(&reading.way),
        answer(reading.answers, reading.first_byte_ms, &reading.error),
        plain(&speed.unwrap_or_default()),
        plain(if reading.error.is_empty() { mark } else { &reading.error }),
    ]
}

fn answer(answers: bool, first_byte_ms: Option<u64>, error: &str) -> (String, Style) {
    match (answers, first_byte_ms) {
        (true, Some(millis)) => styled(&format!("{millis} ms"), AnsiColor::Green.on_default()),
        (true, None) => styled("yes", AnsiColor::Green.on_default()),
        // It was heard, and said no: what it said stands below.
        (false, Some(millis)) => styled(&format!("error, {millis} ms"), AnsiColor::Red.on_default()),
        (false, _) if error.is_empty() => styled("not asked", Style::new().dimmed()),
        (false, _) => styled("no", AnsiColor::Red.on_default()),
    }
}

/// What a job had from where.
pub(crate) fn account(out: &Out, routes: &[JobRoute]) -> String {
    let head = [
        ("BYTES", true),
        ("REQUESTS", true),
        ("WAY", false),
        ("HOST", false),
        ("RULE", false),
    ];
    let rows = routes.iter().map(|route| {
        vec![
            plain(&human::bytes(route.bytes)),
            plain(&human::count(route.requests)),
            plain(&route.way),
            plain(&route.host),
            plain(&route.rule),
        ]
    });
    render(out, &head, rows.collect())
}
