//! What every command gets: the checked global options, the way out (stdout and stderr), the environment, and what to say
//! when the user interrupts.

use std::cell::RefCell;
use std::path::PathBuf;

use crate::connect::{self, Address, Daemon};
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths;
use crate::remote::Credentials;
use crate::view::Out;

/// The state of one run.
pub(crate) struct Context {
    /// The way out.
    pub(crate) out: Out,
    /// `--address` or `HFCTL_ADDRESS`, as written.
    pub(crate) address: Option<String>,
    /// The directory that relative paths start from.
    pub(crate) cwd: PathBuf,
    interrupt_note: RefCell<String>,
}

impl Context {
    /// A context of the running process.
    ///
    /// # Errors
    /// When the working directory has been removed.
    pub(crate) fn new(out: Out, address: Option<String>) -> Result<Context, CliError> {
        let cwd = std::env::current_dir()
            .map_err(|error| CliError::new(Exit::Failed, format!("cannot tell the working directory: {error}")))?;
        Ok(Context {
            out,
            address,
            cwd,
            interrupt_note: RefCell::new("interrupted".to_owned()),
        })
    }

    /// An environment variable of the caller.
    pub(crate) fn env(&self, name: &str) -> Option<String> {
        paths::process_env(name)
    }

    /// The addresses to try, in order.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, CliError> {
        connect::addresses(self.address.as_deref(), &self.cwd, &paths::process_env)
    }

    /// Whether the daemon is another machine's, or might be.
    pub(crate) fn is_remote(&self) -> Result<bool, CliError> {
        let addresses = self.addresses()?;
        Ok(addresses.iter().any(|address| matches!(address, Address::Remote(_))))
    }

    /// Connects to the daemon.
    pub(crate) async fn dial(&self) -> Result<Daemon, CliError> {
        connect::dial(&self.addresses()?, |remote| {
            let credentials = Credentials::find(remote, &self.cwd, &paths::process_env)?;
            for warning in &credentials.warnings {
                self.out.warn(warning);
            }
            Ok(credentials)
        })
        .await
    }

    /// Sets what an interrupted user reads from now on.
    pub(crate) fn on_interrupt(&self, note: impl Into<String>) {
        self.interrupt_note.replace(note.into());
    }

    /// Says that these jobs outlive us.
    pub(crate) fn jobs_outlive_us(&self, ids: &[String]) {
        let ids = ids.join(" ");
        self.on_interrupt(format!(
            "interrupted; the download goes on in hfetchd. Follow it again: hfctl watch {ids}; end it: hfctl cancel {ids}"
        ));
    }

    /// What an interrupted user reads.
    pub(crate) fn interrupt_note(&self) -> String {
        self.interrupt_note.borrow().clone()
    }
}
