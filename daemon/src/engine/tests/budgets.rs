//! Budgets over days, one of which has 23 hours.

use super::*;
use crate::model::usage::total;

/// What may come beyond the line: a fifth of a second at the limit, and what was under way.
const BEYOND: u64 = 3 * MB / 5 + 2 * IN_FLIGHT;

fn endpoint(hub: &SimHub, more: &str) -> String {
    format!(
        "[[endpoints]]\nname = '{}'\nurl = '{}'\n{more}\n",
        hub.address(hfetch_tests::sim::Host::Hub).port(),
        hub.endpoint()
    )
}

#[tokio::test]
async fn a_budget_holds_at_the_line_and_lets_go_when_it_begins_anew() {
    let hub = hub(9 * MB);
    let toml = |budget: &str| {
        format!(
            "[bandwidth]\ntimezone = 'Europe/Berlin'\nlimit = '3MB/s'\n[users.default]\nbudget = '{budget}'\n\
             [users.rich]\nbudget = 'off'\n{}",
            endpoint(&hub, "")
        )
    };
    let world = World::start("2026-03-28T12:00:00Z", &toml("4MB/day")).await;
    let id = world.submit((7, "ann"), |_| ()).await;
    let behind = world.submit((7, "ann"), |wish| wish.force_download = true).await;
    let held = world.until(&id, JobState::Held, Some(HoldReason::Budget)).await;
    assert_eq!(
        held.next_attempt_at,
        Some("2026-03-28T23:00:00Z".parse().unwrap()),
        "{}",
        held.detail
    );
    assert!(
        held.detail.contains("the budget of ann is spent: 4.") && held.detail.contains("Sun 2026-03-29 00:00 CET"),
        "{}",
        held.detail
    );
    world.until(&behind, JobState::Held, Some(HoldReason::Budget)).await;
    let came = |world: &World| {
        let engine = world.engine.clone();
        async move {
            total(
                &engine
                    .usage(Scope::Uid(7), "2026-03-28".parse().unwrap())
                    .await
                    .unwrap(),
            )
            .bytes
        }
    };
    let first = came(&world).await;
    assert!((4 * MB..4 * MB + BEYOND).contains(&first), "{first}");
    // Somebody else is not concerned.
    let other = world
        .submit((8, "rich"), |wish| {
            wish.local_dir = world.dir.path().join("copy").display().to_string()
        })
        .await;
    world.until(&other, JobState::Done, None).await;
    // A second before, and at the midnight after which the clock jumps.
    world.set_time("2026-03-28T22:59:59Z");
    assert_eq!(world.job(&id).await.state, JobState::Held);
    world.set_time("2026-03-28T23:00:00Z");
    let next = Some("2026-03-29T22:00:00Z".parse().unwrap());
    let reached = eventually("the second day's line", async || {
        let jobs = [world.job(&id).await, world.job(&behind).await];
        let held = jobs
            .iter()
            .all(|job| job.hold_reason == Some(HoldReason::Budget) && job.next_attempt_at == next);
        if held { Ok(()) } else { Err(format!("{jobs:?}")) }
    });
    reached.await.unwrap();
    let second = came(&world).await;
    assert!((8 * MB..8 * MB + 2 * BEYOND).contains(&second), "{second}");
    // A budget that is raised lets go at once.
    world.reconfigure(&toml("1GB/month"));
    for id in [&id, &behind] {
        world.until(id, JobState::Done, None).await;
    }
    let views = world
        .engine
        .budgets(
            Scope::All,
            &Owner {
                uid: 7,
                user: "ann".to_owned(),
            },
        )
        .await
        .unwrap();
    let ann = views.iter().find(|view| view.name == "ann").unwrap();
    assert_eq!((ann.used_bytes, views.len()), (came(&world).await, 1));
    world.stop().await;
}

#[tokio::test]
async fn an_endpoint_without_a_budget_left_is_left_out() {
    let (one, other) = (hub(6 * MB), hub(6 * MB));
    let toml = format!(
        "[bandwidth]\ntimezone = 'UTC'\nlimit = '3MB/s'\n{}{}",
        endpoint(&one, "budget = '2MB/day'"),
        endpoint(&other, "")
    );
    let world = World::start("2026-03-01T12:00:00Z", &toml).await;
    let alone = world
        .submit((7, "ann"), |wish| wish.endpoints = vec![one.endpoint().to_owned()])
        .await;
    let held = world.until(&alone, JobState::Held, Some(HoldReason::Budget)).await;
    assert!(held.detail.contains(one.endpoint()), "{}", held.detail);
    let asked = one.journal().len();
    let both = world.submit((7, "ann"), |wish| wish.force_download = true).await;
    world.until(&both, JobState::Done, None).await;
    assert_eq!(one.journal().len(), asked, "{}", one.journal().text());
    assert_eq!(world.job(&alone).await.state, JobState::Held);
    world.set_time("2026-03-02T00:00:00Z");
    world.until(&alone, JobState::Done, None).await;
    world.stop().await;
}
