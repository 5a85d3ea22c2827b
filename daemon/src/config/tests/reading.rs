//! What good configurations mean.

use std::{path::PathBuf, time::Duration};

use super::{Case, system, user, with};
use crate::config::{MinFree, Mode, TokenPolicy, is_public_mirror};

#[test]
fn nothing_is_needed() {
    let config = user(&[]).config();
    assert_eq!(config.storage.caches, [PathBuf::from("/h/.cache/huggingface/hub")]);
    assert_eq!(config.storage.min_free, MinFree::Bytes(1 << 30));
    let transfer = &config.transfer;
    let counts = (
        transfer.connections,
        transfer.max_workers,
        transfer.max_active_jobs,
        transfer.max_connections,
    );
    assert_eq!(counts, (32, 8, 4, 64));
    assert_eq!(transfer.give_up_after, Duration::from_secs(86_400));
    assert_eq!(transfer.stall_timeout, Duration::from_secs(30));
    assert_eq!(config.events.keep, Duration::from_secs(7 * 86_400));
    assert_eq!(config.events.keep_count, 100_000);
    assert_eq!(config.users.of("anyone").max_queued, 1_000_000);
    assert_eq!(config.log.filter, "warn,hfetchd=info");
    assert_eq!(config.warnings, [""; 0]);

    let config = system(&[]).config();
    assert_eq!(config.storage.caches, [PathBuf::from("/var/cache/hfetch/hub")]);
    assert_eq!(config.storage.min_free, MinFree::Bytes(20 << 30));
    assert_eq!(config.users.of("anyone").max_queued, 1_000);
}

#[test]
fn later_files_cover_earlier_ones_key_by_key() {
    let config = user(&[
        "transfer.connections = 2\ntransfer.max_workers = 3\n[aliases]\nx = 'org/x'\ny = 'org/y'\n[[endpoints]]\nurl = \
         'https://a'\n[[endpoints]]\nurl = 'https://b'",
        "[transfer]\nconnections = 5\n[aliases]\nx = 'org/new'\n[[endpoints]]\nurl = 'https://c:8080/hf/'",
    ])
    .config();
    assert_eq!((config.transfer.connections, config.transfer.max_workers), (5, 3));
    let aliases: Vec<_> = config
        .aliases
        .iter()
        .map(|(name, target)| format!("{name} {target}"))
        .collect();
    assert_eq!(aliases, ["x org/new", "y org/y"]);
    let endpoints: Vec<_> = config
        .endpoints
        .iter()
        .map(|one| format!("{} {}", one.name, one.url))
        .collect();
    assert_eq!(endpoints, ["c:8080 https://c:8080/hf"]);
}

#[test]
fn variables_cover_files() {
    let variables = [
        ("HFETCH_TRANSFER__CONNECTIONS", "7"),
        ("HFETCH_TRANSFER__GIVE_UP_AFTER", "1h 30m"),
        ("HFETCH_STORAGE__CACHE", "/x,/y"),
        ("HFETCH_STORAGE__LOCAL_ROOTS", "['/r, 1', '~/r2']"),
        ("HFETCH_STORAGE__MIN_FREE", "5%"),
        ("HFETCH_EVENTS", "{ keep_count = 5 }"),
        ("HFETCH_EVENTS__KEEP", "'1d'"),
        ("HFETCH_ALIASES__OUR_MODEL", "org/new"),
        ("HFETCH_ENDPOINTS", "[{name = 'm', url = 'http://m'}]"),
        ("HFETCH_USERS__ALICE__MAX_QUEUED", "2"),
        ("HFETCH_TEST_WHATEVER", "1"),
        ("HFETCH_PORT_7850_TCP", "tcp://10.0.0.1:7850"),
    ];
    let config = Case {
        variables: &variables,
        ..user(&["transfer.connections = 2\naliases.Our-Model = 'org/old'\nusers.alice.weight = 1"])
    }
    .config();
    assert_eq!(config.transfer.connections, 7);
    assert_eq!(config.transfer.give_up_after, Duration::from_secs(5400));
    assert_eq!(config.storage.caches, ["/x", "/y"].map(PathBuf::from));
    assert_eq!(config.storage.local_roots, ["/r, 1", "/h/r2"].map(PathBuf::from));
    assert_eq!(config.storage.min_free.bytes(1000), 50);
    assert_eq!((config.events.keep_count, config.events.keep.as_secs()), (5, 86_400));
    assert_eq!(config.aliases.values().collect::<Vec<_>>(), ["org/new"]);
    assert_eq!(config.endpoints[0].name, "m");
    assert_eq!(config.users.of("alice").max_queued, 2);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("Kubernetes"));
}

