//! The only place of this module that looks at the process and at the disk.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::places::Places;

/// Files that keys name are not larger than this.
const LARGEST_NAMED: u64 = 8 << 20;

/// Everything that the configuration depends on, besides the files. Kept for reloads.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub(super) config: Vec<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    pub(super) environment: Environment,
    pub(super) current_dir: PathBuf,
    /// Variables that name no proxy, and why not.
    pub(super) bad_proxies: Vec<(String, String)>,
}

impl Inputs {
    /// What the command line gave, and this process's environment and working directory.
    pub fn from_process(config: Vec<PathBuf>, state_dir: Option<PathBuf>, socket: Option<PathBuf>) -> Self {
        let mut variables: BTreeMap<String, Option<String>> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
            .collect();
        let homeless = variables.get("HOME").is_none_or(|home| home.as_deref() == Some(""));
        if homeless && let Some(home) = std::env::home_dir().and_then(|home| home.into_os_string().into_string().ok()) {
            variables.insert("HOME".to_owned(), Some(home));
        }
        Self {
            config,
            state_dir,
            socket,
            environment: Environment(variables),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            bad_proxies: Vec::new(),
        }
    }

    /// What is wrong with proxy variables, as who reads them says: a mistake unless `[routing]` takes their place.
    #[must_use]
    pub fn with_bad_proxies(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.bad_proxies.extend(variables);
        self
    }
}

/// Variables; `None` for one that is not UTF-8.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment(BTreeMap<String, Option<String>>);

impl Environment {
    /// A variable's value; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref().filter(|value| !value.is_empty())
    }

    /// All variables in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter();
        Self(
            variables
                .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
                .collect(),
        )
    }
}

/// Gives the text of a file, and whether others may read it.
pub(super) type NamedFiles = dyn Fn(&Path) -> Result<(String, bool), String>;

/// What the defaults depend on.
pub(super) struct Context<'a> {
    pub(super) mode: super::Mode,
    pub(super) environment: &'a Environment,
    pub(super) current_dir: &'a Path,
    /// Reads files that keys name.
    pub(super) read_file: &'a NamedFiles,
    /// Variables that name no proxy, and why not.
    pub(super) bad_proxies: &'a [(String, String)],
}

/// A file's text, or why it cannot be read.
pub(super) type FileText = (PathBuf, Result<String, String>);

/// Reads the files; those that need not be there and are not are left out.
pub(super) fn read_files(places: &Places) -> Vec<FileText> {
    let mut texts = Vec::new();
    for path in &places.files {
        match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !places.files_must_exist => {}
            outcome => texts.push((path.clone(), outcome.map_err(|error| error.to_string()))),
        }
    }
    let Some(folder) = &places.drop_ins else {
        return texts;
    };
    let listed = std::fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Ok(mut paths) => {
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            paths.sort();
            texts.extend(paths.into_iter().map(|path| {
                let text = read(&path).map_err(|error| error.to_string());
                (path, text)
            }));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => texts.push((folder.clone(), Err(error.to_string()))),
    }
    texts
}

/// Reads a file that a key names, up to some megabytes; the second value tells whether others may read it.
pub(super) fn read_named(path: &Path) -> Result<(String, bool), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > LARGEST_NAMED {
        return Err(format!("it is larger than {LARGEST_NAMED} bytes"));
    }
    let text = read(path).map_err(|error| error.to_string())?;
    Ok((text, metadata.permissions().mode() & 0o077 != 0))
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        io::Error::new(io::ErrorKind::InvalidData, format!("line {} is not UTF-8", line + 1))
    })
}
