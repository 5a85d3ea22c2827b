//! Arguments of `hfetchd`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Download models and datasets from Hugging Face: queued, resumed, verified, published into the cache.
///
/// Without options it runs for the current user: no config file is needed. `hfctl daemon start` does the same in the
/// background. Under systemd ($STATE_DIRECTORY is set) it serves all users of the group `hfetch`.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 stopped cleanly, 64 wrong usage, 70 internal error, 75 another daemon runs, 78 bad \
                  configuration.\n\nExamples:\n  hfetchd\n  hfetchd --config ./hfetch.toml --state-dir ./state\n  hfetchd \
                  --check-config"
)]
pub struct Args {
    /// Read this file instead of the default ones; later ones win.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Keep databases and tokens here.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Listen at this Unix socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Check the configuration, report every mistake, and exit.
    #[arg(long)]
    pub check_config: bool,
    /// Print the configuration in force, with the origin of each key, and exit.
    #[arg(long)]
    pub print_config: bool,
    /// How log lines look. Default: fields in the journal under systemd, else text.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}
