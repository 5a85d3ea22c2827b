//! The ways that requests can take: direct, or through a proxy; and which of them a host gets, by rules or by the variables
//! of the environment. Deciding is pure; the way taken is chosen anew on every hop.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::endpoint::host_of;
use super::proxy::{BySetting, ProxyRules};
use crate::model::ProxyLogin;
use crate::model::route::{Network, Rule, Target, decide};

/// Port of a SOCKS proxy that names none.
const SOCKS_PORT: u16 = 1080;

/// A proxy with its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyPoint {
    name: String,
    /// Holds the password when the environment gave one.
    url: Url,
    login: Option<ProxyLogin>,
}

/// One way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Way {
    /// Without a proxy.
    Direct,
    /// Through this one.
    Proxy(Arc<ProxyPoint>),
}

/// What was decided for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The ways that may be taken, as many as the rule names; none when the host is rejected.
    pub ways: Vec<Way>,
    /// The rule or the variable that decided, for people.
    pub by: String,
}

/// All ways and the rules that choose among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    rules: Rules,
    proxies: Vec<Arc<ProxyPoint>>,
    allowed: Arc<[Network]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rules {
    Environment(Box<ProxyRules>),
    List(Vec<Rule>),
}

impl ProxyPoint {
    /// A proxy of the configuration.
    pub fn new(name: &str, mut url: Url, login: Option<ProxyLogin>) -> Self {
        if url.port().is_none() && url.scheme().starts_with("socks") {
            // Refused for addresses without a host only, which are no proxies.
            let _unchanged = url.set_port(Some(SOCKS_PORT));
        }
        Self {
            name: name.to_owned(),
            url,
            login,
        }
    }

    /// What rules call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `host:port`, for people.
    pub fn host(&self) -> String {
        host_of(&self.url)
    }

    /// Its address without user and password.
    pub fn shown(&self) -> String {
        format!("{}://{}", self.url.scheme(), self.host())
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The address as the library takes it: user and password inside.
    pub(super) fn url_with_login(&self) -> Url {
        let mut url = self.url.clone();
        if let Some(login) = &self.login {
            let set = url
                .set_username(login.user())
                .and_then(|()| url.set_password(Some(login.reveal())));
            debug_assert!(set.is_ok(), "a proxy's address takes a user");
        }
        url
    }
}

/// Shows no password.
impl fmt::Debug for ProxyPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyPoint")
            .field("name", &self.name)
            .field("url", &self.shown())
            .finish_non_exhaustive()
    }
}

impl Way {
    /// `DIRECT`, or the proxy's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Direct => "DIRECT",
            Self::Proxy(point) => point.name(),
        }
    }

    pub(super) fn proxy(&self) -> Option<&ProxyPoint> {
        match self {
            Self::Direct => None,
            Self::Proxy(point) => Some(point),
        }
    }
}

impl RouteTable {
    /// No proxy for anything.
    pub fn direct() -> Self {
        Self::environment(ProxyRules::none())
    }

    /// As the variables of the environment say.
    pub fn environment(rules: ProxyRules) -> Self {
        let point = |url: &Url| Arc::new(ProxyPoint::new(&host_of(url), url.clone(), None));
        Self {
            proxies: rules.proxies().into_iter().map(point).collect(),
            rules: Rules::Environment(Box::new(rules)),
            allowed: Arc::default(),
        }
    }

    /// By rules; hosts that none of them is about are reached directly. A rule that names an unknown proxy rejects.
    pub fn rules(rules: Vec<Rule>, proxies: Vec<ProxyPoint>) -> Self {
        Self {
            rules: Rules::List(rules),
            proxies: proxies.into_iter().map(Arc::new).collect(),
            allowed: Arc::default(),
        }
    }

    /// The same with networks that redirects may lead into.
    #[must_use]
    pub fn allowing(self, networks: &[Network]) -> Self {
        Self {
            allowed: networks.into(),
            ..self
        }
    }

    /// Where redirects may lead besides public addresses.
    pub(super) fn allowed(&self) -> &Arc<[Network]> {
        &self.allowed
    }

    /// Every way there is, the direct one first.
    pub fn ways(&self) -> Vec<Way> {
        let proxies = self.proxies.iter().cloned().map(Way::Proxy);
        std::iter::once(Way::Direct).chain(proxies).collect()
    }

