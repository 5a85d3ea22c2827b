//! What bad configurations are told.

use super::{Case, system, user, with};

/// All mistakes, line by line: each line begins with the first part and holds the second one.
fn told(case: &Case<'_>, expected: &[(&str, &str)]) {
    let (_, mistakes) = case.check();
    let matches = |(mistake, (start, fragment)): (&String, &(&str, &str))| {
        mistake.starts_with(start) && mistake.contains(fragment)
    };
    let right = mistakes.len() == expected.len() && mistakes.iter().zip(expected).all(matches);
    assert!(right, "{mistakes:#?}\n{expected:#?}");
}

#[test]
fn all_at_once_with_their_places() {
    let first = "cache = '/x'\n[storage]\ncachee = '/y'\nmin_free = '5 bananas'\n[transfer]\nconnections = 'many'\n\
                 give_up_after = 5\nstall_timeout = '30'\n  max_workers = 0\n[trasnfer]\nx = 1\n";
    let second = "[log]\nformat = 'jsn'\nfilter = '[['\n[events]\nkeep = '0s'\n[aliases]\n'a/b' = 'org/x'\nc = 'x/y/z'\n\
                  d = 'org/m'\nD = 'org/n'\n[users]\nalice = 3\n[users.bob]\nwait = 3\nbudget = '5GiB'\n\
                  max_connections = 0\nmax_disk = 'much'";
    told(
        &user(&[first, second]),
        &[
            ("a.toml:1:1: cache: ", "did you mean `storage.cache`?"),
            ("a.toml:3:1: storage.cachee: ", "did you mean `cache`?"),
            ("a.toml:4:12: storage.min_free: ", "unknown unit `bananas`"),
            (
                "a.toml:6:15: transfer.connections: ",
                "must be a whole number, not a text",
            ),
            (
                "a.toml:7:17: transfer.give_up_after: ",
                "must be a text in quotes, not a whole number",
            ),
            ("a.toml:8:17: transfer.stall_timeout: ", "lacks a unit"),
            ("a.toml:9:17: transfer.max_workers: ", "must be from 1 to 256, not 0"),
            ("a.toml:10:2: trasnfer: ", "unknown section; did you mean `transfer`?"),
            ("b.toml:2:10: log.format: ", "did you mean `json`?"),
            ("b.toml:3:10: log.filter: ", ""),
            ("b.toml:5:8: events.keep: ", "longer than nothing"),
            ("b.toml:7:1: aliases.\"a/b\": ", "an alias is made of"),
            ("b.toml:8:5: aliases.c: ", ""),
            ("b.toml:9:1: aliases.d: ", "is the same name as `D` at b.toml:10:1"),
            ("b.toml:12:9: users.alice: ", "must be a table, not a whole number"),
            ("b.toml:14:1: users.bob.wait: ", "unknown key"),
            ("b.toml:15:10: users.bob.budget: ", "500GiB/month"),
            ("b.toml:16:19: users.bob.max_connections: ", "from 1 to 10000"),
            ("b.toml:17:12: users.bob.max_disk: ", "much"),
        ],
    );
}

#[test]
fn a_line_that_is_not_toml_does_not_hide_the_others() {
    let text = "[transfer]\nconnections = \nmax_wrokers = 3\nmax_workers = 1\nmax_workers = 2\n[log]\nformat = 3\n";
    told(
        &user(&[text]),
        &[
            ("a.toml:2:1", "not TOML"),
            ("a.toml:3:1: transfer.max_wrokers: ", "did you mean `max_workers`?"),
            ("a.toml:5:1: ", "not TOML: duplicate key"),
            ("a.toml:7:10: log.format: ", "must be a text"),
        ],
    );
}

