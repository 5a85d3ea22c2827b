//! Commands whose names are taken and that a later version brings: everything after the verb is taken, so that the answer is
//! "not in this version" and not a complaint about an option.

use clap::Args;

/// Whatever was typed after the verb.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct LaterArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}
