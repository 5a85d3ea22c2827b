//! `[log]`: what is logged, and how it looks.

use crate::config::{section::Reader, tree::Table, values};

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// As `tracing`'s `EnvFilter` reads it.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Fields in the journal when stderr is its stream, else text.
    Auto,
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}

/// What we do; of what the libraries do only what somebody must know.
const FILTER: &str = "warn,hfetchd=info";

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<LogOptions> {
    let mut section = reader.section(root, "log");
    let filter = section.read("filter", FILTER, |node| {
        values::parsed(node, |text| {
            let parsed = text.parse::<tracing_subscriber::filter::EnvFilter>();
            parsed.map(|_| text.to_owned()).map_err(|why| why.to_string())
        })
    });
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    let format = section.read("format", "auto", values::word(&formats));
    section.finish();
    Some(LogOptions {
        filter: filter?,
        format: format?,
    })
}
