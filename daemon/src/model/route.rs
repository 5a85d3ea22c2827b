//! Which way to which host: rules in Clash's words, and the pure decision that they make.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

/// One rule; the first that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub matcher: Matcher,
    /// The way.
    pub target: Target,
}

/// What a rule is about. Names are in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// This very host.
    Domain(String),
    /// This host and all below it.
    DomainSuffix(String),
    /// Hosts with this in their name.
    DomainKeyword(String),
    /// Hosts that are written as an address of a network. Names are not resolved for rules: the answer could differ from
    /// the one that the connection is made with.
    Network(Network),
    /// Everything.
    All,
}

/// A way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Without a proxy.
    Direct,
    /// Not at all.
    Reject,
    /// Through the proxy of this name.
    Proxy(String),
    /// Whichever of these is best.
    Auto(Vec<Target>),
}

/// The addresses that begin like this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first address; what lies behind the prefix is zero.
    pub address: IpAddr,
    /// Bits that count.
    pub prefix: u8,
}

/// The first rule that fits the host of an address, with its number from 0.
pub fn decide<'r>(rules: &'r [Rule], url: &Url) -> Option<(usize, &'r Rule)> {
    rules.iter().enumerate().find(|(_, rule)| rule.matcher.fits(url))
}

impl Matcher {
    /// Whether the host of the address is meant.
    pub fn fits(&self, url: &Url) -> bool {
        let host = url.host();
        let name = match &host {
            Some(Host::Domain(name)) => Some(name.trim_end_matches('.')),
            _ => None,
        };
        match self {
            Self::Domain(known) => name == Some(known),
            Self::DomainSuffix(suffix) => name
                .and_then(|name| name.strip_suffix(suffix.as_str()))
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Self::DomainKeyword(word) => name.is_some_and(|name| name.contains(word.as_str())),
            Self::Network(network) => match host {
                Some(Host::Ipv4(ip)) => network.contains(ip.into()),
                Some(Host::Ipv6(ip)) => network.contains(ip.into()),
                Some(Host::Domain(_)) | None => false,
            },
            Self::All => true,
        }
    }
}

impl Network {
    /// Whether an address lies in it. An IPv4 address written as IPv6 is the IPv4 address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                first.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                first.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// As it is written in a configuration.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matcher {
            Matcher::Domain(name) => write!(f, "DOMAIN,{name},")?,
            Matcher::DomainSuffix(name) => write!(f, "DOMAIN-SUFFIX,{name},")?,
            Matcher::DomainKeyword(word) => write!(f, "DOMAIN-KEYWORD,{word},")?,
            Matcher::Network(network) => write!(f, "IP-CIDR,{network},")?,
            Matcher::All => f.write_str("MATCH,")?,
        }
        write!(f, "{}", self.target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("DIRECT"),
            Self::Reject => f.write_str("REJECT"),
            Self::Proxy(name) => f.write_str(name),
            Self::Auto(targets) => {
                let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
                write!(f, "AUTO({})", names.join(","))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(matcher: Matcher, target: Target) -> Rule {
        Rule { matcher, target }
    }

    fn network(text: &str, prefix: u8) -> Matcher {
        let address = text.parse().unwrap();
        Matcher::Network(Network { address, prefix })
    }

    #[test]
    fn what_a_rule_is_about() {
        let check = |matcher: Matcher, url: &str, fits: bool| {
            assert_eq!(matcher.fits(&Url::parse(url).unwrap()), fits, "{matcher:?} {url}");
        };
        let domain = || Matcher::Domain("hf.co".into());
        check(domain(), "https://hf.co/x", true);
        check(domain(), "https://HF.CO./x", true);
        check(domain(), "https://hf.co:8443/x", true);
        check(domain(), "https://cdn.hf.co/x", false);
        check(domain(), "https://ahf.co/x", false);
        let suffix = || Matcher::DomainSuffix("hf.co".into());
        check(suffix(), "https://hf.co/", true);
        check(suffix(), "https://us.aws.cdn.hf.co/", true);
        check(suffix(), "https://hf.co.evil.example/", false);
        check(suffix(), "https://nothf.co/", false);
        check(suffix(), "https://cdn.hf.co./", true);
        let word = || Matcher::DomainKeyword("hugging".into());
        check(word(), "https://cdn-lfs.huggingface.co/", true);
        check(word(), "https://example/hugging", false);
        check(Matcher::DomainKeyword("127".into()), "http://127.0.0.1/", false);
        check(network("10.0.0.0", 8), "http://10.200.1.1:8/", true);
        check(network("10.0.0.0", 8), "http://11.0.0.1/", false);
        check(network("10.0.0.0", 8), "http://[::ffff:10.0.0.1]/", true);
        check(network("0.0.0.0", 0), "http://1.2.3.4/", true);
        check(network("0.0.0.0", 0), "http://[fd00::1]/", false);
        check(network("0.0.0.0", 0), "http://name/", false);
        check(network("::", 0), "http://[fd00::1]/", true);
        check(network("fd00::", 8), "http://[fd12::1]/", true);
        check(network("127.0.0.2", 32), "http://127.0.0.2/", true);
        check(network("127.0.0.2", 32), "http://127.0.0.3/", false);
        check(Matcher::All, "http://anything/", true);
    }

    #[test]
    fn the_first_that_fits_decides() {
        let clash = || Target::Proxy("clash".into());
        let rules = [
            rule(Matcher::DomainSuffix("hf-mirror.com".into()), Target::Direct),
            rule(Matcher::DomainKeyword("hf".into()), clash()),
            rule(Matcher::Domain("hf-mirror.com".into()), Target::Reject),
        ];
        let check = |url: &str, expected: Option<usize>| {
            let decided = decide(&rules, &Url::parse(url).unwrap());
            assert_eq!(decided.map(|(number, _)| number), expected, "{url}");
        };
        check("https://hf-mirror.com/", Some(0));
        check("https://cdn.hf.co/", Some(1));
        check("https://example.org/", None);
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        let auto = Target::Auto(vec![Target::Direct, Target::Proxy("clash".into())]);
        let shown = [
            rule(Matcher::Domain("a".into()), Target::Direct),
            rule(Matcher::DomainSuffix("b".into()), Target::Reject),
            rule(Matcher::DomainKeyword("c".into()), auto),
            rule(network("10.0.0.0", 8), Target::Proxy("vpn".into())),
            rule(Matcher::All, Target::Direct),
        ]
        .map(|rule| rule.to_string());
        assert_eq!(
            shown,
            [
                "DOMAIN,a,DIRECT",
                "DOMAIN-SUFFIX,b,REJECT",
                "DOMAIN-KEYWORD,c,AUTO(DIRECT,clash)",
                "IP-CIDR,10.0.0.0/8,vpn",
                "MATCH,DIRECT"
            ]
        );
    }
}
