//! Which files of a listing a job wants: named files, named folders, or globs. Knows nothing of what is on disk.

mod glob;
#[cfg(test)]
mod python_tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::model::{Failure, FailureKind, Selection};

pub use glob::Pattern;

/// How many missing names are told with the name that was probably meant.
const SUGGESTED: usize = 5;
/// How many names of a listing are looked at for a near one; a listing may hold a million.
const LOOKED_AT: usize = 20_000;

/// What a selection comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selected {
    /// Indexes into the paths, ascending, each once.
    pub indexes: Vec<usize>,
    /// What the user should be told.
    pub warnings: Vec<SelectWarning>,
}

/// Something odd that does not stop a job. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectWarning {
    /// Names and globs together: the names win, as in the Python client.
    #[error("include and exclude patterns are ignored, because files are named")]
    GlobsIgnored,
    /// An include pattern that fits no file.
    #[error("the pattern `{pattern}` fits no file{}", hint(pattern))]
    NothingFits {
        /// As the user wrote it.
        pattern: String,
    },
}

/// A name that the listing does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingEntry {
    /// As the user wrote it; a folder ends in `/`.
    pub name: String,
    /// The existing name that was probably meant.
    pub nearest: Option<String>,
}

impl fmt::Display for MissingEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

/// Why a selection cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Named files or folders that do not exist; all of them.
    #[error("the repository has no {}", join(missing))]
    NoSuchEntry {
        /// At least one.
        missing: Vec<MissingEntry>,
    },
    /// The Python client refuses this too: a folder *is* a pattern there.
    #[error("the folder `{folder}` cannot be combined with include or exclude patterns")]
    FolderWithGlobs {
        /// As the user wrote it.
        folder: String,
    },
}

impl SelectError {
    /// The job's failure.
    pub fn to_failure(&self) -> Failure {
        let (kind, hint) = match self {
            Self::NoSuchEntry { .. } => (
                FailureKind::EntryNotFound,
                "check the spelling; letter case counts, and names are paths from the top of the repository",
            ),
            Self::FolderWithGlobs { .. } => (
                FailureKind::InvalidArgument,
                "write the folder as an include pattern, for example --include 'data/*'",
            ),
        };
        Failure::new(kind, self.to_string(), hint)
    }
}

fn join(missing: &[MissingEntry]) -> String {
    let shown: Vec<String> = missing.iter().map(MissingEntry::to_string).collect();
    shown.join(", ")
}

fn hint(pattern: &str) -> &'static str {
    if pattern.contains('{') {
        "; braces are not special, give several patterns instead"
    } else if pattern.starts_with('!') {
        "; to leave files out, use an exclude pattern"
    } else if pattern.starts_with("./") || pattern.starts_with('/') {
        "; paths begin with the first folder, without `./` or `/`"
    } else if pattern.starts_with("**/") {
        "; `**/` demands a folder, `*` alone crosses folders"
    } else {
        ""
    }
}

/// Applies a selection to the paths of a listing.
///
/// # Errors
/// When a named file or folder does not exist, or a folder is named beside globs.
pub fn select(selection: &Selection, paths: &[&str]) -> Result<Selected, SelectError> {
    if selection.files.is_empty() {
        Ok(by_globs(selection, paths))
    } else {
        by_names(selection, paths)
    }
}

fn by_names(selection: &Selection, paths: &[&str]) -> Result<Selected, SelectError> {
    let globs = !(selection.include.is_empty() && selection.exclude.is_empty());
    if let Some(folder) = selection.files.iter().find(|name| globs && name.ends_with('/')) {
        return Err(SelectError::FolderWithGlobs { folder: folder.clone() });
    }
    let places: HashMap<&str, usize> = paths.iter().enumerate().map(|(index, path)| (*path, index)).collect();
    let mut wanted = vec![false; paths.len()];
    let folders: BTreeSet<&str> = selection
        .files
        .iter()
        .map(String::as_str)
        .filter(|name| name.ends_with('/'))
        .collect();
    let empty = want_folders(&folders, paths, &mut wanted);
    let mut missing = Vec::new();
    for name in &selection.files {
        match places.get(name.as_str()) {
            Some(index) => wanted[*index] = true,
            None if name.ends_with('/') && !empty.contains(name.as_str()) => {}
            None => missing.push(name),
        }
    }
    if missing.is_empty() {
        return Ok(Selected {
            indexes: (0..paths.len()).filter(|index| wanted[*index]).collect(),
            warnings: if globs {
                vec![SelectWarning::GlobsIgnored]
            } else {
                Vec::new()
            },
        });
    }
    let missing = missing
        .into_iter()
        .enumerate()
        .map(|(count, name)| MissingEntry {
            name: name.clone(),
            nearest: (count < SUGGESTED).then(|| nearest(name, paths)).flatten(),
        })
        .collect();
    Err(SelectError::NoSuchEntry { missing })
}

/// Marks what lies in some folders; gives those that hold nothing. A path is looked at once, however many of its folders are
/// named.
fn want_folders<'a>(folders: &BTreeSet<&'a str>, paths: &[&str], wanted: &mut [bool]) -> HashSet<&'a str> {
    let mut empty = HashSet::new();
    if folders.is_empty() {
        return empty;
    }
    let mut sorted: Vec<usize> = (0..paths.len()).collect();
    sorted.sort_unstable_by_key(|index| paths[*index]);
    let mut above: Option<&str> = None;
    for &folder in folders {
        let begin = sorted.partition_point(|index| paths[*index] < folder);
        let inside = sorted[begin..]
            .iter()
            .take_while(|index| paths[**index].starts_with(folder));
        // In the order of names a folder is followed by those inside it.
        if above.is_some_and(|above| folder.starts_with(above)) {
            if inside.take(1).count() == 0 {
                empty.insert(folder);
            }
            continue;
        }
        let mut count = 0;
        for index in inside {
            wanted[*index] = true;
            count += 1;
        }
        if count == 0 {
            empty.insert(folder);
        }
        above = Some(folder);
    }
    empty
}

