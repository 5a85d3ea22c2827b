//! Limits as they are felt at the server: how many bytes left it in every second.

mod shares;
mod windows;

use std::time::Duration;

use hfetch_tests::{
    check,
    harness::{Scratch, eventually},
    sim::{Host, RepoBuilder, SimHub, Storage, Switches},
};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

const FILE: &str = "model.safetensors";
const MB: u64 = 1_000_000;
/// What may lie in the sockets of one connection, and in its hands: 384 KiB at our end, and the Hub's own send buffer, whose
/// bytes it counts as sent.
const IN_FLIGHT: u64 = (384 << 10) + (64 << 10);

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

/// What had been sent at each moment of a time.
struct Course(Vec<(Duration, u64)>);

impl Course {
    /// Looks every 20 ms, for so long.
    async fn of(hub: &SimHub, time: Duration) -> Self {
        let begun = Instant::now();
        let mut tick = interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut seen = Vec::new();
        while begun.elapsed() < time {
            tick.tick().await;
            seen.push((begun.elapsed(), hub.journal().body_bytes(Host::Cdn)));
        }
        Self(seen)
    }

    /// Bytes per second from one moment to another, as far as they were seen.
    fn rate(&self, from: Duration, to: Duration) -> f64 {
        let at = |time: Duration| {
            *self
                .0
                .iter()
                .find(|(seen, _)| *seen >= time)
                .unwrap_or(&self.0[self.0.len() - 1])
        };
        let ((begin, before), (end, after)) = (at(from), at(to));
        (after - before) as f64 / (end - begin).as_secs_f64()
    }

    /// The lowest and the highest rate of any second in a time.
    fn seconds(&self, from: Duration, to: Duration) -> (f64, f64) {
        let second = Duration::from_secs(1);
        let begins = self.0.iter().map(|(seen, _)| *seen);
        begins
            .filter(|begin| *begin >= from && *begin + second <= to)
            .map(|begin| self.rate(begin, begin + second))
            .fold((f64::MAX, 0.0), |(low, high), rate| (low.min(rate), high.max(rate)))
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
async fn the_cap_holds_in_every_second_and_from_the_first() -> anyhow::Result<()> {
    let hub = hub(40 * MB)?;
    let scratch = Scratch::new(hub.endpoint())?.config("[bandwidth]\nlimit = '3MB/s'")?;
    let daemon = scratch.daemon().await?;
    let id = scratch.submit(&["org/m", "-x", "4"]).await?;
    first_byte(&hub).await;
    let course = Course::of(&hub, Duration::from_secs(9)).await;
    let (start, end) = (Duration::from_secs(1), Duration::from_secs(9));
    let first = course
        .0
        .iter()
        .find(|(seen, _)| *seen >= start)
        .map_or(0, |(_, bytes)| *bytes);
    let mean = course.rate(start, end);
    let (low, high) = course.seconds(start, end);
    println!(
        "cap 3.00 MB/s: mean {:.3}, seconds {:.3} to {:.3}, first second {:.3}",
        mean / 1e6,
        low / 1e6,
        high / 1e6,
        first as f64 / 1e6
    );
    assert!((mean / 3e6 - 1.0).abs() < 0.05, "mean {mean}\n{}", hub.journal().text());
    assert!(low > 3e6 * 0.75 && high < 3e6 * 1.25, "{low} to {high}");
    assert!(
        first < 3 * MB * 108 / 100 + 4 * IN_FLIGHT,
        "{first} in the first second"
    );
    // And what is left comes at once when nothing holds it.
    limit(&scratch, &["off"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])?;
    // When the tail is shared, what was under way to the slower one comes twice.
    let twice = hub.journal().duplicate_bytes(FILE);
    assert!(twice < 2 * MB, "{twice} bytes came twice");
    Ok(())
}

#[tokio::test]
async fn a_change_is_felt_within_a_quarter_of_a_second_in_mid_file() -> anyhow::Result<()> {
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
    let again = Course::of(&hub, Duration::from_millis(1500)).await;
    let (soon, long) = (Duration::from_millis(250), Duration::from_secs(10));
    let rates = [&fast, &slow, &again].map(|course| course.rate(soon, long) / 1e6);
    println!("16, 1, 16 MB/s: {rates:.3?}");
    assert!((rates[0] / 16.0 - 1.0).abs() < 0.25, "{rates:?}");
    // What was under way to the four connections at the change still comes.
    assert!(rates[1] < 1.25 + (4 * IN_FLIGHT) as f64 / 2.75e6, "{rates:?}");
    assert!((rates[2] / 16.0 - 1.0).abs() < 0.25, "{rates:?}");
    limit(&scratch, &["off"]).await?;
    scratch.wait_done(&[&id]).await?;
    daemon.stop().await?;
    check::finished(&scratch, &[&hub])
}

#[tokio::test]
async fn the_limit_of_a_job_and_of_an_endpoint_hold_beside_each_other() -> anyhow::Result<()> {
    let (one, other) = (hub(30 * MB)?, hub(30 * MB)?);
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
    let start = Duration::from_secs(1);
    let rates = [of_one.rate(start, time) / 1e6, of_other.rate(start, time) / 1e6];
    println!("endpoint 2, job 1 MB/s: {rates:.3?}");
    assert!(
        (rates[0] / 2.0 - 1.0).abs() < 0.25 && (rates[1] - 1.0).abs() < 0.25,
        "{rates:?}"
    );
    assert_eq!(scratch.show(&second).await?["limit"], MB);
    // Changed while it runs.
    scratch
        .hfctl(["set", &second, "--limit", "8MB/s", "--priority", "high"])
        .await?
        .ok()?;
    let faster = Course::of(&other, Duration::from_millis(1500)).await;
    let rate = faster.rate(Duration::from_millis(250), time) / 1e6;
    assert!((rate / 8.0 - 1.0).abs() < 0.3, "{rate}");
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
