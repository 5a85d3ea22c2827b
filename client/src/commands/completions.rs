//! `hfctl completions`: a completion script for a shell.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

pub(super) fn run(context: &Context, shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hfctl", &mut script);
    context.out.answer_raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
