//! The table of endpoints.

use clap::builder::styling::{AnsiColor, Style};
use hfetch_proto::v1::{Endpoint, EndpointState};
use jiff::Timestamp;

use super::table::{plain, render, styled};
use super::{Out, human};

/// One line for each, and below the table a sentence for each that is bad.
pub(crate) fn table(out: &Out, endpoints: &[Endpoint], now: Timestamp) -> String {
    let rows = endpoints.iter().map(|endpoint| row(endpoint, now)).collect();
    let head = [
        ("NAME", false),
        ("STATE", false),
        ("FOR", false),
        ("HASHES", false),
        ("TOKEN", false),
        ("FIRST BYTE", true),
        ("SPEED", true),
        ("BYTES FROM", false),
        ("URL", false),
    ];
    let mut text = render(out, &head, rows);
    for endpoint in endpoints.iter().filter(|endpoint| !endpoint.reason.is_empty()) {
        text.push_str(&format!(
            "\n{}: {}",
            human::clean(&endpoint.name),
            human::clean(&endpoint.reason)
        ));
    }
    text
}

fn row(endpoint: &Endpoint, now: Timestamp) -> Vec<(String, Style)> {
    let first_byte = endpoint.first_byte_ms.map(|millis| format!("{millis} ms"));
    let speed = endpoint.bytes_per_sec.map(human::rate);
    let left = human::time(endpoint.expires_at.as_ref())
        .map(|end| human::seconds_short(human::age_sec(now, end)))
        .map(|left| format!(" ({left})"))
        .unwrap_or_default();
    let state = match endpoint.state() {
        EndpointState::Good => styled(&format!("good{left}"), AnsiColor::Green.on_default()),
        EndpointState::Bad => styled(&format!("{}{left}", endpoint.fault), AnsiColor::Red.on_default()),
        EndpointState::Unknown | EndpointState::Unspecified => styled("unknown", Style::new().dimmed()),
    };
    vec![
        plain(&endpoint.name),
        state,
        plain(serves(&endpoint.serves)),
        plain(&endpoint.trust),
        plain(&endpoint.token),
        plain(&first_byte.unwrap_or_default()),
        plain(&speed.unwrap_or_default()),
        plain(&endpoint.ends_at),
        plain(&endpoint.url),
    ]
}

/// What it can be asked for.
fn serves(word: &str) -> &str {
    match word {
        "whole_files" => "whole files",
        other => other,
    }
}
