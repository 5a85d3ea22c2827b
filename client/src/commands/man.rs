//! `hfctl man`: the manual, from the same source as `--help`.

use std::path::Path;

use clap::{Command, CommandFactory};

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

pub(super) fn run(context: &Context, dir: Option<&Path>) -> Result<Exit, CliError> {
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(manual(Cli::command())).render(&mut page)?;
            context.out.answer_raw(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            let act = |error| CliError::new(Exit::Failed, format!("cannot write to {}: {error}", dir.display()));
            std::fs::create_dir_all(dir).map_err(act)?;
            clap_mangen::generate_to(manual(Cli::command()), dir).map_err(act)?;
            context.out.note(&format!("the manual pages are in {}", dir.display()));
        }
    }
    Ok(Exit::Done)
}

/// Without the options that do nothing: those of other tools and of later versions. `--help` tells of them apart from the
/// others, under headings that a manual page does not have.
fn manual(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let heading = arg.get_help_heading().unwrap_or_default();
            let apart = ["Not in this version", "Accepted for old habits"];
            if apart.iter().any(|words| heading.starts_with(words)) {
                arg.hide(true)
            } else {
                arg
            }
        })
        .mut_subcommands(manual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_what_has_an_effect() {
        let mut command = manual(Cli::command());
        command.build();
        let submit = command.find_subcommand("submit").expect("there is one").clone();
        let mut page = Vec::new();
        clap_mangen::Man::new(submit).render(&mut page).expect("it is rendered");
        let page = String::from_utf8(page).expect("it is text").replace('\\', "");
        assert!(page.contains("--max-workers") && page.contains("--wait"), "{page}");
        for without in ["--tool", "--hf_token", "--resume-download"] {
            assert!(!page.contains(without), "{without} in {page}");
        }
    }
}
