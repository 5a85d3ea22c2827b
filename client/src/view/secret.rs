//! A line that must not be seen: typed on a terminal without echo, or read from standard input.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::CliError;
use crate::exit::Exit;

/// More is no token.
const MOST: u64 = 64 << 10;

/// The terminal as it was; put back when this is dropped, also after Ctrl-C.
struct Echo(Termios);

impl Echo {
    fn off() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed before the question is no answer to it.
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        tcsetattr(io::stdin(), OptionalActions::Now, &self.0).ok();
        writeln!(io::stderr()).ok();
    }
}

/// One line from the terminal, or all of standard input when that is none.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn ask(question: &str) -> Result<String, CliError> {
    let failed = |error: io::Error| CliError::new(Exit::Failed, format!("cannot read the token: {error}"));
    let on_terminal = io::stdin().is_terminal();
    let _echo = if on_terminal {
        let echo = Echo::off().map_err(failed)?;
        write!(io::stderr(), "{question}").ok();
        io::stderr().flush().ok();
        Some(echo)
    } else {
        None
    };
    // Reading blocks; on its own thread Ctrl-C still works.
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        match on_terminal {
            true => io::stdin().read_line(&mut text).map(|_| text),
            false => io::read_to_string(io::stdin().take(MOST)),
        }
    });
    let text = read.await.map_err(|error| failed(io::Error::other(error)))?;
    text.map_err(failed)
}
