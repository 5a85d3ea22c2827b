//! The whole terminal, for as long as a [`Screen`] lives. Whatever ends it - a return, an error, a signal, a panic - gives
//! the terminal back as it was.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The reader of keys looks so often whether it is still wanted.
const LOOK: Duration = Duration::from_millis(250);
/// Keys that wait to be read.
const KEYS: usize = 64;

/// What the terminal tells.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A key was pressed.
    Key(KeyEvent),
    /// It has another size.
    Resized,
    /// It is gone.
    Closed,
}

/// The terminal in our hands.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    heard: Receiver<Heard>,
    closed: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) fn open() -> io::Result<Screen> {
        // Its hook gives the terminal back before a panic is told.
        let terminal = ratatui::try_init()?;
        let closed = Arc::new(AtomicBool::new(false));
        let (tell, heard) = channel(KEYS);
        let screen = Screen {
            terminal,
            heard,
            closed: closed.clone(),
        };
        // Reading keys blocks, and a runtime of one thread has none to spare.
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || listen(&closed, &tell))?;
        Ok(screen)
    }

    /// Draws.
    ///
    /// # Errors
    /// When the terminal takes nothing.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// The next thing that the terminal tells. Safe to cancel.
    pub(crate) async fn heard(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::Closed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.closed.store(true, Relaxed);
        ratatui::restore();
    }
}

fn listen(closed: &AtomicBool, tell: &Sender<Heard>) {
    while !closed.load(Relaxed) {
        let heard = match event::poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let told = match heard {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => tell.blocking_send(Heard::Key(key)),
            Ok(Event::Resize(..)) => tell.blocking_send(Heard::Resized),
            Ok(_) => continue,
            Err(_) => {
                tell.blocking_send(Heard::Closed).ok();
                return;
            }
        };
        if told.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the run of this test that is to panic.
    const PANICS: &str = "HFCTL_TEST_PANICS_ON_SCREEN";

    /// This test once more, in a terminal of its own: what that run is told of the terminal before and after must be the same.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::open().expect("a terminal");
            screen.draw(|frame| panic!("in the middle of {:?}", frame.area())).ok();
        }
        let program = std::env::current_exe().expect("this test");
        let again = format!(
            "stty -g; {PANICS}=1 '{}' --exact view::screen::tests::a_panic_gives_the_terminal_back --nocapture; stty -g",
            program.display()
        );
        let mut terminal = Command::new("script");
        terminal
            .args(["-qec", &again, "/dev/null"])
            .env("TERM", "xterm-256color");
        let output = match terminal.stdin(std::process::Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(std::env::var_os("HFETCH_NO_SKIP").is_none(), "no script(1)");
                // To the stream itself: of what is printed a test that passes shows nothing.
                io::Write::write_all(&mut io::stderr(), b"SKIPPED: no script(1)\n").ok();
                return;
            }
            output => output.expect("script(1)"),
        };
        let came = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let settings: Vec<&str> = came.lines().filter(|line| line.split(':').count() > 30).collect();
        assert_eq!(settings.len(), 2, "{came}");
        assert_eq!(settings[0], settings[1], "{came}");
        let place = |text: &str| came.find(text).unwrap_or_else(|| panic!("no {text:?} in {came:?}"));
        // It leaves its screen before it tells of the panic, which would be lost with it.
        assert!(place("\u{1b}[?1049h") < place("\u{1b}[?1049l"), "{came:?}");
        assert!(place("\u{1b}[?1049l") < place("in the middle of"), "{came:?}");
    }
}