#[test]
fn variables_are_named() {
    told(
        &with(&[
            ("HFETCH_LOG", "text"),
            ("HFETCH_STORAGE_CACHE", "/x"),
            ("HFETCH_STORAGE__CACH", "/x"),
            ("HFETCH_STORAGE__LOCAL_ROOTS", "[/x"),
            ("HFETCH_STORAGE__MIN_FREE", "much"),
            ("HFETCH_TRANSFER__CONNECTIONS", "many"),
            ("HFETCH_TRANSFER__MAX_WORKERS", "1.5"),
            ("HFETCH_TRANSFER__", "1"),
            ("HFETCH_ENDPOINTS", "https://x"),
            ("HFETCH_USERS__ALICE", "1"),
        ]),
        &[
            ("HFETCH_ENDPOINTS: endpoints: ", "must be a list of tables in TOML"),
            ("HFETCH_LOG: log: ", "must be a table"),
            (
                "HFETCH_STORAGE_CACHE: storage_cache: ",
                "did you mean `HFETCH_STORAGE__CACHE`?",
            ),
            (
                "HFETCH_STORAGE__CACH: storage.cach: ",
                "did you mean `HFETCH_STORAGE__CACHE`?",
            ),
            ("HFETCH_STORAGE__LOCAL_ROOTS: storage.local_roots: ", "is not TOML"),
            ("HFETCH_STORAGE__MIN_FREE: storage.min_free: ", "unknown unit `much`"),
            ("HFETCH_TRANSFER__: ", "names no key"),
            ("HFETCH_TRANSFER__CONNECTIONS: transfer.connections: ", "not `many`"),
            (
                "HFETCH_TRANSFER__MAX_WORKERS: transfer.max_workers: ",
                "not a number with a point",
            ),
            (
                "HFETCH_USERS__ALICE: users.alice: ",
                "must be a table, not a whole number",
            ),
        ],
    );
    told(
        &with(&[("HF_ENDPOINT", "huggingface.co")]),
        &[("HF_ENDPOINT: endpoints[0].url: ", "must begin with http:// or https://")],
    );
}

#[test]
fn endpoints() {
    let text = "[[endpoints]]\nname = 'a b'\n[[endpoints]]\nname = 'hub'\nurl = 'https://u:secret@x'\n[[endpoints]]\nname \
                = 'hub'\nurl = 'ftp://x'\n[[endpoints]]\nurl = 'https://y/?q'\ntoken = 'mine'\nmax_connection = 1";
    let (_, mistakes) = user(&[text]).check();
    assert!(!mistakes.join("\n").contains("secret"));
    told(
        &user(&[text]),
        &[
            ("a.toml:1:1: endpoints[0].url: ", "is missing"),
            ("a.toml:2:8: endpoints[0].name: ", "letters"),
            ("a.toml:5:7: endpoints[1].url: ", "password"),
            ("a.toml:8:7: endpoints[2].url: ", "must begin with http:// or https://"),
            ("a.toml:10:7: endpoints[3].url: ", "query"),
            (
                "a.toml:11:9: endpoints[3].token: ",
                "must be `never` or `own`, not `mine`",
            ),
            (
                "a.toml:12:1: endpoints[3].max_connection: ",
                "did you mean `max_connections`?",
            ),
        ],
    );
    let text = "[[endpoints]]\nname = 'a'\nurl = 'https://x'\n[[endpoints]]\nname = 'a'\nurl = 'https://y'\n[[endpoints]]\n\
                url = 'https://x/'\n[[endpoints]]\nname = 'q'\nurl = 'https://y/sub'\ntoken = 'own'";
    told(
        &user(&[text]),
        &[
            ("a.toml:5:8: endpoints[1].name: ", "another endpoint `a`"),
            ("a.toml:8:7: endpoints[2].url: ", "address of `a`"),
            ("a.toml:12:9: endpoints[3].token: ", "must be as for `a`"),
        ],
    );
    told(
        &user(&["endpoints = []"]),
        &[("a.toml:1:1: endpoints: ", "at least one")],
    );
    told(
        &user(&["endpoints = ['x']"]),
        &[("a.toml:1:14: endpoints: ", "must be a table")],
    );
    told(
        &user(&["[endpoints]\nurl = 'x'"]),
        &[("a.toml:1:1: endpoints: ", "must be a list of tables")],
    );
}

