//! Each kind of fault of networks and servers, and where it is provoked.

use std::{fs, path::Path};

/// A fault, and the tests that provoke it, as `file: function`; or why there is none.
struct Row {
    number: u32,
    fault: &'static str,
    provoked: Provoked,
}

enum Provoked {
    By(&'static [&'static str]),
    /// Not tested, for this reason.
    Not(&'static str),
}

use Provoked::{By, Not};

const fn row(number: u32, fault: &'static str, provoked: Provoked) -> Row {
    Row {
        number,
        fault,
        provoked,
    }
}

const ROWS: [Row; 43] = [
    row(
        1,
        "a name is not known, its server fails or is silent",
        By(&[
            "tests/it/network/names.rs: a_name_that_is_not_resolved_is_told_and_tried_again",
            "tests/it/network/names.rs: while_a_name_is_not_resolved_another_endpoint_serves",
        ]),
    ),
    row(
        2,
        "one of two addresses is dead; a name leads elsewhere in mid-job",
        By(&[
            "tests/it/network/names.rs: of_two_addresses_the_one_that_answers_is_used",
            "tests/it/network/links.rs: sockets_of_an_address_that_is_gone_are_left_for_the_new_one",
        ]),
    ),
    row(
        3,
        "a foreign name leads into the internal network",
        By(&[
            "tests/it/network/names.rs: names_that_lead_into_our_network_are_refused_before_a_connection",
            "daemon/src/hub/resolver.rs: foreign_names_stay_outside",
        ]),
    ),
    row(
        4,
        "IPv6 is a black hole, IPv4 is fine",
        By(&["tests/it/network/names.rs: a_black_hole_of_ipv6_does_not_hold_ipv4"]),
    ),
    row(
        5,
        "connections are refused, or there is no way",
        By(&[
            "tests/it/errors.rs: an_endpoint_that_refuses_connections_is_waited_for_with_a_reason",
            "tests/it/faults/holds.rs: an_endpoint_that_is_down_is_waited_for",
            "tests/it/network/names.rs: addresses_that_cannot_be_reached_are_told_and_left",
            "daemon/src/engine/sources/tests.rs: a_source_that_never_answers_is_left_alone_and_then_tried_by_one",
        ]),
    ),
    row(
        6,
        "an address swallows what it is sent",
        By(&["tests/it/network/names.rs: addresses_that_cannot_be_reached_are_told_and_left"]),
    ),
    row(
        7,
        "a certificate is expired, of another name, of an unknown authority, its own issuer",
        By(&[
            "tests/it/network/certificates.rs: a_bad_certificate_is_told_and_gets_no_request",
            "tests/it/network/certificates.rs: a_bad_certificate_of_one_endpoint_or_of_its_store_leaves_the_job_to_another",
        ]),
    ),
    row(
        8,
        "the TLS handshake is cut, or never ends",
        By(&[
            "tests/it/network/certificates.rs: a_handshake_that_is_cut_is_told_and_tried_again",
            "tests/it/network/certificates.rs: a_handshake_that_does_not_end_is_given_up",
            "daemon/src/hub/tests/network.rs: a_server_without_tls_is_a_fault_of_tls",
        ]),
    ),
    row(
        9,
        "a certificate is replaced while connections live",
        By(&["daemon/src/hub/tests/network.rs: connections_that_are_too_old_take_no_new_request"]),
    ),
    row(
        10,
        "a proxy wants a password, refuses, dies in mid-body, answers with a page",
        By(&[
            "daemon/src/hub/tests/network.rs: a_proxy_sees_a_tunnel_for_https_and_no_token",
            "daemon/src/hub/tests/network.rs: a_proxy_that_answers_a_tunnel_with_a_page_is_told",
            "tests/it/network/proxies.rs: a_proxy_that_dies_in_mid_body_is_left",
            "tests/it/routes.rs: of_several_ways_one_that_works_is_taken",
        ]),
    ),
    row(
        11,
        // They are honoured, as curl does, while no [routing] is configured.
        "proxy variables in the daemon's environment",
        By(&[
            "tests/it/routes.rs: without_rules_the_variables_count",
            "daemon/src/hub/proxy/tests.rs: variables_as_curl_reads_them",
        ]),
    ),
    row(
        12,
        "a reset in the body",
        By(&["tests/it/faults/transfer.rs: cut_connections"]),
    ),
    row(
        13,
        "an early end of the body",
        By(&[
            "tests/it/faults/transfer.rs: cut_connections",
            "daemon/src/hub/tests/trouble.rs: cut_bodies_are_told",
        ]),
    ),
    row(
        14,
        "a chunked body that is cut and looks complete",
        By(&["tests/it/faults/transfer.rs: cut_connections"]),
    ),
    row(
        15,
        "silence in the body",
        By(&[
            "tests/it/faults/transfer.rs: stalls_and_drips",
            "tests/it/sources.rs: what_stands_still_while_others_are_served_is_asked_for_again",
        ]),
    ),
    row(
        16,
        "silence before the first byte",
        By(&[
            "tests/it/faults/transfer.rs: stalls_and_drips",
            "daemon/src/hub/tests/trouble.rs: a_stall_before_the_first_byte",
        ]),
    ),
    row(
        17,
        "a drip without an end",
        By(&[
            "daemon/src/sched/stall.rs: a_drip_is_cut_when_others_are_not_as_slow",
            "tests/it/sources.rs: a_slow_tail_is_shared",
        ]),
    ),
    row(
        18,
        // Those that are too much for the link. Losses at random would need netem, which is not in every kernel.
        "packets are lost",
        By(&["tests/it/network/links.rs: a_link_that_loses_what_is_too_much_brings_all"]),
    ),
    row(
        19,
        "a range is answered with 200 and everything",
        By(&[
            "tests/it/faults/transfer.rs: a_server_without_ranges_is_asked_for_the_whole",
            "daemon/src/hub/tests/fetching.rs: a_whole_file_serves_the_first_range_only",
        ]),
    ),
    row(
        20,
        "206 for other bytes, of another total, in several parts",
        By(&[
            "tests/it/faults/transfer.rs: answers_that_are_no_parts",
            "daemon/src/hub/tests/fetching.rs: wrong_ranges_are_refused",
        ]),
    ),
    row(
        21,
        "a body longer than asked",
        By(&[
            "tests/it/faults/transfer.rs: answers_that_are_no_parts",
            "daemon/src/hub/tests/trouble.rs: surplus_is_cut_and_counted",
        ]),
    ),
    row(
        22,
        "416, and partial files that are full or too long",
        By(&[
            "tests/it/faults/transfer.rs: answers_that_are_no_parts",
            "daemon/src/hub/tests/fetching.rs: wrong_ranges_are_refused",
            "daemon/src/cache/tests/staging.rs: a_partial_file_of_another_length_is_begun_anew",
            "tests/it/corruption.rs: a_partial_file_that_changed_behind_us_costs_the_changed_block",
        ]),
    ),
    row(
        23,
        "compressed though nobody asked",
        By(&[
            "tests/it/faults/transfer.rs: answers_that_are_no_parts",
            "daemon/src/hub/tests/fetching.rs: compressed_bodies_are_refused",
        ]),
    ),
    row(
        24,
        "the length of a redirect's body taken for the file's",
        // The simulated Hub's redirects have bodies, and lengths of their own: every download meets them.
        By(&["daemon/src/hub/tests/fetching.rs: claims_of_the_hub_are_compared"]),
    ),
    row(
        25,
        "headers that a mirror leaves out",
        By(&["tests/it/faults/shapes.rs: etags_and_missing_headers"]),
    ),
    row(
        26,
        "a mirror that sends everything to the origin, or drops the query",
        By(&[
            "tests/it/faults/links.rs: a_hub_that_moved_is_followed_without_the_token",
            "tests/it/mirrors.rs: all_redirects_lead_to_the_origin",
            "tests/it/faults/links.rs: a_store_that_loses_the_query_is_no_store",
        ]),
    ),
    row(
        27,
        "a login page with status 200",
        By(&[
            "tests/it/faults/transfer.rs: answers_that_are_no_parts",
            "tests/it/mirrors.rs: a_web_page_in_place_of_everything",
        ]),
    ),
    row(
        28,
        "a wrong bit; two sources that are both wrong",
        By(&[
            "tests/it/corruption.rs: one_wrong_bit_from_the_only_server_does_not_cost_the_file",
            "tests/it/corruption.rs: the_mirror_that_lies_is_named_and_left_out",
            "tests/it/corruption.rs: two_servers_that_are_both_wrong_fail_the_file",
        ]),
    ),
    row(
        29,
        "429 in all four forms",
        By(&[
            "tests/it/faults/holds.rs: too_many_requests_in_every_form",
            "tests/it/faults/holds.rs: a_wait_that_was_asked_for_is_kept",
            "tests/it/mirrors.rs: an_endpoint_that_wants_a_pause_is_left_out_of_plans",
            "daemon/src/hub/ratelimit.rs: waits_by_every_form",
        ]),
    ),
    row(
        30,
        // There is no rate to configure: the number of requests is what counts.
        "hundreds of files want to be described at one time",
        By(&["tests/it/small.rs: each_content_costs_one_request_and_what_is_there_none"]),
    ),
    row(
        31,
        "a server in trouble",
        By(&[
            "tests/it/faults/holds.rs: an_endpoint_in_trouble_is_waited_for",
            "daemon/src/engine/sources/tests.rs: a_source_that_never_answers_is_left_alone_and_then_tried_by_one",
        ]),
    ),
    row(
        32,
        "a bad token, a gate, no access yet",
        By(&[
            "tests/it/errors.rs: a_user_reads_what_happened_and_what_to_do",
            "tests/it/custody.rs: without_a_token_a_gated_repository_says_what_to_do",
            "tests/it/custody.rs: a_job_without_access_waits_and_starts_by_itself_when_it_is_granted",
        ]),
    ),
    row(
        33,
        "a signed address that is too old",
        By(&[
            "tests/it/faults/links.rs: addresses_that_live_for_a_second_are_asked_for_again",
            "tests/it/faults/links.rs: withdrawn_addresses_are_asked_for_again",
        ]),
    ),
    row(
        34,
        "a store that refuses fresh addresses",
        By(&["tests/it/faults/links.rs: a_cdn_that_refuses_for_good_is_believed_soon"]),
    ),
    row(
        35,
        "files that are gone",
        By(&["tests/it/faults/listing.rs: files_that_are_gone"]),
    ),
    row(
        36,
        "redirects in a circle, too many, to other schemes, with a user",
        By(&[
            "tests/it/faults/links.rs: redirects_that_are_not_followed_are_told_and_get_no_token",
            "daemon/src/hub/tests/matrix.rs: the_token_is_sent_to_its_origin_alone",
            "daemon/src/hub/tests/redirects.rs: ten_hops_and_no_more",
        ]),
    ),
    row(
        37,
        "a branch that moves",
        By(&[
            "tests/it/faults/shapes.rs: a_branch_that_moves_under_a_job_changes_nothing",
            "tests/it/verbs/afterwards.rs: a_late_job_does_not_take_a_branch_back",
            "daemon/src/hub/tests/fetching.rs: claims_of_the_hub_are_compared",
        ]),
    ),
    row(
        38,
        "other content under the same address",
        By(&[
            "tests/it/faults/shapes.rs: etags_and_missing_headers",
            "tests/it/faults/shapes.rs: another_version_for_ever_ends_with_its_name",
            "daemon/src/hub/tests/fetching.rs: a_place_on_the_endpoint_keeps_its_validator",
        ]),
    ),
    row(
        39,
        "two mirrors that contradict each other",
        By(&[
            "tests/it/mirrors.rs: the_origin_tells_the_hashes",
            "tests/it/mirrors.rs: mirrors_that_contradict_each_other_stop_the_job",
        ]),
    ),
    row(
        40,
        "a clock that is days off",
        By(&[
            "tests/it/network/certificates.rs: a_bad_certificate_is_told_and_gets_no_request",
            "tests/it/faults/links.rs: a_server_whose_clock_is_off_signs_addresses_all_the_same",
            "daemon/src/hub/link.rs: the_servers_clock_counts",
        ]),
    ),
    row(
        41,
        "a link that goes and comes",
        By(&["tests/it/network/links.rs: a_link_that_goes_and_comes_costs_little_each_time"]),
    ),
    row(
        42,
        "an address that is gone while its sockets stay",
        By(&["tests/it/network/links.rs: sockets_of_an_address_that_is_gone_are_left_for_the_new_one"]),
    ),
    row(
        43,
        "Xet: an answer that contradicts itself, a chunk that is wrong",
        Not("the Xet protocol is not spoken: files come by plain ranges, whose tests are those of rows 19 to 28"),
    ),
];

#[test]
fn every_row_has_its_tests_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (number, row) in (1..).zip(&ROWS) {
        assert_eq!(row.number, number, "N{number} is missing or not in its place");
        assert!(!row.fault.is_empty());
        match row.provoked {
            By(tests) => {
                assert!(!tests.is_empty(), "N{number} has no test");
                tests.iter().for_each(|test| exists(&root, number, test));
            }
            Not(reason) => assert!(reason.len() > 40, "N{number} has no test, and no reason"),
        }
    }
}

/// Fails unless the function is there and is a test.
fn exists(root: &Path, number: u32, test: &str) {
    let (file, function) = test.split_once(": ").expect("file: function");
    let text = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("N{number}: {file}: {error}"));
    let head = format!("fn {function}(");
    let (before, _) = text
        .split_once(&head)
        .unwrap_or_else(|| panic!("N{number}: no {function} in {file}"));
    let above: Vec<&str> = before
        .lines()
        .rev()
        .skip(usize::from(!before.ends_with('\n')))
        .take(3)
        .collect();
    let marked = |mark: &str| above.iter().any(|line| line.trim_start().starts_with(mark));
    assert!(
        marked("#[test]") || marked("#[tokio::test"),
        "N{number}: {function} in {file} is no test"
    );
}
