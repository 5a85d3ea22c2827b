use super::*;

fn commit(digit: &str) -> CommitHash {
    CommitHash::parse(&digit.repeat(40)).unwrap()
}

fn sha(digit: &str) -> String {
    digit.repeat(64)
}

fn planned(path: &str, size: u64) -> PlannedFile {
    PlannedFile {
        path: path.to_owned(),
        size,
        digest: Digest::parse(&sha("a")).unwrap(),
    }
}

fn entry(path: &str, size: u64, hash: &str) -> ManifestEntry {
    ManifestEntry::new(
        path.to_owned(),
        size,
        "",
        Some(hash).filter(|hash| !hash.is_empty()),
        None,
    )
}

fn listing(entries: &[(&str, u64, &str)]) -> SeenListing {
    let entries = entries
        .iter()
        .map(|(path, size, hash)| entry(path, *size, hash))
        .collect();
    SeenListing {
        entries,
        complete: true,
    }
}

fn part() -> SeenPart {
    SeenPart {
        ends_at: "cdn".to_owned(),
        ..SeenPart::default()
    }
}

/// One that does everything right.
fn right() -> Seen {
    let hash = sha("a");
    Seen {
        commit: Some(commit("1")),
        listing: Some(listing(&[
            ("a", 10, &hash),
            ("b", 20, &hash),
            ("not planned", 5, &hash),
        ])),
        part: Some(part()),
        trouble: None,
    }
}

fn judged(seen: &Seen) -> (Option<EndpointFault>, Serves, bool) {
    let finding = judge(&commit("1"), &[planned("a", 10), planned("b", 20)], seen);
    assert_eq!(finding.fault.is_none(), finding.detail.is_empty(), "{finding:?}");
    (finding.fault, finding.serves, finding.lists)
}

fn trouble(asked: Question, fault: EndpointFault) -> Option<Trouble> {
    let detail = "so it was".to_owned();
    Some(Trouble { asked, fault, detail })
}

#[test]
fn each_lie_has_its_name() {
    use EndpointFault as Fault;
    use Serves::{Nothing, Parts, WholeFiles};
    let (a, b) = (sha("a"), sha("b"));
    assert_eq!(judged(&right()), (None, Parts, true));
    let check = |what: &str, seen: Seen, fault, serves, lists| {
        assert_eq!(judged(&seen), (Some(fault), serves, lists), "{what}");
    };
    let with_listing = |entries: &[(&str, u64, &str)]| Seen {
        listing: Some(listing(entries)),
        ..right()
    };
    let with_part = |part: SeenPart| Seen {
        part: Some(part),
        ..right()
    };
    let other_commit = Seen {
        commit: Some(commit("2")),
        ..right()
    };
    check("other commit", other_commit, Fault::OtherCommit, Nothing, false);
    check(
        "missing",
        with_listing(&[("a", 10, &a)]),
        Fault::MissingFiles,
        Parts,
        false,
    );
    check(
        "size",
        with_listing(&[("a", 10, &a), ("b", 21, &a)]),
        Fault::OtherContent,
        Nothing,
        false,
    );
    check(
        "hash",
        with_listing(&[("a", 10, &b), ("b", 20, &a)]),
        Fault::OtherContent,
        Nothing,
        false,
    );
    check(
        "no hash",
        with_listing(&[("a", 10, &a), ("b", 20, "")]),
        Fault::NoHashes,
        Parts,
        false,
    );
    // Lying weighs more than lacking.
    check(
        "both",
        with_listing(&[("b", 20, &b)]),
        Fault::OtherContent,
        Nothing,
        false,
    );
    check(
        "whole",
        with_part(SeenPart { whole: true, ..part() }),
        Fault::NoRanges,
        WholeFiles,
        true,
    );
    let through_origin = Some("hub".to_owned());
    check(
        "leads",
        with_part(SeenPart {
            through_origin,
            ..part()
        }),
        Fault::LeadsToOrigin,
        Parts,
        true,
    );
}

#[test]
fn a_question_that_went_wrong_counts_by_what_it_was() {
    use EndpointFault as Fault;
    let none = Seen::default();
    let seen = Seen {
        trouble: trouble(Question::Commit, Fault::Unreachable),
        ..none.clone()
    };
    assert_eq!(judged(&seen), (Some(Fault::Unreachable), Serves::Nothing, false));
    // Without a listing the bytes may still be good: they are hashed.
    let seen = Seen {
        listing: None,
        trouble: trouble(Question::Listing, Fault::NoListing),
        ..right()
    };
    assert_eq!(judged(&seen), (Some(Fault::NoListing), Serves::Parts, false));
    let seen = Seen {
        listing: None,
        part: None,
        trouble: trouble(Question::Listing, Fault::RateLimited),
        ..right()
    };
    assert_eq!(judged(&seen), (Some(Fault::RateLimited), Serves::Nothing, false));
    let seen = Seen {
        part: None,
        trouble: trouble(Question::Part, Fault::NotTheFile),
        ..right()
    };
    assert_eq!(judged(&seen), (Some(Fault::NotTheFile), Serves::Nothing, true));
    let seen = Seen {
        part: None,
        trouble: trouble(Question::Part, Fault::NoRanges),
        ..right()
    };
    assert_eq!(judged(&seen), (Some(Fault::NoRanges), Serves::WholeFiles, true));
}

#[test]
fn the_beginning_of_a_listing_accuses_nobody_of_lacking() {
    let hash = sha("a");
    let mut seen = right();
    seen.listing = Some(SeenListing {
        complete: false,
        ..listing(&[("a", 10, &hash)])
    });
    // It is good, but its listing was not read to the end.
    assert_eq!(judged(&seen), (None, Serves::Parts, false));
    seen.listing = Some(SeenListing {
        complete: false,
        ..listing(&[("a", 11, &hash)])
    });
    assert_eq!(
        judged(&seen),
        (Some(EndpointFault::OtherContent), Serves::Nothing, false)
    );
}

#[test]
fn nothing_to_try_is_no_fault() {
    // All planned files are empty: no range of them can be asked for.
    let seen = Seen { part: None, ..right() };
    assert_eq!(judged(&seen), (None, Serves::Parts, true));
}

#[test]
fn the_good_is_believed_for_hours_and_the_bad_for_minutes() {
    assert!(lifetime(None) >= Duration::from_secs(3600));
    for fault in EndpointFault::ALL {
        let life = lifetime(Some(fault));
        // Who does not answer may be back: it is asked again within the minute.
        let bounds = match fault {
            EndpointFault::Unreachable => 30..=45,
            _ => 60..=3600,
        };
        assert!(bounds.contains(&life.as_secs()), "{fault:?}");
        assert_eq!(EndpointFault::parse(fault.as_str()), Some(fault));
    }
}

#[test]
fn says_how_much_is_missing() {
    let plan = [planned("a", 1), planned("b", 1), planned("c\n", 1)];
    let seen = Seen {
        listing: Some(listing(&[])),
        ..right()
    };
    assert_eq!(
        judge(&commit("1"), &plan, &seen).detail,
        "`a` is not listed, and 2 more"
    );
    let seen = Seen {
        listing: Some(listing(&[("c\n", 7, "")])),
        ..right()
    };
    let detail = judge(&commit("1"), &plan, &seen).detail;
    assert_eq!(detail, "`c\\n` is listed with 7 bytes, planned are 1");
}
