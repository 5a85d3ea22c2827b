//! Which module may import which: read from the documentation of the crate, checked against every `crate::` in the code.

use std::collections::BTreeSet;

use super::source::{Source, all, in_folder};

/// Modules of one floor that may use each other: (user, used, reason).
const SIDEWAYS: [(&str, &str, &str); 0] = [];

/// The modules of each floor, from the text that begins with "Floors" in a crate's documentation: the number of the floor,
/// its modules in backticks, a semicolon.
pub(crate) fn table(program: &str) -> Vec<Vec<String>> {
    let source = all()
        .iter()
        .find(|source| source.name == program)
        .expect("the crate's root");
    let doc: Vec<&str> = source
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .collect();
    let doc = doc.join(" ");
    let start = doc
        .find("Floors, from the ground up")
        .expect("the documentation has the floors");
    let mut floors = Vec::new();
    for part in doc[start..].split(';') {
        let number = format!(" {} `", floors.len());
        if let Some(at) = part.find(&number) {
            let names = &part[at + number.len() - 1..];
            floors.push(names.split('`').skip(1).step_by(2).map(str::to_owned).collect());
        }
    }
    floors
}

/// Imports that go up or sideways, modules without a floor, floors without a module.
pub(crate) fn faults(program: &str) -> Vec<String> {
    let floors = table(program);
    let floor_of = |module: &str| floors.iter().position(|floor| floor.iter().any(|name| name == module));
    let folder = &program[..program.rfind('/').map_or(0, |at| at + 1)];
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for source in in_folder(folder).iter().filter(|source| source.name != program) {
        let module = module_of(&source.name[folder.len()..]);
        if module == "main" {
            continue;
        }
        seen.insert(module.to_owned());
        let Some(own) = floor_of(module) else {
            faults.push(format!("{}: `{module}` is on no floor", source.name));
            continue;
        };
        for (line, used) in imports(source) {
            let excused = SIDEWAYS
                .iter()
                .any(|(user, sideways, _)| (*user, *sideways) == (module, used.as_str()));
            match floor_of(&used) {
                Some(floor) if floor >= own && used != module && !excused => {
                    let name = &source.name;
                    faults.push(format!(
                        "{name}:{line}: `{module}` (floor {own}) imports `{used}` (floor {floor})"
                    ));
                }
                Some(_) => {}
                // A name that the root of the crate exports.
                None => faults.push(format!("{}:{line}: `{used}` is on no floor", source.name)),
            }
        }
    }
    let missing = floors.iter().flatten().filter(|module| !seen.contains(*module));
    faults.extend(missing.map(|module| format!("{program}: there is no module `{module}`")));
    faults
}

/// `engine` for `engine/mod.rs`, `app` for `app.rs`.
fn module_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// What a file takes from its crate, with the line: `crate::a`, `crate::{a, b::{c, d}}`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let text: String = source.code().map(|(_, line)| line + "\n").collect();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate::` and `other_crate::` are something else.
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        let names = if rest.starts_with('{') {
            group(rest)
        } else {
            vec![name(rest)]
        };
        found.extend(
            names
                .into_iter()
                .filter(|name| !name.is_empty())
                .map(|name| (line, name)),
        );
    }
    found
}

/// The first names in a group in braces.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut names, mut begin) = (0, Vec::new(), true);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        match c {
            '{' | ',' if depth == 1 => begin = true,
            c if begin && depth == 1 && !c.is_whitespace() => {
                names.push(name(&text[at..]));
                begin = false;
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::{\n    cache,\n    hub::{Hub, x},\n    model::Job,\n};\nlet a = crate::store::Scope::All; // crate::api\n";
    let source = Source {
        name: String::new(),
        text: text.into(),
    };
    let expected = [(1, "cache"), (1, "hub"), (1, "model"), (6, "store")];
    assert_eq!(imports(&source), expected.map(|(line, name)| (line, name.to_owned())));
    assert_eq!((module_of("engine/stop.rs"), module_of("app.rs")), ("engine", "app"));
}
