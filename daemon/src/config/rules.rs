//! Reads which way leads to which host, in Clash's syntax: `DOMAIN-SUFFIX,huggingface.co,clash`.

use std::net::IpAddr;

use super::nearest;
use crate::model::route::{Matcher, Network, Rule, Target};

/// Names that are no proxies.
pub(super) const RESERVED: [&str; 3] = ["DIRECT", "REJECT", "AUTO"];

/// Reads a rule; its target must be among the proxies.
pub(super) fn parse_rule(text: &str, proxies: &[String]) -> Result<Rule, String> {
    let parts = split(text)?;
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).collect();
    let (kind, rest) = parts.split_first().ok_or("is empty")?;
    let (matcher, rest) = match (kind.to_ascii_uppercase().as_str(), rest) {
        ("MATCH", rest) => (Matcher::All, rest),
        ("DOMAIN", [name, rest @ ..]) => (Matcher::Domain(domain(name)?), rest),
        ("DOMAIN-SUFFIX", [name, rest @ ..]) => {
            let name = name.strip_prefix("+.").unwrap_or(name);
            (Matcher::DomainSuffix(domain(name.trim_start_matches('.'))?), rest)
        }
        ("DOMAIN-KEYWORD", [word, rest @ ..]) => (Matcher::DomainKeyword(domain(word)?), rest),
        ("IP-CIDR" | "IP-CIDR6", [network, rest @ ..]) => {
            // Names are not resolved for rules anyway.
            let rest = match rest {
                [rest @ .., last] if last.eq_ignore_ascii_case("no-resolve") => rest,
                rest => rest,
            };
            (Matcher::Network(parse_network(network)?), rest)
        }
        ("DOMAIN" | "DOMAIN-SUFFIX" | "DOMAIN-KEYWORD" | "IP-CIDR" | "IP-CIDR6", []) => {
            return Err(format!("`{text}` needs a value and a target: {kind},VALUE,TARGET"));
        }
        _ => {
            let known = ["DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "IP-CIDR", "MATCH"];
            let near = nearest::near(kind, known.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "`{kind}` is no kind of rule; there are {}{near}",
                known.join(", ")
            ));
        }
    };
    match rest {
        [target] => Ok(Rule {
            matcher,
            target: parse_target(target, proxies)?,
        }),
        [] => Err(format!("`{text}` needs a target")),
        _ => Err(format!("`{text}` has too many parts")),
    }
}

/// At commas outside of parentheses.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| format!("`{text}` has one `)` too many"))?
            }
            _ => {}
        }
        match parts.last_mut() {
            Some(part) if c != ',' || depth > 0 => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    match depth {
        0 => Ok(parts),
        _ => Err(format!("`{text}` lacks a `)`")),
    }
}

/// `DIRECT`, `REJECT`, a proxy, `AUTO(a,b)`.
pub(super) fn parse_target(text: &str, proxies: &[String]) -> Result<Target, String> {
    let inner = text.strip_suffix(')').and_then(|text| text.split_once('('));
    if let Some((name, inner)) = inner
        && name.trim().eq_ignore_ascii_case("AUTO")
    {
        let parts = inner.split(',').map(str::trim);
        let targets: Vec<Target> = parts.map(|part| parse_plain(part, proxies)).collect::<Result<_, _>>()?;
        if targets.contains(&Target::Reject) {
            return Err("AUTO chooses among ways; REJECT is none".to_owned());
        }
        return Ok(Target::Auto(targets));
    }
    parse_plain(text, proxies)
}

fn parse_plain(text: &str, proxies: &[String]) -> Result<Target, String> {
    match text {
        "DIRECT" => Ok(Target::Direct),
        "REJECT" => Ok(Target::Reject),
        "AUTO" => Err("AUTO needs the ways to choose from, such as AUTO(DIRECT,clash)".to_owned()),
        _ if proxies.iter().any(|known| known == text) => Ok(Target::Proxy(text.to_owned())),
        _ => {
            let known = RESERVED.into_iter().chain(proxies.iter().map(String::as_str));
            let hint = match nearest::near(text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if proxies.is_empty() => "no [[proxies]] are defined".to_owned(),
                None => format!("there are {}", proxies.join(", ")),
            };
            Err(format!("`{text}` is no proxy, nor DIRECT or REJECT; {hint}"))
        }
    }
}

