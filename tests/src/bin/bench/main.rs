//! Measures `hfctl download`, with a real daemon, against what people use today: `aria2c`, `hf download` and `curl`.
//!
//! Every row is one situation. The tools run in turn, several times, each into an empty folder on the same disk and from
//! the same server; the table shows medians. The seconds are those of the command that a user types; the CPU seconds of
//! hfctl include the daemon's, which runs with the priority that its unit gives it. hfctl hashes and syncs what it downloads,
//! the others do neither: the rows without a limit therefore show floors as well, curl into nothing, and curl followed by
//! `sync` and SHA-256 (by openssl, where it is installed) of its files.
//!
//! The servers are nginx (rows without a limit: it must not be the bottleneck) and the simulated Hub, each a process of
//! its own. Tools that are not installed are left out.
//!
//! Where the time of the row `big` goes, by `perf record -a -F 499 -g` over `bench --rows big --tools hfctl --runs 2` (2 cores, a
//! virtual machine; shares of the CPU time of hfetchd, 2.7 s a GiB):
//! - 40 % on the network's threads: the kernel's copy out of the socket 6 %, our copy into pieces 8 % (what comes is smaller than what
//!   is worth a write), the rest the TCP stack and the receive path of hyper;
//! - 38 % hashing: SHA-256 with the processor's own instructions 24 %, the checks of blocks 2 %, reading back what lies in the page cache
//!   the rest. The floor is what SHA-256 takes alone, and that comes on top of a download with every other tool;
//! - 21 % writing: the copy into the page cache 7 %, the file system the rest.
//!
//! The server takes as much as all of that, on the same two cores: over a network there would be more room, not less.

mod build;
mod daemon;
mod limits;
mod measure;
mod nginx;
mod place;
mod report;
mod rows;
mod run;
mod service;
mod sim;
mod tools;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use tokio::time::{Duration, Instant};

use self::{
    measure::Outcome,
    report::Table,
    rows::Row,
    run::Stage,
    tools::{Tool, Tools},
};

/// Compares hfctl with aria2c, hf and curl, in turn and in one run, and prints Markdown tables.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Rows: big, shards, per-connection, refusing, total-cap, small, resets, stalls, kill, two-hubs, warm.\n\
                  Tools: hfctl, hfctl-x16, aria2, hf, curl, floor-null, floor-sync.\n\nExamples:\n  cargo bench -p \
                  hfetch-tests\n  cargo bench -p hfetch-tests -- --quick\n  cargo bench -p hfetch-tests -- --rows \
                  small,kill --tools hfctl,aria2 --runs 5\n  cargo bench -p hfetch-tests --bench limits\n  cargo bench -p hfetch-tests --bench service"
)]
struct Options {
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_name = "ROW,...")]
    rows: Vec<Row>,
    /// Only these tools [default: all but hfctl-x16]
    #[arg(long, value_delimiter = ',', value_name = "TOOL,...")]
    tools: Vec<Tool>,
    /// How often each tool does each row; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Divide all sizes and numbers of files by this
    #[arg(long, default_value_t = 1)]
    divide: u64,
    /// Once, and an eighth of everything: to see that it works
    #[arg(long)]
    quick: bool,
    /// Further arguments of `hfctl download`
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    hfctl_args: Option<String>,
    /// Folder on the disk to download to [default: that of temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Folder for what nginx serves [default: /dev/shm, so that no disk slows it down]
    #[arg(long, value_name = "DIR")]
    served: Option<PathBuf>,
    /// `hf` of a Python environment [default: that beside HFETCH_TEST_PYTHON, then of PATH]
    #[arg(long, value_name = "PROGRAM")]
    hf: Option<PathBuf>,
    /// Use the programs beside this one as they are
    #[arg(long)]
    no_build: bool,
    /// Measure how well limits hold instead: accuracy, changes, shares, cost
    #[arg(long)]
    limits: bool,
    /// Measure the control plane instead: watchers and submits
    #[arg(long, conflicts_with = "limits")]
    service: bool,
    /// Cargo says that this is a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match measure(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: Options) -> anyhow::Result<()> {
    let programs = build::programs(!options.no_build)?;
    if options.limits || options.service {
        let folder = options.folder.as_deref();
        let table = match options.service {
            true => service::measure(&programs, folder, options.quick).await?,
            false => limits::measure(&programs, folder, options.quick).await?,
        };
        let told = std::io::stdout().write_all(table.as_bytes());
        return told.context("nobody reads the table");
    }
    let (runs, divide) = if options.quick {
        (1, options.divide.max(8))
    } else {
        (options.runs.max(1), options.divide.max(1))
    };
    let arguments = options.hfctl_args.as_deref().unwrap_or_default();
    let arguments = arguments.split_whitespace().map(str::to_owned).collect();
    let tools = Tools::find(programs, options.hf.clone(), arguments)?;
    let mut columns = if options.tools.is_empty() {
        Tool::DEFAULT.to_vec()
    } else {
        options.tools.clone()
    };
    columns.retain(|tool| match tools.missing(*tool) {
        Some(why) => {
            say(&format!("{}: left out, {why}", tool.name()));
            false
        }
        None => true,
    });
    let rows = if options.rows.is_empty() {
        Row::ALL.to_vec()
    } else {
        options.rows.clone()
    };
    let stage = Stage::new(options.folder.as_deref(), options.served.as_deref(), tools, divide)?;
    let mut table = Table::new(columns.clone(), runs, divide);
    let began = Instant::now();
    for row in rows {
        let results = stage.row(row, &columns, runs).await;
        match results.with_context(|| format!("row {}", row.key())) {
            Ok(results) => table.add(row, results),
            Err(error) => {
                say(&format!("{error:#}"));
                let nothing = |tool: &Tool| (*tool, vec![Outcome::Cannot(format!("not measured: {error}"))]);
                table.add(row, columns.iter().map(nothing).collect());
            }
        }
    }
    say(&format!(
        "measured in {:.0?}",
        Duration::from_secs(began.elapsed().as_secs())
    ));
    std::io::stdout()
        .write_all(table.text().as_bytes())
        .context("nobody reads the table")
}

/// Tells what goes on, beside the table.
fn say(line: &str) {
    // Nobody has to listen.
    writeln!(std::io::stderr(), "{line}").ok();
}
