//! `hfetchd`: parses, runs, maps to an exit code. Everything else is in the library.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser as _, error::ErrorKind};
use hfetchd::{
    api::RemoteDoor,
    app::{self, Exit},
    cli::Args,
};

/// Wrong usage, after sysexits.
const USAGE: u8 = 64;

#[expect(clippy::print_stderr, reason = "the terminal is main's, before logs are there")]
fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A closed terminal is no reason to fail differently.
            let _printed = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            };
        }
    };
    if args.check_config || args.print_config {
        return match app::load(&args) {
            Ok((_, loaded)) => {
                if args.print_config {
                    // `| head` is no failure either.
                    let _printed = std::io::stdout().write_all(loaded.print().as_bytes());
                }
                for warning in &loaded.config.warnings {
                    eprintln!("warning: {warning}");
                }
                if args.check_config
                    && let Some(options) = &loaded.config.control.remote
                    && let Err(error) = RemoteDoor::check(options)
                {
                    eprintln!("{error}");
                    return Exit::Config.into();
                }
                if args.check_config {
                    eprintln!("the configuration is good");
                }
                ExitCode::SUCCESS
            }
            Err(mistakes) => {
                eprintln!("{mistakes}");
                Exit::Config.into()
            }
        };
    }
    match app::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            eprintln!("hfetchd: {:#}", fatal.error);
            fatal.exit.into()
        }
    }
}