#[test]
fn storage() {
    told(
        &system(&["[storage]\ncache = ['/a', 'b', 3]\nlocal_roots = '/x'\nmin_free = '100%'\npage_cache = 'flush'"]),
        &[
            ("a.toml:2:21: storage.cache: ", "holds a whole number"),
            ("a.toml:3:15: storage.local_roots: ", "must be a list of texts"),
            ("a.toml:4:12: storage.min_free: ", "below 100%"),
            ("a.toml:5:14: storage.page_cache: ", "`keep` or `drop`"),
        ],
    );
    told(
        &system(&["[storage]\ncache = ['a', '/b/../c']\nmin_free = '99999999999999P'"]),
        &[
            ("a.toml:2:10: storage.cache: ", "absolute"),
            ("a.toml:2:15: storage.cache: ", "`..`"),
            ("a.toml:3:12: storage.min_free: ", "too large"),
        ],
    );
    told(
        &user(&["storage.cache = []"]),
        &[("a.toml:1:17: storage.cache: ", "at least one")],
    );
    told(
        &user(&["storage = 3"]),
        &[("a.toml:1:11: storage: ", "must be a table")],
    );
}

#[test]
fn control() {
    let needs = "a.toml:1:18: control.listen: ";
    told(
        &user(&["control.listen = '127.0.0.1:7850'\ncontrol.tls_key = 'k'"]),
        &[
            (needs, "needs `control.tls_cert`"),
            (needs, "needs `control.token_file`"),
            ("a.toml:2:19: control.tls_key: ", "absolute"),
        ],
    );
    let files = "tls_cert = '/c'\ntls_key = '/k'\ntoken_file = '/t'\n";
    told(
        &user(&[&format!(
            "[control]\n{files}listen = 'localhost:7850'\n[metrics]\nlisten = ':9100'"
        )]),
        &[
            ("a.toml:5:10: control.listen: ", "0.0.0.0:7850"),
            ("a.toml:7:10: metrics.listen: ", "not an address"),
        ],
    );
    assert!(user(&[&format!("[control]\n{files}")]).check().1.is_empty());
    told(
        &user(&["[control]\ntls_cert = '/p'\ntls_key = '/nowhere'\ntoken_file = '/bad'\noperators = ['a b', 'ann']"]),
        &[
            ("a.toml:2:12: control.tls_cert: ", "PEM"),
            ("a.toml:3:11: control.tls_key: ", "cannot be read"),
            ("a.toml:4:14: control.token_file: ", "line 1: must be"),
            ("a.toml:4:14: control.token_file: ", "line 2: behind"),
            ("a.toml:5:14: control.operators: ", "`a b`"),
        ],
    );
}

#[test]
fn times_and_limits() {
    let text = "[bandwidth]\nlimit = 'Mon-Fri 08:00,10Q'\ntimezone = 'Asia/Shangai'\nyield = 'on'\n[windows.night]\nperiods \
                = ['Mon-Fri 00:30-07:00', 'Mon-Fri 25:00-07:00', 'x']\nlimit = 0\n[windows.day]\n[windows]\nx = 1\n[[endpoints]]\nurl = \
                'https://x'\nlimit = '100Mbit'";
    told(
        &user(&[text]),
        &[
            (
                "a.toml:2:9: bandwidth.limit: ",
                "at character 15: `10Q` has the unknown unit",
            ),
            ("a.toml:3:12: bandwidth.timezone: ", "IANA"),
            ("a.toml:4:9: bandwidth.yield: ", "must be true or false"),
            (
                "a.toml:6:35: windows.night.periods: ",
                "at character 9: `25:00` is no time",
            ),
            ("a.toml:6:58: windows.night.periods: ", "no span of time"),
            ("a.toml:7:9: windows.night.limit: ", "`off`"),
            ("a.toml:8:10: windows.day.periods: ", "is missing"),
            ("a.toml:10:5: windows.x: ", "must be a table"),
            ("a.toml:13:9: endpoints[0].limit: ", "bits"),
        ],
    );
}

