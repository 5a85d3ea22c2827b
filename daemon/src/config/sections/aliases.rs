//! `[aliases]`: short names on top of the built-in table.

use std::collections::BTreeMap;

use crate::config::{origin::Origin, section::Reader, settings::key_text, tree::Table, values};
use crate::names::{check_alias_name, parse, same_name};

pub(in crate::config) fn read(reader: &mut Reader, root: &mut Table) -> Option<BTreeMap<String, String>> {
    let mut section = reader.section(root, "aliases");
    let read = section.read_all(|node| {
        values::parsed(node, |target| {
            let reference = parse(target).map_err(|why| why.to_string())?;
            match reference.path {
                Some(path) => Err(format!(
                    "must be a repository, but names the file or folder `{path}` too"
                )),
                None => Ok(target.trim().to_owned()),
            }
        })
    });
    let mut complete = true;
    let mut aliases = BTreeMap::new();
    // By what is compared: the alias and its place.
    let mut known: BTreeMap<String, (String, Origin)> = BTreeMap::new();
    for (name, entry, target) in read {
        if let Err(why) = check_alias_name(&name) {
            section.mistake(Some(entry.key_at.clone()), &name, why.to_string());
            complete = false;
        }
        let Some(target) = target else {
            complete = false;
            continue;
        };
        // A variable can only spell small letters and `_`: it covers the alias that it means.
        let covers = matches!(entry.key_at, Origin::Variable(_));
        match known.get(&same_name(&name)) {
            Some((other, _)) if covers => {
                aliases.remove(other);
            }
            Some((_, Origin::Variable(_))) => continue,
            Some((other, place)) => {
                let place = place.place().unwrap_or_default();
                let message = format!("is the same name as `{}` at {place}", key_text(other));
                section.mistake(Some(entry.key_at.clone()), &name, message);
                complete = false;
            }
            None => {}
        }
        known.insert(same_name(&name), (name.clone(), entry.key_at));
        aliases.insert(name, target);
    }
    section.finish();
    complete.then_some(aliases)
}
