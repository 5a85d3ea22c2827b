use super::*;
use crate::model::Owner;

fn sources(most: u32, each: &[u32]) -> (Sources, Vec<SourceId>) {
    let sources = Sources::new(most);
    let ids = each
        .iter()
        .enumerate()
        .map(|(index, most)| {
            let endpoint = Endpoint::parse("e", &format!("http://127.0.0.{}", index + 1)).unwrap();
            sources.of(&endpoint, *most)
        })
        .collect();
    (sources, ids)
}

fn wish(any_of: &[SourceId], has: u32) -> Wish {
    Wish {
        any_of: any_of.to_vec(),
        has,
        user: 7,
        bytes: 1 << 20,
    }
}

#[tokio::test]
async fn the_file_with_fewest_connections_comes_first() {
    let (sources, ids) = sources(64, &[1]);
    let slot = sources.request(wish(&ids, 0)).granted().await;
    let mut many = sources.request(wish(&ids, 3));
    let mut few = sources.request(wish(&ids, 0));
    drop(slot);
    let slot = few.granted().await;
    assert!(futures_util::FutureExt::now_or_never(many.granted()).is_none());
    drop(slot);
    assert_eq!(many.granted().await.source, ids[0]);
}

#[tokio::test]
async fn a_withdrawn_wish_takes_nothing_with_it() {
    let (sources, ids) = sources(1, &[5]);
    let first = sources.request(wish(&ids, 0));
    // Granted, and never looked at.
    drop(first);
    let slot = sources.request(wish(&ids, 0)).granted().await;
    let waiting = sources.request(wish(&ids, 0));
    drop(waiting);
    drop(slot);
    let _slot = sources.request(wish(&ids, 0)).granted().await;
}

#[tokio::test]
async fn all_sources_add_up_and_the_quicker_one_is_preferred() {
    let (sources, ids) = sources(64, &[2, 2]);
    sources.observed(ids[0], 10 << 20, Duration::from_secs(10), Duration::from_millis(10));
    sources.observed(ids[1], 10 << 20, Duration::from_secs(1), Duration::from_millis(10));
    let mut slots = Vec::new();
    for _ in 0..4 {
        slots.push(sources.request(wish(&ids, 0)).granted().await);
    }
    let granted: Vec<SourceId> = slots.iter().map(|slot| slot.source).collect();
    assert_eq!(granted, [ids[1], ids[1], ids[0], ids[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_left_alone_and_then_tried_by_one() {
    let (sources, ids) = sources(64, &[8]);
    for _ in 0..BREAKER {
        assert!(sources.closed_until(ids[0]).is_none());
        sources.failed(ids[0]);
    }
    let until = sources.closed_until(ids[0]).expect("it is closed");
    let mut request = sources.request(wish(&ids, 0));
    assert!(futures_util::FutureExt::now_or_never(request.granted()).is_none());
    drop(request);
    tokio::time::sleep_until(until).await;
    let _one = sources.request(wish(&ids, 0)).granted().await;
    let mut second = sources.request(wish(&ids, 0));
    assert!(futures_util::FutureExt::now_or_never(second.granted()).is_none());
    sources.meter(ids[0]).received(1);
    sources.give();
    second.granted().await;
}

/// Sixteen connections that fail at once are one outage; when it is over, the source is found out about as a new one.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_back_gets_its_share_within_the_minute() {
    let (sources, ids) = sources(64, &[16]);
    let source = ids[0];
    let began = Instant::now();
    for outage in 0..100 {
        for _ in 0..16 {
            sources.failed(source);
            sources.broke(source);
        }
        let until = sources.closed_until(source).expect("it is closed");
        let longest = if outage == 0 { 1 } else { 45 };
        assert!(
            until - Instant::now() <= Duration::from_secs(longest),
            "outage {outage}"
        );
        tokio::time::sleep_until(until).await;
    }
    assert!(began.elapsed() > Duration::from_secs(600), "it was asked too often");
    assert_eq!(sources.limit(source), 1);
    let _probe = sources.request(wish(&ids, 0)).granted().await;
    sources.meter(source).received(1);
    assert_eq!(sources.limit(source), 4);
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_on_beside_failures_was_not_away() {
    let (sources, ids) = sources(64, &[16]);
    for _ in 0..BREAKER {
        sources.failed(ids[0]);
        sources.broke(ids[0]);
    }
    let limit = sources.limit(ids[0]);
    tokio::time::advance(Duration::from_millis(1)).await;
    if sources.closed_until(ids[0]).is_some() {
        sources.meter(ids[0]).received(1);
        assert_eq!(sources.limit(ids[0]), limit);
    }
}

#[tokio::test]
async fn a_refusal_counts_only_beside_others_that_are_served() {
    let (sources, ids) = sources(64, &[8]);
    let one = sources.request(wish(&ids, 0)).granted().await;
    assert!(!sources.refused(ids[0]), "it was the only one");
    one.serves();
    let _two = sources.request(wish(&ids, 0)).granted().await;
    assert!(sources.refused(ids[0]));
    assert_eq!(sources.limit(ids[0]), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_took_a_moment_ago_it_takes_still() {
    let (sources, ids) = sources(64, &[8]);
    let mut slots = Vec::new();
    for _ in 0..3 {
        let slot = sources.request(wish(&ids, 0)).granted().await;
        slot.serves();
        slots.push(slot);
    }
    drop(slots.pop());
    assert!(sources.refused(ids[0]));
    assert_eq!(sources.limit(ids[0]), 3);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(sources.refused(ids[0]));
    assert_eq!(sources.limit(ids[0]), 2);
}

#[tokio::test]
async fn a_user_has_no_more_than_theirs_and_takes_nobody_elses_turn() {
    let (sources, ids) = sources(64, &[8]);
    let owner = |uid: u32| Owner {
        uid,
        user: format!("user{uid}"),
    };
    sources.bound(&owner(7), Some(2));
    sources.bound(&owner(8), None);
    let of = |user| Wish { user, ..wish(&ids, 0) };
    let ready = |request: &mut Request| futures_util::FutureExt::now_or_never(request.granted());
    let mut slots = Vec::new();
    for _ in 0..2 {
        assert_eq!(sources.user_is_full(7), None);
        slots.push(sources.request(of(7)).granted().await);
    }
    let mut third = sources.request(of(7));
    assert!(ready(&mut third).is_none());
    let why = sources.user_is_full(7).expect("they have all of theirs");
    assert!(why.contains("one of user7's 2 connections"), "{why}");
    // Whoever asks after them gets one all the same.
    let other = ready(&mut sources.request(of(8))).expect("there is room for others");
    slots.pop();
    let third = ready(&mut third).expect("one of theirs has ended");
    // A reload: fewer take effect as connections end, more at once.
    sources.bound_all(|name| (name == "user7").then_some(1));
    drop(third);
    let mut fourth = sources.request(of(7));
    assert!(ready(&mut fourth).is_none());
    sources.bound_all(|_| None);
    assert!(ready(&mut fourth).is_some());
    drop(other);
    assert_eq!(sources.user_is_full(7), None);
}
