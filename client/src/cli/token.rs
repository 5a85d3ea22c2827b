//! Arguments of `login`, `logout` and `whoami`.

use clap::Args;

use super::TokenArgs;

/// Shown below `hfctl login --help`.
pub(super) const LOGIN_EXAMPLES: &str = "\
Examples:
  hfctl login                              (asks for the token and does not show it)
  hfctl login --token-file ~/token
  hfctl login < ~/token
  hfctl login --endpoint my-mirror";

/// Shown below `hfctl logout --help`.
pub(super) const LOGOUT_EXAMPLES: &str = "\
Examples:
  hfctl logout
  hfctl logout --endpoint my-mirror";

/// Shown below `hfctl whoami --help`.
pub(super) const WHOAMI_EXAMPLES: &str = "\
Examples:
  hfctl whoami
  hfctl whoami --json | jq -r .name";

/// A token to leave with the daemon.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// For this endpoint: its configured name or its URL [default: the first that tokens may go to]
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) endpoint: Option<String>,
    /// Read the token from this file, `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) token_file: Option<String>,
}

/// Which token to forget.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// Of this endpoint: its configured name or its URL [default: the first that tokens may go to]
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) endpoint: Option<String>,
}

/// Whom to ask about.
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    /// At this endpoint: its configured name or its URL [default: the first that tokens may go to]
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) endpoint: Option<String>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}
