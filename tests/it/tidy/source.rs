//! The Rust files of the workspace.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Folders with sources of ours.
const FOLDERS: [&str; 4] = ["proto", "daemon", "client", "tests"];

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path from the root of the workspace.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Lines with their numbers, without comments and without what stands in quotes.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, code(line)))
    }
}

/// A line of code without its comment and its texts. A text of several lines counts as code from its second line on.
fn code(line: &str) -> String {
    let (mut kept, mut quoted) = (String::new(), false);
    let mut rest = line.replace("'\"'", "' '");
    if rest.trim_start().starts_with("//") {
        rest.clear();
    }
    let mut characters = rest.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if quoted => drop(characters.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            c if !quoted => kept.push(c),
            _ => {}
        }
    }
    kept
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
}

/// All of them.
pub(crate) fn all() -> &'static [Source] {
    static ALL: OnceLock<Vec<Source>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut sources = Vec::new();
        let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a readable folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                    let text = std::fs::read_to_string(&path).expect("UTF-8");
                    sources.push(Source { name, text });
                }
            }
        }
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(sources.len() > 100, "these are not all");
        sources
    })
}

/// Those below a folder.
pub(crate) fn in_folder(prefix: &str) -> Vec<Source> {
    all()
        .iter()
        .filter(|source| source.name.starts_with(prefix))
        .cloned()
        .collect()
}

/// Whether a line has a word, not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next()))
}

#[test]
fn words_and_comments_are_told_apart() {
    assert!(has_word("use tonic::Code;", "tonic") && !has_word("tonic_types", "tonic"));
    let source = Source {
        name: String::new(),
        text: "let a = f(\"http://b \\\" tonic\"); // c\n/// d".into(),
    };
    let code: Vec<_> = source.code().collect();
    assert_eq!(code, [(1, "let a = f(); ".to_owned()), (2, String::new())]);
}
