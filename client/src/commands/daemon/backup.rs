//! `hfctl daemon backup`: a copy of the daemon's job database in a file of the caller. The name appears when all of it is there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hfetch_proto::v1::BackUpStoreRequest;

use crate::cli::BackupArgs;
use crate::connect::Daemon;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::paths::{self, process_env};
use crate::view::json::BackupJson;

pub(super) async fn run(context: &Context, args: &BackupArgs) -> Result<Exit, CliError> {
    let to = paths::absolute(&args.file, &context.cwd, &process_env);
    if fs::symlink_metadata(&to).is_ok() {
        return Err(taken(&to));
    }
    let daemon = context.dial().await?;
    let part = Part::create(&to)?;
    let bytes = receive(&daemon, &part).await?;
    part.become_whole(&to)?;
    let path = to.display().to_string();
    match context.out.json {
        true => context.out.answer_json(&BackupJson { path: &path, bytes })?,
        false => context.out.answer_path(&path)?,
    }
    Ok(Exit::Done)
}

fn taken(to: &Path) -> CliError {
    CliError::new(Exit::Failed, format!("{} is there already", to.display())).hint("choose a name that is free")
}

fn cannot(act: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Failed, format!("cannot {act} {}: {error}", path.display()))
}

/// Writes what comes; gives the number of bytes.
async fn receive(daemon: &Daemon, part: &Part) -> Result<u64, CliError> {
    let mut pieces = daemon.admin().back_up_store(BackUpStoreRequest {}).await?.into_inner();
    let mut bytes = 0;
    while let Some(answer) = pieces.message().await? {
        bytes += answer.piece.len() as u64;
        (&part.file)
            .write_all(&answer.piece)
            .map_err(|error| cannot("write", &part.path, &error))?;
    }
    Ok(bytes)
}

/// An unfinished copy, beside its later name. Gone when it is dropped.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(to: &Path) -> Result<Part, CliError> {
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = PathBuf::from(name);
        // The jobs of all users are in it.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| cannot("create", &path, &error))?;
        Ok(Part { path, file })
    }

    /// Makes it durable and gives it its name, if that is free still.
    #[expect(clippy::disallowed_methods, reason = "not into a cache")]
    fn become_whole(self, to: &Path) -> Result<(), CliError> {
        let named = self.file.sync_all().and_then(|()| match fs::hard_link(&self.path, to) {
            // A file system without hard links; nobody else is asked for this name.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && fs::symlink_metadata(to).is_err() => {
                fs::rename(&self.path, to)
            }
            linked => linked,
        });
        match named {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(to)),
            Err(error) => return Err(cannot("write", to, &error)),
        }
        let dir = to.parent().unwrap_or(Path::new("/"));
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| cannot("sync", dir, &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}