#[test]
fn routes() {
    let text = "[[proxies]]\nname = 'clash'\nurl = 'socks4://x'\n[[proxies]]\nname = 'clash'\nurl = 'http://u:hush@x'\n\
                [[proxies]]\nname = 'DIRECT'\nurl = 'http://x'\n[[proxies]]\nname = 'a,b'\n[routing]\nrules = [\n\
                'DOMAIN,x,clash', 'MATCH,clsh',\n'FOO,x,DIRECT']\nclash_config = '/x'\nallow_networks = ['10.0.0.0/33']";
    let (_, mistakes) = user(&[text]).check();
    assert!(!mistakes.join("\n").contains("hush"));
    told(
        &user(&[text]),
        &[
            ("a.toml:3:7: proxies[0].url: ", "socks5://"),
            ("a.toml:5:8: proxies[1].name: ", "another proxy `clash`"),
            ("a.toml:6:7: proxies[1].url: ", "password"),
            ("a.toml:8:8: proxies[2].name: ", "means something else"),
            ("a.toml:10:1: proxies[3].url: ", "is missing"),
            ("a.toml:11:8: proxies[3].name: ", "comma"),
            ("a.toml:14:19: routing.rules: ", "did you mean `clash`?"),
            ("a.toml:15:1: routing.rules: ", "no kind of rule"),
            ("a.toml:16:16: routing.clash_config: ", "no such file"),
            ("a.toml:16:16: routing.via: ", "is missing"),
            ("a.toml:17:19: routing.allow_networks: ", "longer than 32"),
        ],
    );
    let files = "[[proxies]]\nname = 'a'\nurl = 'http://x'\npassword_file = '/gone'\n[[proxies]]\nname = 'b'\n\
                 url = 'http://x'\npassword_file = '/empty'\n[routing]\nclash_config = '/p'\nvia = 'a'";
    told(
        &user(&[files]),
        &[
            ("a.toml:4:17: proxies[0].password_file: ", "no such file"),
            ("a.toml:8:17: proxies[1].password_file: ", "user:password"),
            ("a.toml:10:16: routing.clash_config: ", "has no `rules`"),
        ],
    );
    let open = user(&["[[proxies]]\nname = 'a'\nurl = 'http://x'\npassword_file = '/open'"]).config();
    assert_eq!(open.warnings, ["others may read /open: `chmod 600` it"]);
    let config = user(&["routing.via = 'DIRECT'\nrouting.rules = ['MATCH,DIRECT', 'DOMAIN,x,DIRECT']"]).config();
    assert!(
        config.warnings.iter().any(|line| line.contains("never reached")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_bad_proxy_is_a_mistake_beside_others_unless_routing_takes_its_place() {
    let bad = [("https_proxy".to_owned(), "does not name a proxy".to_owned())];
    let case = |text| Case {
        bad_proxies: &bad,
        ..user(text)
    };
    let proxy = ("https_proxy: ", "does not name a proxy");
    told(&case(&[]), &[proxy]);
    told(
        &case(&["[transfer]\nconnections = 0"]),
        &[("a.toml:2:15: transfer.connections: ", ""), proxy],
    );
    case(&["routing.rules = ['MATCH,DIRECT']"]).config();
}

#[test]
fn variables_of_our_tests_are_no_keys() {
    with(&[
        ("HFETCH_CUTS", "500"),
        ("HFETCH_FILES", "100000"),
        ("HFETCH_KILLS", "200"),
        ("HFETCH_NO_SKIP", "1"),
        ("HFETCH_STEPS", "all"),
        ("HFETCH_TEST_PYTHON", "/p"),
    ])
    .config();
}
