//! Limits as they are felt at the server: how many bytes left it in every time. That no limit lets through less than it says
//! is a property of the scheduler, and has its tests there.

mod places;
mod shares;
mod users;
mod windows;

use std::time::Duration;

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Host, Journal, RepoBuilder, SimHub, Storage, Switches},
};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

const FILE: &str = "model.safetensors";
const MB: u64 = 1_000_000;
/// What may lie in the sockets of one connection, and in its hands: 384 KiB at our end, and the Hub's own send buffer, whose
/// bytes it counts as sent.
const IN_FLIGHT: u64 = (384 << 10) + (64 << 10);

/// What a limit lets through at once, as time at its rate.
const BURST: Duration = Duration::from_millis(50);

/// A Hub with one file, whose send buffers are small: what it counts as sent has nearly arrived.
fn hub(size: u64) -> anyhow::Result<SimHub> {
    let buffers = Switches {
        send_buffer: Some(32 << 10),
        ..Switches::default()
    };
    SimHub::builder()
        .repo(RepoBuilder::model("org/m").seeded_as(FILE, size, 5, Storage::Linked))
        .switches(buffers)
        .start()
}

/// What had been sent at moments of a time; each lies between two looks at the clock.
struct Course(Vec<(Duration, u64, Duration)>);

impl Course {
    /// Looks every 20 ms, for so long.
    async fn of(hub: &SimHub, time: Duration) -> Self {
        let begun = Instant::now();
        let mut tick = interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut seen = Vec::new();
        while begun.elapsed() < time {
            tick.tick().await;
            let before = begun.elapsed();
            let bytes = hub.journal().body_bytes(Host::Cdn);
            seen.push((before, bytes, begun.elapsed()));
        }
        Self(seen)
    }

    /// Fails when from some moment to another more came than a limit lets through, beside what is under way to so many
    /// connections. What else the machine does can only make it less.
    fn holds(&self, rate: u64, connections: u64) {
        let course = &self.0;
        for (index, (begin, before, _)) in course.iter().enumerate() {
            for (_, after, end) in &course[index..] {
                let came = after - before;
                let granted = u128::from(rate) * (*end - *begin + BURST).as_micros() / 1_000_000;
                let most = granted + u128::from(connections * IN_FLIGHT);
                let came = u128::from(came);
                assert!(came <= most, "{came} of {most} bytes from {begin:?} to {end:?}");
            }
        }
    }

    /// What came in all of it.
    fn bytes(&self) -> u64 {
        match (self.0.first(), self.0.last()) {
            (Some((_, before, _)), Some((_, after, _))) => after - before,
            _ => 0,
        }
    }
}

async fn first_byte(hub: &SimHub) {
    hub.journal()
        .wait_for("the first bytes", |journal| journal.body_bytes(Host::Cdn) > 0)
        .await;
}

async fn limit(scratch: &Scratch, args: &[&str]) -> anyhow::Result<Value> {
    let args = ["limit", "--json"].iter().chain(args).copied();
    scratch.hfctl(args).await?.json()
}

