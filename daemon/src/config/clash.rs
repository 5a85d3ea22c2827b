//! Reads the rules of a Clash file. Its groups and proxies all mean the one way that `routing.via` names; kinds of rules that
//! are not known here are left out and told, never guessed.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode as _, Yaml};

use super::rules;
use crate::model::route::{Matcher, Rule, Target};

/// Deeper files are refused before they are read: the reader follows the nesting by recursion.
const DEEPEST: usize = 64;

/// What was found in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClashRules {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// What was left out, one sentence each.
    pub left_out: Vec<String>,
}

/// Reads the `rules` of a Clash file.
///
/// # Errors
/// When it is no such file.
pub(super) fn parse(text: &str, via: &Target) -> Result<ClashRules, String> {
    if nests_too_deeply(text) {
        return Err(format!("is nested more than {DEEPEST} levels deep"));
    }
    let documents = Yaml::load_from_str(text).map_err(|error| format!("is not YAML: {error}"))?;
    let [document] = documents.as_slice() else {
        return Err("must hold one YAML document".to_owned());
    };
    let list = ["rules", "Rule"].iter().find_map(|key| document.as_mapping_get(key));
    let Some(list) = list else {
        return Err("has no `rules`".to_owned());
    };
    let Some(list) = list.as_sequence() else {
        return Err("has `rules` that are no list".to_owned());
    };
    let ways = names(document, &["proxies", "proxy-groups", "Proxy", "Proxy Group"]);
    let mut found = ClashRules::default();
    let mut unknown_kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (number, item) in list.iter().enumerate() {
        let number = number + 1;
        let Some(text) = item.as_str() else {
            found.left_out.push(format!("rule {number} is no text"));
            continue;
        };
        match rule(text, via, &ways) {
            Ok(rule) => found.rules.push(rule),
            Err(Unread::Kind(kind)) => *unknown_kinds.entry(kind).or_default() += 1,
            Err(Unread::Bad(why)) => found.left_out.push(format!("rule {number}: {why}")),
        }
    }
    if !unknown_kinds.is_empty() {
        let kinds: Vec<String> = unknown_kinds
            .iter()
            .map(|(kind, count)| format!("{kind} ({count})"))
            .collect();
        found.left_out.push(format!(
            "rules of kinds that are not read: {}; the rules after them decide",
            kinds.join(", ")
        ));
    }
    Ok(found)
}

enum Unread {
    Kind(String),
    Bad(String),
}

fn rule(text: &str, via: &Target, ways: &[String]) -> Result<Rule, Unread> {
    let mut parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let kind = parts[0].to_ascii_uppercase();
    if !matches!(
        kind.as_str(),
        "DOMAIN" | "DOMAIN-SUFFIX" | "DOMAIN-KEYWORD" | "IP-CIDR" | "IP-CIDR6" | "MATCH" | "FINAL"
    ) {
        return Err(Unread::Kind(kind.chars().take(30).collect()));
    }
    if kind == "FINAL" {
        parts[0] = "MATCH";
    }
    // `IP-CIDR,…,WAY,no-resolve` alone has something behind the way.
    let at = if parts[0].eq_ignore_ascii_case("MATCH") { 1 } else { 2 };
    let Some(way) = parts.get(at).copied() else {
        return Err(Unread::Bad(format!("`{text}` names no way")));
    };
    let target = match way {
        "DIRECT" => Target::Direct,
        "REJECT" | "REJECT-DROP" | "REJECT-TINYGIF" => Target::Reject,
        "GLOBAL" => via.clone(),
        name if ways.iter().any(|known| known == name) => via.clone(),
        name => return Err(Unread::Bad(format!("`{name}` is no proxy and no group of the file"))),
    };
    parts[at] = "DIRECT";
    let network = aligned(parts.get(1).copied().unwrap_or_default(), &kind);
    if let Some(network) = &network {
        parts[1] = network;
    }
    let rule = rules::parse_rule(&parts.join(","), &[]).map_err(Unread::Bad)?;
    Ok(Rule { target, ..rule })
}

/// Clash takes networks that do not begin at their first address.
fn aligned(text: &str, kind: &str) -> Option<String> {
    let (address, prefix) = text.split_once('/').filter(|_| kind.starts_with("IP-CIDR"))?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    let first = match address {
        std::net::IpAddr::V4(ip) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(ip.to_bits() & mask).to_string()
        }
        std::net::IpAddr::V6(ip) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(ip.to_bits() & mask).to_string()
        }
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => return None,
    };
    Some(format!("{first}/{prefix}"))
}

fn names(document: &Yaml<'_>, keys: &[&str]) -> Vec<String> {
    keys.iter()
        .filter_map(|key| document.as_mapping_get(key)?.as_sequence())
        .flatten()
        .filter_map(|one| one.as_mapping_get("name")?.as_str().map(str::to_owned))
        .collect()
}

