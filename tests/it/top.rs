//! `hfctl top` in a real terminal: what keys do, and that the terminal is given back however it ends.

use anyhow::{Context as _, ensure};
use hfetch_tests::{
    harness::{Scratch, programs},
    python::Python,
    sim::{RepoBuilder, SimHub},
};
use serde_json::Value;

/// Into another screen, and back.
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

/// Plays a user; gives what came and the exit code. The terminal must be as it was.
async fn play(scratch: &Scratch, steps: &[&str]) -> anyhow::Result<Option<(String, i64)>> {
    let Some(python) = Python::with("fcntl, pty, termios").await else {
        return Ok(None);
    };
    let hfctl = programs().join("hfctl").display().to_string();
    let arguments = [steps, &["--", &hfctl, "top"]].concat();
    let environment = scratch.environment();
    let mut environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    environment.push(("TERM", "xterm-256color"));
    let told = python
        .run(include_str!("../data/python/terminal.py"), &arguments, &environment)
        .await?;
    let told: Value = serde_json::from_str(&told)?;
    let came = told["came"].as_str().context("what came")?.to_owned();
    ensure!(told["restored"] == true, "the terminal is not as it was: {came:?}");
    let (entered, left) = (came.find(ENTERS), came.rfind(LEAVES));
    ensure!(
        entered.is_some() && entered < left,
        "it does not leave its screen: {came:?}"
    );
    Ok(Some((came, told["code"].as_i64().context("a code")?)))
}

#[tokio::test]
async fn keys_move_jobs() -> anyhow::Result<()> {
    let hub = SimHub::builder()
        .repo(RepoBuilder::model("org/model").seeded("model.safetensors", 5 << 20, 1))
        .start()?;
    let gate = hub.hold_bodies("model.safetensors", 100_000);
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/model"]).await?;
    gate.reached().await;
    let (see, paused) = (format!("see {id}"), format!("see {id} is paused"));
    let (goes_on, high, limit) = (
        format!("see {id} goes on"),
        format!("see {id} has priority high"),
        format!("see {id} has the limit 5MiB/s"),
    );
    let (sure, cancelled) = (format!("see cancel {id}?"), format!("see {id} is cancelled"));
    let steps = [
        &see,
        "type p",
        &paused,
        "type p",
        &goes_on,
        "type +",
        &high,
        "type l5MiB/s\\r",
        &limit,
        "type L20M\\r",
        "see the limit of all is 20.0 MiB/s",
        "type c",
        &sure,
        "type y",
        &cancelled,
        "type q",
    ];
    let Some((_, code)) = play(&scratch, &steps).await? else {
        return Ok(());
    };
    assert_eq!(code, 0);
    let job = scratch.until(&id, "cancelled").await?;
    assert_eq!(
        (&job["priority"], &job["limit"]),
        (&"high".into(), &(5_u64 << 20).into()),
        "{job}"
    );
    let all = scratch.hfctl(["limit", "--json"]).await?.json()?;
    assert_eq!(all["limit"], 20 << 20);
    gate.release();
    daemon.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_terminal_is_given_back() -> anyhow::Result<()> {
    let scratch = Scratch::new("http://127.0.0.1:9")?;
    let daemon = scratch.daemon().await?;
    for (end, code) in [
        ("type q", 0),
        ("type \\x03", 0),
        ("signal SIGINT", 130),
        ("signal SIGTERM", 130),
        // The terminal's window is closed, or the line to it is cut.
        ("signal SIGHUP", 130),
    ] {
        let Some((came, ended)) = play(&scratch, &["see no jobs", end]).await? else {
            return Ok(());
        };
        assert_eq!(ended, code, "{end}: {came:?}");
    }
    daemon.stop().await?;
    Ok(())
}