#[test]
fn users_inherit() {
    let config = system(&[
        "[users.default]\nmax_queued = 5\nbudget = '500GiB/month'\n[users.alice]\nweight = 3\n[users.bob]\nbudget = 'off'",
    ])
    .config();
    let shown = |name: &str| {
        let user = config.users.of(name);
        format!(
            "{} {} {:?}",
            user.max_queued,
            user.weight,
            user.budget.map(|budget| budget.bytes >> 30)
        )
    };
    assert_eq!(shown("carol"), "5 1 Some(500)");
    assert_eq!(shown("alice"), "5 3 Some(500)");
    assert_eq!(shown("bob"), "5 1 None");
}

#[test]
fn what_a_user_may_have_at_a_time() {
    let text = "[users.default]\nmax_connections = 8\nmax_disk = '1TiB'\n[users.alice]\nmax_connections = 'off'\n\
                [users.bob]\nmax_disk = 'OFF'";
    let config = system(&[text]).config();
    let shown = |name: &str| {
        let user = config.users.of(name);
        (user.max_connections, user.max_disk.map(|bytes| bytes >> 30))
    };
    assert_eq!(shown("carol"), (Some(8), Some(1024)));
    assert_eq!(shown("alice"), (None, Some(1024)));
    assert_eq!(shown("bob"), (Some(8), None));
    let none = user(&[]).config().users.of("anyone");
    assert_eq!((none.max_connections, none.max_disk), (None, None));
}

#[test]
fn where_tokens_may_go() {
    let check = |case: Case<'_>, expected: &[(&str, &str, TokenPolicy)], warnings: usize| {
        let config = case.config();
        let found: Vec<_> = config
            .endpoints
            .iter()
            .map(|one| (one.name.as_str(), one.url.as_str(), one.token))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
    };
    use TokenPolicy::{Never, Own};
    check(with(&[]), &[("hub", "https://huggingface.co/", Own)], 0);
    check(
        with(&[("HF_ENDPOINT", "")]),
        &[("hub", "https://huggingface.co/", Own)],
        0,
    );
    check(
        with(&[("HF_ENDPOINT", "http://127.0.0.1:8090/")]),
        &[("default", "http://127.0.0.1:8090/", Own)],
        0,
    );
    check(
        with(&[("HF_ENDPOINT", "https://hf-mirror.com")]),
        &[("default", "https://hf-mirror.com/", Never)],
        1,
    );
    let listed = "[[endpoints]]\nname = 'hub'\nurl = 'https://huggingface.co'\n[[endpoints]]\nname = 'ours'\nurl = \
                  'https://olah.example'\n[[endpoints]]\nname = 'ours-too'\nurl = 'https://olah2.example'\ntoken = 'own'";
    check(
        Case {
            variables: &[("HF_ENDPOINT", "https://hf-mirror.com")],
            mode: Mode::System,
            texts: &[listed],
            bad_proxies: &[],
        },
        &[
            ("hub", "https://huggingface.co/", Own),
            ("ours", "https://olah.example/", Never),
            ("ours-too", "https://olah2.example/", Own),
        ],
        0,
    );
}

#[test]
fn public_mirrors() {
    for (host, expected) in [
        ("hf-mirror.com", true),
        ("HF-Mirror.com:443", true),
        ("alpha.hf-mirror.com.", true),
        ("my-hf-mirror.com", false),
        ("hf-mirror.com.evil.example", false),
        ("huggingface.co", false),
        ("[::1]:80", false),
    ] {
        assert_eq!(is_public_mirror(host), expected, "{host}");
    }
}
