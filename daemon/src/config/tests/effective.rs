//! What is printed, compared, and warned about.

use super::{Case, EVERYTHING, system, user, with};
use crate::{
    config::{Config, Loaded, Mode, PageCache, known_keys, settings::Setting},
    model::{
        BudgetPeriod, Limit,
        route::{Matcher, Target},
    },
};

fn printed(config: Config) -> String {
    let loaded = Loaded {
        config: Config {
            files: vec!["/etc/a.toml".into()],
            ..config
        },
        mode: Mode::User,
        state_dir: "/state".into(),
        socket: "/sock\net".into(),
    };
    loaded.print()
}

#[test]
fn everything_is_read() {
    let config = system(&[EVERYTHING]).config();
    assert_eq!(config.storage.page_cache, PageCache::Keep);
    assert_eq!(config.storage.keep_partials.as_secs(), 7200);
    let remote = config.control.remote.as_ref().unwrap();
    assert_eq!(
        (remote.listen.port(), &*remote.operators),
        (7850, &["ann".to_owned()][..])
    );
    assert_eq!(remote.bearers.names().collect::<Vec<_>>(), ["ann"]);
    assert!(remote.client_ca.is_some());
    assert!(matches!(&config.bandwidth.limit, Limit::Timetable(changes) if changes.len() == 3));
    assert_eq!(config.bandwidth.timezone.as_deref(), Some("Asia/Shanghai"));
    assert!(config.bandwidth.yields);
    assert_eq!(config.windows["night"].limit, Some(80 << 20));
    assert_eq!(config.windows["a b"].periods[0].start_minute, 22 * 60);
    assert_eq!(config.endpoints[0].limit, Limit::Rate(40 << 20));
    assert_eq!(config.endpoints[1].name, "10.1.2.3:8090");
    assert_eq!(config.proxies[1].url.as_str(), "socks5h://vpn:1080");
    assert_eq!(config.routing.rules[2].matcher, Matcher::All);
    assert_eq!(config.routing.via, Some(Target::Proxy("clash".to_owned())));
    assert!(config.routing.is_set);
    let rules: Vec<String> = config.routing.all_rules().iter().map(ToString::to_string).collect();
    assert_eq!(rules[2..], ["DOMAIN-SUFFIX,hf.co,clash", "MATCH,DIRECT"]);
    assert_eq!(
        config.proxies[0].login.as_ref().map(|(_, login)| login.reveal()),
        Some("hush")
    );
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(
        config.users.of("a.b").budget.map(|budget| budget.period),
        Some(BudgetPeriod::Month)
    );
    assert_eq!(config.users.of("a.b").max_connections, Some(16));
    assert_eq!(config.users.of("a.b").max_active, Some(1 << 40));
    assert_eq!(config.users.of("x").max_disk, Some(2 << 40));
    assert_eq!(config.metrics.listen.map(|address| address.port()), Some(9100));
}

/// Every key of the table is asked for by some section, and no other.
#[test]
fn the_table_of_keys_is_whole() {
    let config = system(&[EVERYTHING]).config();
    let mut asked: Vec<&str> = Vec::new();
    for Setting { pattern, .. } in &config.settings {
        if !asked.contains(&pattern.as_str()) {
            asked.push(pattern);
        }
    }
    assert_eq!(
        asked.iter().copied().collect::<std::collections::BTreeSet<_>>(),
        known_keys().into_iter().collect()
    );
    assert_eq!(known_keys().len(), asked.len());
}

