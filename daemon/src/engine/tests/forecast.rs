//! What is foreseen against what was calculated by hand.

use jiff::SignedDuration;

use super::*;
use crate::model::EventKind;

const NOW: &str = "2026-03-26T12:00:00Z";

fn after(seconds: i64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// Seconds from the beginning to what is foreseen.
fn seconds(forecast: &Forecast) -> f64 {
    forecast.ready_at.unwrap().duration_since(after(0)).as_secs_f64()
}

fn near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 0.1, "{found} instead of {expected}");
}

#[tokio::test]
async fn a_budget_is_part_of_it() {
    let hub = hub(30 * MB);
    let toml = |budgets: &str| {
        format!(
            "[bandwidth]\ntimezone = 'UTC'\nlimit = '10KB/s'\n[[endpoints]]\nname = 'hub'\nurl = '{}'\n{budgets}",
            hub.endpoint()
        )
    };
    let user = "[users.default]\nbudget = '11MB/day'\n";
    let world = World::start(NOW, &toml(user)).await;
    let id = world.submit((7, "ann"), |wish| wish.ready_by = Some(after(7000))).await;
    let foreseen = world.engine.forecast(&id).unwrap();
    // 11 MB today, 11 after midnight, and 8 after the next.
    near(seconds(&foreseen) - 36.0 * 3600.0, 800.0);
    assert!(
        foreseen.late && foreseen.text.contains("; in time without a budget"),
        "{foreseen:?}"
    );
    // Of the endpoint instead, and enough for today.
    world.reconfigure(&toml("budget = '31MB/month'\n"));
    eventually("a forecast with another budget", async || {
        let now = world.engine.forecast(&id).unwrap();
        if now.late { Err(format!("{now:?}")) } else { Ok(()) }
    })
    .await
    .unwrap();
    near(seconds(&world.engine.forecast(&id).unwrap()), 3000.0);
    world.stop().await;
}

#[tokio::test]
async fn a_deadline_is_answered_at_once_and_kept_current() {
    let hub = hub(30 * MB);
    // So slow that nothing to speak of comes while the test runs.
    let toml = |limit: &str| {
        format!(
            "[bandwidth]\ntimezone = 'UTC'\nlimit = '{limit}'\n[[endpoints]]\nname = 'hub'\nurl = '{}'\n",
            hub.endpoint()
        )
    };
    let world = World::start(NOW, &toml("10KB/s")).await;
    // 30 MB at 10 kB/s.
    let by = |seconds: i64| move |wish: &mut Wish| wish.ready_by = Some(after(seconds));
    let id = world.submit((7, "ann"), by(7000)).await;
    let first = world.engine.forecast(&id).unwrap();
    near(seconds(&first), 3000.0);
    assert!(!first.late && first.text.contains("in time"), "{first:?}");
    // A second one shares the line until the first is done; higher priority would help, no window is in the way.
    let copy = world.dir.path().join("copy").display().to_string();
    let id2 = world
        .submit((7, "ann"), |wish| {
            wish.local_dir = copy;
            wish.ready_by = Some(after(3500));
        })
        .await;
    let second = world.engine.forecast(&id2).unwrap();
    near(seconds(&second), 6000.0);
    assert!(
        second.late && second.text.contains("--priority high") && !second.text.contains("--window"),
        "{second:?}"
    );
    // The first slips with it, and an event tells.
    world.reconfigure(&toml("4KB/s"));
    let slipped = eventually("an event of the slip", async || {
        let events = world
            .engine
            .events_after(Scope::All, crate::model::EventSeq(0), 1000)
            .await
            .map_err(|error| error.to_string())?;
        let told = events.iter().any(|event| {
            event.job_id == id
                && event.what.kind == EventKind::Warning
                && event.what.detail.starts_with("it slips: not ready by")
        });
        if told { Ok(()) } else { Err(format!("{events:?}")) }
    });
    slipped.await.unwrap();
    let now = world.engine.forecast(&id).unwrap();
    near(seconds(&now), 15_000.0);
    assert!(now.late, "{now:?}");
    // And back.
    world.reconfigure(&toml("20KB/s"));
    eventually("in time again", async || {
        let now = world.engine.forecast(&id).unwrap();
        if now.late { Err(format!("{now:?}")) } else { Ok(()) }
    })
    .await
    .unwrap();
    // In a window: the night it will be.
    let other = world.dir.path().join("other").display().to_string();
    let night = world
        .submit((8, "bob"), |wish| {
            wish.local_dir = other;
            wish.window = "23:00-23:10".to_owned();
            wish.ready_by = Some(after(20 * 3600));
        })
        .await;
    let foreseen = world.engine.forecast(&night).unwrap();
    // 12 MB a night: in the middle of the third.
    near(seconds(&foreseen), 11.0 * 3600.0 + 2.0 * 86_400.0 + 300.0);
    assert!(
        foreseen.late && foreseen.text.contains("Sat 2026-03-28 23:0") && foreseen.text.contains("--window off"),
        "{foreseen:?}"
    );
    let submit = |seconds: i64, request_id: &str| {
        world.engine.submit(Submit {
            owner: Owner {
                uid: 7,
                user: "ann".to_owned(),
            },
            wish: Wish {
                name: "org/m".to_owned(),
                ready_by: Some(after(seconds)),
                ..Wish::default()
            },
            request_id: request_id.to_owned(),
            token: None,
            no_login: true,
        })
    };
    assert!(submit(-1, "").await.is_err());
    // Whose answer was lost is answered also when the deadline has passed meanwhile.
    let (job, existing, _) = submit(7000, "once").await.unwrap();
    assert!(!existing);
    let (again, existing, _) = submit(-1, "once").await.unwrap();
    assert!(existing && again.id == job.id);
    assert!(submit(-1, "another").await.is_err());
    world.stop().await;
}

