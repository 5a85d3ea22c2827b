//! Copies of `jobs.db`: for an operator, while jobs go on, and of a database of an older version, before it is migrated.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use super::{
    Store,
    error::{Act as _, StoreError},
    migrate::{self, Schema},
    open::open_copier,
};

/// Copies of older versions that are kept.
const KEPT: usize = 2;

/// `jobs.db` with something at the end of its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { act, path, source }
}

/// What is committed at this moment, in a new file that only we may read, synced. A copy that a kill left there is replaced.
fn copy(path: &Path, to: &Path) -> Result<File, StoreError> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", to)(error)),
        _ => {}
    }
    // SQLite fills an empty file as it is; it would make one by the umask.
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(io_error("create", to))?;
    let name = to.to_str().ok_or_else(|| {
        let why = io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8");
        io_error("copy the database to", to)(why)
    })?;
    open_copier(path)?
        .execute("VACUUM INTO ?1", [name])
        .act("copy the database")?;
    file.sync_all().map_err(io_error("sync", to))?;
    Ok(file)
}

impl Store {
    /// A copy of `jobs.db` as it is now, in a file that has no name any more. Others read and write meanwhile. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn copy(&self) -> Result<File, StoreError> {
        unnamed(&self.copying.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A copy in a file without a name.
fn unnamed(path: &Path) -> Result<File, StoreError> {
    let to = beside(path, ".copy");
    let copied = copy(path, &to);
    // Also of a copy that failed in its middle.
    match fs::remove_file(&to) {
        Err(error) if copied.is_ok() => Err(io_error("remove", &to)(error)),
        _ => copied,
    }
}

/// Keeps a database of an older version as `jobs.db.v7`, and the two newest of these.
///
/// # Errors
/// When there is no room for it: the database stays as it is.
pub(super) fn before_migration(path: &Path, schema: &Schema) -> Result<(), StoreError> {
    if !fs::exists(path).map_err(io_error("look at", path))? {
        return Ok(());
    }
    let Some(version) = migrate::outdated(&open_copier(path)?, schema)? else {
        return Ok(());
    };
    let (to, kept) = (beside(path, ".copy"), beside(path, &format!(".v{version}")));
    copy(path, &to)?;
    #[expect(clippy::disallowed_methods, reason = "not into a cache")]
    fs::rename(&to, &kept).map_err(io_error("rename", &to))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("sync", dir))?;
    tracing::info!(copy = %kept.display(), version, "a database of an older version is brought to the newest; a copy is kept");
    let others = (1..version).rev().map(|older| beside(path, &format!(".v{older}")));
    for older in others.filter(|older| older.exists()).skip(KEPT - 1) {
        fs::remove_file(&older).map_err(io_error("remove", &older))?;
    }
    Ok(())
}
