//! Tables over whole configurations: texts and variables in, keys or mistakes out.

mod effective;
mod mistakes;
mod reading;

use std::path::{Path, PathBuf};

use super::{
    Config, Mode, check,
    inputs::{Context, Environment},
};

/// Every key there is, set, and to something else than its default.
pub(super) const EVERYTHING: &str = r#"
[storage]
cache = ["/data/hub", "~/hub"]
local_roots = ["/data/models"]
min_free = "5%"
keep_partials = "2h"
page_cache = "keep"
[transfer]
connections = 2
max_workers = 3
max_active_jobs = 5
max_connections = 6
give_up_after = "1h 30m"
stall_timeout = "10s"
[control]
listen = "[::]:7850"
tls_cert = "/c"
tls_key = "/k"
token_file = "/t"
client_ca = "/a"
operators = ["ann"]
[bandwidth]
limit = "Mon-Fri 08:00,10M Mon-Fri 19:00,off Sat-Sun 00:00,off"
timezone = "Asia/Shanghai"
yield = true
[windows.night]
periods = ["Mon-Fri 00:30-07:00", "Sat-Sun 00:00-09:00"]
limit = "80MiB/s"
[windows."a b"]
periods = ["22:00-06:00"]
[[endpoints]]
name = "hf-mirror"
url = "https://hf-mirror.com"
token = "own"
limit = "40MiB/s"
max_connections = 7
[[endpoints]]
url = "http://10.1.2.3:8090/hf"
[[proxies]]
name = "clash"
url = "http://127.0.0.1:7890"
password_file = "/p"
[[proxies]]
name = "vpn"
url = "socks5h://vpn:1080"
[routing]
rules = ["DOMAIN-SUFFIX,hf-mirror.com,DIRECT", "DOMAIN-SUFFIX,huggingface.co,AUTO(clash,vpn)", "MATCH,DIRECT"]
clash_config = "/etc/clash/config.yaml"
via = "clash"
allow_networks = ["10.20.0.0/16"]
[aliases]
"llama 2" = "meta-llama/Llama-2-7b-hf"
[users.default]
max_queued = 9
weight = 2
budget = "500GiB/month"
max_connections = 16
max_active = "1TiB"
max_disk = "2TiB"
[users."a.b"]
weight = 3
[events]
keep = "1d"
keep_count = 10
[log]
filter = "debug,h2=info"
format = "json"
[metrics]
listen = "127.0.0.1:9100"
"#;

/// The disk of these tests.
fn named_file(path: &Path) -> Result<(String, bool), String> {
    match path.to_str() {
        Some("/etc/clash/config.yaml") => {
            let text = "proxy-groups: [{name: G}]\nrules: ['DOMAIN-SUFFIX,hf.co,G', 'GEOIP,CN,DIRECT']";
            Ok((text.to_owned(), true))
        }
        Some("/p") => Ok(("ann:hush\n".to_owned(), false)),
        Some("/c" | "/k" | "/a") => Ok(("-----BEGIN X-----\nhush\n".to_owned(), false)),
        Some("/t") => Ok((format!("ann:{}\n", "ab".repeat(32)), false)),
        Some("/bad") => Ok(("hush\nann:hush\n".to_owned(), false)),
        Some("/open") => Ok(("ann:hush\n".to_owned(), true)),
        Some("/empty") => Ok((String::new(), false)),
        _ => Err("no such file".to_owned()),
    }
}

/// A configuration to be.
pub(super) struct Case<'a> {
    pub(super) mode: Mode,
    /// Called `a.toml`, `b.toml`, ...
    pub(super) texts: &'a [&'a str],
    /// On top of `HOME=/h`.
    pub(super) variables: &'a [(&'a str, &'a str)],
    pub(super) bad_proxies: &'a [(String, String)],
}

impl Case<'_> {
    pub(super) fn check(&self) -> (Option<Config>, Vec<String>) {
        let variables: Vec<_> = [("HOME", "/h")]
            .into_iter()
            .chain(self.variables.iter().copied())
            .collect();
        let environment = Environment::of(&variables);
        let context = Context {
            mode: self.mode,
            environment: &environment,
            current_dir: Path::new("/cwd"),
            read_file: &named_file,
            bad_proxies: self.bad_proxies,
        };
        let names = ["a.toml", "b.toml", "c.toml"].map(PathBuf::from).into_iter();
        let texts: Vec<_> = names
            .zip(self.texts.iter().map(|text| Ok((*text).to_owned())))
            .collect();
        let (config, mut mistakes) = check(&context, &texts);
        mistakes.sort();
        assert!(config.is_some() || !mistakes.is_empty(), "nothing, and no mistake");
        (config, mistakes.iter().map(ToString::to_string).collect())
    }

    pub(super) fn config(&self) -> Config {
        match self.check() {
            (Some(config), mistakes) if mistakes.is_empty() => config,
            (_, mistakes) => panic!("{mistakes:#?}"),
        }
    }
}

/// For tests of what follows from a configuration.
pub(crate) fn config_of(mode: Mode, text: &str, variables: &[(&str, &str)]) -> Config {
    Case {
        mode,
        texts: &[text],
        variables,
        bad_proxies: &[],
    }
    .config()
}

pub(super) fn user<'a>(texts: &'a [&'a str]) -> Case<'a> {
    Case {
        mode: Mode::User,
        texts,
        variables: &[],
        bad_proxies: &[],
    }
}

pub(super) fn system<'a>(texts: &'a [&'a str]) -> Case<'a> {
    Case {
        mode: Mode::System,
        ..user(texts)
    }
}

pub(super) fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> Case<'a> {
    Case { variables, ..user(&[]) }
}
