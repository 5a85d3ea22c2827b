//! `hfctl man`: the manual, from the same source as `--help`.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

pub(super) fn run(context: &Context, dir: Option<&Path>) -> Result<Exit, CliError> {
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            context.out.answer_raw(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            let act = |error| CliError::new(Exit::Failed, format!("cannot write to {}: {error}", dir.display()));
            std::fs::create_dir_all(dir).map_err(act)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(act)?;
            context.out.note(&format!("the manual pages are in {}", dir.display()));
        }
    }
    Ok(Exit::Done)
}