#[test]
fn print_is_read_back_to_the_same() {
    let variables = [
        ("HFETCH_STORAGE__CACHE", "/x,/y"),
        ("HFETCH_TRANSFER__CONNECTIONS", "7"),
        ("HFETCH_BANDWIDTH__YIELD", "true"),
        ("HFETCH_BANDWIDTH__LIMIT", "512"),
        ("HFETCH_WINDOWS__NIGHT__PERIODS", "00:00-01:00, 02:00-03:00"),
        ("HFETCH_PROXIES", "[{name='p', url='http://p'}]"),
        ("HFETCH_ROUTING__RULES", "MATCH,AUTO(p,DIRECT)"),
        ("HFETCH_LOG__FORMAT", "text"),
        ("HFETCH_ALIASES__X", "org/x"),
        ("HFETCH_USERS__BOB__BUDGET", "1G/day"),
    ];
    let everything = [EVERYTHING];
    let odd =
        ["[aliases]\n'模型' = 'org/m'\n[storage]\ncache = \"/a \\\"b' \\\\ \\u007f\\n é\"\n[users.'q\"']\nweight = 4"];
    let cases = [
        user(&[]),
        system(&[]),
        with(&[("HF_ENDPOINT", "http://127.0.0.1:1/x/"), ("HF_HOME", "/é")]),
        with(&[("HF_ENDPOINT", "https://hf-mirror.com")]),
        with(&variables),
        user(&odd),
        system(&everything),
    ];
    for case in cases {
        let config = case.config();
        let text = printed(config.clone());
        // In place of everything that said anything before.
        let again = Case {
            mode: case.mode,
            texts: &[&text],
            variables: &[],
            bad_proxies: &[],
        };
        let again = again.config();
        assert_eq!(config.diff(&again), (vec![], vec![]), "{text}");
        let same = |config: &Config| {
            let mut plain = config.clone();
            (plain.settings, plain.warnings) = (vec![], vec![]);
            format!("{plain:#?}")
        };
        assert_eq!(same(&config), same(&again), "{text}");
    }
}

#[test]
fn print_says_where_each_key_is_from() {
    let case = Case {
        variables: &[("HFETCH_TRANSFER__MAX_WORKERS", "3"), ("HF_HUB_CACHE", "/hub")],
        ..user(&["\n[transfer]\nconnections = 5\n[users.default]\nweight = 2\n[users.'a.b']"])
    };
    let text = printed(case.config());
    for line in [
        "# mode: user",
        "# socket: /sock\\net",
        "# read: /etc/a.toml",
        "[storage]",
        "cache = \"/hub\" # HF_HUB_CACHE",
        "local_roots = [] # default",
        "connections = 5 # a.toml:3",
        "max_workers = 3 # HFETCH_TRANSFER__MAX_WORKERS",
        "max_active_jobs = 4 # default",
        "# listen is not set",
        "[[endpoints]]",
        "url = \"https://huggingface.co\" # default",
        "[users.default]",
        "[users.\"a.b\"]",
        "weight = 2 # a.toml:5",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_a_reload_changes() {
    let before = user(&["[users.alice]\nweight = 2\n[transfer]\ngive_up_after = '1h'"]).config();
    let after = user(&[
        "[transfer]\ngive_up_after = '60m'\nmax_connections = 9\nconnections = 9\n[log]\nformat = 'text'\n[aliases]\nx = \
         'org/x'\n[[endpoints]]\nurl = 'https://huggingface.co'\n[control]\nclient_ca = '/a'\n[metrics]\nlisten = \
         '127.0.0.1:1'",
    ])
    .config();
    let (changed, needs_restart) = before.diff(&after);
    assert_eq!(
        changed,
        [
            "transfer.connections",
            "transfer.max_connections",
            "control.client_ca",
            "endpoints[0].name",
            "aliases.x",
            "log.format",
            "metrics.listen",
            // Of the rest she had what everybody has.
            "users.alice.weight",
        ]
    );
    assert_eq!(
        needs_restart,
        ["transfer.max_connections", "log.format", "metrics.listen"]
    );
    assert_eq!(before.diff(&before), (vec![], vec![]));
}

#[test]
fn what_is_left_out_is_said() {
    assert_eq!(
        system(&[EVERYTHING]).config().warnings,
        ["/etc/clash/config.yaml: rules of kinds that are not read: GEOIP (1); the rules after them decide",]
    );
}