#[tokio::test]
async fn a_job_that_waits_for_a_yes_says_so_and_makes_nobody_wait() {
    let hub = hub(30 * MB);
    let toml = format!(
        "[transfer]\nmax_active_jobs = 1\n[bandwidth]\ntimezone = 'UTC'\nlimit = '10KB/s'\n[[endpoints]]\nname = 'hub'\nurl = \
         '{}'\n",
        hub.endpoint()
    );
    let world = World::start(NOW, &toml).await;
    let asking = world
        .submit((7, "ann"), |wish| {
            wish.hold_above = "1MB".to_owned();
            wish.ready_by = Some(after(7000));
        })
        .await;
    let held = world.until(&asking, JobState::Held, Some(HoldReason::Approval)).await;
    assert_eq!(held.next_attempt_at, None);
    let foreseen = eventually("a forecast that tells of the yes", async || {
        let now = world.engine.forecast(&asking).unwrap();
        match now.text.starts_with("not before somebody says yes") {
            true => Ok(now),
            false => Err(format!("{now:?}")),
        }
    });
    let foreseen = foreseen.await.unwrap();
    // With a yes at this moment, it would be in time.
    assert!(
        foreseen.ready_at.is_none()
            && foreseen.late
            && foreseen.text.contains(&format!("`hfctl resume {asking}`"))
            && foreseen.text.contains("said now: ready Thu 2026-03-26 12:50"),
        "{foreseen:?}"
    );
    // Who comes later has the line for itself, for as long as nobody says it.
    let copy = world.dir.path().join("copy").display().to_string();
    let other = world
        .submit((7, "ann"), |wish| {
            wish.local_dir = copy;
            wish.ready_by = Some(after(7000));
        })
        .await;
    let foreseen = world.engine.forecast(&other).unwrap();
    near(seconds(&foreseen), 3000.0);
    assert!(
        !foreseen.late
            && foreseen
                .text
                .contains("jobs that wait for a yes are not counted (1 of them)"),
        "{foreseen:?}"
    );
    let one = Chosen::One(asking.clone());
    world.engine.act(Scope::All, one, Verb::Resume).await.unwrap();
    eventually("a forecast without waiting for a yes", async || {
        let now = world.engine.forecast(&asking).unwrap();
        match now.ready_at {
            Some(_) => Ok(()),
            None => Err(format!("{now:?}")),
        }
    })
    .await
    .unwrap();
    world.stop().await;
}
