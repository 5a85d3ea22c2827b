//! `cargo bench --bench service`: becomes the program `bench`, which is in the same package and so is built as well.

use std::{os::unix::process::CommandExt as _, process::Command};

fn main() -> anyhow::Result<()> {
    // Does not return when all is well.
    Err(Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("--service")
        .args(std::env::args_os().skip(1))
        .exec()
        .into())
}
