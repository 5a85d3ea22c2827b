//! `hfctl top`: the full screen. Asks the daemon once a second and after every wish, beside the keys: a daemon that is slow,
//! or gone for a while, does not keep anybody from leaving.

mod calls;
mod draw;
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use signal_hook::consts::SIGHUP;
use signal_hook_tokio::Signals;
use tokio::time::{MissedTickBehavior, interval};

use self::calls::{Answer, Calls};
use self::model::{Top, Wish};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::retry::is_passing;
use crate::view::screen::{Heard, Screen};
use crate::view::stdout_has_colour;

/// The daemon is asked so often.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    if !context.out.may_fill_screen() {
        return Err(
            CliError::usage("`hfctl top` fills a terminal and hears its keys, and this is none")
                .hint("`hfctl list` and `hfctl watch` do without; both know --json"),
        );
    }
    let daemon = context.dial().await?;
    let mut top = Top::default();
    // Before the screen changes: an error that stays is told as by any other command.
    top.hear(calls::read(&daemon, None).await?);
    context.on_interrupt("interrupted; the downloads go on in hfetchd");
    // Only here: elsewhere it means what whoever started us wants, such as nohup.
    let mut hangups = Signals::new([SIGHUP])?;
    let mut calls = Calls::new(&daemon);
    let mut screen = Screen::open()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let colour = stdout_has_colour();
    // What came of a wish, told with the screen that shows it: the next key is for what is seen.
    let mut said = None;
    loop {
        screen.draw(|frame| draw::draw(frame, &top, Timestamp::now(), colour))?;
        let look = tokio::select! {
            biased;
            heard = screen.heard() => match heard {
                Heard::Key(key) => match top.press(key) {
                    Some(Wish::Quit) => return Ok(Exit::Done),
                    Some(wish) => {
                        calls.want(wish);
                        false
                    }
                    None => top.lacks_routes(),
                },
                Heard::Resized => false,
                Heard::Closed => return Ok(Exit::Done),
            },
            Some(_) = hangups.next() => return Err(CliError::new(Exit::Interrupted, context.interrupt_note())),
            answer = calls.answer() => match answer {
                Answer::Read(Ok(reading)) => {
                    top.hear(*reading);
                    if let Some(text) = said.take() {
                        top.message = text;
                    }
                    false
                }
                Answer::Read(Err(status)) if is_passing(&status) => {
                    top.lost = true;
                    false
                }
                Answer::Read(Err(status)) => return Err(status.into()),
                Answer::Done(text) => {
                    said = Some(text);
                    true
                }
            },
            _ = ticks.tick() => true,
        };
        if look {
            calls.look(top.chosen().map(|job| job.id.clone()));
        }
    }
}
