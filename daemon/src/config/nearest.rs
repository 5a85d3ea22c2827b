//! What someone may have meant who wrote a key that there is none of.

use super::keys::KEYS;

/// For a key inside a section.
pub(super) fn unknown_key(key: &str, known: &[&'static str], pattern: &str) -> String {
    if let Some(near) = near(key, known.iter().copied()) {
        return format!("unknown key; did you mean `{near}`?");
    }
    match elsewhere(key, pattern) {
        Some(place) => format!("unknown key; did you mean `{place}`?"),
        None => format!("unknown key; here are known: {}", known.join(", ")),
    }
}

/// For what stands at the top.
pub(super) fn unknown_section(name: &str, is_table: bool) -> String {
    let sections = sections();
    let what = if is_table { "unknown section" } else { "unknown key" };
    if let Some(near) = near(name, sections.iter().copied()) {
        return format!("{what}; did you mean `{near}`?");
    }
    match elsewhere(name, "") {
        Some(place) => format!("{what}; did you mean `{place}`?"),
        None => format!("{what}; the sections are {}", sections.join(", ")),
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
    let mut sections: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| key.name.split('.').next())
        .collect();
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