    /// Decides for the host of an address. Looks at nothing but the rules.
    pub fn decide(&self, url: &Url) -> Decision {
        match &self.rules {
            Rules::List(rules) => match decide(rules, url) {
                Some((_, rule)) => Decision {
                    ways: self.ways_of(&rule.target),
                    by: rule.to_string(),
                },
                None => Decision {
                    ways: vec![Way::Direct],
                    by: "no rule is about it".to_owned(),
                },
            },
            Rules::Environment(rules) => match rules.ask(url) {
                BySetting::Unset => Decision {
                    ways: vec![Way::Direct],
                    by: "no proxy variable is set for it".to_owned(),
                },
                BySetting::Exempt(variable) => Decision {
                    ways: vec![Way::Direct],
                    by: format!("NO_PROXY exempts it from {variable}"),
                },
                BySetting::Proxy(variable, proxy) => Decision {
                    ways: self
                        .proxies
                        .iter()
                        .filter(|point| point.url == *proxy)
                        .take(1)
                        .cloned()
                        .map(Way::Proxy)
                        .collect(),
                    by: format!("the variable {variable}"),
                },
            },
        }
    }

    fn ways_of(&self, target: &Target) -> Vec<Way> {
        match target {
            Target::Direct => vec![Way::Direct],
            Target::Reject => Vec::new(),
            Target::Proxy(name) => {
                let known = self.proxies.iter().find(|point| point.name == *name);
                known.cloned().map(Way::Proxy).into_iter().collect()
            }
            Target::Auto(targets) => targets.iter().flat_map(|target| self.ways_of(target)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::route::Matcher;

    fn names(decision: &Decision) -> Vec<&str> {
        decision.ways.iter().map(Way::name).collect()
    }

    fn at(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    #[test]
    fn rules_choose_the_ways() {
        let suffix = |name: &str, target| Rule {
            matcher: Matcher::DomainSuffix(name.to_owned()),
            target,
        };
        let proxy = |name: &str| Target::Proxy(name.to_owned());
        let login = ProxyLogin::parse("ann:s:ec ret");
        let points = vec![
            ProxyPoint::new("clash", at("http://127.0.0.1:7890"), login),
            ProxyPoint::new("vpn", at("socks5h://vpn.example"), None),
        ];
        let rules = vec![
            suffix("hf-mirror.com", Target::Direct),
            suffix("huggingface.co", proxy("clash")),
            suffix("hf.co", Target::Auto(vec![Target::Direct, proxy("vpn")])),
            suffix("ads.example", Target::Reject),
            suffix("odd.example", proxy("gone")),
        ];
        let table = RouteTable::rules(rules, points);
        let check = |url: &str, expected: &[&str], by: &str| {
            let decision = table.decide(&at(url));
            assert_eq!(
                (names(&decision), decision.by.as_str()),
                (expected.to_vec(), by),
                "{url}"
            );
        };
        check(
            "https://hf-mirror.com/x",
            &["DIRECT"],
            "DOMAIN-SUFFIX,hf-mirror.com,DIRECT",
        );
        check(
            "https://huggingface.co/x",
            &["clash"],
            "DOMAIN-SUFFIX,huggingface.co,clash",
        );
        check(
            "https://us.cdn.hf.co/x",
            &["DIRECT", "vpn"],
            "DOMAIN-SUFFIX,hf.co,AUTO(DIRECT,vpn)",
        );
        check("https://ads.example/", &[], "DOMAIN-SUFFIX,ads.example,REJECT");
        check("https://odd.example/", &[], "DOMAIN-SUFFIX,odd.example,gone");
        check("https://else.example/", &["DIRECT"], "no rule is about it");
        let ways = table.ways();
        assert_eq!(
            ways.iter().map(Way::name).collect::<Vec<_>>(),
            ["DIRECT", "clash", "vpn"]
        );
        assert_eq!(
            ways[1].proxy().unwrap().url_with_login().as_str(),
            "http://ann:s%3Aec%20ret@127.0.0.1:7890/"
        );
        assert_eq!(
            ways[2].proxy().unwrap().url_with_login().as_str(),
            "socks5h://vpn.example:1080"
        );
        let shown = format!("{table:?}");
        assert!(!shown.contains("ec ret") && !shown.contains("s%3Aec"), "{shown}");
    }

    #[test]
    fn variables_choose_without_rules() {
        let lookup = |name: &str| match name {
            "https_proxy" => Some("http://u:secret@p:1".to_owned()),
            "no_proxy" => Some("hf-mirror.com".to_owned()),
            _ => None,
        };
        let table = RouteTable::environment(ProxyRules::from_lookup(lookup).unwrap());
        let check = |url: &str, expected: &[&str], by: &str| {
            let decision = table.decide(&at(url));
            assert_eq!(
                (names(&decision), decision.by.as_str()),
                (expected.to_vec(), by),
                "{url}"
            );
        };
        check("https://huggingface.co/", &["p:1"], "the variable https_proxy");
        check("http://huggingface.co/", &["DIRECT"], "no proxy variable is set for it");
        check(
            "https://hf-mirror.com/",
            &["DIRECT"],
            "NO_PROXY exempts it from https_proxy",
        );
        assert!(!format!("{table:?}").contains("secret"));
    }
}
