//! A week of nights: bytes come inside the window and nowhere else, also in the night that is an hour shorter.

use super::*;
use crate::model::usage::total;

/// What was sent when nothing moves any more.
fn sent(hub: &SimHub) -> u64 {
    hub.journal().body_bytes(hfetch_tests::sim::Host::Cdn)
}

#[tokio::test]
async fn a_week_of_nights() {
    let size = 40 * MB;
    let hub = hub(size);
    let toml = format!(
        "[bandwidth]\ntimezone = 'Europe/Berlin'\nlimit = '4MB/s'\n[windows.night]\nperiods = ['23:00-07:00']\n\
         [[endpoints]]\nname = 'hub'\nurl = '{}'\n",
        hub.endpoint()
    );
    // Tuesday; the clock jumps in the night to Sunday.
    let world = World::start("2026-03-24T12:00:00Z", &toml).await;
    let id = world.submit((7, "ann"), |wish| wish.window = "night".to_owned()).await;
    let nights = [
        ("2026-03-24T22:00:00Z", "2026-03-25T06:00:00Z"),
        ("2026-03-25T22:00:00Z", "2026-03-26T06:00:00Z"),
        ("2026-03-26T22:00:00Z", "2026-03-27T06:00:00Z"),
        ("2026-03-27T22:00:00Z", "2026-03-28T06:00:00Z"),
        ("2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z"),
        ("2026-03-29T21:00:00Z", "2026-03-30T05:00:00Z"),
        ("2026-03-30T21:00:00Z", "2026-03-31T05:00:00Z"),
    ];
    for (number, (opens, closes)) in nights.into_iter().enumerate() {
        let held = world.until(&id, JobState::Held, Some(HoldReason::Window)).await;
        assert_eq!(held.next_attempt_at, Some(opens.parse().unwrap()), "{}", held.detail);
        let (evening, requests) = (sent(&hub), hub.journal().len());
        // By day nothing is asked: not in the last minute before the opening either.
        let opening: Timestamp = opens.parse().unwrap();
        world.set_time(&(opening - jiff::SignedDuration::from_secs(60)).to_string());
        world.engine.answers().await;
        assert_eq!(
            (sent(&hub), hub.journal().len()),
            (evening, requests),
            "before night {number}"
        );
        assert_eq!(world.job(&id).await.state, JobState::Held);
        world.set_time(opens);
        if number + 1 == nights.len() {
            world.until(&id, JobState::Done, None).await;
            break;
        }
        hub.journal()
            .wait_for("some bytes of the night", |journal| {
                journal.body_bytes(hfetch_tests::sim::Host::Cdn) > evening + 2 * MB
            })
            .await;
        let (rang, before) = (tokio::time::Instant::now(), sent(&hub));
        world.set_time(closes);
        // Once it is shown as held every connection is gone.
        world.until(&id, JobState::Held, Some(HoldReason::Window)).await;
        let passed = rang.elapsed().as_secs_f64();
        eventually("closed connections", async || match hub.journal().open_exchanges() {
            open if open.is_empty() => Ok(()),
            open => Err(format!("{open:?}")),
        })
        .await
        .unwrap();
        // After the bell comes what is under way to two connections, and what the limit lets through until all have heard it.
        let after = (sent(&hub) - before) as f64;
        let may = (2 * IN_FLIGHT) as f64 + passed * 4.0 * MB as f64;
        assert!(after <= may, "{after} bytes in {passed} s after bell {number}");
    }
    assert_eq!(hub.journal().bytes_sent_for(FILE), sent(&hub));
    // What was in the sockets at each bell came again, and nothing else did.
    let twice = hub.journal().duplicate_bytes(FILE);
    let bells = nights.len() as u64 - 1;
    assert!(
        twice <= bells * 2 * IN_FLIGHT,
        "{twice} bytes came twice\n{}",
        hub.journal().text()
    );
    let rows = world
        .engine
        .usage(Scope::All, "2026-03-24".parse().unwrap())
        .await
        .unwrap();
    let booked = total(&rows);
    let all = sent(&hub) + hub.journal().body_bytes(hfetch_tests::sim::Host::Hub);
    assert!(
        booked.bytes <= all && all - booked.bytes <= bells * 2 * IN_FLIGHT,
        "{all} sent, {booked:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn timetables_change_the_rate_in_mid_file_when_their_time_comes() {
    for of_endpoint in [false, true] {
        let hub = hub(30 * MB);
        let (all, endpoint) = match of_endpoint {
            true => ("off", "00:00,100K 12:00,off"),
            false => ("00:00,100K 12:00,off", "off"),
        };
        let toml = format!(
            "[bandwidth]\ntimezone = 'UTC'\nlimit = '{all}'\n[[endpoints]]\nname = 'hub'\nurl = '{}'\nlimit = '{endpoint}'\n",
            hub.endpoint()
        );
        let world = World::start("2026-03-24T11:59:59Z", &toml).await;
        let id = world.submit((7, "ann"), |_| {}).await;
        hub.journal()
            .wait_for("some bytes", |journal| journal.bytes_sent_for(FILE) > 0)
            .await;
        assert_eq!(world.job(&id).await.state, JobState::Active);
        world.set_time("2026-03-24T12:00:00Z");
        // The rest would take five minutes.
        world.until(&id, JobState::Done, None).await;
        world.stop().await;
    }
}