#[tokio::test]
async fn the_cap_holds_from_every_moment_to_every_other() -> anyhow::Result<()> {
    let hub = hub(40 * MB)?;
    let scratch = Scratch::new(hub.endpoint())?.config("[bandwidth]\nlimit = '3MB/s'")?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "4"]).await?;
    first_byte(&hub).await;
    let course = Course::of(&hub, Duration::from_secs(9)).await;
    println!("cap 3.00 MB/s: {:.3} MB in 9 s", course.bytes() as f64 / 1e6);
    course.holds(3 * MB, 4);
    // And what is left comes at once when nothing holds it.
    limit(&scratch, &["off"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    // When the tail is shared, what was under way to the slower one comes twice.
    let twice = hub.journal().duplicate_bytes(FILE);
    assert!(twice <= 4 * IN_FLIGHT, "{twice} bytes came twice");
    Ok(())
}

#[tokio::test]
async fn a_change_is_felt_in_mid_file() -> anyhow::Result<()> {
    let hub = hub(90 * MB)?;
    let scratch = Scratch::new(hub.endpoint())?;
    let daemon = scratch.daemon().await?;
    limit(&scratch, &["16MB/s"]).await?;
    let id = scratch.submit(&["org/m", "-x", "4"]).await?;
    first_byte(&hub).await;
    let fast = Course::of(&hub, Duration::from_millis(1200)).await;
    limit(&scratch, &["1MB/s"]).await?;
    let slow = Course::of(&hub, Duration::from_millis(3000)).await;
    limit(&scratch, &["16MB/s"]).await?;
    println!("16, 1 MB/s: {:?}", [fast.bytes(), slow.bytes()]);
    fast.holds(16 * MB, 4);
    slow.holds(MB, 4);
    // By the limit of before it would take more than the minute that is waited for.
    let left = |journal: &Journal| journal.body_bytes(Host::Cdn) >= 85 * MB;
    hub.journal().wait_for("what is left", left).await;
    limit(&scratch, &["off"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn the_limit_of_a_job_and_of_an_endpoint_hold_beside_each_other() -> anyhow::Result<()> {
    let (one, other) = (hub(80 * MB)?, hub(80 * MB)?);
    let config = format!(
        "[[endpoints]]\nname = 'one'\nurl = '{}'\ntoken = 'never'\nlimit = '2MB/s'\n\
         [[endpoints]]\nname = 'other'\nurl = '{}'\ntoken = 'never'",
        one.endpoint(),
        other.endpoint()
    );
    let scratch = Scratch::new(one.endpoint())?.config(&config)?;
    let daemon = scratch.daemon().await?;
    let first = scratch.submit(&["org/m", "--endpoint", "one", "-x", "2"]).await?;
    let local = scratch.path("copy");
    let local = local.to_str().unwrap_or_default();
    let second = scratch
        .submit(&[
            "org/m",
            "--endpoint",
            "other",
            "-x",
            "2",
            "--limit",
            "1MB/s",
            "--local-dir",
            local,
        ])
        .await?;
    first_byte(&one).await;
    first_byte(&other).await;
    let time = Duration::from_secs(4);
    let (of_one, of_other) = tokio::join!(Course::of(&one, time), Course::of(&other, time));
    println!("endpoint 2, job 1 MB/s: {:?}", [of_one.bytes(), of_other.bytes()]);
    of_one.holds(2 * MB, 2);
    of_other.holds(MB, 2);
    assert_eq!(scratch.show(&second).await?["limit"], MB);
    // Changed while it runs.
    scratch
        .hfctl(["set", &second, "--limit", "8MB/s", "--priority", "high"])
        .await?
        .ok()?;
    let faster = Course::of(&other, Duration::from_millis(1500)).await;
    faster.holds(8 * MB, 2);
    // By the limit of before it would take more than the minute that is waited for.
    let most = |journal: &Journal| journal.body_bytes(Host::Cdn) >= 75 * MB;
    other.journal().wait_for("most of the file", most).await;
    let job = scratch.show(&second).await?;
    assert_eq!((&job["limit"], &job["priority"]), (&(8 * MB).into(), &"high".into()));
    scratch.hfctl(["cancel", &first, &second]).await?.ok()?;
    let refused = scratch.hfctl(["set", &second, "--limit", "1M"]).await?;
    assert!(refused.code == 1 && refused.stderr.contains("cancelled"), "{refused:?}");
    daemon.stop().await?;
    check::sound(&scratch, &[&one, &other])
}

#[tokio::test]
async fn what_was_set_survives_a_kill_and_for_puts_it_back() -> anyhow::Result<()> {
    let hub = hub(1000)?;
    let scratch = Scratch::new(hub.endpoint())?.config("[bandwidth]\nlimit = '7M'")?;
    let daemon = scratch.daemon().await?;
    let configured = limit(&scratch, &[]).await?;
    assert_eq!(
        (&configured["limit"], &configured["source"]),
        (&(7 << 20).into(), &"config".into())
    );
    limit(&scratch, &["5M"]).await?;
    daemon.kill().await?;
    let daemon = scratch.daemon().await?;
    let kept = limit(&scratch, &[]).await?;
    assert_eq!((&kept["limit"], &kept["source"]), (&(5 << 20).into(), &"set".into()));
    let hour = limit(&scratch, &["off", "--for", "1h"]).await?;
    assert!(hour["limit"].is_null() && hour["until"].is_string(), "{hour}");
    daemon.kill().await?;
    let daemon = scratch.daemon().await?;
    assert!(
        limit(&scratch, &[]).await?["limit"].is_null(),
        "a temporary one survives as well"
    );
    limit(&scratch, &["1M", "--for", "1s"]).await?;
    eventually("the limit of before", async || {
        let now = limit(&scratch, &[]).await.map_err(|error| error.to_string())?;
        if now["limit"] == 5 << 20 && now["until"].is_null() {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await?;
    let reset = limit(&scratch, &["--reset"]).await?;
    assert_eq!(
        (&reset["limit"], &reset["source"]),
        (&(7 << 20).into(), &"config".into())
    );
    // A timetable, in one word or in many, and the place of a mistake.
    let words = limit(&scratch, &["Mon-Sun", "00:00,3M", "12:00,4M"]).await?;
    assert!(words["next_change_at"].is_string(), "{words}");
    let wrong = scratch.hfctl(["limit", "Mon-Fri 08:00,10M 25:00,off"]).await?;
    assert!(wrong.code == 2 && wrong.stderr.contains("at character 19"), "{wrong:?}");
    let wrong = scratch.hfctl(["submit", "org/m", "--limit", "10Mbit"]).await?;
    assert!(wrong.code == 2 && wrong.stderr.contains("bits"), "{wrong:?}");
    daemon.stop().await?;
    Ok(())
}
