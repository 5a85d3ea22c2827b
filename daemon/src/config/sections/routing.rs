//! `[routing]`: which way to which host, and where redirects may lead.

use std::path::PathBuf;

use crate::{
    config::{
        clash::{self, ClashRules},
        inputs::Context,
        rules::{parse_network, parse_rule, parse_target},
        section::Reader,
        shape::fault,
        tree::{Node, Table, Value},
        values,
    },
    model::route::{Matcher, Network, Rule, Target},
};

/// `[routing]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoutingOptions {
    /// Whether there is such a section at all: it replaces the proxies of the environment.
    pub is_set: bool,
    /// As written in the configuration.
    pub rules: Vec<Rule>,
    /// A Clash file, with the rules that were read from it.
    pub clash_config: Option<(PathBuf, ClashRules)>,
    /// What the groups of that file stand for.
    pub via: Option<Target>,
    /// Where redirects may lead besides public addresses.
    pub allow_networks: Vec<Network>,
}

impl RoutingOptions {
    /// All rules in force, the Clash file's among them; the first that fits decides.
    pub fn all_rules(&self) -> Vec<Rule> {
        let clash = self.clash_config.as_ref();
        clash::merged(&self.rules, clash.map_or(&[], |(_, read)| read.rules.as_slice()))
    }
}

pub(in crate::config) fn read(
    reader: &mut Reader,
    root: &mut Table,
    context: &Context<'_>,
    proxies: &[String],
) -> Option<RoutingOptions> {
    if !root.contains_key("routing") {
        // Not even its defaults: printed, they would be a section.
        return Some(RoutingOptions::default());
    }
    let mut section = reader.section(root, "routing");
    let nothing = || Node::built_in(Value::List(Vec::new()));
    let rules = section.read("rules", nothing(), |node| {
        values::each(node, |node| values::parsed(node, |text| parse_rule(text, proxies)))
    });
    let (via_at, clash_at) = (section.origin_of("via"), section.origin_of("clash_config"));
    let via = section.read_optional("via", |node| values::parsed(node, |text| parse_target(text, proxies)));
    // Without a good `via`, which is a mistake of its own, the file's own mistakes are still worth telling.
    let groups_mean = via.clone().flatten().unwrap_or(Target::Direct);
    let clash_config = section.read_optional("clash_config", |node| {
        let path = values::path(context)(node)?;
        let (text, _) = (context.read_file)(&path).map_err(|why| fault(node, format!("cannot be read: {why}")))?;
        let read =
            clash::parse(&text, &groups_mean).map_err(|why| fault(node, format!("{}: {why}", path.display())))?;
        Ok((path, read))
    });
    let allow_networks = section.read("allow_networks", nothing(), |node| {
        values::each(node, |node| values::parsed(node, parse_network))
    });
    match (via_at, clash_at) {
        (None, Some(at)) => {
            let message = "is missing: it says what the groups of `routing.clash_config` stand for";
            section.mistake(Some(at), "via", message);
        }
        (Some(_), None) => section.warn("`routing.via` means nothing without `routing.clash_config`"),
        _ => {}
    }
    let after_all = |rules: &[Rule]| {
        rules
            .iter()
            .position(|rule| rule.matcher == Matcher::All)
            .map(|at| at + 1)
    };
    if let Some(rules) = &rules
        && let Some(at) = after_all(rules).filter(|at| *at < rules.len())
    {
        section.warn(format!(
            "`routing.rules`: what comes after MATCH, the rule {at}, is never reached"
        ));
    }
    if let Some(Some((path, read))) = &clash_config {
        for left_out in &read.left_out {
            section.warn(format!("{}: {left_out}", path.display()));
        }
    }
    section.finish();
    Some(RoutingOptions {
        is_set: true,
        rules: rules?,
        clash_config: clash_config?,
        via: via?,
        allow_networks: allow_networks?,
    })
}
