//! Floor 4: log set-up.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::LogFormat;

/// Starts logging to stderr or the journal.
///
/// # Errors
/// When the filter cannot be understood or logging was started already.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(filter)?;
    let journal = (format == LogFormat::Auto && std::env::var_os("JOURNAL_STREAM").is_some())
        .then(tracing_journald::layer)
        .and_then(Result::ok);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match (journal, format) {
        (Some(journal), _) => journal.with_syslog_identifier("hfetchd".to_owned()).boxed(),
        (None, LogFormat::Json) => tracing_subscriber::fmt::layer()
            .json()
            .with_writer(std::io::stderr)
            .boxed(),
        (None, LogFormat::Auto | LogFormat::Text) => tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()?;
    Ok(())
}
