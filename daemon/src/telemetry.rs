//! Floor 4: log set-up.

use std::io::IsTerminal as _;

use rustix::fs::fstat;

use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::LogFormat;

/// What the journal's fields of ours begin with: `job` is `HFETCH_JOB`.
const FIELDS: &str = "HFETCH";

/// Starts logging to stderr or the journal.
///
/// # Errors
/// When the filter cannot be understood or logging was started already.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(filter)?;
    let journal = (format == LogFormat::Auto && stderr_is_the_journals())
        .then(tracing_journald::layer)
        .and_then(Result::ok)
        .map(|journal| journal.with_field_prefix(Some(FIELDS.to_owned())));
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

/// Everything that a service starts inherits `JOURNAL_STREAM`, a user's shell among it: only when it is about our own stderr
/// does the journal take what we say.
fn stderr_is_the_journals() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    fstat(std::io::stderr()).is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
}

/// `DEVICE:INODE`, in decimal.
fn is_stream(said: &str, device: u64, inode: u64) -> bool {
    let Some((said_device, said_inode)) = said.split_once(':') else {
        return false;
    };
    said_device.parse() == Ok(device) && said_inode.parse() == Ok(inode)
}

#[cfg(test)]
mod tests {
    use super::is_stream;

    #[test]
    fn the_journal_is_ours_only_when_it_is_about_our_stream() {
        assert!(is_stream("9:34567", 9, 34567));
        for other in ["9:34568", "8:34567", "34567", "9:", ":34567", "", "9:34567:1", "9:x"] {
            assert!(!is_stream(other, 9, 34567), "{other}");
        }
    }
}
