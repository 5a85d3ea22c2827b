//! What someone may have meant who wrote a key that there is none of.

use super::{keys::KEYS, origin::Origin};

/// For a key inside a section; `path` is the section's, as people see it.
pub(super) fn unknown_key(key: &str, at: &Origin, known: &[&'static str], pattern: &str, path: &str) -> String {
    if let Some(near) = near(key, known.iter().copied()) {
        let near = match at {
            Origin::Variable(_) => spelled(&format!("{path}.{near}"), at),
            Origin::Default | Origin::File { .. } => near.to_owned(),
        };
        return format!("unknown key; did you mean `{near}`?");
    }
    match elsewhere(key, pattern) {
        Some(place) => format!("unknown key; did you mean `{}`?", spelled(place, at)),
        None => format!("unknown key; here are known: {}", known.join(", ")),
    }
}

/// For what stands at the top.
pub(super) fn unknown_section(name: &str, at: &Origin, is_table: bool) -> String {
    let sections = sections();
    let what = if is_table { "unknown section" } else { "unknown key" };
    let meant = elsewhere(name, "").or_else(|| near(name, sections.iter().copied()));
    match meant {
        Some(meant) => format!("{what}; did you mean `{}`?", spelled(meant, at)),
        None => format!("{what}; the sections are {}", sections.join(", ")),
    }
}

/// A dotted key as its writer would spell it.
fn spelled(key: &str, at: &Origin) -> String {
    match at {
        Origin::Variable(_) => format!("HFETCH_{}", key.replace('.', "__").to_uppercase()),
        Origin::Default | Origin::File { .. } => key.to_owned(),
    }
}

/// The nearest of some names, when it is near at all.
pub(super) fn near<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = wanted.to_lowercase();
    names
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= 0.82)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The names of all sections, in order.
fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = KEYS.iter().filter_map(|key| key.name.split('.').next()).collect();
    sections.dedup();
    sections
}

/// A key of another section that is called like this, or, for `storage_cache`, consists of this.
fn elsewhere(key: &str, pattern: &str) -> Option<&'static str> {
    let joined = key.to_lowercase().replace(['_', '-', '.'], "");
    KEYS.iter().map(|known| known.name).find(|name| {
        let last = name.rsplit('.').next();
        let own = name.strip_suffix(key).and_then(|section| section.strip_suffix('.'));
        (last == Some(key) && own != Some(pattern)) || name.replace(['_', '.'], "") == joined
    })
}
