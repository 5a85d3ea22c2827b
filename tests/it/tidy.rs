//! What the sources promise about themselves: floors, who may use which library, lengths, units, left-overs.
//!
//! A failure names the file, the line and the rule. A rule that stands in the way is changed here, with a reason.

mod floors;
mod source;
mod wire;

use std::path::Path;

use self::source::{Source, all, in_folder, root};

/// Longest Rust file. Above it there is a second idea in it.
const MOST_LINES: usize = 400;
/// Files that may be longer, with the reason.
const LONGER: [(&str, &str); 0] = [];
/// Top level of the repository, which stays as it is; hidden files and cargo's output beside it.
const TOP_LEVEL: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "proto",
    "daemon",
    "client",
    "tests",
    "systemd",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "deny.toml",
];

fn check(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

/// Lines of code (no comments) with one of the words, in files that are not excused.
fn users(sources: &[Source], words: &[&str], excused: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !excused(&source.name)) {
        for (number, line) in source.code() {
            if let Some(word) = words.iter().find(|word| source::has_word(&line, word)) {
                faults.push(format!("{}:{number}: {word}", source.name));
            }
        }
    }
    faults
}

#[test]
fn files_are_short() {
    let long = all().iter().filter(|source| source.text.lines().count() > MOST_LINES);
    let faults: Vec<String> = long
        .filter(|source| !LONGER.iter().any(|(name, _)| *name == source.name))
        .map(|source| format!("{} has {} lines", source.name, source.text.lines().count()))
        .collect();
    check("a file has at most 400 lines; split it by reason to change", &faults);
}

#[test]
fn each_library_has_one_user() {
    let daemon = in_folder("daemon/src/");
    let rules: [(&[&str], &str); 4] = [
        (&["rusqlite"], "daemon/src/store/"),
        (&["reqwest"], "daemon/src/hub/"),
        (&["prometheus_client"], "daemon/src/metrics/"),
        (
            &[
                "tonic",
                "tonic_health",
                "tonic_reflection",
                "tonic_types",
                "hfetch_proto::v1",
            ],
            "daemon/src/api/",
        ),
    ];
    for (words, folder) in rules {
        let faults = users(&daemon, words, |name| name.starts_with(folder));
        check(&format!("{words:?} are used in {folder} alone"), &faults);
    }
}

#[test]
fn only_the_view_prints() {
    let sources = [
        in_folder("daemon/src/"),
        in_folder("client/src/"),
        in_folder("proto/src/"),
    ]
    .concat();
    let words = ["println", "print", "eprintln", "eprint", "stdout", "stderr"];
    let macros = words.map(|word| format!("{word}!")).to_vec();
    let mut faults = Vec::new();
    for source in &sources {
        let in_tests = source.name.contains("/tests/") || source.name.ends_with("_tests.rs");
        let may = in_tests || source.name.starts_with("client/src/view") || source.name.ends_with("/main.rs");
        for (number, line) in source.code().filter(|_| !may) {
            if macros.iter().any(|word| line.contains(word.as_str())) || line.contains("stdout()") {
                faults.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    check("printing is for client/src/view and the mains", &faults);
}

#[test]
fn nothing_is_left_over() {
    // Put together, so that this file does not hold them.
    let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!"));
    let marks = ["FIX", "XX"].iter().zip(["ME", "X"]).map(|(a, b)| format!("{a}{b}"));
    let attributes = ["ignore", "allow(dead_code"].map(|word| format!("#[{word}"));
    let all_words: Vec<String> = words.into_iter().chain(marks).chain(attributes).collect();
    let mut faults = Vec::new();
    for source in all() {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(word) = all_words.iter().find(|word| line.contains(word.as_str())) {
                faults.push(format!("{}:{}: {word}", source.name, number + 1));
            }
        }
    }
    check("finish it, or write an issue", &faults);
}

#[test]
fn modules_import_lower_floors_only() {
    for program in ["daemon/src/lib.rs", "client/src/main.rs"] {
        check(
            &format!("{program} says which floor a module is on, and that it imports lower floors only"),
            &floors::faults(program),
        );
    }
}

#[test]
fn the_readme_has_the_floors_of_the_source() {
    let readme = read("README.md");
    let mut faults = Vec::new();
    for (number, modules) in floors::table("daemon/src/lib.rs").iter().enumerate() {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {number} | `")));
        let cell = row.and_then(|row| row.split('|').nth(2)).unwrap_or_default();
        let told: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if told != *modules {
            faults.push(format!("floor {number}: {told:?} instead of {modules:?}"));
        }
    }
    check("README.md repeats the floors of daemon/src/lib.rs", &faults);
}

#[test]
fn numbers_on_the_wire_have_units() {
    check(
        "a number is named for its unit (bytes, per_sec, _sec, _ms), counts something known, or has a comment with its unit",
        &wire::numbers_without_units(),
    );
}

#[test]
fn the_top_level_is_fixed() {
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(root()).expect("readable") {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "target" && !TOP_LEVEL.contains(&name.as_str()) {
            faults.push(name);
        }
    }
    check("the top level is fixed", &faults);
}

#[test]
fn the_changelog_tells_what_is_new() {
    let text = read("CHANGELOG.md");
    let unreleased = text.split("\n## ").find(|part| part.starts_with("[Unreleased]"));
    assert!(
        unreleased.is_some_and(|part| part.contains("\n- ")),
        "CHANGELOG.md has an [Unreleased] section with entries"
    );
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    for member in ["proto", "daemon", "client", "tests"] {
        let text = read(&format!("{member}/Cargo.toml"));
        assert!(text.contains("[lints]\nworkspace = true"), "{member}/Cargo.toml");
    }
}

fn read(name: &str) -> String {
    let path = root().join(Path::new(name));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
