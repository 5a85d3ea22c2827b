//! Where a value was written, so that every mistake and every printed key can say so.

use std::{fmt, path::Path, sync::Arc};

/// One config file; its place in the order of reading sorts the mistakes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceFile {
    pub(super) index: usize,
    pub(super) path: Arc<Path>,
}

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Nobody: it is built in, or about no place at all.
    Default,
    /// A file.
    File {
        file: SourceFile,
        /// From 1; 0 is the file as a whole.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// A variable of the environment.
    Variable(Arc<str>),
}

impl Origin {
    pub(super) fn variable(name: &str) -> Self {
        Self::Variable(name.into())
    }

    /// What is in front of a mistake; `None` without a place.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Default => None,
            Self::File { file, line: 0, .. } => Some(shown(&file.path)),
            Self::File { file, line, column } => Some(format!("{}:{line}:{column}", shown(&file.path))),
            Self::Variable(name) => Some(name.to_string()),
        }
    }
}

/// What stands beside a printed key.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, .. } => write!(f, "{}:{line}", shown(&file.path)),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A path on one line, whatever is in it.
pub(super) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