/// Brackets and indentation bound how deep a document can be; counting both is cheap and errs to the safe side.
fn nests_too_deeply(text: &str) -> bool {
    let mut open: usize = 0;
    text.lines().any(|line| {
        let indent = line.len() - line.trim_start_matches([' ', '-', '?', ':']).len();
        for c in line.chars() {
            match c {
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
        }
        open > DEEPEST || indent > 4 * DEEPEST
    })
}

/// The order of all rules: those of the configuration, then those of the Clash file; a MATCH of the configuration comes last
/// and takes the place of the file's.
pub(super) fn merged(own: &[Rule], clash: &[Rule]) -> Vec<Rule> {
    let last = own.iter().position(|rule| rule.matcher == Matcher::All);
    let (first, last) = own.split_at(last.unwrap_or(own.len()));
    let clash = clash
        .iter()
        .filter(|rule| last.is_empty() || rule.matcher != Matcher::All);
    first.iter().chain(clash).chain(last).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of the examples in Clash's own documentation.
    const DOCUMENTED: &str = r#"
# HTTP(S) and SOCKS5 on one port
mixed-port: 7890
allow-lan: false
mode: rule
log-level: info
external-controller: 127.0.0.1:9090
dns:
  enable: false
  listen: 0.0.0.0:53
  nameserver: [114.114.114.114, tls://dns.rubyfish.cn:853]
proxies:
  - name: "ss1"
    type: ss
    server: server
    port: 443
    cipher: chacha20-ietf-poly1305
    password: "password"
  - { name: vmess, type: vmess, server: server, port: 443, uuid: uuid, alterId: 32, cipher: auto }
proxy-groups:
  - name: "auto"
    type: url-test
    proxies: [ss1, vmess]
    url: 'http://www.gstatic.com/generate_204'
    interval: 300
  - name: 🚀 节点选择
    type: select
    proxies:
      - auto
      - DIRECT
rule-providers:
  apple:
    behavior: "domain"
    type: http
rules:
  - DOMAIN-SUFFIX,google.com,auto
  - DOMAIN-KEYWORD,google,auto
  - DOMAIN,hf-mirror.com,DIRECT
  - DOMAIN-SUFFIX,ad.com,REJECT
  - SRC-IP-CIDR,192.168.1.201/32,DIRECT
  # optional param "no-resolve" for IP rules
  - IP-CIDR,127.0.0.0/8,DIRECT
  - IP-CIDR,91.108.4.1/22,🚀 节点选择,no-resolve
  - IP-CIDR6,2620:0:2d0:200::7/32,auto
  - GEOIP,CN,DIRECT
  - GEOIP,LAN,DIRECT
  - DST-PORT,80,DIRECT
  - RULE-SET,apple,REJECT
  - DOMAIN-SUFFIX,hf.co,nobody
  - MATCH,auto
"#;

    #[test]
    fn a_file_as_it_is_documented() {
        let via = Target::Proxy("clash".to_owned());
        let found = parse(DOCUMENTED, &via).unwrap();
        let shown: Vec<String> = found.rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "DOMAIN-SUFFIX,google.com,clash",
                "DOMAIN-KEYWORD,google,clash",
                "DOMAIN,hf-mirror.com,DIRECT",
                "DOMAIN-SUFFIX,ad.com,REJECT",
                "IP-CIDR,127.0.0.0/8,DIRECT",
                "IP-CIDR,91.108.4.0/22,clash",
                "IP-CIDR,2620::/32,clash",
                "MATCH,clash",
            ]
        );
        assert_eq!(
            found.left_out,
            [
                "rule 13: `nobody` is no proxy and no group of the file",
                "rules of kinds that are not read: DST-PORT (1), GEOIP (2), RULE-SET (1), SRC-IP-CIDR (1); \
                 the rules after them decide"
            ]
        );
    }

    #[test]
    fn what_is_no_clash_file() {
        let check = |text: &str, fragment: &str| {
            let why = parse(text, &Target::Direct).expect_err(text);
            assert!(why.contains(fragment), "{text}: {why}");
        };
        check("", "document");
        check("port: 1", "has no `rules`");
        check("rules: x", "no list");
        check("rules: [", "not YAML");
        check("a: 1\n---\nb: 2\n", "one YAML document");
        check(&"[".repeat(100_000), "nested");
        check(&format!("{}x", "- ".repeat(100_000)), "nested");
        let odd = parse("rules: [1, 'DOMAIN', 'DOMAIN,x y,DIRECT', 'MATCH']", &Target::Direct).unwrap();
        assert!(odd.rules.is_empty());
        assert_eq!(odd.left_out.len(), 4, "{odd:?}");
    }

    #[test]
    fn a_match_of_ones_own_comes_last() {
        let read = |texts: &[&str]| -> Vec<Rule> {
            texts
                .iter()
                .map(|text| rules::parse_rule(text, &["clash".to_owned()]).unwrap())
                .collect()
        };
        let shown = |rules: Vec<Rule>| -> Vec<String> { rules.iter().map(ToString::to_string).collect() };
        let clash = read(&["DOMAIN,b,clash", "MATCH,clash"]);
        assert_eq!(
            shown(merged(&read(&["DOMAIN,a,DIRECT", "MATCH,DIRECT"]), &clash)),
            ["DOMAIN,a,DIRECT", "DOMAIN,b,clash", "MATCH,DIRECT"]
        );
        assert_eq!(
            shown(merged(&read(&["DOMAIN,a,DIRECT"]), &clash)),
            ["DOMAIN,a,DIRECT", "DOMAIN,b,clash", "MATCH,clash"]
        );
        assert_eq!(shown(merged(&read(&["MATCH,DIRECT"]), &[])), ["MATCH,DIRECT"]);
    }
}