fn domain(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_alphanumeric() || "-._".contains(c);
    match !text.is_empty() && text.chars().all(good) {
        true => Ok(text.trim_end_matches('.').to_lowercase()),
        false => Err(format!("`{text}` is no part of a host's name")),
    }
}

/// `10.20.0.0/16`, `fd00::/8`, or one address.
pub(super) fn parse_network(text: &str) -> Result<Network, String> {
    let bad = || format!("`{text}` is no network, such as 10.20.0.0/16 or fd00::/8");
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.trim().parse().map_err(|_| bad())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u8 = match prefix {
        Some(prefix) => prefix.trim().parse().map_err(|_| bad())?,
        None => most,
    };
    if prefix > most {
        return Err(format!("`{text}` has a prefix longer than {most} bits"));
    }
    let first = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    };
    match first == address {
        true => Ok(Network { address, prefix }),
        false => Err(format!(
            "`{text}` does not begin at its first address: write {first}/{prefix}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Vec<String> {
        vec!["clash".to_owned(), "vpn".to_owned()]
    }

    #[test]
    fn as_clash_reads_them() {
        let check = |text: &str, matcher: Matcher, target: Target| {
            assert_eq!(parse_rule(text, &proxies()), Ok(Rule { matcher, target }), "{text}");
        };
        let clash = || Target::Proxy("clash".to_owned());
        check("DOMAIN,Hf.co,DIRECT", Matcher::Domain("hf.co".into()), Target::Direct);
        check(
            "domain-suffix, .hf.co , clash",
            Matcher::DomainSuffix("hf.co".into()),
            clash(),
        );
        check(
            "DOMAIN-KEYWORD,face,REJECT",
            Matcher::DomainKeyword("face".into()),
            Target::Reject,
        );
        let ten = Network {
            address: [10, 0, 0, 0].into(),
            prefix: 8,
        };
        check(
            "IP-CIDR,10.0.0.0/8,DIRECT,no-resolve",
            Matcher::Network(ten),
            Target::Direct,
        );
        let v6 = Network {
            address: "fd00::".parse().unwrap(),
            prefix: 8,
        };
        check("IP-CIDR6,fd00::/8,clash", Matcher::Network(v6), clash());
        check("MATCH,clash", Matcher::All, clash());
        let auto = Target::Auto(vec![Target::Direct, clash(), Target::Proxy("vpn".to_owned())]);
        check("MATCH,AUTO(DIRECT, clash,vpn)", Matcher::All, auto);
    }

    #[test]
    fn what_is_wrong_with_a_rule() {
        let check = |text: &str, fragment: &str| {
            let why = parse_rule(text, &proxies()).expect_err(text);
            assert!(why.contains(fragment), "{text}: {why}");
        };
        check("", "no kind of rule");
        check("DOMAIN-SUFIX,x,DIRECT", "did you mean `DOMAIN-SUFFIX`?");
        check("GEOIP,CN,DIRECT", "no kind of rule");
        check("DOMAIN", "needs a value");
        check("DOMAIN,x", "needs a target");
        check("DOMAIN,x y,DIRECT", "host's name");
        check("DOMAIN,x,DIRECT,y", "too many parts");
        check("MATCH,clsh", "did you mean `clash`?");
        check("MATCH,direct", "did you mean `DIRECT`?");
        check("MATCH,AUTO", "AUTO needs");
        check("MATCH,AUTO(clash,REJECT)", "REJECT is none");
        check("MATCH,AUTO(clash,nope)", "`nope` is no proxy");
        check("MATCH,AUTO(clash", "lacks a `)`");
        check("MATCH,clash)", "too many");
        check("IP-CIDR,10.0.0.1/8,DIRECT", "write 10.0.0.0/8");
        check("IP-CIDR,10.0.0.0/33,DIRECT", "longer than 32");
        check("IP-CIDR,10.0.0/8,DIRECT", "no network");
        assert!(parse_rule("MATCH,x", &[]).unwrap_err().contains("no [[proxies]]"));
    }

    #[test]
    fn networks() {
        for good in ["0.0.0.0/0", "::/0", "10.1.2.3", "::1", "192.168.1.0/24", "10.0.0.0/32"] {
            assert!(parse_network(good).is_ok(), "{good}");
        }
        for bad in ["", "10", "10.0.0.0/", "10.0.0.0/x", "::/129", "[::1]", "localhost"] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
    }
}
