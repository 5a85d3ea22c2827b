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
        held.detail.contains(" of 3.8 MiB came this day") && held.detail.contains("Sun 2026-03-29 00:00 CET"),
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

#[tokio::test]
async fn what_measures_is_refused_when_nothing_is_left() {
    let (one, other) = (hub(2 * MB), hub(2 * MB));
    let toml = |user: &str, endpoint_budget: &str| {
        format!(
            "[bandwidth]\ntimezone = 'UTC'\n[users.default]\nbudget = '{user}'\n{}{}",
            endpoint(&one, &format!("budget = '{endpoint_budget}'")),
            endpoint(&other, "")
        )
    };
    let world = World::start("2026-03-01T12:00:00Z", &toml("1MB/day", "1GB/day")).await;
    let owner = Owner {
        uid: 7,
        user: "ann".to_owned(),
    };
    let explain = |measure| {
        world.engine.explain_route(RouteCall {
            owner: owner.clone(),
            subject: RouteSubject::Repo(
                crate::model::RepoKind::Model,
                crate::model::RepoId::parse("org/m").unwrap(),
                crate::model::Revision::main(),
            ),
            endpoints: Vec::new(),
            preferred_endpoint: String::new(),
            token: None,
            no_login: true,
            measure,
        })
    };
    let probe = || {
        world.engine.probe_endpoints(ProbeCall {
            owner: owner.clone(),
            endpoints: Vec::new(),
            repo: Some((
                crate::model::RepoKind::Model,
                crate::model::RepoId::parse("org/m").unwrap(),
            )),
            revision: crate::model::Revision::main(),
            preferred_endpoint: String::new(),
            token: None,
            no_login: true,
        })
    };
    let id = world.submit((7, "ann"), |_| ()).await;
    world.until(&id, JobState::Held, Some(HoldReason::Budget)).await;
    let sent = |hub: &SimHub| hub.journal().body_bytes(hfetch_tests::sim::Host::Cdn);
    let before = sent(&one) + sent(&other);
    let refused = [explain(true).await.map(drop), probe().await.map(drop)];
    for outcome in refused {
        assert!(
            matches!(&outcome, Err(CallError::NotAllowed(why)) if why.contains("budget of ann")),
            "{outcome:?}"
        );
    }
    assert_eq!(sent(&one) + sent(&other), before);
    // Which way it would go costs next to nothing.
    explain(false).await.unwrap();
    // With a budget again, an endpoint that has none is left out.
    world.reconfigure(&toml("1GB/day", "1B/day"));
    world.until(&id, JobState::Done, None).await;
    let of_one = sent(&one);
    let probed = probe().await.unwrap();
    assert_eq!(probed.endpoints.len(), 1, "{probed:?}");
    explain(true).await.unwrap();
    assert_eq!(sent(&one), of_one);
    world.stop().await;
}
