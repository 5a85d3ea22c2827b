//! Arguments of `daemon`.

use clap::{Args, Subcommand};

/// Shown below `hfctl daemon --help`.
pub(super) const DAEMON_EXAMPLES: &str = "\
Examples:
  hfctl daemon start
  hfctl daemon status --json
  hfctl daemon logs -f
  hfctl daemon restart
  hfctl daemon stop

A daemon under systemd is started and stopped with systemctl; status and reload work for it too.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  hfctl daemon backup ~/hfetch-jobs.db
  hfctl --address https://gpu7:7850 daemon backup gpu7-jobs.db

The jobs of all users are in it, and no token. For operators. README.md tells how to put it back.";

/// The daemon's life.
#[derive(Debug, Subcommand)]
pub(crate) enum DaemonCommand {
    /// Start a daemon of your own in the background
    #[command(after_help = "Examples:\n  hfctl daemon start\n  hfctl daemon start --config ./hfetch.toml")]
    Start(StartArgs),
    /// Stop your daemon; jobs go on when it runs again
    #[command(after_help = "Examples:\n  hfctl daemon stop")]
    Stop,
    /// Stop your daemon if it runs, and start it again; jobs go on
    #[command(after_help = "Examples:\n  hfctl daemon restart\n  hfctl daemon restart --config ./hfetch.toml")]
    Restart(StartArgs),
    /// Tell whether a daemon runs, and which
    #[command(after_help = "Examples:\n  hfctl daemon status\n  hfctl daemon status --json | jq .pid")]
    Status,
    /// Read the configuration again
    #[command(after_help = "Examples:\n  hfctl daemon reload")]
    Reload,
    /// Copy the job database into a file, while jobs go on
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupArgs),
    /// Show the log of your daemon
    #[command(after_help = "Examples:\n  hfctl daemon logs\n  hfctl daemon logs -n 200 -f")]
    Logs(LogsArgs),
}

/// Where a daemon keeps its things.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// State directory [default: $XDG_STATE_HOME/hfetch]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<String>,
}

/// How to start the daemon.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Socket to listen on [default: the one of --address, else $XDG_RUNTIME_DIR/hfetch/hfetchd.sock]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<String>,
    /// Configuration file; repeat for several
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Vec<String>,
}

/// Where the copy goes.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// File that is written, mode 0600; it must not be there
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
}

/// Which part of the log.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// The last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) lines: usize,
    /// Go on with what is added
    #[arg(short, long)]
    pub(crate) follow: bool,
}