fn by_globs(selection: &Selection, paths: &[&str]) -> Selected {
    let prepare = |patterns: &[String]| -> Vec<Pattern> { patterns.iter().map(|text| Pattern::new(text)).collect() };
    let (include, exclude) = (prepare(&selection.include), prepare(&selection.exclude));
    let mut used = vec![false; include.len()];
    let mut indexes = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let mut wanted = include.is_empty();
        for (pattern, used) in include.iter().zip(&mut used) {
            // An early end would leave later patterns wrongly "fitting nothing".
            if (!wanted || !*used) && pattern.matches(path) {
                wanted = true;
                *used = true;
            }
        }
        if wanted && !exclude.iter().any(|pattern| pattern.matches(path)) {
            indexes.push(index);
        }
    }
    let unused = selection.include.iter().zip(used).filter(|(_, used)| !used);
    let warnings = unused
        .map(|(pattern, _)| SelectWarning::NothingFits {
            pattern: pattern.clone(),
        })
        .collect();
    Selected { indexes, warnings }
}

/// The existing name that was probably meant: the same but for letter case, the same in another folder, or else the most
/// similar one. For a folder, an existing folder.
fn nearest(name: &str, paths: &[&str]) -> Option<String> {
    let folder = name.ends_with('/');
    let candidates: BTreeSet<&str> = paths
        .iter()
        .take(LOOKED_AT)
        .filter_map(|path| match folder {
            true => path.rfind('/').map(|end| &path[..=end]),
            false => Some(*path),
        })
        .collect();
    let base = |path: &str| path.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
    let wanted = base(name);
    let score = |candidate: &str| {
        if candidate.eq_ignore_ascii_case(name) {
            3.0
        } else if base(candidate) == wanted {
            2.0
        } else {
            strsim::jaro_winkler(candidate, name)
        }
    };
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score >= 0.85)
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 6] = [
        "config.json",
        "a.txt",
        "data/a.json",
        "data/b/c.json",
        "data",
        "model.safetensors",
    ];

    fn selection(files: &[&str], include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Selection {
            files: owned(files),
            include: owned(include),
            exclude: owned(exclude),
        }
    }

    #[test]
    fn names_folders_and_globs() {
        let check = |files: &[&str], include: &[&str], exclude: &[&str], expected: &[usize]| {
            let selected = select(&selection(files, include, exclude), &PATHS).unwrap();
            assert_eq!(selected.indexes, expected, "{files:?} {include:?} {exclude:?}");
        };
        check(&[], &[], &[], &[0, 1, 2, 3, 4, 5]);
        check(&["a.txt", "config.json", "a.txt"], &[], &[], &[0, 1]);
        check(&["data"], &[], &[], &[4]);
        check(&["data/"], &[], &[], &[2, 3]);
        check(&["data/b/", "a.txt"], &[], &[], &[1, 3]);
        check(&["data/b/", "data/", "data/", "data"], &[], &[], &[2, 3, 4]);
        check(&[], &["*.json"], &["data/*"], &[0]);
        check(&[], &["*.json", "*.txt"], &[], &[0, 1, 2, 3]);
        check(&[], &[], &["*.json"], &[1, 4, 5]);
        check(&[], &["nothing"], &[], &[]);
        check(&[], &[""], &[], &[]);
        check(&["a.txt"], &["*.json"], &["*"], &[1]);
    }

    #[test]
    fn oddities_are_told() {
        let warnings = |files: &[&str], include: &[&str]| {
            let selected = select(&selection(files, include, &[]), &PATHS).unwrap();
            let told: Vec<String> = selected.warnings.iter().map(ToString::to_string).collect();
            told.join("; ")
        };
        assert_eq!(warnings(&[], &["*.json", "*", "c*"]), "");
        assert!(warnings(&["a.txt"], &["*"]).contains("ignored"));
        assert!(warnings(&[], &["*.json", "*.{bin,pt}"]).contains("`*.{bin,pt}` fits no file; braces"));
    }

    #[test]
    fn missing_names_are_named_all_of_them() {
        let error = select(&selection(&["a.json", "a.txt", "Data/", "zzz"], &[], &[]), &PATHS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the repository has no `a.json` (did you mean `data/a.json`?), `Data/` (did you mean `data/`?), `zzz`"
        );
        assert_eq!(error.to_failure().kind, FailureKind::EntryNotFound);
        let near = select(&selection(&["model.safetensor"], &[], &[]), &PATHS).unwrap_err();
        assert!(near.to_string().contains("`model.safetensors`"), "{near}");
        for missing in ["/", "../a.txt", "./a.txt", "a.txt/", "*.json"] {
            assert!(select(&selection(&[missing], &[], &[]), &PATHS).is_err(), "{missing}");
        }
    }

    #[test]
    fn folders_do_not_go_with_globs() {
        let error = select(&selection(&["data/"], &["*.json"], &[]), &PATHS).unwrap_err();
        assert_eq!(error.to_failure().kind, FailureKind::InvalidArgument);
    }
}
